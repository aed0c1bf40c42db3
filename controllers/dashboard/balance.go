// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/planner"
)

// queueLength is how many slots of a group are queued at a time. A pass comes
// every 300 ms, fills what is half empty, and a slot without keys takes some 15 ms:
// a dashboard that runs out of work looks for more only after a second.
const queueLength = 64

// fill is how much of its maxmemory a group may use, in percent, with all slots
// that are on their way to it.
const fill = 90

// slowAnswer is how long the master of a group may take for an answer, on average,
// before nothing more moves to it; half of that lets moves go on.
const slowAnswer = 100 * time.Millisecond

// balance is what shall be done about who owns which slots.
type balance struct {
	policy v1alpha1.RebalancePolicy
	plan   planner.Plan
	// move and cancel are what to do now.
	move   planner.Batch
	cancel []planner.Move
	// slow are groups that nothing moves to because they answer late.
	slow []int
	// failing says which group has no master that answers; moves wait for it.
	failing string
	// pause tells that no slot may move now.
	pause bool
	// approved tells that a person let a plan be carried out that waits for one.
	approved bool
}

// wanting is what a person wants of the balance.
type wanting struct {
	policy     v1alpha1.RebalancePolicy
	by         v1alpha1.RebalanceBy
	concurrent int
	paused     bool
	approved   bool
	// patience is how long a master may take for an answer.
	patience time.Duration
}

// wantingOf reads the spec, with the defaults of the API: an object that was
// written before they were there has none.
func wantingOf(d *v1alpha1.CodisDashboard) wanting {
	w := wanting{
		policy: v1alpha1.RebalanceAuto, by: v1alpha1.RebalanceBySlots, concurrent: 4,
		approved: d.Annotations[v1alpha1.AnnotationRebalance] == "now",
		paused:   d.Spec.Migration != nil && d.Spec.Migration.State == v1alpha1.MigrationPaused,
		patience: slowAnswer,
	}
	moves := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionRebalanced)
	if moves != nil && moves.Reason == v1alpha1.ReasonTargetSlow {
		w.patience /= 2 // Not on and off around one value.
	}
	if spec := d.Spec.Rebalance; spec != nil {
		w.policy, w.by = cmp.Or(spec.Policy, w.policy), cmp.Or(spec.By, w.by)
		if spec.MaxConcurrentMoves != nil {
			w.concurrent = int(*spec.MaxConcurrentMoves)
		}
	}
	return w
}

// decideBalance plans which slots move, and what of it is begun now. It is pure.
// Moves wait while any group that owns slots has no master that answers or
// promotes one: the dashboard refuses to promote while a step of a move runs.
func decideBalance(stats *codis.Stats, groups []groupView, want wanting) balance {
	b := balance{policy: want.policy, approved: want.approved, failing: failing(stats, groups)}
	b.pause = want.paused || b.failing != ""
	if want.policy == v1alpha1.RebalanceOff || stats.Offline() > 0 {
		return b
	}
	sharing := sharing(stats, groups)
	if want.by == v1alpha1.RebalanceByMemory {
		b.plan = planner.ByMemory(stats.Slots, sharing)
	} else {
		b.plan = planner.BySlots(stats.Slots, sharing)
	}
	if b.waits() {
		return b
	}
	bounds := limits(stats, sharing, want.concurrent)
	slow := func(g groupView) bool { return g.latency > want.patience }
	for _, g := range groups {
		if slow(g) {
			bounds.Free[g.id] = -1 // Not even a slot without keys.
		}
	}
	next := b.plan.Next(bounds)
	for _, g := range groups {
		if slow(g) && slices.Contains(next.Full, g.id) {
			b.slow = append(b.slow, g.id)
		}
	}
	b.cancel = slices.Concat(b.plan.Cancel, next.Stop)
	b.move = next
	if b.pause {
		b.move.Moves = nil
	}
	return b
}

// waits tells whether a plan waits for a person.
func (b balance) waits() bool {
	return b.policy == v1alpha1.RebalanceManual && !b.approved
}

// failing words which group has to get a master first, or "".
func failing(stats *codis.Stats, groups []groupView) string {
	for _, g := range groups {
		switch {
		case g.promoting:
			return fmt.Sprintf("group %d gets another master", g.id)
		case !g.reachable && hasServer(stats, g.id) && stats.SlotsOf(g.id) > 0:
			return fmt.Sprintf("the master of group %d does not answer", g.id)
		}
	}
	return ""
}

// sharing returns the groups that give and take slots: those that own some, and
// those that are in sync and stay. A group that comes gets nothing before it is
// in sync, and a group that nobody made a CodisGroup for keeps what it has.
func sharing(stats *codis.Stats, groups []groupView) []planner.Group {
	var sharing []planner.Group
	for _, g := range groups {
		owns := stats.SlotsOf(g.id) > 0
		if !hasServer(stats, g.id) || !owns && (g.leaving || !g.inSync) {
			continue
		}
		used, _, _ := memory(stats, g.id)
		sharing = append(sharing, planner.Group{ID: g.id, Drain: g.leaving, Bytes: used})
	}
	return sharing
}

// memory returns what the master of a group uses and may use, in bytes.
func memory(stats *codis.Stats, group int) (used, limit int64, known bool) {
	if !hasServer(stats, group) {
		return 0, 0, false
	}
	return stats.Group.Stats[stats.GroupByID(group).Servers[0].Addr].Memory()
}

// limits bound a batch. The slots of a group count as equal shares of its memory.
func limits(stats *codis.Stats, sharing []planner.Group, concurrent int) planner.Limits {
	l := planner.Limits{
		Sources: concurrent, Queue: queueLength, Free: map[int]int64{}, SlotBytes: map[int]int64{},
	}
	owned := map[int]int64{}
	for _, slot := range stats.Slots {
		owned[slot.GroupID]++
	}
	for _, g := range sharing {
		if used, limit, known := memory(stats, g.ID); known && limit > 0 {
			l.Free[g.ID] = limit/100*fill - used
		}
		l.SlotBytes[g.ID] = g.Bytes / max(1, owned[g.ID])
	}
	return l
}

// runs joins neighbours that move from one group to another: one call queues them.
func runs(moves []planner.Move) [][]planner.Move {
	moves = slices.SortedFunc(slices.Values(moves), func(a, b planner.Move) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Slot, b.Slot))
	})
	var joined [][]planner.Move
	for i, m := range moves {
		if i > 0 && m == (planner.Move{Slot: moves[i-1].Slot + 1, From: moves[i-1].From, To: moves[i-1].To}) {
			joined[len(joined)-1] = append(joined[len(joined)-1], m)
		} else {
			joined = append(joined, []planner.Move{m})
		}
	}
	return joined
}
