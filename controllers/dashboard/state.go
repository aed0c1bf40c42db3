// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/watch"
)

// state is what one pass over a dashboard has found and decided.
type state struct {
	dashboard *v1alpha1.CodisDashboard

	// coordinator that keeps the topology; nil while it cannot be used.
	coordinator *v1alpha1.CodisCoordinator
	// store that the coordinator stands for.
	store store
	// blocked is why no pod can be made; nil if it can.
	blocked *product.Problem
	// problem is why the dashboard cannot be asked; nil if it can.
	problem *product.Problem

	live *appsv1.StatefulSet
	pod  *corev1.Pod
	fe   *appsv1.Deployment
	// sentinels, as far as there are any.
	sentinels sentinels

	api   codis.Dashboard
	stats *codis.Stats
	// asked is when the dashboard was asked for the stats; zero if it was not. deaf tells
	// that its host accepted no connection since.
	asked time.Time
	deaf  bool
	// watched is what was seen of its silence before this operator led, in its first pass.
	watched sighting
	// model is what the dashboard says of its run; nil if it does not.
	model    *codis.Topom
	version  string
	groups   []groupView
	recorded layout.Layout
	// wasMoving tells that the layout was recorded while slots moved.
	wasMoving bool

	// observed tells that everything above was looked at.
	observed bool

	// heldAnew tells that another dashboard was found with the lock, which is not
	// written down yet.
	heldAnew bool

	assignment assignment
	balance    balance
	stuck      string
	// told is when the slots were reported last; zero if that is not known.
	told    time.Time
	applied error
	// unkept is why the Secret with the password may go before those who use it.
	unkept error
	// refused and notMoved are what the dashboard answered to acts.
	refused  error
	notMoved error
}

// observe finds out all that a pass is based on.
func (r *Reconciler) observe(ctx context.Context, s *state) (time.Duration, error) {
	if err := r.observeObjects(ctx, s); err != nil {
		return 0, err
	}
	r.adopt(s)
	if err := r.observeSentinels(ctx, s); err != nil {
		return 0, err
	}
	if err := r.observeCoordinator(ctx, s); err != nil {
		return 0, err
	}
	groups, err := watch.Groups(ctx, r.Client, s.dashboard.Namespace, s.dashboard.Name)
	if err != nil {
		return 0, fmt.Errorf("list groups: %w", err)
	}
	if err := r.ensurePassword(ctx, s, groups); err != nil {
		return 0, err
	}
	for _, g := range watch.OfOwnID(groups) {
		view := viewOf(&g)
		if r.Latency != nil {
			view.latency = r.Latency(client.ObjectKeyFromObject(&g), g.Status.Master)
		}
		s.groups = append(s.groups, view)
	}
	if s.recorded, err = recordedLayout(&s.dashboard.Status); err != nil {
		return 0, err
	}
	s.wasMoving = s.dashboard.Status.Slots != nil && s.dashboard.Status.Slots.Migrating > 0
	s.observed = true
	return 0, r.observeTopology(ctx, s)
}

func viewOf(g *v1alpha1.CodisGroup) groupView {
	holds := func(t string) bool { return meta.IsStatusConditionTrue(g.Status.Conditions, t) }
	view := groupView{
		id:         int(g.Spec.ID),
		name:       g.Name,
		master:     g.Status.Master,
		registered: holds(v1alpha1.ConditionRegistered),
		reachable:  holds(v1alpha1.ConditionMasterReachable),
		promoting:  g.Status.Promotion != nil || g.Status.Dashboard == v1alpha1.DashboardBehind,
		changing:   g.Status.Promotion != nil,
		leaving:    g.DeletionTimestamp != nil || g.Spec.SlotPolicy == v1alpha1.SlotsDrain,
		keySlots:   g.Status.KeySlots,

		sentinelLed: g.Status.FailoverBy == v1alpha1.FailoverBySentinel,
	}
	view.inSync = view.registered && view.reachable && holds(v1alpha1.ConditionReplicasInSync)
	return view
}

func (r *Reconciler) observeObjects(ctx context.Context, s *state) error {
	d := s.dashboard
	live, pod, fe := &appsv1.StatefulSet{}, &corev1.Pod{}, &appsv1.Deployment{}
	if err := r.Client.Get(ctx, key(d, naming.Dashboard(d.Name)), live); err == nil {
		s.live = live
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get statefulset: %w", err)
	}
	if err := r.Client.Get(ctx, key(d, naming.DashboardPod(d.Name)), pod); err == nil {
		s.pod = pod
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get pod: %w", err)
	}
	if err := r.Client.Get(ctx, key(d, naming.FE(d.Name)), fe); err == nil {
		s.fe = fe
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get deployment: %w", err)
	}
	return nil
}

func (r *Reconciler) observeCoordinator(ctx context.Context, s *state) error {
	name := s.dashboard.Spec.CoordinatorRef.Name
	coordinator := &v1alpha1.CodisCoordinator{}
	err := r.Client.Get(ctx, key(s.dashboard, name), coordinator)
	if apierrors.IsNotFound(err) {
		s.blocked = &product.Problem{Reason: v1alpha1.ReasonCoordinatorMissing, Message: fmt.Sprintf(
			"CodisCoordinator %q does not exist in this namespace: create it, or correct spec.coordinatorRef", name)}
		return nil
	}
	if err != nil {
		return fmt.Errorf("get coordinator: %w", err)
	}
	s.coordinator = coordinator
	s.store, s.blocked = storeOf(coordinator, s.live != nil)
	if s.blocked.Present() || s.live != nil || !s.store.shared() {
		return nil
	}
	other, err := watch.DashboardOfSameProduct(ctx, r.Client, s.dashboard)
	if err != nil {
		return fmt.Errorf("list dashboards: %w", err)
	}
	if other != "" {
		s.blocked = &product.Problem{Reason: v1alpha1.ReasonLockHeld, Message: fmt.Sprintf(
			"CodisDashboard %q has product %q in the same CodisCoordinator: choose another productName, or delete that one",
			other, product.Name(s.dashboard))}
	}
	return nil
}

func (r *Reconciler) observeTopology(ctx context.Context, s *state) error {
	api, err := product.API(ctx, r.Client, s.dashboard)
	switch {
	case err == nil && r.quiet(s.dashboard, s.pod): // replaceSilent sees whether anything there answers again.
		err = product.Silent()
	case err == nil:
		s.api = api
		s.stats, err = r.stats(ctx, s, api)
	}
	if err != nil {
		problem := product.AsProblem(err, "")
		if problem.Reason == "" {
			return err
		}
		s.problem = problem
		return nil
	}
	r.observeVersion(ctx, s)
	if s.model, err = s.api.Model(ctx); err != nil {
		s.model = nil // Asked again in the next pass.
	}
	return nil
}

// observeVersion asks for the version after the dashboard was away: it changes
// with the pod only, and the answer is large.
func (r *Reconciler) observeVersion(ctx context.Context, s *state) {
	status := &s.dashboard.Status
	s.version = status.Version
	if s.version != "" && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionWorkloadReady) {
		return
	}
	version, served, err := s.api.Version(ctx)
	if err != nil {
		return // Asked again in the next pass.
	}
	if served != product.Name(s.dashboard) {
		s.stats = nil
		s.problem = &product.Problem{
			Reason:  v1alpha1.ReasonDashboardUnreachable,
			Message: fmt.Sprintf("the dashboard serves product %q, not %q", served, product.Name(s.dashboard)),
		}
	}
	s.version = version
}

// report writes everything that a pass found into the status.
func report(s *state, domain naming.Domain, now time.Time) {
	d := s.dashboard
	status := &d.Status
	status.ObservedGeneration = d.Generation
	status.Address = domain.DashboardAddr(d.Namespace, d.Name)
	status.ProductName = product.Name(d)
	if s.blocked == nil {
		status.AuthSecretName = product.AuthSecret(d)
	}
	if s.version != "" {
		status.Version = s.version
	}
	reportSlots(s, now)
	reportUnfinished(s)
	reportSentinels(s, domain)
	workload, slots, fe, watching := workloadCondition(s), slotsCondition(s), feCondition(s), sentinelsCondition(s)
	summarised := []conditions.Condition{workload, slots, fe}
	if s.sentinelsConcern() { // Those of somebody else are told, and no more.
		summarised = append(summarised, watching)
	}
	ready := conditions.Summarize(v1alpha1.ConditionReady,
		"the dashboard answers and every slot has an owner", summarised...)
	conditions.Set(&status.Conditions, d.Generation, ready, workload, slots, balanceCondition(s), fe, watching)
}

func workloadCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionWorkloadReady
	if s.blocked != nil {
		return conditions.False(t, s.blocked.Reason, s.blocked.Message)
	}
	if s.applied != nil {
		reason := v1alpha1.ReasonApplyFailed
		if errors.Is(s.applied, apply.ErrCollision) {
			reason = v1alpha1.ReasonNameCollision
		}
		return conditions.False(t, reason, s.applied.Error())
	}
	if s.pod != nil {
		if held := lockProblem(s.pod, product.Name(s.dashboard)); held != nil {
			return conditions.False(t, held.Reason, held.Message)
		}
		if reason, message := podtemplate.Trouble(s.pod); reason != "" {
			return conditions.False(t, reason, message)
		}
	}
	switch {
	case s.problem != nil:
		return conditions.False(t, s.problem.Reason, s.problem.Message)
	case s.pod == nil || !podtemplate.Ready(s.pod) || s.live == nil || podtemplate.Outdated(s.pod, s.live):
		return conditions.False(t, v1alpha1.ReasonPodsNotReady, "the pod is not ready or runs an old template")
	}
	message := "the dashboard holds its lock and answers"
	if kept := s.dashboard.Status.Store; kept != nil && kept.HeldBy != "" {
		message += "; the one at " + kept.HeldBy + " had it once: the product stays when this CodisDashboard is deleted"
	}
	return conditions.True(t, v1alpha1.ReasonReady, message)
}

func feCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionFEReady
	switch {
	case s.dashboard.Spec.FE == nil:
		return conditions.True(t, v1alpha1.ReasonDisabled, "no web page is asked for")
	case s.fe == nil || s.fe.Status.ObservedGeneration != s.fe.Generation:
		return conditions.False(t, v1alpha1.ReasonPodsNotReady, "the web page is being started")
	}
	wanted := int32(1)
	if s.dashboard.Spec.FE.Replicas != nil {
		wanted = *s.dashboard.Spec.FE.Replicas
	}
	if s.fe.Status.ReadyReplicas < wanted || s.fe.Status.UpdatedReplicas < wanted {
		return conditions.False(t, v1alpha1.ReasonPodsNotReady,
			fmt.Sprintf("%d of %d pods of the web page are ready", s.fe.Status.ReadyReplicas, wanted))
	}
	return conditions.True(t, v1alpha1.ReasonReady, "the web page runs; it has no login of its own")
}

func (s *state) problemReason() string {
	if s.problem != nil {
		return s.problem.Reason
	}
	return v1alpha1.ReasonNotObserved
}

func (s *state) problemMessage() string {
	switch {
	case s.problem != nil:
		return s.problem.Message
	case s.blocked != nil:
		return s.blocked.Message
	}
	return "not looked at yet"
}

func key(d *v1alpha1.CodisDashboard, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: d.Namespace, Name: name}
}

// isOwned tells whether an object belongs to the dashboard.
func isOwned(object metav1.Object, d *v1alpha1.CodisDashboard) bool {
	return metav1.IsControlledBy(object, d)
}
