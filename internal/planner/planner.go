// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package planner plans which slots move from which group to which other. It is
// pure: it compares who owns what with who should, and refuses to carry anything
// out. Nothing is remembered between two plans: made again after any part of a
// plan was carried out, it is what was left of the first.
package planner

import (
	"cmp"
	"slices"

	"github.com/codis-io/codis-operator/internal/codis"
)

// run is how many slots of a source go to one target before the next pair is
// looked at. Neighbours move together, so that layouts stay short, and one call
// to the dashboard queues all of them.
const run = 16

// leastMemory is the mean, in bytes, below which the memory of groups says more of
// their buffers than of their data.
const leastMemory = 64 << 20

// tolerance is the part of the mean, as a divisor, by which the memory of a group
// may differ before slots move: it is an estimate, and changes all the time.
const tolerance = 10

// Group is a group that gives or takes slots. A group that is not named keeps
// what it has and gets nothing.
type Group struct {
	ID int
	// Drain tells that all its slots shall go to others.
	Drain bool
	// Bytes that its master uses. Only compared when the plan is by memory.
	Bytes int64
}

// Move is a slot that changes its group.
type Move struct {
	Slot, From, To int
}

// Plan is how a layout becomes balanced.
type Plan struct {
	// Moves that are still to be queued, in the order in which they should be.
	Moves []Move
	// Queued moves are pending in the dashboard and part of the plan.
	Queued []Move
	// Running moves have begun and can only go to their end.
	Running []Move
	// Cancel are pending moves that would make others necessary.
	Cancel []Move
	// Stranded counts slots of groups to be drained while no group is left to take them.
	Stranded int
}

// Left counts the moves that are not over.
func (p Plan) Left() int { return len(p.Moves) + len(p.Queued) + len(p.Running) }

// BySlots plans the fewest moves after which the groups own the same number of
// slots, but for one, and groups to be drained none. A slot whose move has begun
// counts where it goes; one whose move is pending stays pending if that fits.
func BySlots(slots []codis.SlotMapping, groups []Group) Plan {
	p := newDraft(slots, groups, false)
	staying, total := p.staying(), 0
	for _, s := range p.shares {
		total += s.count
	}
	if len(staying) == 0 {
		return p.plan()
	}
	quota, rest := total/len(staying), total%len(staying)
	// Who gets the rest: groups that own more already, by id. A group that has
	// what it should is not asked again, so that the choice holds till the end.
	slices.SortFunc(staying, func(a, b *share) int {
		return cmp.Or(compareBool(a.count > quota, b.count > quota), cmp.Compare(a.ID, b.ID))
	})
	for i, s := range staying {
		want := quota
		if i < rest {
			want++
		}
		s.give, s.room = min(max(0, s.count-want), s.mayGive()), int64(max(0, want-s.count))
	}
	return p.plan()
}

// ByMemory plans moves after which the groups use about the same memory. The
// slots of a group count as equal shares of what its master uses. Nothing moves
// while every group is within a tenth of the mean, but from groups to be drained.
// While there is hardly any data it plans by slots.
func ByMemory(slots []codis.SlotMapping, groups []Group) Plan {
	p := newDraft(slots, groups, true)
	staying, total := p.staying(), int64(0)
	for _, s := range p.shares {
		total += s.load
	}
	if len(staying) == 0 {
		return p.plan()
	}
	mean := total / int64(len(staying))
	if mean < leastMemory {
		return BySlots(slots, groups)
	}
	balanced := true
	for _, s := range staying {
		balanced = balanced && max(s.load-mean, mean-s.load) <= max(mean/tolerance, s.size)
	}
	for _, s := range staying {
		s.room = max(0, mean-s.load)
		if !balanced && s.load > mean {
			s.give = min(s.mayGive(), int((s.load-mean+s.size/2)/s.size))
		}
	}
	return p.plan()
}

// compareBool puts true first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// share is what a group has, and what it shall give or take.
type share struct {
	Group
	// slots that may be moved, the one to leave next last.
	slots []int
	// count of slots with those that come, load that they are, and size of one.
	count      int
	load, size int64
	// pending counts those of them whose move has not begun.
	pending int
	// give is how many slots shall leave, room the load that shall come.
	give int
	room int64
}

// mayGive counts the slots that can leave; those that come cannot yet.
func (s *share) mayGive() int { return len(s.slots) + s.pending }

// draft is a plan that is being made.
type draft struct {
	shares   []*share
	byID     map[int]*share
	byMemory bool
	pending  []codis.SlotMapping
	result   Plan
}

func newDraft(slots []codis.SlotMapping, groups []Group, byMemory bool) *draft {
	d := &draft{byID: make(map[int]*share, len(groups)), byMemory: byMemory}
	for _, g := range groups {
		if d.byID[g.ID] == nil {
			s := &share{Group: g, size: 1}
			d.shares, d.byID[g.ID] = append(d.shares, s), s
		}
	}
	slices.SortFunc(d.shares, func(a, b *share) int { return cmp.Compare(a.ID, b.ID) })
	if byMemory {
		d.measure(slots)
	}
	for _, slot := range slots {
		d.place(slot)
	}
	slices.SortStableFunc(d.pending, func(a, b codis.SlotMapping) int {
		return cmp.Compare(a.Action.Index, b.Action.Index)
	})
	return d
}

// measure estimates what a slot of each group is.
func (d *draft) measure(slots []codis.SlotMapping) {
	owned := make(map[int]int64, len(d.shares))
	for _, slot := range slots {
		owned[slot.GroupID]++
	}
	for _, s := range d.shares {
		s.size = max(1, s.Bytes/max(1, owned[s.ID]))
	}
}

// place counts a slot where it is, or where it goes if that cannot be changed.
func (d *draft) place(slot codis.SlotMapping) {
	from, to := d.byID[slot.GroupID], d.byID[slot.Action.TargetID]
	size := int64(1)
	if from != nil {
		size = from.size
	}
	switch {
	case slot.Action.State == "":
		if from != nil {
			from.slots = append(from.slots, slot.ID)
			from.add(size)
		}
	case slot.Action.State == codis.ActionPending && from != nil && to != nil:
		d.pending = append(d.pending, slot)
		from.pending++
		from.add(size)
	default: // Begun, or from or to a group that is not ours to plan for.
		d.result.Running = append(d.result.Running, Move{slot.ID, slot.GroupID, slot.Action.TargetID})
		if to != nil {
			to.add(size)
		}
	}
}

func (s *share) add(size int64) {
	s.count++
	s.load += size
}

// staying returns the groups that keep slots, and makes all others give theirs.
func (d *draft) staying() []*share {
	var staying []*share
	for _, s := range d.shares {
		if s.Drain {
			s.give = s.mayGive()
		} else {
			staying = append(staying, s)
		}
	}
	if len(staying) == 0 {
		for _, s := range d.shares {
			d.result.Stranded, s.give = d.result.Stranded+s.count, 0
		}
	}
	return staying
}

// plan decides on pending moves, and pairs those who give with those who take.
func (d *draft) plan() Plan {
	for _, slot := range d.pending {
		from, to := d.byID[slot.GroupID], d.byID[slot.Action.TargetID]
		move := Move{slot.ID, slot.GroupID, slot.Action.TargetID}
		if from != to && from.give > 0 && d.takes(to, from) {
			from.give--
			to.room -= from.size
			d.result.Queued = append(d.result.Queued, move)
		} else {
			d.result.Cancel = append(d.result.Cancel, move)
			from.slots = append(from.slots, slot.ID)
		}
	}
	givers := newQueue(d.shares, func(s *share) bool { return s.give > 0 }, func(a, b *share) int {
		return cmp.Or(compareBool(a.Drain, b.Drain), cmp.Compare(b.give, a.give), cmp.Compare(a.ID, b.ID))
	})
	takers := newQueue(d.shares, d.mayTake, func(a, b *share) int {
		return cmp.Or(cmp.Compare(b.room, a.room), cmp.Compare(a.ID, b.ID))
	})
	for _, s := range d.shares {
		slices.Sort(s.slots)
	}
	for givers.Len() > 0 && d.round(givers, takers) {
	}
	return d.result
}

// mayTake tells whether a group may get slots at all: never one that gives some.
func (d *draft) mayTake(s *share) bool {
	return !s.Drain && s.give == 0 && (s.room > 0 || d.byMemory)
}

// takes tells whether a group takes a slot of another: one that brings it closer
// to its share.
func (d *draft) takes(to, from *share) bool { return d.mayTake(to) && 2*to.room > from.size }

// round pairs the groups that give most with those that take most, each once,
// and tells whether anything moves.
func (d *draft) round(givers, takers *queue) bool {
	var from, to []*share
	for givers.Len() > 0 && takers.Len() > 0 {
		from, to = append(from, givers.next()), append(to, takers.next())
	}
	moved := false
	for i := range from {
		moved = d.pair(from[i], to[i]) || moved
	}
	for i := range from {
		if from[i].give > 0 {
			givers.put(from[i])
		}
		takers.put(to[i])
	}
	return moved
}

// pair moves some slots from one group to another: the highest first, as Codis does.
func (d *draft) pair(from, to *share) bool {
	first := len(d.result.Moves)
	// The slots of a group that is drained have to go somewhere, but not all to one.
	must := from.Drain && d.byMemory && d.mayTake(to)
	for n := 0; n < run && from.give > 0 && (d.takes(to, from) || must); n++ {
		must = false
		last := len(from.slots) - 1
		d.result.Moves = append(d.result.Moves, Move{from.slots[last], from.ID, to.ID})
		from.slots = from.slots[:last]
		from.give--
		to.room -= from.size
	}
	slices.Reverse(d.result.Moves[first:])
	return len(d.result.Moves) > first
}
