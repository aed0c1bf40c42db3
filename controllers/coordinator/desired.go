// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/network"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/seat"
)

const (
	dataVolume = "data"
	dataDir    = "/var/lib/etcd"
	seatVolume = "seats"
	seatDir    = "/etc/codis/seats"
	// gracePeriod leaves time to hand over leadership.
	gracePeriod = 30
	// defaultReplicas bear the loss of one member.
	defaultReplicas = 3
	gateContainer   = "gate"
)

func objectMeta(c *v1alpha1.CodisCoordinator) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: c.Namespace,
		Name:      naming.Coordinator(c.Name),
		Labels:    naming.Labels(naming.ComponentCoordinator, c.Name, ""),
	}
}

func selector(c *v1alpha1.CodisCoordinator) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentCoordinator, c.Name)}
}

func wantedReplicas(c *v1alpha1.CodisCoordinator) int {
	if c.Spec.Replicas == nil {
		return defaultReplicas
	}
	return int(*c.Spec.Replicas)
}

// service gives each member its name, before it is ready too: members must find
// each other to become ready.
func service(c *v1alpha1.CodisCoordinator) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: objectMeta(c),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 selector(c).MatchLabels,
			Ports: []corev1.ServicePort{
				{Name: "client", Port: naming.PortEtcd, TargetPort: intstr.FromString("client")},
				{Name: "peer", Port: naming.PortEtcdPeer, TargetPort: intstr.FromString("peer")},
			},
		},
	}
}

func peerURL(c *v1alpha1.CodisCoordinator, domain naming.Domain, ordinal int) string {
	return "http://" + domain.CoordinatorAddr(c.Namespace, c.Name, ordinal, naming.PortEtcdPeer)
}

// token of the ensemble: the same for a namesake made later, which finds the data
// of this one on volumes that were kept.
func token(c *v1alpha1.CodisCoordinator) string { return c.Namespace + "/" + c.Name }

func configFile(pod string) string { return pod + ".yaml" }
func seatFile(pod string) string   { return pod + ".json" }

// configMap has for each place the seat of its pod and the configuration that
// goes with it. Only a seat that has never been taken can join an ensemble: the
// configuration of any other fails without its data.
func configMap(
	c *v1alpha1.CodisCoordinator, domain naming.Domain, given map[int]seat.Seat,
) *corev1.ConfigMap {
	data := map[string]string{}
	peers := map[string]string{}
	for ordinal := range given {
		peers[naming.CoordinatorPod(c.Name, ordinal)] = peerURL(c, domain, ordinal)
	}
	for ordinal, s := range given {
		pod := naming.CoordinatorPod(c.Name, ordinal)
		member := config.EtcdMember{
			Name: pod, Directory: dataDir + "/" + s.ID, PeerURL: peerURL(c, domain, ordinal),
			ClientURL: "http://" + domain.CoordinatorAddr(c.Namespace, c.Name, ordinal, naming.PortEtcd),
			Token:     token(c), Founds: s.Fresh && s.Founder,
		}
		if s.Fresh && !s.Founder {
			member.Peers = peers
		}
		data[configFile(pod)] = config.Etcd(member)
		data[seatFile(pod)] = s.Encode()
	}
	return &corev1.ConfigMap{ObjectMeta: objectMeta(c), Data: data}
}

// statefulSet runs the members. Each passes the gate first, which lets it start
// only on its own data; then it reads the file of its name.
func statefulSet(
	c *v1alpha1.CodisCoordinator, scale int, images podtemplate.Images, live *appsv1.StatefulSet,
) (*appsv1.StatefulSet, error) {
	name := corev1.EnvVar{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"},
	}}
	mounts := []corev1.VolumeMount{
		{Name: dataVolume, MountPath: dataDir}, {Name: seatVolume, MountPath: seatDir, ReadOnly: true},
	}
	template, err := podtemplate.Template(podtemplate.Pod{
		Component: naming.ComponentCoordinator,
		Instance:  c.Name,
		Settings:  component(c),
		Images:    images,
		Image:     images.Etcd,
		Gate: &corev1.Container{
			Name: gateContainer, Env: []corev1.EnvVar{name}, VolumeMounts: slices.Clone(mounts),
			Command: []string{"/member-gate", "--seat=" + seatDir + "/$(POD_NAME).json", "--volume=" + dataDir},
		},
		Container: corev1.Container{
			Name: "etcd", Env: []corev1.EnvVar{name}, VolumeMounts: mounts,
			Command: []string{"etcd", "--config-file=" + seatDir + "/$(POD_NAME).yaml"},
			Ports: []corev1.ContainerPort{
				{Name: "client", ContainerPort: naming.PortEtcd}, {Name: "peer", ContainerPort: naming.PortEtcdPeer},
			},
			// /health asks the quorum; a member that is cut off is not ready, and
			// restarting it would not help. The client port opens only with a quorum,
			// the other one at once.
			ReadinessProbe: podtemplate.HTTPProbe("/health", naming.PortEtcd, 2, 3),
			LivenessProbe:  podtemplate.HTTPProbe("/version", naming.PortEtcdPeer, 10, 6),
		},
		Volumes: []corev1.Volume{{Name: seatVolume, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: naming.Coordinator(c.Name)},
			},
		}}},
		GracePeriodSeconds: gracePeriod,
	}, podtemplate.LiveOf(live))
	if err != nil {
		return nil, err
	}
	return &appsv1.StatefulSet{
		ObjectMeta: objectMeta(c),
		Spec: appsv1.StatefulSetSpec{
			Replicas:            new(int32(scale)), //nolint:gosec // At most a few.
			ServiceName:         naming.Coordinator(c.Name),
			PodManagementPolicy: appsv1.ParallelPodManagement,
			// The operator itself replaces pods, one by one and the leader last.
			UpdateStrategy:       appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			Selector:             selector(c),
			Template:             template,
			VolumeClaimTemplates: podtemplate.Claims(dataVolume, c.Spec.Storage),
			RevisionHistoryLimit: new(int32(3)),

			PersistentVolumeClaimRetentionPolicy: podtemplate.Retention(c.Spec.Storage),
		},
	}, nil
}

func component(c *v1alpha1.CodisCoordinator) v1alpha1.Component {
	return v1alpha1.Component{
		Image: c.Spec.Image, ImagePullPolicy: c.Spec.ImagePullPolicy, Resources: c.Spec.Resources, Pod: c.Spec.Pod,
	}
}

// disruptionBudget lets a drain take one member at a time.
func disruptionBudget(c *v1alpha1.CodisCoordinator) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: objectMeta(c),
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: selector(c)},
	}
}

// networkPolicy lets the dashboards of the namespace and the operator reach the
// client port, and of these only the operator the other: whoever reaches either
// can change what Codis keeps there.
func networkPolicy(c *v1alpha1.CodisCoordinator, operator string) *networkingv1.NetworkPolicy {
	dashboards := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		v1alpha1.LabelName: naming.Application, v1alpha1.LabelComponent: naming.ComponentDashboard,
	}}}
	members := networkingv1.NetworkPolicyPeer{PodSelector: selector(c)}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: objectMeta(c),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *selector(c),
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				network.Allow(naming.PortEtcd, dashboards, members, network.Operator(operator)),
				network.Allow(naming.PortEtcdPeer, members, network.Operator(operator)),
			},
		},
	}
}
