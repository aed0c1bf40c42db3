// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/network"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
)

const confFile = "proxy.toml"

// A proxy that shall stop is told to by the operator, through the dashboard, once
// its clients had their time. Kubelet tells it hookSeconds later, in case that
// there is no operator, and has it killed stopSeconds after their time.
const (
	hookSeconds = 2
	stopSeconds = 15
)

func objectMeta(p *v1alpha1.CodisProxy) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: p.Namespace,
		Name:      naming.Proxy(p.Name),
		Labels:    naming.Labels(naming.ComponentProxy, p.Name, p.Spec.DashboardRef.Name),
	}
}

// service is what clients connect to. It sends them only to proxies that are online.
func service(p *v1alpha1.CodisProxy) *corev1.Service {
	meta := objectMeta(p)
	meta.Annotations = p.Spec.Service.Annotations
	return &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type:     p.Spec.Service.Type,
			Selector: naming.Selector(naming.ComponentProxy, p.Name),
			Ports:    []corev1.ServicePort{{Name: "redis", Port: naming.PortProxy, TargetPort: intstr.FromString("redis")}},
		},
	}
}

func configText(p *v1alpha1.CodisProxy, productName string) string {
	return config.Proxy(productName, naming.PortProxyAdmin, naming.PortProxy, p.Spec.Jodis, p.Spec.Config)
}

func configMap(p *v1alpha1.CodisProxy, productName string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: objectMeta(p), Data: map[string]string{confFile: configText(p, productName)}}
}

// deployment runs the proxies. They are told no dashboard: they wait until the
// operator brings them online, instead of exiting when it is late. What they
// announce is the address of the pod, so an entry never outlives it unnoticed.
func deployment(
	p *v1alpha1.CodisProxy, dashboard *v1alpha1.CodisDashboard, images podtemplate.Images, live *appsv1.Deployment,
) (*appsv1.Deployment, error) {
	secrets, logins := userSecrets(p)
	secrets["product_auth"] = product.AuthSecret(dashboard)
	template, err := podtemplate.Template(podtemplate.Pod{
		Component: naming.ComponentProxy,
		Instance:  p.Name,
		Dashboard: p.Spec.DashboardRef.Name,
		Settings:  p.Spec.Component,
		Images:    images,
		Container: corev1.Container{
			Name: naming.ComponentProxy,
			Command: []string{
				"codis-proxy", "--config=" + podtemplate.ConfigDir + "/" + confFile,
				"--host-admin=$(POD_IP):11080", "--host-proxy=$(POD_IP):19000",
			},
			Env: []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
			}}},
			Ports: []corev1.ContainerPort{
				{Name: "redis", ContainerPort: naming.PortProxy},
				{Name: "admin", ContainerPort: naming.PortProxyAdmin},
			},
			ReadinessProbe: podtemplate.HTTPProbe("/proxy/model", naming.PortProxyAdmin, 2, 2),
			LivenessProbe:  podtemplate.HungProbe("/proxy/model", naming.PortProxyAdmin),
			// codis-proxy breaks every connection when it is told to end.
			Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
				Sleep: &corev1.SleepAction{Seconds: drainSeconds(p) + hookSeconds},
			}},
		},
		Config: &podtemplate.ConfigFile{
			Name: confFile, Format: string(config.TOML), ConfigMap: naming.Proxy(p.Name),
			Text: configText(p, product.Name(dashboard)), Secrets: secrets, Logins: logins,
		},
		ReadinessGates:     []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionOnline}},
		GracePeriodSeconds: drainSeconds(p) + stopSeconds,
	}, podtemplate.LiveOfDeployment(live))
	if err != nil {
		return nil, err
	}
	return &appsv1.Deployment{
		ObjectMeta: objectMeta(p),
		Spec: appsv1.DeploymentSpec{
			Replicas:             new(wantedReplicas(p)),
			Selector:             &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentProxy, p.Name)},
			Template:             template,
			Strategy:             strategy(p),
			RevisionHistoryLimit: new(int32(3)),
		},
	}, nil
}

// userSecrets are the Secrets that a user names, by the settings they hold: passwords,
// and logins, which have a user name, too.
func userSecrets(p *v1alpha1.CodisProxy) (passwords, logins map[string]string) {
	passwords, logins = map[string]string{}, map[string]string{}
	if ref := p.Spec.SessionAuthSecretRef; ref != nil {
		passwords["session_auth"] = ref.Name
	}
	if jodis := p.Spec.Jodis; jodis != nil && jodis.AuthSecretRef != nil {
		logins["jodis_auth"] = jodis.AuthSecretRef.Name
	}
	return passwords, logins
}

// wantedReplicas is none once the proxies are being deleted.
func wantedReplicas(p *v1alpha1.CodisProxy) int32 {
	switch {
	case p.DeletionTimestamp != nil:
		return 0
	case p.Spec.Replicas == nil:
		return 2
	}
	return *p.Spec.Replicas
}

// strategy replaces one proxy at a time, and brings another one meanwhile.
func strategy(p *v1alpha1.CodisProxy) appsv1.DeploymentStrategy {
	rollout := ptr.Deref(p.Spec.Rollout, v1alpha1.Rollout{})
	surge := ptr.Deref(rollout.MaxSurge, intstr.FromInt32(1))
	missing := intstr.FromInt32(1)
	if none := surge.String() == "0" || surge.String() == "0%"; wantedReplicas(p) < 2 && !none {
		missing = intstr.FromInt32(0) // The only proxy stays until the new one serves.
	}
	return appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge: &surge, MaxUnavailable: new(ptr.Deref(rollout.MaxUnavailable, missing)),
		},
	}
}

// autoscaler chooses spec.replicas of the CodisProxy itself, through its scale
// subresource, so that there is one number whoever looks.
func autoscaler(p *v1alpha1.CodisProxy) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: objectMeta(p),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "CodisProxy", Name: p.Name,
			},
			MinReplicas: new(ptr.Deref(p.Spec.Autoscaling.MinReplicas, 2)),
			MaxReplicas: p.Spec.Autoscaling.MaxReplicas,
			Metrics:     append(cpuMetric(p.Spec.Autoscaling), p.Spec.Autoscaling.Metrics...),
			Behavior:    p.Spec.Autoscaling.Behavior,
		},
	}
}

// cpuMetric is none where the number of proxies follows other metrics only.
func cpuMetric(a *v1alpha1.Autoscaling) []autoscalingv2.MetricSpec {
	if len(a.Metrics) > 0 && a.TargetCPUUtilizationPercentage == nil {
		return nil
	}
	return []autoscalingv2.MetricSpec{{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name: corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{
				Type:               autoscalingv2.UtilizationMetricType,
				AverageUtilization: new(ptr.Deref(a.TargetCPUUtilizationPercentage, 70)),
			},
		},
	}}
}

// drainSeconds is how long a proxy that shall stop serves the clients it has.
func drainSeconds(p *v1alpha1.CodisProxy) int64 { return int64(ptr.Deref(p.Spec.DrainSeconds, 10)) }

// disruptionBudget lets a drain take one proxy at a time.
func disruptionBudget(p *v1alpha1.CodisProxy) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: objectMeta(p),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: new(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentProxy, p.Name)},
		},
	}
}

// networkPolicy lets everybody reach the clients' port, and only the dashboard
// and the operator the admin port.
func networkPolicy(p *v1alpha1.CodisProxy, operator string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: objectMeta(p),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentProxy, p.Name)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				network.Allow(naming.PortProxy),
				network.Allow(naming.PortProxyAdmin, network.Product(p.Spec.DashboardRef.Name), network.Operator(operator)),
			},
		},
	}
}
