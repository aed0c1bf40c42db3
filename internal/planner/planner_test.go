// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/layout"
)

// owned is a product whose slots belong to groups.
func owned(l layout.Layout) []codis.SlotMapping {
	slots := make([]codis.SlotMapping, codis.Slots)
	for id := range slots {
		slots[id].ID = id
	}
	for group, ids := range l {
		for _, id := range ids {
			slots[id].GroupID = group
		}
	}
	return slots
}

// moving gives slots of a product an action.
func moving(slots []codis.SlotMapping, state string, to int, ids ...int) []codis.SlotMapping {
	slots = slices.Clone(slots)
	for i, id := range ids {
		slots[id].Action = codis.SlotAction{State: state, TargetID: to, Index: i + 1}
	}
	return slots
}

func groups(ids ...int) []Group {
	var list []Group
	for _, id := range ids {
		list = append(list, Group{ID: id})
	}
	return list
}

func drain(list []Group, ids ...int) []Group {
	for i := range list {
		list[i].Drain = slices.Contains(ids, list[i].ID)
	}
	return list
}

// summary tells how many slots move between which groups.
func summary(moves []Move) map[string]int {
	sum := map[string]int{}
	for _, m := range moves {
		sum[fmt.Sprintf("%d>%d", m.From, m.To)]++
	}
	return sum
}

func TestBySlots(t *testing.T) {
	two, four := owned(layout.Even([]int{1, 2})), owned(layout.Even([]int{1, 2, 3, 4}))
	tests := map[string]struct {
		slots    []codis.SlotMapping
		groups   []Group
		moves    map[string]int
		queued   map[string]int
		running  map[string]int
		cancel   map[string]int
		stranded int
	}{
		"balanced groups stay as they are": {slots: two, groups: groups(1, 2)},
		"shares that differ by one are balanced": {
			slots: owned(layout.Even([]int{1, 2, 3})), groups: groups(1, 2, 3),
		},
		"one group joins": {slots: two, groups: groups(1, 2, 3), moves: map[string]int{"1>3": 170, "2>3": 171}},
		"two groups join": {
			slots: two, groups: groups(1, 2, 3, 4), moves: map[string]int{"1>3": 256, "2>4": 256},
		},
		"a group is drained": {
			slots: four, groups: drain(groups(1, 2, 3, 4), 4), moves: map[string]int{"4>1": 86, "4>2": 85, "4>3": 85},
		},
		"two groups are drained": {
			slots: four, groups: drain(groups(1, 2, 3, 4), 3, 4),
			moves: map[string]int{"3>1": 256, "4>2": 256},
		},
		"one joins and one is drained: nobody else moves": {
			slots: two, groups: drain(groups(1, 2, 3), 2), moves: map[string]int{"2>3": 512},
		},
		"nobody is left to take the slots": {
			slots: two, groups: drain(groups(1, 2), 1, 2), stranded: 1024,
		},
		"a drained group without slots": {slots: two, groups: drain(groups(1, 2, 3), 3)},
		"a group that is not named keeps its slots": {
			slots: four, groups: groups(1, 2), moves: nil,
		},
		"no groups": {slots: two},
		"a slot that is under way counts where it goes": {
			slots: moving(two, "migrating", 3, 511), groups: groups(1, 2, 3),
			moves: map[string]int{"1>3": 169, "2>3": 171}, running: map[string]int{"1>3": 1},
		},
		"pending moves that fit stay": {
			slots: moving(two, "pending", 3, 0, 1), groups: groups(1, 2, 3),
			moves: map[string]int{"1>3": 168, "2>3": 171}, queued: map[string]int{"1>3": 2},
		},
		"pending moves to a group that is drained now are cancelled": {
			slots: moving(two, "pending", 2, 0, 1), groups: drain(groups(1, 2), 2),
			moves: map[string]int{"2>1": 512}, cancel: map[string]int{"1>2": 2},
		},
		"pending moves from a group that is no longer drained are cancelled": {
			slots: moving(two, "pending", 1, 600, 601), groups: groups(1, 2), cancel: map[string]int{"2>1": 2},
		},
		"what is pending beyond the share of its target is cancelled": {
			slots:  moving(owned(layout.Layout{1: layout.Even([]int{1})[1][:514], 2: layout.Even([]int{1})[1][514:]}), "pending", 2, 0, 1, 2, 3),
			groups: groups(1, 2), queued: map[string]int{"1>2": 2}, cancel: map[string]int{"1>2": 2},
		},
		"moves of groups that are not named are left alone": {
			slots: moving(two, "pending", 9, 0), groups: groups(1, 2), running: map[string]int{"1>9": 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan := BySlots(tt.slots, tt.groups)
			for part, pair := range map[string][2]map[string]int{
				"moves": {tt.moves, summary(plan.Moves)}, "queued": {tt.queued, summary(plan.Queued)},
				"running": {tt.running, summary(plan.Running)}, "cancel": {tt.cancel, summary(plan.Cancel)},
			} {
				if !maps.Equal(pair[0], pair[1]) {
					t.Errorf("%s: %s", part, cmp.Diff(pair[0], pair[1]))
				}
			}
			if plan.Stranded != tt.stranded {
				t.Errorf("%d slots are stranded, want %d", plan.Stranded, tt.stranded)
			}
			if want := len(plan.Moves) + len(plan.Queued) + len(plan.Running); plan.Left() != want {
				t.Errorf("%d moves are left, want %d", plan.Left(), want)
			}
		})
	}
}

func TestMovesOfAPairAreNeighbours(t *testing.T) {
	plan := BySlots(owned(layout.Even([]int{1, 2})), groups(1, 2, 3, 4))
	var got []string
	for i := 0; i < 4*run; i += run {
		var ids []int
		for _, m := range plan.Moves[i : i+run] {
			ids = append(ids, m.Slot)
		}
		if !slices.IsSorted(ids) {
			t.Errorf("%v is not sorted", ids)
		}
		got = append(got, fmt.Sprintf("%d>%d %s", plan.Moves[i].From, plan.Moves[i].To, layout.Format(ids)))
	}
	want := []string{"1>3 496-511", "2>4 1008-1023", "1>3 480-495", "2>4 992-1007"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSlotsOfDrainedGroupsGoFirst(t *testing.T) {
	l := layout.Layout{}
	for slot := range codis.Slots {
		l[[]int{1, 1, 1, 2}[slot%4]] = append(l[[]int{1, 1, 1, 2}[slot%4]], slot)
	}
	// One target: whoever gives first has it for itself.
	plan := BySlots(owned(l), drain(groups(1, 2, 3), 2))
	for i, m := range plan.Moves {
		if want := []int{1, 2}[min(1, 256/(i+1))]; m.From != want {
			t.Fatalf("move %d is %+v, want one from group %d", i, m, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"1>3": 256, "2>3": 256}, summary(plan.Moves)); diff != "" {
		t.Error(diff)
	}
}

func TestByMemory(t *testing.T) {
	const gib = 1 << 30
	two := owned(layout.Even([]int{1, 2}))
	used := func(list []Group, bytes ...int64) []Group {
		for i := range list {
			list[i].Bytes = bytes[i]
		}
		return list
	}
	tests := map[string]struct {
		slots  []codis.SlotMapping
		groups []Group
		moves  map[string]int
	}{
		"groups that use the same stay":       {two, used(groups(1, 2), gib, gib), nil},
		"groups within a tenth stay":          {two, used(groups(1, 2), 109*gib, 91*gib), nil},
		"the bigger one gives to the smaller": {two, used(groups(1, 2), 3*gib, gib), map[string]int{"1>2": 171}},
		"a group joins that uses nothing": {
			two, used(groups(1, 2, 3), 3*gib, 3*gib, 1<<20), map[string]int{"1>3": 171, "2>3": 170},
		},
		"a group joins groups of different sizes: the big one gives": {
			two, used(groups(1, 2, 3), 4*gib, 2*gib, 0), map[string]int{"1>3": 256},
		},
		"a drained group gives all to the least used": {
			owned(layout.Layout{1: layout.Even([]int{1})[1][:500], 2: layout.Even([]int{1})[1][500:1000], 3: layout.Even([]int{1})[1][1000:]}),
			drain(used(groups(1, 2, 3), 11*gib, 10*gib, gib/2), 3),
			map[string]int{"3>2": 24},
		},
		"hardly any data: slots count": {two, used(groups(1, 2, 3), 4<<20, 2<<20, 1<<20), map[string]int{"1>3": 170, "2>3": 171}},
		"nobody is left":               {two, drain(used(groups(1, 2), gib, gib), 1, 2), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := summary(ByMemory(tt.slots, tt.groups).Moves); !maps.Equal(tt.moves, got) {
				t.Error(cmp.Diff(tt.moves, got))
			}
		})
	}
}
