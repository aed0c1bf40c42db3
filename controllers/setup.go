// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package controllers registers the reconcilers of all kinds with a manager.
package controllers

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/controllers/cluster"
	"github.com/codis-io/codis-operator/controllers/coordinator"
	"github.com/codis-io/codis-operator/controllers/dashboard"
	"github.com/codis-io/codis-operator/controllers/group"
	"github.com/codis-io/codis-operator/controllers/proxy"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/prober"
)

// Options are what the operator was installed with.
type Options struct {
	Images podtemplate.Images
	// Domain of the Kubernetes cluster, for example cluster.local.
	Domain naming.Domain
	// Namespace that the operator runs in; empty if it is not known.
	Namespace string
}

// CacheOptions are those that the reconcilers need of a manager. It watches only
// what carries the operator's label: its memory must not grow with what else the
// Kubernetes cluster runs.
func CacheOptions() cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelManagedBy: naming.Operator})}
	// A StatefulSet gives its claims the labels that it selects its pods by.
	members := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{
		v1alpha1.LabelName: naming.Application, v1alpha1.LabelComponent: naming.ComponentServer,
	})}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                   ours,
			&corev1.Service{}:               ours,
			&corev1.PersistentVolumeClaim{}: members,
			&corev1.ConfigMap{}:             ours,
			&appsv1.StatefulSet{}:           ours,
			&appsv1.Deployment{}:            ours,
			&policyv1.PodDisruptionBudget{}: ours,
			&networkingv1.NetworkPolicy{}:   ours,
			&networkingv1.Ingress{}:         ours,

			&autoscalingv2.HorizontalPodAutoscaler{}: ours,
		},
	}
}

// Setup registers every reconciler.
func Setup(mgr ctrl.Manager, o Options) error {
	probes := prober.New(clock.RealClock{})
	if err := mgr.Add(probes); err != nil {
		return fmt.Errorf("add prober: %w", err)
	}
	recorder := mgr.GetEventRecorder(naming.Operator)
	groups := &group.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{},
		Images: o.Images, Domain: o.Domain, Namespace: o.Namespace, Prober: probes,
	}
	dashboards := &dashboard.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{},
		Images: o.Images, Domain: o.Domain, Namespace: o.Namespace,
		Latency: func(group types.NamespacedName, pod string) time.Duration {
			return probes.Results(group)[pod].Latency
		},
	}
	reconcilers := map[string]interface{ SetupWithManager(ctrl.Manager) error }{
		"cluster": &cluster.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder},
		"coordinator": &coordinator.Reconciler{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Images: o.Images, Domain: o.Domain,
			Namespace: o.Namespace,
		},
		"dashboard":        dashboards,
		"dashboard-warmer": dashboard.NewWarmer(dashboards),
		"group":            groups,
		"warmer":           group.NewWarmer(groups, mgr.Elected()),
		"proxy": &proxy.Reconciler{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{},
			Images: o.Images, Domain: o.Domain, Namespace: o.Namespace,
		},
	}
	for name, r := range reconcilers {
		if err := r.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return nil
}
