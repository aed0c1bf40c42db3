// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// Who replaces a master that fails: what must hold while that changes hands.

// handToSentinels records that sentinels replace a master that fails from now on, once
// they can, and nothing is under way. Until then none of them watches the group.
func (r *Reconciler) handToSentinels(ctx context.Context, s *state) (time.Duration, error) {
	var plan monitors
	for i, o := range s.world.lookouts.all {
		if o.Watches { // Somebody had the dashboard tell them.
			plan.forget = append(plan.forget, i)
		}
	}
	if !plan.done() {
		return r.tellSentinels(ctx, s, plan)
	}
	if !r.mayHandOver(s) {
		return reconcile.Later, nil
	}
	if err := r.heldUp(s); err != nil {
		return reconcile.Closely, err
	}
	err := r.record(ctx, s, func(status *v1alpha1.CodisGroupStatus) {
		status.FailoverBy = v1alpha1.FailoverBySentinel
	})
	if err != nil {
		return 0, fmt.Errorf("record that sentinels replace masters: %w", err)
	}
	r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonFailoverHandedOver, "HandOver",
		"from now on the sentinels replace a master of this group that fails, and the operator follows")
	return reconcile.Soon, nil
}

// mayHandOver tells whether sentinels can replace masters: as many of them as it takes
// answer and are registered, and nothing is under way that the operator has begun.
func (r *Reconciler) mayHandOver(s *state) bool {
	if s.stats == nil || s.decision.verb != keep || s.halfDone || s.held != "" || s.world.behind ||
		s.group.Status.Promotion != nil || !s.registration.done() || s.dashboard.Status.Sentinel == nil ||
		s.group.DeletionTimestamp != nil || !r.inSync(s) {
		return false
	}
	by := s.masterAddr(*s.decision.master)
	if len(s.world.readdress(nil, "", *s.decision.master, by)) > 0 {
		return false
	}
	ready := 0
	for ordinal, o := range s.world.lookouts.all[:s.world.lookouts.wanted] {
		addr := r.Domain.SentinelAddr(s.group.Namespace, s.dashboard.Name, ordinal)
		if o.Answers && slices.Contains(s.stats.Sentinels.Model.Servers, addr) {
			ready++
		}
	}
	return ready >= config.SentinelsNeeded(s.dashboard.Spec.Sentinel)
}

// takeFromSentinels records that the operator replaces a master that fails, once no
// sentinel can do so any more. It asks past the cache, which may know the dashboard as
// it was before the sentinels.
func (r *Reconciler) takeFromSentinels(ctx context.Context, s *state) (time.Duration, error) {
	now := &v1alpha1.CodisDashboard{}
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(s.dashboard), now); err != nil {
		return reconcile.Later, client.IgnoreNotFound(err)
	}
	if now.Spec.Sentinel != nil || now.Status.Sentinel != nil {
		return reconcile.Later, nil
	}
	pods := &corev1.PodList{} // Those of a dashboard of the same name that was deleted.
	err := r.Reader.List(ctx, pods, client.InNamespace(s.group.Namespace),
		client.MatchingLabels(naming.Selector(naming.ComponentSentinel, s.dashboard.Name)))
	if err != nil || len(pods.Items) > 0 {
		return reconcile.Later, err
	}
	if err := r.heldUp(s); err != nil {
		return reconcile.Closely, err
	}
	err = r.record(ctx, s, func(status *v1alpha1.CodisGroupStatus) { status.FailoverBy = "" })
	if err != nil {
		return 0, fmt.Errorf("record that the operator replaces masters: %w", err)
	}
	r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonFailoverHandedOver, "HandOver",
		"from now on the operator replaces a master of this group that fails")
	return reconcile.Soon, nil
}

// unseenSentinels asks past the cache whether a sentinel runs that was not asked, before
// the operator makes somebody master in place of sentinels that watch nothing: one that
// the cache does not know yet may watch the group. Then it looks again.
func (r *Reconciler) unseenSentinels(ctx context.Context, s *state) (bool, error) {
	acts := s.decision.verb == lift || s.decision.verb == promote || s.decision.verb == fence
	if !acts || !s.led() || s.world.lookouts.decide() {
		return false, nil
	}
	pods := &corev1.PodList{}
	err := r.Reader.List(ctx, pods, client.InNamespace(s.group.Namespace),
		client.MatchingLabels(naming.Selector(naming.ComponentSentinel, s.dashboard.Name)))
	if err != nil {
		return false, fmt.Errorf("list sentinels: %w", err)
	}
	for i := range pods.Items {
		now := lookoutOf(&pods.Items[i])
		if !slices.ContainsFunc(s.world.lookouts.all, now.sameProcess) {
			s.decision = decision{
				verb: wait, reason: v1alpha1.ReasonSentinelDecides,
				message: now.pod + " was started a moment ago, and may watch the group",
			}
			return true, nil
		}
	}
	return false, nil
}

// sameProcess tells whether two looks at a pod found the same.
func (o lookout) sameProcess(other lookout) bool {
	return o.pod == other.pod && o.addr == other.addr && o.absent == other.absent
}
