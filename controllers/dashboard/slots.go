// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// groupView is what a decision about slots needs to know of a CodisGroup.
type groupView struct {
	id int
	// name of the CodisGroup, and of the pod that is its master.
	name, master string
	// sentinelLed tells that sentinels replace the master, and the operator does not.
	sentinelLed bool
	// inSync tells that every member is registered and follows the master.
	inSync bool
	// registered tells that the dashboard knows all members, and what keys they hold is told.
	registered bool
	// reachable tells that the master answers.
	reachable bool
	// promoting tells that a change of master is under way.
	promoting bool
	// changing tells that a change of master is being carried out right now.
	changing bool
	// leaving tells that the group gives its slots away: it is being deleted or drained.
	leaving bool
	// latency is how long the master takes for an answer, on average; 0 if that is
	// not known.
	latency time.Duration
	// keySlots are the slots whose keys the group holds, while no slot has an owner.
	keySlots string
}

// assignment is what shall be done about slots that nobody owns.
type assignment struct {
	// slots to assign now; empty for none.
	slots []codis.SlotMapping
	// restored tells that the slots come from the recorded layout.
	restored bool
	// waiting says what the assignment waits for; empty where nothing is left to do.
	waiting string
}

// decideAssignment plans the first layout, or puts back the recorded one after
// the store of the dashboard was lost. It is pure. Only slots that nobody owns
// are ever assigned, and only to groups that the dashboard knows with a server;
// the first layout waits until its groups are in sync. What was recorded while
// slots moved may be seconds old: the keys that groups hold tell what moved since.
func decideAssignment(
	stats *codis.Stats, recorded layout.Layout, moving bool, initial []int, groups []groupView,
) assignment {
	switch {
	case stats.Offline() == 0:
		return assignment{}
	case len(recorded) > 0 && moving:
		return restoreMoving(stats, recorded, groups)
	case len(recorded) > 0:
		return restore(stats, recorded)
	}
	if len(initial) == 0 {
		for _, g := range groups {
			if !g.leaving {
				initial = append(initial, g.id)
			}
		}
	}
	if len(initial) == 0 {
		return assignment{waiting: "waiting for a CodisGroup that refers to this dashboard"}
	}
	slices.Sort(initial)
	for _, id := range initial {
		ready := slices.ContainsFunc(groups, func(g groupView) bool { return g.id == id && g.inSync && !g.leaving })
		if !ready || !hasServer(stats, id) {
			return assignment{waiting: fmt.Sprintf("waiting for group %d to be registered and in sync", id)}
		}
	}
	return firstLayout(stats, initial, groups)
}

// firstLayout shares the slots evenly, but for those whose keys a group holds
// from an earlier life of the product: it owns them again, since an assignment
// moves no data.
func firstLayout(stats *codis.Stats, initial []int, groups []groupView) assignment {
	return planWithKeys(stats, layout.Even(initial), groups, ", from an earlier layout that is lost, "+
		"and only one can own it: remove the copy that is not wanted (SLOTSDEL on that master)")
}

// planWithKeys changes a plan so that groups own the slots whose keys they hold,
// and words a way out where two hold keys of one.
func planWithKeys(stats *codis.Stats, plan layout.Layout, groups []groupView, wayOut string) assignment {
	keys := layout.Layout{}
	for _, g := range groups {
		slots, err := layout.Parse(g.keySlots)
		if err != nil || len(slots) > 0 && !hasServer(stats, g.id) {
			return assignment{waiting: fmt.Sprintf("waiting for group %d, which has keys, to tell of which slots", g.id)}
		}
		keys[g.id] = slices.DeleteFunc(slots, func(slot int) bool { return stats.Slots[slot].GroupID != 0 })
	}
	plan, err := plan.WithKeys(keys)
	if err != nil {
		return assignment{waiting: err.Error() + wayOut}
	}
	return assignment{slots: layout.Missing(stats, plan)}
}

// restoreMoving puts a layout back that was recorded while slots moved, once
// every group told which keys it holds.
func restoreMoving(stats *codis.Stats, recorded layout.Layout, groups []groupView) assignment {
	for _, id := range recorded.Groups() {
		back := slices.ContainsFunc(groups, func(g groupView) bool { return g.id == id && g.registered && g.reachable })
		if !back || !hasServer(stats, id) {
			return assignment{waiting: fmt.Sprintf(
				"waiting for group %d to be registered again, to give back the slots that were moving", id)}
		}
	}
	a := planWithKeys(stats, recorded, groups, ", which was moving when the dashboard lost its store: "+
		"finish the move on the master that it leaves (SLOTSMGRTTAGSLOT <host and port of the other> 3000 <slot>, "+
		"until it answers 0)")
	a.restored = true
	return a
}

func restore(stats *codis.Stats, recorded layout.Layout) assignment {
	for _, id := range recorded.Groups() {
		if !hasServer(stats, id) {
			return assignment{waiting: fmt.Sprintf("waiting for group %d to be registered again, to give it back its slots", id)}
		}
	}
	return assignment{slots: layout.Missing(stats, recorded), restored: true}
}

func hasServer(stats *codis.Stats, id int) bool {
	group := stats.GroupByID(id)
	return group != nil && len(group.Servers) > 0
}

// assignSlots carries the plan out, in one call. A crash of the dashboard midway
// leaves some slots without owner; the next pass plans the same for those.
func (r *Reconciler) assignSlots(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil {
		return untilItAnswers(s.pod), nil
	}
	s.assignment = decideAssignment(s.stats, s.recorded, s.wasMoving, s.initial(), s.groups)
	if len(s.assignment.slots) == 0 {
		if s.stats.Offline() > 0 {
			return reconcile.Soon, nil
		}
		return reconcile.Steady, nil
	}
	if err := s.api.AssignSlots(ctx, s.assignment.slots); err != nil {
		s.refused = fmt.Errorf("assign slots: %w", err)
		return reconcile.Later, nil
	}
	reason, verb := v1alpha1.ReasonSlotsAssigned, "Assigned"
	if s.assignment.restored {
		reason, verb = v1alpha1.ReasonLayoutRestored, "Put back"
	}
	r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeNormal, reason, "AssignSlots",
		"%s %d slots that nobody owned: %s", verb, len(s.assignment.slots), describe(s.assignment.slots))
	if stats, err := s.api.Stats(ctx); err == nil {
		s.stats, s.assignment = stats, assignment{}
	}
	return reconcile.Soon, nil
}

// untilItAnswers is how soon a dashboard that did not answer is asked again: one whose
// process runs was started again a moment ago, which nothing else tells.
func untilItAnswers(pod *corev1.Pod) time.Duration {
	if pod != nil && pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.ContainerStatuses,
		func(c corev1.ContainerStatus) bool { return c.State.Running != nil }) {
		return reconcile.Soon
	}
	return reconcile.Later
}

func describe(slots []codis.SlotMapping) string {
	byGroup := layout.Layout{}
	for _, slot := range slots {
		byGroup[slot.GroupID] = append(byGroup[slot.GroupID], slot.ID)
	}
	text := ""
	for _, group := range byGroup.Groups() {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("%s to group %d", layout.Format(byGroup[group]), group)
	}
	return text
}

// initial returns the ids that the spec names for the first layout.
func (s *state) initial() []int {
	ids := make([]int, 0, len(s.dashboard.Spec.InitialGroups))
	for _, id := range s.dashboard.Spec.InitialGroups {
		ids = append(ids, int(id))
	}
	return ids
}

// recordedLayout reads the layout back from the status.
func recordedLayout(status *v1alpha1.CodisDashboardStatus) (layout.Layout, error) {
	recorded := layout.Layout{}
	for _, group := range status.Layout {
		slots, err := layout.Parse(group.Slots)
		if err != nil {
			return nil, fmt.Errorf("status.layout: %w", err)
		}
		recorded[int(group.Group)] = slots
	}
	return recorded, nil
}

func slotsCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionSlotsAssigned
	switch {
	case s.stats == nil:
		return conditions.Unknown(t, s.problemReason(), s.problemMessage())
	case s.refused != nil:
		return conditions.False(t, v1alpha1.ReasonDashboardRefused, "the dashboard refused to "+s.refused.Error())
	case s.stats.Offline() > 0:
		message := fmt.Sprintf("%d of %d slots have no owner", s.stats.Offline(), codis.Slots)
		if s.assignment.waiting != "" {
			message += "; " + s.assignment.waiting
		}
		return conditions.False(t, v1alpha1.ReasonWaitingForGroups, message)
	}
	return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("all %d slots have an owner", codis.Slots))
}
