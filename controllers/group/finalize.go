// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// finalize takes a group out of its dashboard before its pods go.
//
// Phases: refuse while the group owns a slot or holds a key; take the servers
// out, replicas first; remove the group; let the object go. The order is never
// reversed: a server that is gone but registered blocks every later push, and a
// slot whose group is gone is data lost. After a crash the next pass finds what
// is left. Where the dashboard itself is gone or going, there is nothing to
// clean: the topology goes with it.
func (r *Reconciler) finalize(ctx context.Context, s *state) (time.Duration, error) {
	if !controllerutil.ContainsFinalizer(s.group, v1alpha1.Finalizer) {
		return 0, nil
	}
	gone, err := watch.TopologyGoes(ctx, r.Reader, s.group, s.group.Spec.DashboardRef.Name)
	if err != nil {
		return 0, err
	}
	if gone {
		return 0, reconcile.Release(ctx, r.Client, s.group)
	}
	if other, err := watch.GroupWithSameID(ctx, r.Client, s.group); err != nil || other != "" {
		if err != nil {
			return 0, err
		}
		return 0, reconcile.Release(ctx, r.Client, s.group) // What the dashboard has under this id is the other's.
	}
	if _, err := r.observe(ctx, s); err != nil {
		return 0, err
	}
	return r.takeOut(ctx, s)
}

// takeOut goes on with a group that was looked at. Where the dashboard cannot be asked,
// nothing is done but what clients wait for.
func (r *Reconciler) takeOut(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil && s.clientsWait() {
		return r.goOn(ctx, s, unknownReason(s), unknownMessage(s))
	}
	if s.stats == nil {
		return reconcile.Later, r.reportDeleting(ctx, s, unknownReason(s), unknownMessage(s))
	}
	if reason, message := deletionHeld(s); reason != "" {
		return r.goOn(ctx, s, reason, message)
	}
	if known := s.known(); known != nil {
		if err := r.unregister(ctx, s); err != nil {
			return reconcile.Later, r.reportDeleting(ctx, s, v1alpha1.ReasonDashboardRefused,
				"the dashboard refused to "+err.Error())
		}
	}
	return 0, reconcile.Release(ctx, r.Client, s.group)
}

// goOn keeps a group whose deletion is held serving: its master may fail all the same.
func (r *Reconciler) goOn(ctx context.Context, s *state, reason, message string) (time.Duration, error) {
	after, err := r.assignRoles(ctx, s)
	reportElection(s, r.Clock.Now())
	reportMembers(s)
	reportFailover(s, r.Clock.Now())
	return reconcile.Soonest(reconcile.Steady, after), errors.Join(err, r.reportDeleting(ctx, s, reason, message))
}

// deletionHeld says why a group must not go yet. It is pure. A member that runs
// and does not answer may hold keys; one without a pod leaves its volume.
func deletionHeld(s *state) (reason, message string) {
	slots := max(s.stats.SlotsOf(int(s.group.Spec.ID)), s.recordedSlots())
	if slots > 0 && s.drains() {
		return v1alpha1.ReasonDraining, "the group gives its slots to others and goes then: " +
			"the condition Rebalanced of the CodisDashboard tells how far it is, and what it waits for"
	}
	if slots > 0 {
		return v1alpha1.ReasonGroupOwnsSlots, fmt.Sprintf(
			"the group owns %d slots and its data would be lost, and spec.rebalance.policy of the CodisDashboard is Off: "+
				"move the slots to other groups first, or delete the whole cluster", slots)
	}
	for _, m := range s.world.members {
		if m.redis.HasData() {
			return v1alpha1.ReasonGroupOwnsSlots, fmt.Sprintf(
				"%s still holds keys: remove them first, or delete the whole cluster", m.name)
		}
		if !m.known() && m.ip != "" && s.everServed(m.addr) {
			return v1alpha1.ReasonNotObserved, fmt.Sprintf(
				"%s may hold keys and cannot be asked (%s): bring it back, or delete the whole cluster", m.name, problem(m))
		}
	}
	return "", ""
}

// drains tells whether the slots of the group move to others by themselves, or
// once somebody lets them.
func (s *state) drains() bool {
	return s.dashboard != nil &&
		(s.dashboard.Spec.Rebalance == nil || s.dashboard.Spec.Rebalance.Policy != v1alpha1.RebalanceOff)
}

// everServed tells whether a member may hold keys: it is registered, or the group
// had a master, which a dashboard that lost its store does not know.
func (s *state) everServed(addr string) bool {
	return s.group.Status.Master != "" || slices.Contains(s.world.order, addr)
}

// recordedSlots counts the slots that the group gets back when a dashboard that
// lost its store has everything again.
func (s *state) recordedSlots() int {
	if s.dashboard == nil || s.stats.Offline() == 0 {
		return 0
	}
	for _, recorded := range s.dashboard.Status.Layout {
		if recorded.Group == s.group.Spec.ID {
			slots, err := layout.Parse(recorded.Slots)
			if err != nil {
				return codis.Slots // A record that cannot be read is no leave to delete.
			}
			return len(slots)
		}
	}
	return 0
}

func (r *Reconciler) unregister(ctx context.Context, s *state) error {
	gid := int(s.group.Spec.ID)
	addresses := addressesOf(s.known())
	for _, addr := range slices.Backward(addresses) {
		if err := s.api.RemoveServer(ctx, gid, addr); err != nil {
			return fmt.Errorf("remove %s: %w", addr, err)
		}
	}
	if err := s.api.RemoveGroup(ctx, gid); err != nil {
		return fmt.Errorf("remove group %d: %w", gid, err)
	}
	return nil
}

func (r *Reconciler) reportDeleting(ctx context.Context, s *state, reason, message string) error {
	conditions.Set(&s.group.Status.Conditions, s.group.Generation,
		conditions.False(v1alpha1.ConditionReady, reason, "deleting: "+message))
	s.group.Status.State = stateDeleting
	return r.patch(ctx, s)
}
