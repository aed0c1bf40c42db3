// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package group reconciles CodisGroup: the codis-servers of a group, who of
// them is master, and what the dashboard knows of them. It owns every command
// that changes the role of a server. It refuses to touch slots.
package group

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Reconciler reconciles CodisGroups.
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
	// Prober asks the servers over and over; nil for passes of the reconciler alone.
	Prober watcher
	// watched is since when this operator looks at a group, by UID.
	watched sync.Map
	// givenUp is when a switchover of a group, by UID, was given up last.
	givenUp sync.Map
	// silentDashboards are groups, by UID, whose dashboard gave no answer to the last pass
	// that did not wait for it.
	silentDashboards sync.Map
	// turns are whose turn it is to hand over in a rolling update, by UID of the dashboard.
	turns sync.Map
	// heldAt is when requests of a group, by UID, were held last for a failover.
	heldAt sync.Map
	// awaited is since when, and when last, the candidate of a half-done promotion of a group,
	// by UID, was waited for, which may answer yet.
	awaited sync.Map
	// switchovers are when the last switchover of a group, by UID, was first seen.
	switchovers sync.Map
	// elections are whom sentinels made master of a group, by UID, without the dashboard.
	elections sync.Map
	// told is what sentinels were told of a group, by its UID and that of their pod.
	told sync.Map
	// quiet is since when a sentinel of a group, by UID, does not answer.
	quiet sync.Map
	// classes is why volumes of a StorageClass cannot grow, by name.
	classes sync.Map
	// refusedSizes is why the API server refused a claim another size, by both.
	refusedSizes sync.Map
	// ProbeTimeout bounds each dial and command to a server. Default: 1 s.
	ProbeTimeout time.Duration
}

// +kubebuilder:rbac:groups=codis.io,resources=codisgroups,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisgroups/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisgroups/finalizers,verbs=update
// +kubebuilder:rbac:groups=codis.io,resources=codisdashboards;codisclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	changes := source.Channel(r.Prober.Changes(), &handler.EnqueueRequestForObject{})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisGroup{}).
		WatchesRawSource(changes).
		Owns(&appsv1.StatefulSet{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentServer)).
		Watches(&corev1.PersistentVolumeClaim{}, watch.PodsOf(naming.ComponentServer)).
		Watches(&corev1.Pod{}, watch.DashboardPods(mgr.GetClient(), watch.GroupsOf)).
		Watches(&v1alpha1.CodisDashboard{}, watch.Dashboards(mgr.GetClient(), watch.GroupsOf)).
		WithOptions(watch.Options()).
		Named("codisgroup").
		Complete(r)
}

// Reconcile brings one group a step closer to its spec.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	group := &v1alpha1.CodisGroup{}
	if err := r.Client.Get(ctx, req.NamespacedName, group); err != nil {
		if apierrors.IsNotFound(err) && r.Prober != nil {
			r.Prober.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := &state{group: group.DeepCopy(), before: group}
	if reconcile.Paused(group) && group.DeletionTimestamp == nil && !s.clientsWait() {
		r.watched.Delete(group.UID)
		return ctrl.Result{}, r.reportPaused(ctx, s)
	}
	if group.DeletionTimestamp != nil {
		return reconcile.Done(reconcile.Run(ctx,
			func(ctx context.Context) (time.Duration, error) { return r.finalize(ctx, s) }))
	}
	if held, err := reconcile.Hold(ctx, r.Client, s.group, group); err != nil {
		return ctrl.Result{}, err
	} else if held {
		s.before = s.group.DeepCopy()
	}
	step := func(f func(context.Context, *state) (time.Duration, error)) reconcile.Step {
		return func(ctx context.Context) (time.Duration, error) { return f(ctx, s) }
	}
	steps := []reconcile.Step{
		step(r.validate),
		step(r.observe),
		step(r.assignRoles), // Before anything that may fail: a quota must not block a promotion.
		step(r.register),
		step(r.keepMonitors),
		step(r.applyObjects),
		step(r.resizeVolumes),
		step(r.rollOut),
	}
	if reconcile.Paused(group) {
		steps = steps[:3]
	}
	result, err := reconcile.Run(ctx, steps...)
	if !s.observed {
		return reconcile.Done(result, err) // What could not be looked at is not reported as absent.
	}
	report(s, r.Clock.Now())
	return reconcile.Done(result, err, r.patch(ctx, s))
}

// clientsWait tells whether proxies may hold requests for a switchover or a failover that
// stopped midway: that is ended before a pause begins.
func (s *state) clientsWait() bool {
	return s.handingOver() || s.group.Status.Requests == v1alpha1.RequestsHeld
}

// handingOver tells whether slots may be locked by a switchover that stopped midway.
func (s *state) handingOver() bool {
	p := s.group.Status.Promotion
	return p != nil && p.Cause == v1alpha1.CauseSwitchover
}

func (r *Reconciler) patch(ctx context.Context, s *state) error {
	alarm := falseAlarm(&s.before.Status, &s.group.Status)
	err := conditions.Patch(ctx, r.Client, r.Recorder, s.before, s.group,
		s.before.Status.Conditions, s.group.Status.Conditions)
	if err == nil && alarm {
		falseAlarms.Inc()
	}
	if err == nil {
		r.tellElection(s)
	}
	return err
}

// validate finds what only a look at other objects shows: the webhook may have
// been off when the object was written.
func (r *Reconciler) validate(ctx context.Context, s *state) (time.Duration, error) {
	other, err := watch.GroupWithSameID(ctx, r.Client, s.group)
	if err != nil {
		return 0, err
	}
	if other != "" {
		s.invalid = &product.Problem{Reason: v1alpha1.ReasonGroupIDTaken, Message: fmt.Sprintf(
			"spec.id %d belongs to CodisGroup %q of the same dashboard: create this group with another id instead, "+
				"or delete that one, which takes its slots to others first",
			s.group.Spec.ID, other)}
	}
	return 0, nil
}

// applyObjects writes the objects of the group. The StatefulSet waits for the
// dashboard object, which names the password that the servers require.
func (r *Reconciler) applyObjects(ctx context.Context, s *state) (time.Duration, error) {
	if s.invalid.Present() {
		return 0, nil
	}
	objects := []client.Object{
		service(s.group), configMap(s.group), disruptionBudget(s.group), networkPolicy(s.group, r.Namespace),
	}
	if s.dashboard != nil {
		set, err := statefulSet(s.group, product.AuthSecret(s.dashboard), r.replicas(s), r.Images, s.live)
		if err != nil {
			s.invalid = product.InvalidSpec(err)
			return 0, nil
		}
		objects = append(objects, set)
	}
	s.applied = apply.Applier{Client: r.Client, Reader: r.Reader}.Objects(ctx, s.group, objects...)
	return 0, reconcile.Unexpected(s.applied)
}

// replicas is how many members shall run. While the dashboard cannot be asked,
// nobody is stopped.
func (r *Reconciler) replicas(s *state) int {
	running := 0
	if s.live != nil && s.live.Spec.Replicas != nil {
		running = int(*s.live.Spec.Replicas)
	}
	if s.stats == nil {
		return max(s.wanted(), running)
	}
	return replicasToRun(s.wanted(), addressesOf(s.known()), func(ordinal int) string {
		return r.Domain.MemberAddr(s.group.Namespace, s.group.Name, naming.Member(s.group.Name, ordinal))
	}, running)
}

func (r *Reconciler) reportPaused(ctx context.Context, s *state) error {
	conditions.Set(&s.group.Status.Conditions, s.group.Generation, conditions.Paused())
	return r.patch(ctx, s)
}
