// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/network"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

const (
	sentinelVolume = "data"
	sentinelDir    = "/data"
	sentinelFile   = "sentinel.conf"
	// sentinelPause is how long a sentinel must be ready, in seconds, before the next
	// one is replaced: it starts with nothing to watch, and is told within that time.
	sentinelPause = 10
)

func sentinelMeta(d *v1alpha1.CodisDashboard) metav1.ObjectMeta {
	return objectMeta(d, naming.ComponentSentinel, naming.Sentinel(d.Name))
}

func sentinelSelector(d *v1alpha1.CodisDashboard) map[string]string {
	return naming.Selector(naming.ComponentSentinel, d.Name)
}

// sentinelObjects are the wanted objects of the sentinels.
func sentinelObjects(
	d *v1alpha1.CodisDashboard, replicas int, operator string, images podtemplate.Images, live *appsv1.StatefulSet,
) ([]client.Object, error) {
	set, err := sentinelSet(d, replicas, images, live)
	if err != nil {
		return nil, err
	}
	return []client.Object{
		sentinelService(d), sentinelConfig(d), sentinelPolicy(d, operator), sentinelBudget(d), set,
	}, nil
}

// sentinelService gives each sentinel its name, also while it is not ready: the
// dashboard and the proxies go on to know it by that.
func sentinelService(d *v1alpha1.CodisDashboard) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: sentinelMeta(d),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 sentinelSelector(d),
			Ports: []corev1.ServicePort{
				{Name: "sentinel", Port: naming.PortSentinel, TargetPort: intstr.FromString("sentinel")},
			},
		},
	}
}

func sentinelText() string { return config.Sentinel(sentinelDir, naming.PortSentinel) }

func sentinelConfig(d *v1alpha1.CodisDashboard) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: sentinelMeta(d), Data: map[string]string{sentinelFile: sentinelText()}}
}

// sentinelPolicy lets in who listens to sentinels, and themselves. They have no
// password, and whoever reaches one has it replace masters.
func sentinelPolicy(d *v1alpha1.CodisDashboard, operator string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: sentinelMeta(d),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: sentinelSelector(d)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{network.Allow(naming.PortSentinel,
				network.Part(d.Name, naming.ComponentDashboard), network.Part(d.Name, naming.ComponentProxy),
				network.Part(d.Name, naming.ComponentSentinel), network.Operator(operator))},
		},
	}
}

// sentinelBudget lets a drain take one sentinel at a time.
func sentinelBudget(d *v1alpha1.CodisDashboard) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: sentinelMeta(d),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: new(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: sentinelSelector(d)},
		},
	}
}

// sentinelSet runs the sentinels. Each writes into its own file what it is told, in
// place, and begins with one that names nobody to watch.
func sentinelSet(
	d *v1alpha1.CodisDashboard, replicas int, images podtemplate.Images, live *appsv1.StatefulSet,
) (*appsv1.StatefulSet, error) {
	storage := d.Spec.Sentinel.Storage
	pod := podtemplate.Pod{
		Component: naming.ComponentSentinel,
		Instance:  d.Name,
		Dashboard: d.Name,
		Settings:  d.Spec.Sentinel.Component,
		Images:    images,
		Container: corev1.Container{
			Name:           naming.ComponentSentinel,
			Command:        []string{"codis-server", sentinelDir + "/" + sentinelFile, "--sentinel"},
			Ports:          []corev1.ContainerPort{{Name: "sentinel", ContainerPort: naming.PortSentinel}},
			VolumeMounts:   []corev1.VolumeMount{{Name: sentinelVolume, MountPath: sentinelDir}},
			ReadinessProbe: podtemplate.TCPProbe(naming.PortSentinel, 2, 3),
			LivenessProbe:  podtemplate.TCPProbe(naming.PortSentinel, 10, 6),
			WorkingDir:     sentinelDir,
		},
		Config: &podtemplate.ConfigFile{
			Name: sentinelFile, Format: string(config.Redis), ConfigMap: naming.Sentinel(d.Name), Text: sentinelText(),
			Volume: sentinelVolume, Dir: sentinelDir,
			Args: []string{"--sentinel-pod=$(POD_NAMESPACE)/$(POD_NAME)", "--sentinel-ip=$(POD_IP)"},
			Env: []corev1.EnvVar{
				field("POD_NAMESPACE", "metadata.namespace"), field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP"),
			},
		},
		GracePeriodSeconds: 5,
	}
	if storage == nil {
		pod.Volumes = []corev1.Volume{podtemplate.EmptyDir(sentinelVolume)}
	}
	template, err := podtemplate.Template(pod, podtemplate.LiveOf(live))
	if err != nil {
		return nil, err
	}
	return &appsv1.StatefulSet{
		ObjectMeta: sentinelMeta(d),
		Spec: appsv1.StatefulSetSpec{
			Replicas:             new(int32(replicas)), //nolint:gosec // At most 9 by the API.
			ServiceName:          naming.Sentinel(d.Name),
			PodManagementPolicy:  appsv1.ParallelPodManagement,
			MinReadySeconds:      sentinelPause,
			Selector:             &metav1.LabelSelector{MatchLabels: sentinelSelector(d)},
			Template:             template,
			VolumeClaimTemplates: podtemplate.Claims(sentinelVolume, storage),
			RevisionHistoryLimit: new(int32(3)),

			PersistentVolumeClaimRetentionPolicy: podtemplate.Retention(storage),
		},
	}, nil
}

// field is an environment variable with a field of the pod.
func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: path},
	}}
}
