// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy reconciles CodisProxy: the proxies that clients connect to, and
// their entries in the dashboard. It refuses to touch slots and servers.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Reconciler reconciles CodisProxies.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Reader reads past the cache.
	Reader   client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Images   podtemplate.Images
	Domain   naming.Domain
	// Namespace that the operator runs in; empty for any.
	Namespace string
	// ProbeTimeout bounds each look at a proxy. Default: 1 s.
	ProbeTimeout time.Duration
}

// +kubebuilder:rbac:groups=codis.io,resources=codisproxies,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisproxies/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisproxies/finalizers,verbs=update
// +kubebuilder:rbac:groups=codis.io,resources=codisdashboards;codisclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisProxy{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Owns(&autoscalingv2.HorizontalPodAutoscaler{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentProxy)).
		Watches(&corev1.Pod{}, watch.DashboardPods(mgr.GetClient(), watch.ProxiesOf)).
		Watches(&v1alpha1.CodisDashboard{}, watch.Dashboards(mgr.GetClient(), watch.ProxiesOf)).
		WithOptions(watch.Options()).
		Named("codisproxy").
		Complete(r)
}

// Reconcile brings one set of proxies a step closer to its spec.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	proxy := &v1alpha1.CodisProxy{}
	if err := r.Client.Get(ctx, req.NamespacedName, proxy); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := &state{proxy: proxy.DeepCopy()}
	if reconcile.Paused(proxy) && proxy.DeletionTimestamp == nil {
		conditions.Set(&s.proxy.Status.Conditions, proxy.Generation, conditions.Paused())
		return ctrl.Result{}, r.patch(ctx, proxy, s)
	}
	if proxy.DeletionTimestamp != nil {
		return reconcile.Done(reconcile.Run(ctx,
			func(ctx context.Context) (time.Duration, error) { return r.finalize(ctx, s) }))
	}
	if held, err := reconcile.Hold(ctx, r.Client, s.proxy, proxy); err != nil {
		return ctrl.Result{}, err
	} else if held {
		proxy = s.proxy.DeepCopy()
	}
	step := func(f func(context.Context, *state) (time.Duration, error)) reconcile.Step {
		return func(ctx context.Context) (time.Duration, error) { return f(ctx, s) }
	}
	result, err := reconcile.Run(ctx,
		step(r.observe),
		step(r.register), // Before anything that may fail: a dead entry blocks failover.
		step(r.gate),
		step(r.applyObjects),
	)
	if !s.observed {
		return reconcile.Done(result, err) // What could not be looked at is not reported as absent.
	}
	report(s, r.Domain, r.Clock.Now())
	return reconcile.Done(result, err, r.patch(ctx, proxy, s))
}

func (r *Reconciler) patch(ctx context.Context, before *v1alpha1.CodisProxy, s *state) error {
	return conditions.Patch(ctx, r.Client, r.Recorder, before, s.proxy,
		before.Status.Conditions, s.proxy.Status.Conditions)
}

func (r *Reconciler) probeTimeout() time.Duration {
	if r.ProbeTimeout == 0 {
		return time.Second
	}
	return r.ProbeTimeout
}

// register removes the entries of dead proxies and brings others online. Each
// call is safe to repeat; after a crash the next pass sees what is left.
func (r *Reconciler) register(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil {
		return reconcile.Later, nil
	}
	p := decide(s.proxy.Name, s.stats, s.proxies, r.exists(ctx, s.proxy.Namespace), r.Clock.Now())
	r.removeEntries(ctx, s, p.remove)
	r.stop(ctx, s, p.stop)
	for _, addr := range p.online {
		if err := s.api.OnlineProxy(ctx, addr); err != nil {
			s.refused = fmt.Errorf("bring proxy %s online: %w", addr, err)
			continue // One bad proxy must not keep the others out.
		}
		r.event(s, s.podAt(addr), v1alpha1.ReasonProxyOnline, "BringOnline", "Brought proxy %s online", addr)
	}
	for i := range s.proxies {
		if view := &s.proxies[i]; view.answers() && len(p.online) > 0 && view.pod.DeletionTimestamp == nil {
			observeProxy(ctx, view, r.probeTimeout())
		}
	}
	if s.wasRefused() || s.stats.Offline() > 0 {
		return reconcile.Later, nil // The dashboard's controller wakes this one, too.
	}
	after := reconcile.Steady
	for _, view := range s.proxies {
		switch {
		case view.pod.DeletionTimestamp != nil:
			after = reconcile.Soonest(after, reconcile.Later) // Its clients may leave at any time.
		case !view.online():
			after = reconcile.Soon
		}
	}
	return after, nil
}

// event tells about one of the proxies. It names the pod: of two events that differ by
// their text only, Kubernetes shows the first, counted twice.
func (r *Reconciler) event(s *state, pod, reason, action, format string, args ...any) {
	related := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.proxy.Namespace, Name: pod}}
	r.Recorder.Eventf(s.proxy, related, corev1.EventTypeNormal, reason, action, format, args...)
}

// podAt names the pod of the proxy at an admin address.
func (s *state) podAt(adminAddr string) string {
	for _, view := range s.proxies {
		if view.model != nil && view.model.AdminAddr == adminAddr {
			return view.pod.Name
		}
	}
	return ""
}

// removeEntries removes entries of dead proxies and tells whether all are gone.
func (r *Reconciler) removeEntries(ctx context.Context, s *state, entries []codis.Proxy) bool {
	for _, entry := range entries {
		if err := s.api.RemoveProxy(ctx, entry.Token); err != nil {
			s.refused = fmt.Errorf("remove the entry of proxy %s: %w", entry.Hostname, err)
			continue
		}
		r.event(s, entry.Hostname, v1alpha1.ReasonProxyEntryRemoved, "RemoveEntry",
			"Removed the entry of proxy %s at %s: its process is gone", entry.Hostname, entry.AdminAddr)
	}
	return s.refused == nil
}

// stop ends proxies whose pods are being deleted. What fails is no trouble: kubelet
// ends them a little later, and then their entries are those of dead proxies.
func (r *Reconciler) stop(ctx context.Context, s *state, entries []codis.Proxy) {
	for _, entry := range entries {
		if err := s.api.StopProxy(ctx, entry.Token); err != nil {
			continue
		}
		r.event(s, entry.Hostname, v1alpha1.ReasonProxyDrained, "StopProxy",
			"Stopped proxy %s at %s: its pod goes, and its clients left or had their time", entry.Hostname, entry.AdminAddr)
	}
}

// exists asks past the cache whether a pod is there: an entry is removed for
// good, and the cache may not have seen a new pod yet. What cannot be asked is
// taken for there.
func (r *Reconciler) exists(ctx context.Context, namespace string) func(string) bool {
	return func(pod string) bool {
		meta := &metav1.PartialObjectMetadata{}
		meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
		err := r.Reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: pod}, meta)
		return !apierrors.IsNotFound(err)
	}
}

// gate writes the readiness gate of pods whose proxy went online or stopped
// being so. A proxy that cannot be asked keeps what it has: the probes of
// kubelet judge it.
func (r *Reconciler) gate(ctx context.Context, s *state) (time.Duration, error) {
	var errs []error
	for i := range s.proxies {
		view := s.proxies[i]
		if view.status == nil || podtemplate.HasCondition(view.pod, v1alpha1.ConditionOnline) == view.online() {
			continue
		}
		errs = append(errs, r.setGate(ctx, view))
	}
	return 0, errors.Join(errs...)
}

func (r *Reconciler) setGate(ctx context.Context, view proxyView) error {
	status, reason := corev1.ConditionFalse, v1alpha1.ReasonProxyNotOnline
	if view.online() {
		status, reason = corev1.ConditionTrue, v1alpha1.ReasonProxyOnline
	}
	after := view.pod.DeepCopy()
	setPodCondition(after, corev1.PodCondition{
		Type: v1alpha1.ConditionOnline, Status: status, Reason: reason,
		LastTransitionTime: metav1.Time{Time: r.Clock.Now()},
	})
	err := r.Client.Status().Patch(ctx, after, client.StrategicMergeFrom(view.pod))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write readiness gate of %s: %w", view.pod.Name, err)
	}
	return nil
}

func setPodCondition(pod *corev1.Pod, condition corev1.PodCondition) {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == condition.Type {
			pod.Status.Conditions[i] = condition
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, condition)
}

func (r *Reconciler) applyObjects(ctx context.Context, s *state) (time.Duration, error) {
	objects := []client.Object{service(s.proxy), disruptionBudget(s.proxy), networkPolicy(s.proxy, r.Namespace)}
	if s.proxy.Spec.Autoscaling != nil {
		objects = append(objects, autoscaler(s.proxy))
	}
	if s.dashboard != nil && s.blocked == nil {
		set, err := deployment(s.proxy, s.dashboard, r.Images, s.live)
		if err != nil {
			s.blocked = product.InvalidSpec(err)
			return 0, nil
		}
		objects = append(objects, configMap(s.proxy, product.Name(s.dashboard)), set)
	}
	s.applied = apply.Applier{Client: r.Client, Reader: r.Reader}.Objects(ctx, s.proxy, objects...)
	return 0, errors.Join(reconcile.Unexpected(s.applied), r.removeAutoscaler(ctx, s))
}

// removeAutoscaler deletes the autoscaler when it is no longer asked for.
func (r *Reconciler) removeAutoscaler(ctx context.Context, s *state) error {
	if s.proxy.Spec.Autoscaling != nil {
		return nil
	}
	scaler := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: objectMeta(s.proxy)}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(scaler), scaler)
	if err == nil && metav1.IsControlledBy(scaler, s.proxy) {
		err = r.Client.Delete(ctx, scaler)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete autoscaler: %w", err)
	}
	return nil
}

// finalize stops the proxies, waits until they are gone, and removes their
// entries: an entry left behind blocks every later push of the dashboard, and
// one removed too early leaves a proxy with stale routes. Where the dashboard
// is gone or going, its entries go with it.
func (r *Reconciler) finalize(ctx context.Context, s *state) (time.Duration, error) {
	if !controllerutil.ContainsFinalizer(s.proxy, v1alpha1.Finalizer) {
		return 0, nil
	}
	gone, err := watch.TopologyGoes(ctx, r.Reader, s.proxy, s.proxy.Spec.DashboardRef.Name)
	if err != nil {
		return 0, err
	}
	if gone {
		return 0, reconcile.Release(ctx, r.Client, s.proxy)
	}
	if _, err := r.observe(ctx, s); err != nil {
		return 0, err
	}
	if s.live != nil && metav1.IsControlledBy(s.live, s.proxy) && ptr.Deref(s.live.Spec.Replicas, 1) > 0 {
		stopped := s.live.DeepCopy()
		stopped.Spec.Replicas = new(int32(0))
		return reconcile.Soon, client.IgnoreNotFound(r.Client.Patch(ctx, stopped, client.MergeFrom(s.live)))
	}
	if len(s.proxies) > 0 || s.stats == nil {
		return reconcile.Soon, nil
	}
	dead := decide(s.proxy.Name, s.stats, nil, r.exists(ctx, s.proxy.Namespace), r.Clock.Now()).remove
	if !r.removeEntries(ctx, s, dead) {
		return reconcile.Later, nil
	}
	return 0, reconcile.Release(ctx, r.Client, s.proxy)
}
