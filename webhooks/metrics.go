// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// exampleRequest is what to request where the use of a resource is compared with it.
var exampleRequest = map[corev1.ResourceName]struct{ resource, request string }{
	corev1.ResourceCPU:    {"CPU", "500m"},
	corev1.ResourceMemory: {"memory", "256Mi"},
}

// utilized are the resources of the proxy's container whose use is compared with
// what it requests. A container that a user adds has its requests there.
func utilized(a *v1alpha1.Autoscaling) []corev1.ResourceName {
	var names []corev1.ResourceName
	if len(a.Metrics) == 0 || a.TargetCPUUtilizationPercentage != nil {
		names = append(names, corev1.ResourceCPU)
	}
	for _, metric := range a.Metrics {
		source := metric.Resource
		if source == nil || source.Target.Type != autoscalingv2.UtilizationMetricType {
			continue
		}
		if _, known := exampleRequest[source.Name]; known && !slices.Contains(names, source.Name) {
			names = append(names, source.Name)
		}
	}
	return names
}

// validateMetric refuses what the HorizontalPodAutoscaler would be refused for, where
// nobody would look for the reason.
func validateMetric(metric *autoscalingv2.MetricSpec, path *field.Path) field.ErrorList {
	const utilization, value, average = autoscalingv2.UtilizationMetricType,
		autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType
	switch {
	case metric.Resource != nil:
		return validateTarget(&metric.Resource.Target, path.Child("resource", "target"), utilization, average)
	case metric.ContainerResource != nil:
		target := path.Child("containerResource", "target")
		return validateTarget(&metric.ContainerResource.Target, target, utilization, average)
	case metric.Pods != nil:
		return validateTarget(&metric.Pods.Target, path.Child("pods", "target"), average)
	case metric.Object != nil:
		return validateTarget(&metric.Object.Target, path.Child("object", "target"), value, average)
	case metric.External != nil:
		return validateTarget(&metric.External.Target, path.Child("external", "target"), value, average)
	}
	return nil // The schema refuses a metric without a source.
}

// validateTarget refuses a target of another type than a metric can have, and one
// without a value of its type.
func validateTarget(
	target *autoscalingv2.MetricTarget, path *field.Path, allowed ...autoscalingv2.MetricTargetType,
) field.ErrorList {
	if !slices.Contains(allowed, target.Type) {
		return field.ErrorList{field.NotSupported(path.Child("type"), target.Type, allowed)}
	}
	switch target.Type {
	case autoscalingv2.UtilizationMetricType:
		if target.AverageUtilization == nil || *target.AverageUtilization < 1 {
			return field.ErrorList{field.Required(path.Child("averageUtilization"),
				"a percentage of what is requested, for example 70")}
		}
	case autoscalingv2.ValueMetricType:
		return validateQuantity(target.Value, path.Child("value"))
	case autoscalingv2.AverageValueMetricType:
		return validateQuantity(target.AverageValue, path.Child("averageValue"))
	}
	return nil
}

func validateQuantity(q *resource.Quantity, path *field.Path) field.ErrorList {
	if q == nil || q.Sign() <= 0 {
		return field.ErrorList{field.Required(path, "a quantity above 0, for example 10k")}
	}
	return nil
}
