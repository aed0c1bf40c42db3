// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

func built(t *testing.T, p *v1alpha1.CodisProxy) *appsv1.Deployment {
	t.Helper()
	dashboard := &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d"}}
	got, err := deployment(p, dashboard, podtemplate.Images{Codis: "codis:1", ConfigWriter: "operator:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStrategy(t *testing.T) {
	number, percentage, zero := intstr.FromInt32(3), intstr.FromString("25%"), intstr.FromInt32(0)
	one := intstr.FromInt32(1)
	tests := map[string]struct {
		replicas           int32
		rollout            *v1alpha1.Rollout
		surge, unavailable intstr.IntOrString
	}{
		"by default one more and one missing":     {2, nil, one, one},
		"the only one is not missing":             {1, nil, one, zero},
		"what is not given is the default":        {2, &v1alpha1.Rollout{MaxSurge: &percentage}, percentage, one},
		"what is given":                           {2, &v1alpha1.Rollout{MaxSurge: &zero, MaxUnavailable: &number}, zero, number},
		"the only one, with no other beside":      {1, &v1alpha1.Rollout{MaxSurge: &zero}, zero, one},
		"what is given counts for a single proxy": {1, &v1alpha1.Rollout{MaxSurge: &zero, MaxUnavailable: &one}, zero, one},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := example()
			p.Spec.Replicas, p.Spec.Rollout = &tt.replicas, tt.rollout
			got := built(t, p).Spec.Strategy
			want := appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &tt.surge, MaxUnavailable: &tt.unavailable},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWantedReplicas(t *testing.T) {
	deleted, unset, none := example(), example(), example()
	deleted.DeletionTimestamp = &metav1.Time{}
	unset.Spec.Replicas = nil
	none.Spec.Replicas = new(int32(0))
	for _, tt := range []struct {
		proxy *v1alpha1.CodisProxy
		want  int32
	}{{example(), 2}, {deleted, 0}, {unset, 2}, {none, 0}} {
		if got := *built(t, tt.proxy).Spec.Replicas; got != tt.want {
			t.Errorf("got %d, want %d", got, tt.want)
		}
	}
}

func TestProxiesWaitForTheOperatorToBringThemOnline(t *testing.T) {
	template := built(t, example()).Spec.Template
	if diff := cmp.Diff([]corev1.PodReadinessGate{{ConditionType: "codis.io/online"}}, template.Spec.ReadinessGates); diff != "" {
		t.Error(diff)
	}
	command := template.Spec.Containers[0].Command
	if strings.Contains(strings.Join(command, " "), "--dashboard") {
		t.Errorf("a proxy exits when the dashboard it is told is late: %v", command)
	}
}

// Kubelet's own signal comes after the operator's, and the kill long after both.
func TestAProxyHasTimeToServeTheClientsItHas(t *testing.T) {
	long := example()
	long.Spec.DrainSeconds = new(int32(60))
	for _, tt := range []struct {
		proxy       *v1alpha1.CodisProxy
		hook, grace int64
	}{{example(), 12, 25}, {long, 62, 75}} {
		pod := built(t, tt.proxy).Spec.Template.Spec
		hook, grace := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds, *pod.TerminationGracePeriodSeconds
		if hook != tt.hook || grace != tt.grace {
			t.Errorf("kubelet waits %d s and kills after %d s, want %d and %d", hook, grace, tt.hook, tt.grace)
		}
	}
}

func TestAutoscaler(t *testing.T) {
	p := example()
	p.Spec.Autoscaling = &v1alpha1.Autoscaling{MaxReplicas: 9}
	got := autoscaler(p).Spec
	target := got.Metrics[0].Resource
	if *got.MinReplicas != 2 || got.MaxReplicas != 9 || target.Name != corev1.ResourceCPU || *target.Target.AverageUtilization != 70 {
		t.Errorf("by default: %+v", got)
	}
	if ref := got.ScaleTargetRef; ref.Kind != "CodisProxy" || ref.Name != p.Name || ref.APIVersion != "codis.io/v1alpha1" {
		t.Errorf("it scales %+v", ref)
	}
	p.Spec.Autoscaling = &v1alpha1.Autoscaling{
		MinReplicas: new(int32(3)), MaxReplicas: 4, TargetCPUUtilizationPercentage: new(int32(50)),
	}
	got = autoscaler(p).Spec
	if *got.MinReplicas != 3 || got.MaxReplicas != 4 || *got.Metrics[0].Resource.Target.AverageUtilization != 50 {
		t.Errorf("as asked for: %+v", got)
	}
}

func TestAutoscalerGoesByWhatItIsTold(t *testing.T) {
	cpu := autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{
			Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60)),
		}},
	}
	custom := autoscalingv2.MetricSpec{
		Type:     autoscalingv2.ExternalMetricSourceType,
		External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "requests"}},
	}
	tests := map[string]struct {
		autoscaling v1alpha1.Autoscaling
		want        []autoscalingv2.MetricSpec
	}{
		"a metric instead of CPU": {
			v1alpha1.Autoscaling{Metrics: []autoscalingv2.MetricSpec{custom}}, []autoscalingv2.MetricSpec{custom},
		},
		"CPU and a metric": {
			v1alpha1.Autoscaling{Metrics: []autoscalingv2.MetricSpec{custom}, TargetCPUUtilizationPercentage: new(int32(60))},
			[]autoscalingv2.MetricSpec{cpu, custom},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := example()
			p.Spec.Autoscaling = &tt.autoscaling
			p.Spec.Autoscaling.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(10))},
			}
			got := autoscaler(p).Spec
			if diff := cmp.Diff(tt.want, got.Metrics); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(p.Spec.Autoscaling.Behavior, got.Behavior); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPasswordsAreWrittenOnlyIfAskedFor(t *testing.T) {
	withSession, withJodis, withLogin := example(), example(), example()
	withSession.Spec.SessionAuthSecretRef = &v1alpha1.SecretReference{Name: "session"}
	withJodis.Spec.Jodis = &v1alpha1.Jodis{Kind: v1alpha1.JodisEtcd, Endpoints: []string{"e:2379"}}
	withLogin.Spec.Jodis = &v1alpha1.Jodis{AuthSecretRef: &v1alpha1.SecretReference{Name: "login"}}
	for _, tt := range []struct {
		proxy *v1alpha1.CodisProxy
		want  map[string]string
	}{
		{example(), map[string]string{"secret-product-auth": "d-auth"}},
		{withSession, map[string]string{"secret-product-auth": "d-auth", "secret-session-auth": "session"}},
		{withJodis, map[string]string{"secret-product-auth": "d-auth"}},
		{withLogin, map[string]string{"secret-product-auth": "d-auth", "login-jodis-auth": "login"}},
	} {
		pod := built(t, tt.proxy).Spec.Template.Spec
		mounted := map[string]string{}
		for _, v := range pod.Volumes {
			if v.Secret != nil {
				mounted[v.Name] = v.Secret.SecretName
			}
		}
		if diff := cmp.Diff(tt.want, mounted); diff != "" {
			t.Error(diff)
		}
		args := strings.Join(pod.InitContainers[0].Args, " ")
		if written := strings.Count(args, "--secret=") + strings.Count(args, "--login="); written != len(tt.want) {
			t.Errorf("%d passwords are written: %s", written, args)
		}
	}
}

func TestSettingsOfTheServiceAreTaken(t *testing.T) {
	p := example()
	p.Spec.Service = v1alpha1.ServiceSettings{Type: corev1.ServiceTypeNodePort, Annotations: map[string]string{"internal": "true"}}
	got := service(p)
	if got.Spec.Type != corev1.ServiceTypeNodePort || got.Annotations["internal"] != "true" || got.Spec.Ports[0].Port != 19000 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(built(t, p).Spec.Selector.MatchLabels, got.Spec.Selector); diff != "" {
		t.Error(diff)
	}
}

// Everybody is a client; only the dashboard and the operator administer.
func TestAdminPortIsClosedToClients(t *testing.T) {
	rules := networkPolicy(example(), "codis-operator-system").Spec.Ingress
	open := map[int32]bool{}
	for _, rule := range rules {
		open[rule.Ports[0].Port.IntVal] = len(rule.From) == 0
	}
	if diff := cmp.Diff(map[int32]bool{19000: true, 11080: false}, open); diff != "" {
		t.Error(diff)
	}
}
