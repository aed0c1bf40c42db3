// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package dashboard reconciles CodisDashboard: the one dashboard of a product,
// its web page, its sentinels, and who owns which slot. It refuses to touch servers.
package dashboard

import (
	"context"
	"errors"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Reconciler reconciles CodisDashboards.
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
	// Latency is how long a member of a group takes for an answer, on average; 0 if
	// that is not known. Nil for never.
	Latency func(group types.NamespacedName, pod string) time.Duration
	// seen is what was last seen of the moves of a dashboard, by UID, and since when.
	seen sync.Map
	// asked is when the lock that keeps a dashboard from starting was looked at last, by UID.
	asked sync.Map
	// proofs are what is known of the lock of a dashboard, by UID.
	proofs sync.Map
	// runs is which run of a dashboard was seen last, by UID.
	runs sync.Map
	// removals is when the removal of a product was first tried, by the UID of its dashboard.
	removals sync.Map
	// told is when the slots of a dashboard were reported last, by UID.
	told sync.Map
	// silences are what is known of dashboards that do not answer, by UID.
	silences sync.Map
	// vigil is what was seen of dashboards that do not answer before this operator led.
	vigil vigil
	// endings are since when the pod of a dashboard is known to be ending, by UID.
	endings sync.Map
	// takenPods are pods that went without having been seen to end, by their names.
	takenPods sync.Map
	// keptOut is since when a node is known to be kept free of a dashboard, by UID.
	keptOut sync.Map
	// Dial tries to connect to an address; nil for the network.
	Dial func(ctx context.Context, addr string) error
	// resynced is when a dashboard was asked to tell all sentinels anew last, by UID.
	resynced sync.Map
	// muted is since when sentinels hang, by the UID of their dashboard.
	muted sync.Map
}

// +kubebuilder:rbac:groups=codis.io,resources=codisdashboards,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisdashboards/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisdashboards/finalizers,verbs=update
// +kubebuilder:rbac:groups=codis.io,resources=codisclusters,verbs=get
// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators;codisgroups;codisproxies,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies;ingresses,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisDashboard{}).
		Owns(&appsv1.StatefulSet{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Owns(&networkingv1.Ingress{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentSentinel)).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentDashboard), builder.WithPredicates(r.noteTaken())).
		Watches(&v1alpha1.CodisCoordinator{}, watch.Coordinators(mgr.GetClient())).
		Watches(&v1alpha1.CodisDashboard{}, watch.Neighbours(mgr.GetClient()),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.CodisGroup{}, watch.DashboardOf()).
		WithOptions(watch.Options()).
		Named("codisdashboard").
		Complete(r)
}

// Reconcile brings one dashboard a step closer to its spec.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	watched := r.vigil.take(req.NamespacedName)
	dashboard := &v1alpha1.CodisDashboard{}
	if err := r.Client.Get(ctx, req.NamespacedName, dashboard); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := &state{dashboard: dashboard.DeepCopy(), watched: watched}
	if dashboard.DeletionTimestamp != nil {
		r.seen.Delete(dashboard.UID)
		r.told.Delete(dashboard.UID)
		r.asked.Delete(dashboard.UID)
		r.resynced.Delete(dashboard.UID)
		r.muted.Delete(dashboard.UID)
		r.proofs.Delete(dashboard.UID)
		r.silences.Delete(dashboard.UID)
		r.keptOut.Delete(dashboard.UID)
		r.endings.Delete(dashboard.UID)
		r.runs.Delete(dashboard.UID)
		return reconcile.Done(reconcile.Run(ctx,
			func(ctx context.Context) (time.Duration, error) { return r.finalize(ctx, s) }))
	}
	if reconcile.Paused(dashboard) {
		conditions.Set(&s.dashboard.Status.Conditions, dashboard.Generation, conditions.Paused())
		return ctrl.Result{}, r.patch(ctx, dashboard, s)
	}
	step := func(f func(context.Context, *state) (time.Duration, error)) reconcile.Step {
		return func(ctx context.Context) (time.Duration, error) { return f(ctx, s) }
	}
	hold := func(ctx context.Context) (time.Duration, error) {
		held, err := r.hold(ctx, s)
		if held {
			dashboard = s.dashboard.DeepCopy()
		}
		return 0, err
	}
	result, err := reconcile.Run(ctx, step(r.observe), hold, step(r.tellRestart), step(r.proveLock),
		step(r.announceSentinels), step(r.applyObjects), step(r.startAgain), step(r.retryLock), step(r.replaceSilent),
		step(r.letIn), step(r.replaceLost), step(r.assignSlots), step(r.moveSlots), step(r.keepSentinels))
	if !s.observed {
		return reconcile.Done(result, err) // What could not be looked at is not reported as absent.
	}
	if told, ok := r.told.Load(dashboard.UID); ok {
		s.told, _ = told.(time.Time)
	}
	report(s, r.Domain, r.Clock.Now())
	r.told.Store(dashboard.UID, s.told)
	return reconcile.Done(result, err, r.patch(ctx, dashboard, s))
}

func (r *Reconciler) patch(ctx context.Context, before *v1alpha1.CodisDashboard, s *state) error {
	err := conditions.Patch(ctx, r.Client, r.Recorder, before, s.dashboard,
		before.Status.Conditions, s.dashboard.Status.Conditions)
	if err == nil {
		r.tell(before, s.dashboard)
	}
	return err
}

func (r *Reconciler) applyObjects(ctx context.Context, s *state) (time.Duration, error) {
	if s.coordinator == nil || s.blocked.Present() {
		return 0, nil
	}
	set, err := statefulSet(s.dashboard, s.store, r.Domain, r.Images, s.live)
	if err != nil {
		s.blocked = product.InvalidSpec(err)
		return 0, nil
	}
	objects := []client.Object{
		service(s.dashboard), configMap(s.dashboard, s.store), networkPolicy(s.dashboard, r.Namespace), set,
	}
	page, err := r.page(ctx, s)
	if err != nil || s.blocked.Present() {
		return 0, err
	}
	objects = append(objects, page...)
	watching, err := r.sentinelObjects(s)
	if err != nil {
		s.blocked = product.InvalidSpec(err)
		return 0, nil
	}
	objects = append(objects, watching...)
	s.applied = errors.Join(s.unkept,
		apply.Applier{Client: r.Client, Reader: r.Reader}.Objects(ctx, s.dashboard, objects...))
	return 0, errors.Join(reconcile.Unexpected(s.applied), r.removePage(ctx, s))
}
