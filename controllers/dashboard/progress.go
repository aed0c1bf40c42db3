// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/planner"
)

// toldEvery is how often the progress of moves is written while they go on.
const toldEvery = 5 * time.Second

// reportSlots records what the dashboard knows. The layout is recorded only
// when it is complete: a store that was emptied must not empty the record, nor
// the sign that slots were moving when it was made.
func reportSlots(s *state, now time.Time) {
	if s.stats == nil || s.toldOfHand(now) || !reportRebalance(s, now) {
		return
	}
	s.told = now
	status := &s.dashboard.Status
	counts := &v1alpha1.SlotCounts{}
	for _, slot := range s.stats.Slots {
		if slot.GroupID == 0 {
			counts.Offline++
		} else {
			counts.Assigned++
		}
		if slot.Action.State != "" {
			counts.Migrating++
		}
	}
	if counts.Offline > 0 && status.Slots != nil {
		counts.Migrating = max(counts.Migrating, status.Slots.Migrating)
	}
	status.Slots = counts
	if counts.Offline > 0 {
		return
	}
	current := layout.Of(s.stats)
	status.Layout = nil
	for _, group := range current.Groups() {
		status.Layout = append(status.Layout, v1alpha1.GroupSlots{
			Group: int32(group), Slots: layout.Format(current[group]), //nolint:gosec // At most 9999.
		})
	}
}

// toldOfHand tells whether slots move that no plan has, which somebody else queued, and
// that was told a moment ago. Who moves them does not matter to what a write costs.
func (s *state) toldOfHand(now time.Time) bool {
	before := s.dashboard.Status.Slots
	return s.stats.AnyMove() && s.balance.plan.Left() == 0 && before != nil && before.Migrating > 0 &&
		now.Sub(s.told) < toldEvery
}

// reportRebalance records how far a rebalance is, and tells whether it is time
// to write anything about slots.
func reportRebalance(s *state, now time.Time) bool {
	status := &s.dashboard.Status
	left := int32(s.balance.plan.Left()) //nolint:gosec // At most 1024.
	before := status.Rebalance
	if s.stats.Offline() > 0 {
		return true
	}
	if left == 0 {
		if before != nil && before.Left > 0 {
			status.Rebalance = &v1alpha1.RebalanceStatus{
				Moved: before.Moved + moved(before), StartTime: before.StartTime, UpdateTime: metav1.NewTime(now),
			}
		}
		return true
	}
	var plan []v1alpha1.PlannedMove
	if s.balance.waits() {
		plan = plannedMoves(s.balance.plan.Moves)
	}
	if before == nil || before.Left == 0 || len(before.Plan) > 0 || len(plan) > 0 {
		if before == nil || before.Left != left || !equality.Semantic.DeepEqual(before.Plan, plan) {
			status.Rebalance = &v1alpha1.RebalanceStatus{
				Left: left, StartTime: metav1.NewTime(now), UpdateTime: metav1.NewTime(now), Plan: plan,
			}
		}
		return true
	}
	if now.Sub(before.UpdateTime.Time) < toldEvery {
		return false
	}
	if after := progress(before, left, now); before.Left != left {
		status.Rebalance = after
	}
	return true
}

// moved is what is over of a rebalance that has nothing left.
func moved(before *v1alpha1.RebalanceStatus) int32 {
	if len(before.Plan) > 0 {
		return 0 // It was only planned.
	}
	return before.Left
}

func progress(before *v1alpha1.RebalanceStatus, left int32, now time.Time) *v1alpha1.RebalanceStatus {
	after := &v1alpha1.RebalanceStatus{
		Moved: before.Moved + max(0, before.Left-left), Left: left,
		StartTime: before.StartTime, UpdateTime: metav1.NewTime(now),
	}
	if after.Moved > 0 {
		each := now.Sub(before.StartTime.Time).Seconds() / float64(after.Moved)
		after.EstimatedSecondsLeft = int64(each * float64(left))
	}
	return after
}

// plannedMoves sums moves up by groups.
func plannedMoves(moves []planner.Move) []v1alpha1.PlannedMove {
	type pair struct{ from, to int }
	slots := map[pair][]int{}
	var pairs []pair
	for _, m := range moves {
		p := pair{m.From, m.To}
		if slots[p] == nil {
			pairs = append(pairs, p)
		}
		slots[p] = append(slots[p], m.Slot)
	}
	planned := make([]v1alpha1.PlannedMove, 0, len(pairs))
	for _, p := range pairs {
		planned = append(planned, v1alpha1.PlannedMove{
			From: int32(p.from), To: int32(p.to), Slots: layout.Format(slots[p]), //nolint:gosec // At most 9999.
		})
	}
	return planned
}

// balanceCondition tells whether groups own what they should, and what the moves
// wait for.
func balanceCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionRebalanced
	b := s.balance
	switch {
	case s.stats == nil:
		return conditions.Unknown(t, s.problemReason(), s.problemMessage())
	case s.stats.Offline() > 0:
		return conditions.False(t, v1alpha1.ReasonWaitingForGroups, "slots have no owner yet")
	case b.policy == v1alpha1.RebalanceOff:
		return conditions.True(t, v1alpha1.ReasonDisabled, "spec.rebalance.policy is Off: slots stay where they are")
	case s.notMoved != nil:
		return conditions.False(t, v1alpha1.ReasonDashboardRefused, "the dashboard refused to "+s.notMoved.Error())
	case b.plan.Stranded > 0:
		return conditions.False(t, v1alpha1.ReasonNoGroupForSlots, fmt.Sprintf(
			"%d slots are in groups that shall give them away, and no other group is there and in sync to take them: "+
				"add a group, or keep one", b.plan.Stranded))
	case b.plan.Left() == 0:
		return conditions.True(t, v1alpha1.ReasonReady, "every group has its share of the slots")
	case b.waits():
		return conditions.False(t, v1alpha1.ReasonApprovalNeeded, fmt.Sprintf(
			"%d moves are planned, see status.rebalance.plan: annotate the CodisDashboard with %s=now to carry them out",
			b.plan.Left(), v1alpha1.AnnotationRebalance))
	}
	return movingCondition(s)
}

// movingCondition words what moves that are left wait for.
func movingCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionRebalanced
	b := s.balance
	switch {
	case b.failing != "":
		return conditions.False(t, v1alpha1.ReasonFailoverFirst, "moves wait: "+b.failing)
	case b.pause:
		return conditions.False(t, v1alpha1.ReasonMigrationPaused, "spec.migration.state is Paused")
	case s.stuck != "":
		return conditions.False(t, v1alpha1.ReasonSlotStuck, s.stuck)
	case len(b.slow) > 0:
		return conditions.False(t, v1alpha1.ReasonTargetSlow, fmt.Sprintf(
			"the masters of groups %s take more than %s for an answer: slots move to them again once they take half of that",
			join(b.slow), slowAnswer))
	case len(b.move.Full) > 0:
		return conditions.False(t, v1alpha1.ReasonTargetFull, fmt.Sprintf(
			"with the next slots, groups %s would use more than %d%% of their maxmemory: "+
				"give them more memory, add a group, or delete keys", join(b.move.Full), fill))
	}
	var from, to []int
	for _, m := range s.unfinished() {
		from, to = append(from, m.From), append(to, m.To)
	}
	return conditions.False(t, v1alpha1.ReasonRebalancing,
		fmt.Sprintf("slots move from groups %s to groups %s", join(from), join(to)))
}

// unfinished are all moves that are not over.
func (s *state) unfinished() []planner.Move {
	p := s.balance.plan
	return slices.Concat(p.Running, p.Queued, p.Moves)
}

// join writes ids once each, in ascending order.
func join(ids []int) string {
	var words []string
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		words = append(words, strconv.Itoa(id))
	}
	return strings.Join(words, ", ")
}

// underWay tells whether slots are to move, and nobody has to agree first.
func underWay(s *v1alpha1.RebalanceStatus) bool { return s != nil && s.Left > 0 && len(s.Plan) == 0 }

// tell sends an event when a rebalance begins and when it is over.
func (r *Reconciler) tell(before, after *v1alpha1.CodisDashboard) {
	was, is := before.Status.Rebalance, after.Status.Rebalance
	switch {
	case underWay(is) && !underWay(was):
		r.Recorder.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.ReasonRebalancing, "MoveSlots",
			"%d slots are to move to other groups", is.Left)
	case underWay(was) && is != nil && is.Left == 0:
		r.Recorder.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.ReasonRebalanced, "MoveSlots",
			"%d slots have moved to other groups", is.Moved)
	}
}
