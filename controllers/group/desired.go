// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
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
	"github.com/codis-io/codis-operator/internal/redis"
)

const (
	dataVolume = "data"
	dataDir    = "/data"
	confFile   = "redis.conf"
	// gracePeriod leaves time to write a snapshot: a codis-server that cannot
	// save refuses to stop.
	gracePeriod = 120
)

func objectMeta(g *v1alpha1.CodisGroup) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: g.Namespace,
		Name:      naming.Group(g.Name),
		Labels:    naming.Labels(naming.ComponentServer, g.Name, g.Spec.DashboardRef.Name),
	}
}

// service gives each member its name. Members that are not ready are published
// too: the dashboard and the proxies must reach a master that is loading.
func service(g *v1alpha1.CodisGroup) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: objectMeta(g),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 naming.Selector(naming.ComponentServer, g.Name),
			Ports: []corev1.ServicePort{
				{Name: "redis", Port: naming.PortServer, TargetPort: intstr.FromString("redis")},
			},
		},
	}
}

func configText(g *v1alpha1.CodisGroup) string {
	limit := *g.Spec.Resources.Limits.Memory()
	return config.Server(dataDir, naming.PortServer, g.Spec.Storage != nil, limit, g.Spec.Config)
}

func configMap(g *v1alpha1.CodisGroup) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: objectMeta(g), Data: map[string]string{confFile: configText(g)}}
}

// statefulSet runs the members. Each starts fenced: the last arguments make it
// a replica of nowhere, whatever its file says, until the operator gives it a role.
func statefulSet(
	g *v1alpha1.CodisGroup, authSecret string, replicas int, images podtemplate.Images, live *appsv1.StatefulSet,
) (*appsv1.StatefulSet, error) {
	pod := podtemplate.Pod{
		Component: naming.ComponentServer,
		Instance:  g.Name,
		Dashboard: g.Spec.DashboardRef.Name,
		Settings:  g.Spec.Component,
		Images:    images,
		Container: corev1.Container{
			Name: naming.ComponentServer,
			Command: []string{
				"codis-server", podtemplate.ConfigDir + "/" + confFile,
				"--slaveof", redis.FenceHost, redis.FencePort,
			},
			Ports:          []corev1.ContainerPort{{Name: "redis", ContainerPort: naming.PortServer}},
			VolumeMounts:   []corev1.VolumeMount{{Name: dataVolume, MountPath: dataDir}},
			ReadinessProbe: podtemplate.TCPProbe(naming.PortServer, 2, 3),
			LivenessProbe:  podtemplate.TCPProbe(naming.PortServer, 10, 6),
			WorkingDir:     dataDir,
		},
		Config: &podtemplate.ConfigFile{
			Name: confFile, Format: string(config.Redis), ConfigMap: naming.Group(g.Name), Text: configText(g),
			Secrets: map[string]string{"requirepass": authSecret, "masterauth": authSecret},
		},
		GracePeriodSeconds: gracePeriod,
	}
	if g.Spec.Storage == nil {
		pod.Volumes = []corev1.Volume{podtemplate.EmptyDir(dataVolume)}
	}
	template, err := podtemplate.Template(pod, podtemplate.LiveOf(live))
	if err != nil {
		return nil, err
	}
	return &appsv1.StatefulSet{
		ObjectMeta: objectMeta(g),
		Spec: appsv1.StatefulSetSpec{
			Replicas:            new(int32(replicas)), //nolint:gosec // At most 9 by the API.
			ServiceName:         naming.Group(g.Name),
			PodManagementPolicy: appsv1.ParallelPodManagement,
			// The operator itself replaces pods, one by one and the master last.
			UpdateStrategy:       appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			Selector:             &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentServer, g.Name)},
			Template:             template,
			VolumeClaimTemplates: podtemplate.Claims(dataVolume, firstStorage(g.Spec.Storage, live)),
			RevisionHistoryLimit: new(int32(3)),

			PersistentVolumeClaimRetentionPolicy: podtemplate.Retention(g.Spec.Storage),
		},
	}, nil
}

// disruptionBudget lets a drain take one member at a time.
func disruptionBudget(g *v1alpha1.CodisGroup) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: objectMeta(g),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: new(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentServer, g.Name)},
		},
	}
}

// networkPolicy lets only the product's own parts and the operator in: a
// dashboard sends the product password to any server that it is pointed at, and
// a server obeys whoever has it.
func networkPolicy(g *v1alpha1.CodisGroup, operator string) *networkingv1.NetworkPolicy {
	dashboard := g.Spec.DashboardRef.Name
	return &networkingv1.NetworkPolicy{
		ObjectMeta: objectMeta(g),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentServer, g.Name)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				network.Allow(naming.PortServer, network.Product(dashboard), network.Operator(operator)),
			},
		},
	}
}
