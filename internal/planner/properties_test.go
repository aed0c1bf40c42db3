// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/codis-io/codis-operator/internal/codis"
)

// layouts is how many random products the properties are checked on.
const layouts = 120_000

// random is a product with any owners, drained groups and moves under way. Most
// have few slots: what matters happens with few, too.
type random struct {
	*rand.Rand
	slots  []codis.SlotMapping
	groups []Group
}

func newRandom(seed uint64) random {
	r := random{Rand: rand.New(rand.NewPCG(seed, 7))}
	size := 1 + r.IntN(40)
	if r.IntN(50) == 0 {
		size = codis.Slots
	}
	owners := 1 + r.IntN(min(size, 12))
	for i := range owners + r.IntN(4) {
		r.groups = append(r.groups, Group{ID: i*7%31 + 1 + i/31*31, Drain: r.IntN(4) == 0, Bytes: r.Int64N(1 << 40)})
	}
	for id := range size {
		slot := codis.SlotMapping{ID: id, GroupID: r.groups[r.IntN(owners)].ID}
		if r.IntN(10) == 0 {
			slot.Action.State = []string{"pending", "preparing", "prepared", "migrating", "finished"}[r.IntN(5)]
			slot.Action.TargetID, slot.Action.Index = r.groups[r.IntN(len(r.groups))].ID, r.IntN(9)
		}
		if slot.Action.TargetID == slot.GroupID {
			slot.Action = codis.SlotAction{}
		}
		r.slots = append(r.slots, slot)
	}
	r.Shuffle(len(r.groups), func(i, j int) { r.groups[i], r.groups[j] = r.groups[j], r.groups[i] })
	return r
}

// counts returns how many slots each group has once moves are over.
func counts(slots []codis.SlotMapping, moves []Move) map[int]int {
	owner := make([]int, len(slots))
	for i, slot := range slots {
		owner[i] = slot.GroupID
		if slot.Action.State != "" && slot.Action.State != codis.ActionPending {
			owner[i] = slot.Action.TargetID
		}
	}
	for _, m := range moves {
		owner[m.Slot] = m.To
	}
	n := map[int]int{}
	for _, group := range owner {
		n[group]++
	}
	return n
}

// fewest is the least number of moves that make a product balanced, by another
// way of counting: groups with the most slots get the bigger shares.
func fewest(before map[int]int, groups []Group) int {
	var staying []int
	drained, total := 0, 0
	for _, g := range groups {
		total += before[g.ID]
		if g.Drain {
			drained += before[g.ID]
		} else {
			staying = append(staying, before[g.ID])
		}
	}
	slices.Sort(staying)
	slices.Reverse(staying)
	for i, n := range staying {
		share := total / len(staying)
		if i < total%len(staying) {
			share++
		}
		drained += max(0, n-share)
	}
	return drained
}

// violation says which property a plan by slots does not have; empty for none.
func violation(slots []codis.SlotMapping, groups []Group, p Plan) string {
	all := slices.Concat(p.Moves, p.Queued)
	before, after := counts(slots, nil), counts(slots, all)
	staying, low, high := 0, len(slots), 0
	drained := map[int]bool{}
	for _, g := range groups {
		if drained[g.ID] = g.Drain; !g.Drain {
			staying++
			low, high = min(low, after[g.ID]), max(high, after[g.ID])
		}
	}
	if staying == 0 {
		if len(all) > 0 || len(p.Running) == 0 && p.Stranded != len(slots) {
			return "moves slots although nobody is left to take them"
		}
		return ""
	}
	if high-low > 1 && !full(slots, groups) {
		return fmt.Sprintf("leaves shares from %d to %d", low, high)
	}
	incoming := map[int]int{}
	for _, m := range p.Running {
		incoming[m.To]++
	}
	for group := range drained {
		if drained[group] && after[group] > incoming[group] {
			return fmt.Sprintf("leaves %d slots in drained group %d", after[group], group)
		}
	}
	if want := fewest(before, groups); len(all) > want {
		return fmt.Sprintf("needs %d moves, %d would do", len(all), want)
	}
	return roles(all, p)
}

// full tells whether slots that come to a group are more than it should have, or
// come to one that is drained: no plan can change that before they are there.
func full(slots []codis.SlotMapping, groups []Group) bool {
	share := len(slots) / len(groups)
	coming := map[int]int{}
	for _, slot := range slots {
		if slot.Action.State != "" && slot.Action.State != codis.ActionPending {
			coming[slot.Action.TargetID]++
		}
	}
	for _, g := range groups {
		if coming[g.ID] > 0 && (g.Drain || coming[g.ID] > share) {
			return true
		}
	}
	return false
}

func roles(all []Move, p Plan) string {
	sources, targets, touched := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, m := range all {
		sources[m.From], targets[m.To] = true, true
	}
	for group := range sources {
		if targets[group] {
			return fmt.Sprintf("makes group %d a source and a target", group)
		}
	}
	for _, m := range slices.Concat(all, p.Running) {
		if touched[m.Slot] {
			return fmt.Sprintf("moves slot %d twice", m.Slot)
		}
		touched[m.Slot] = true
	}
	for _, m := range p.Cancel {
		sources[m.From] = true
	}
	return ""
}

// done carries some moves of a plan out, whatever their order, and cancels what
// is to be cancelled.
func (r random) done(p Plan) []codis.SlotMapping {
	slots := slices.Clone(r.slots)
	for _, m := range p.Cancel {
		slots[m.Slot].Action = codis.SlotAction{}
	}
	for _, m := range slices.Concat(p.Moves, p.Queued, p.Running) {
		if r.IntN(2) == 0 {
			slots[m.Slot] = codis.SlotMapping{ID: m.Slot, GroupID: m.To}
		}
	}
	return slots
}

func TestEveryPlanBySlotsIsBalancedShortAndStable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(layouts) {
		r := newRandom(seed)
		plan := BySlots(r.slots, r.groups)
		if broken := violation(r.slots, r.groups, plan); broken != "" {
			t.Fatalf("layout %d: the plan %s\nslots %+v\ngroups %+v\nplan %+v", seed, broken, r.slots, r.groups, plan)
		}
		planned := map[int]bool{}
		for _, m := range slices.Concat(plan.Moves, plan.Queued) {
			planned[m.Slot] = true
		}
		if len(plan.Running) > 0 {
			continue // A slot may run to where it must not stay.
		}
		later := r.done(plan)
		again := BySlots(later, r.groups)
		if len(again.Cancel) > 0 {
			t.Fatalf("layout %d: the plan made later cancels %v", seed, again.Cancel)
		}
		for _, m := range slices.Concat(again.Moves, again.Queued) {
			if !planned[m.Slot] || later[m.Slot] != without(r.slots[m.Slot], plan.Cancel) {
				t.Fatalf("layout %d: the plan made later moves slot %d again", seed, m.Slot)
			}
			delete(planned, m.Slot)
		}
		for slot := range planned {
			if later[slot] == without(r.slots[slot], plan.Cancel) {
				t.Fatalf("layout %d: the plan made later leaves slot %d where it was", seed, slot)
			}
		}
	}
}

// without is a slot whose action is gone if it was to be cancelled.
func without(slot codis.SlotMapping, cancel []Move) codis.SlotMapping {
	if slices.ContainsFunc(cancel, func(m Move) bool { return m.Slot == slot.ID }) {
		slot.Action = codis.SlotAction{}
	}
	return slot
}

// spread is the most that the memory of a group that stays differs from the mean
// after moves, and the size of the biggest slot.
func spread(slots []codis.SlotMapping, groups []Group, moves []Move) (most, biggest, mean int64) {
	d := newDraft(slots, groups, true)
	load, staying := map[int]int64{}, int64(0)
	for _, s := range d.shares {
		load[s.ID] += s.load
		mean += s.load
		biggest = max(biggest, s.size)
		if !s.Drain {
			staying++
		}
	}
	for _, m := range moves {
		load[m.From] -= d.byID[m.From].size
		load[m.To] += d.byID[m.From].size
	}
	mean /= staying
	for _, s := range d.shares {
		if !s.Drain {
			most = max(most, load[s.ID]-mean, mean-load[s.ID])
		}
	}
	return most, biggest, mean
}

func TestEveryPlanByMemoryIsCloserToTheMean(t *testing.T) {
	t.Parallel()
	for seed := range uint64(layouts / 10) {
		r := newRandom(seed)
		for i := range r.slots {
			r.slots[i].Action = codis.SlotAction{}
		}
		if !slices.ContainsFunc(r.groups, func(g Group) bool { return !g.Drain }) {
			continue
		}
		plan := ByMemory(r.slots, r.groups)
		if broken := roles(plan.Moves, plan); broken != "" {
			t.Fatalf("layout %d: the plan %s", seed, broken)
		}
		after := counts(r.slots, plan.Moves)
		for _, g := range r.groups {
			if g.Drain && after[g.ID] > 0 {
				t.Fatalf("layout %d: drained group %d is left with %d slots", seed, g.ID, after[g.ID])
			}
		}
		was, biggest, mean := spread(r.slots, r.groups, nil)
		is, _, _ := spread(r.slots, r.groups, plan.Moves)
		if mean >= leastMemory && is > was+biggest {
			t.Fatalf("layout %d: groups differ by %d from %d, before by %d", seed, is, mean, was)
		}
	}
}

// A whole rebalance, batch by batch, with moves that end in any order and groups
// that come and go midway.
func TestBatchesLeadToBalance(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := newRandom(seed)
		limits := Limits{Sources: 1 + r.IntN(4), Queue: 1 + r.IntN(20)}
		moved := map[int]int{}
		for round := 0; ; round++ {
			if round > 5000 {
				t.Fatalf("layout %d: no end of it", seed)
			}
			if round%50 == 7 && round < 200 {
				r.groups[r.IntN(len(r.groups))].Drain = r.IntN(3) == 0
				clear(moved)
			}
			plan := BySlots(r.slots, r.groups)
			if plan.Left() == 0 && round >= 200 {
				if broken := violation(r.slots, r.groups, plan); broken != "" {
					t.Fatalf("layout %d ends: the plan %s", seed, broken)
				}
				break
			}
			r.advance(t, plan, limits, moved)
		}
	}
}

// advance queues a batch, and lets some moves begin and some end.
func (r random) advance(t *testing.T, plan Plan, limits Limits, moved map[int]int) {
	t.Helper()
	for _, m := range plan.Cancel {
		r.slots[m.Slot].Action = codis.SlotAction{}
	}
	batch := plan.Next(limits)
	sources, targets := map[int]bool{}, map[int]bool{}
	for _, m := range batch.Moves {
		r.slots[m.Slot].Action = codis.SlotAction{State: "pending", TargetID: m.To}
		sources[m.From], targets[m.To] = true, true
		if moved[m.Slot]++; moved[m.Slot] > 1 {
			t.Fatalf("slot %d moves again although nothing changed", m.Slot)
		}
	}
	for _, m := range slices.Concat(plan.Queued, plan.Running) {
		if targets[m.From] || sources[m.To] {
			t.Fatalf("%+v is under way, and the batch is %+v", m, batch.Moves)
		}
	}
	for group := range sources {
		if targets[group] {
			t.Fatalf("group %d is a source and a target of %+v", group, batch.Moves)
		}
	}
	for i := range r.slots {
		action := &r.slots[i].Action
		switch {
		case action.State == codis.ActionPending && r.IntN(2) == 0:
			action.State = "migrating"
		case action.State != "" && action.State != codis.ActionPending && r.IntN(2) == 0:
			r.slots[i].GroupID, *action = action.TargetID, codis.SlotAction{}
		}
	}
}
