// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/network"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

const (
	dataVolume = "data"
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
func service(c *v1alpha1.CodisCoordinator, k keeper) *corev1.Service {
	var ports []corev1.ServicePort
	for _, port := range k.ports() {
		ports = append(ports, corev1.ServicePort{
			Name: port.Name, Port: port.ContainerPort, TargetPort: intstr.FromString(port.Name),
		})
	}
	return &corev1.Service{
		ObjectMeta: objectMeta(c),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 selector(c).MatchLabels,
			Ports:                    ports,
		},
	}
}

func seatFile(pod string) string { return pod + ".json" }

// lastIDFile is the key of the identity that was given last.
const lastIDFile = "last-id"

// configMap has for each place the seat of its pod and the files that go with it.
// Only a seat that has never been taken can join an ensemble: the files of any
// other are of no use without its data.
func configMap(
	c *v1alpha1.CodisCoordinator, k keeper, domain naming.Domain, e *ensemble, given map[int]seat.Seat,
) *corev1.ConfigMap {
	data := map[string]string{}
	last := e.lastID
	for ordinal, s := range given {
		maps.Copy(data, k.files(c, domain, e, ordinal, given))
		data[seatFile(naming.CoordinatorPod(c.Name, ordinal))] = s.Encode()
		if id, err := roster.ParseID(s.ID); err == nil {
			last = max(last, id)
		}
	}
	if _, counts := k.(zooKeeper); counts {
		data[lastIDFile] = last.String()
	}
	return &corev1.ConfigMap{ObjectMeta: objectMeta(c), Data: data}
}

// statefulSet runs the members. Each passes the gate first, which lets it start
// only on its own data; then it reads the file of its name.
func statefulSet(
	c *v1alpha1.CodisCoordinator, k keeper, scale int, images podtemplate.Images, live *appsv1.StatefulSet,
) (*appsv1.StatefulSet, error) {
	pod := podtemplate.Pod{
		Component: naming.ComponentCoordinator,
		Instance:  c.Name,
		Settings:  component(c),
		Images:    images,
		Volumes: []corev1.Volume{{Name: seatVolume, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: naming.Coordinator(c.Name)},
			},
		}}},
		GracePeriodSeconds: gracePeriod,
	}
	k.dress(&pod)
	template, err := podtemplate.Template(pod, podtemplate.LiveOf(live))
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

// podName is what a member finds its own files by.
func podName() corev1.EnvVar {
	return corev1.EnvVar{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"},
	}}
}

// mounts of the gate, and of the member.
func mounts(dataDir string) []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: dataVolume, MountPath: dataDir}, {Name: seatVolume, MountPath: seatDir, ReadOnly: true},
	}
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
// client port, and of these only the operator the others: whoever reaches either
// can change what Codis keeps there.
func networkPolicy(c *v1alpha1.CodisCoordinator, k keeper, operator string) *networkingv1.NetworkPolicy {
	dashboards := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		v1alpha1.LabelName: naming.Application, v1alpha1.LabelComponent: naming.ComponentDashboard,
	}}}
	members := networkingv1.NetworkPolicyPeer{PodSelector: selector(c)}
	var rules []networkingv1.NetworkPolicyIngressRule
	for i, port := range k.ports() {
		peers := []networkingv1.NetworkPolicyPeer{members, network.Operator(operator)}
		if i == 0 {
			peers = slices.Insert(peers, 0, dashboards)
		}
		rules = append(rules, network.Allow(port.ContainerPort, peers...))
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: objectMeta(c),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *selector(c),
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     rules,
		},
	}
}
