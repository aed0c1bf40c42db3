// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// utilization of a resource that the autoscaler goes by.
func utilization(name corev1.ResourceName) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: autoscalingv2.MetricTarget{
			Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(50)),
		}},
	}
}

// perPod is a metric of pods with a target.
func perPod(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.PodsMetricSourceType,
		Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: "codis_proxy_ops"}, Target: target,
		},
	}
}

func TestAnAutoscalerNeedsARequestOfWhatItCompares(t *testing.T) {
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("10k"))}
	amount := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")}
	requests, limits := corev1.ResourceRequirements{Requests: amount}, corev1.ResourceRequirements{Limits: amount}
	none := corev1.ResourceRequirements{}
	const cpu, memory = "spec.resources.requests[cpu]", "spec.resources.requests[memory]"
	tests := map[string]struct {
		autoscaling *v1alpha1.Autoscaling
		resources   corev1.ResourceRequirements
		want        []string
	}{
		"without autoscaling":                   {nil, none, nil},
		"with nothing to compare with":          {&v1alpha1.Autoscaling{}, none, []string{cpu}},
		"with a request":                        {&v1alpha1.Autoscaling{}, requests, nil},
		"with a limit, which is a request, too": {&v1alpha1.Autoscaling{}, limits, nil},
		"by a metric that nothing is compared with": {
			&v1alpha1.Autoscaling{Metrics: []autoscalingv2.MetricSpec{perPod(average)}}, none, nil,
		},
		"by a metric and CPU": {
			&v1alpha1.Autoscaling{Metrics: []autoscalingv2.MetricSpec{perPod(average)}, TargetCPUUtilizationPercentage: new(int32(70))},
			none,
			[]string{cpu},
		},
		"by memory": {
			&v1alpha1.Autoscaling{Metrics: []autoscalingv2.MetricSpec{utilization(corev1.ResourceMemory)}}, requests, []string{memory},
		},
		"by CPU, said twice": {
			&v1alpha1.Autoscaling{
				Metrics:                        []autoscalingv2.MetricSpec{utilization(corev1.ResourceCPU)},
				TargetCPUUtilizationPercentage: new(int32(70)),
			}, none, []string{cpu},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.CodisProxyTemplate{Autoscaling: tt.autoscaling, Component: v1alpha1.Component{Resources: tt.resources}}
			if diff := cmp.Diff(tt.want, fieldsOf(validateProxy(p, field.NewPath("spec")))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValidateMetric(t *testing.T) {
	some, nothing := resource.MustParse("10k"), resource.MustParse("0")
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &some}
	value := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &some}
	percentage := autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))}
	external := func(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{Target: target}}
	}
	object := func(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Object: &autoscalingv2.ObjectMetricSource{Target: target}}
	}
	container := func(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Target: target}}
	}
	tests := map[string]struct {
		metric autoscalingv2.MetricSpec
		want   []string
	}{
		"utilization of a resource":          {utilization(corev1.ResourceCPU), nil},
		"utilization of a container":         {container(percentage), nil},
		"an amount of a container":           {container(average), nil},
		"an average of pods":                 {perPod(average), nil},
		"a value of an object":               {object(value), nil},
		"a value of something else":          {external(value), nil},
		"an average of something else":       {external(average), nil},
		"one value of many pods":             {perPod(value), []string{"pods.target.type"}},
		"utilization of what has no request": {external(percentage), []string{"external.target.type"}},
		"a value of a container":             {container(value), []string{"containerResource.target.type"}},
		"a type that is none":                {object(autoscalingv2.MetricTarget{Type: "Most"}), []string{"object.target.type"}},
		"utilization without a percentage": {
			container(autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType}),
			[]string{"containerResource.target.averageUtilization"},
		},
		"an average without a number": {
			perPod(autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, Value: &some}),
			[]string{"pods.target.averageValue"},
		},
		"a value of nothing": {
			external(autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &nothing}), []string{"external.target.value"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := validateMetric(&tt.metric, nil)
			if diff := cmp.Diff(tt.want, fieldsOf(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
	p := &v1alpha1.CodisProxyTemplate{Autoscaling: &v1alpha1.Autoscaling{Metrics: []autoscalingv2.MetricSpec{perPod(value)}}}
	err := validateProxy(p, field.NewPath("spec")).ToAggregate()
	if err == nil || !strings.Contains(err.Error(), `spec.autoscaling.metrics[0].pods.target.type: Unsupported value: "Value": supported values: "AverageValue"`) {
		t.Errorf("it says %v", err)
	}
}
