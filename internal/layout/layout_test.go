// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/codis-io/codis-operator/internal/codis"
)

// ids returns n group ids that are neither dense nor sorted.
func ids(n int) []int {
	var groups []int
	for i := range n {
		groups = append(groups, (i*7919)%9973+1)
	}
	return groups
}

// stats is a dashboard whose slots have the given owners; all others have none.
func stats(owned Layout) *codis.Stats {
	s := &codis.Stats{Slots: make([]codis.SlotMapping, codis.Slots)}
	for id := range s.Slots {
		s.Slots[id].ID = id
	}
	for group, slots := range owned {
		for _, slot := range slots {
			s.Slots[slot].GroupID = group
		}
	}
	return s
}

func TestEvenSharesEverySlotOnceAndEvenly(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 7, 100, 511, 512, 1000, 1023, 1024} {
		groups := ids(n)
		shares := Even(groups)
		owners := map[int]int{}
		for group, slots := range shares {
			for _, slot := range slots {
				if other, taken := owners[slot]; taken {
					t.Fatalf("%d groups: slot %d belongs to %d and %d", n, slot, other, group)
				}
				owners[slot] = group
			}
			if len(slots) < codis.Slots/n || len(slots) > codis.Slots/n+1 {
				t.Errorf("%d groups: group %d owns %d slots", n, group, len(slots))
			}
		}
		if len(owners) != codis.Slots {
			t.Errorf("%d groups own %d slots", n, len(owners))
		}
		slices.Sort(groups)
		if diff := cmp.Diff(groups, shares.Groups()); diff != "" {
			t.Errorf("%d groups: %s", n, diff)
		}
	}
}

func TestEvenDependsOnNothingButTheGroups(t *testing.T) {
	given := []int{3, 1, 2, 1}
	if diff := cmp.Diff(Even([]int{1, 2, 3}), Even(given)); diff != "" {
		t.Errorf("order or repetition matters: %s", diff)
	}
	if diff := cmp.Diff([]int{3, 1, 2, 1}, given); diff != "" {
		t.Errorf("the argument was changed: %s", diff)
	}
	if got := Even(nil); len(got) != 0 {
		t.Errorf("no groups own %v", got)
	}
}

func TestEvenGivesContiguousRanges(t *testing.T) {
	want := map[int]string{1: "0-340", 2: "341-681", 3: "682-1023"}
	got := map[int]string{}
	for group, slots := range Even([]int{1, 2, 3}) {
		got[group] = Format(slots)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOf(t *testing.T) {
	moving := stats(Even([]int{1, 2}))
	moving.Slots[5].Action = codis.SlotAction{State: "pending", TargetID: 2}
	partial := Layout{1: {0, 1, 2}}
	tests := map[string]struct {
		stats *codis.Stats
		want  Layout
	}{
		"every slot owned":      {stats(Even([]int{1, 2})), Even([]int{1, 2})},
		"no slot owned":         {stats(nil), Layout{}},
		"some slots owned":      {stats(partial), partial},
		"a slot is on its way":  {moving, Even([]int{1, 2})},
		"one group owns it all": {stats(Even([]int{7})), Even([]int{7})},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Of(tt.stats)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	wanted := Layout{1: {0, 1}, 2: {2, 3}}
	moving := stats(nil)
	moving.Slots[1].Action.State = "pending"
	tests := map[string]struct {
		stats  *codis.Stats
		wanted Layout
		want   []codis.SlotMapping
	}{
		"nobody owns any": {stats(nil), wanted, []codis.SlotMapping{
			{ID: 0, GroupID: 1}, {ID: 1, GroupID: 1}, {ID: 2, GroupID: 2}, {ID: 3, GroupID: 2},
		}},
		"owned slots stay where they are": {stats(Layout{9: {0, 2}}), wanted, []codis.SlotMapping{
			{ID: 1, GroupID: 1}, {ID: 3, GroupID: 2},
		}},
		"a slot on its way stays": {moving, Layout{1: {0, 1}}, []codis.SlotMapping{{ID: 0, GroupID: 1}}},
		"nothing is wanted":       {stats(nil), nil, nil},
		"all is there":            {stats(wanted), wanted, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Missing(tt.stats, tt.wanted)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWithKeys(t *testing.T) {
	tests := map[string]struct {
		plan, keys Layout
		want       map[int]string
	}{
		"without keys the plan stays": {Even([]int{1, 2}), nil, map[int]string{1: "0-511", 2: "512-1023"}},
		"without any in a group, too": {Even([]int{1, 2}), Layout{1: nil, 2: {}}, map[int]string{1: "0-511", 2: "512-1023"}},
		"keys where they belong":      {Even([]int{1, 2}), Layout{1: {0, 511}, 2: {600}}, map[int]string{1: "0-511", 2: "512-1023"}},
		"keys of the other's slots": {
			Even([]int{1, 2}), Layout{1: {1023, 512}, 2: {5}}, map[int]string{1: "0-4,6-512,1023", 2: "5,513-1022"},
		},
		"a holder outside the plan": {
			Even([]int{1, 2}), Layout{9: {7, 700}}, map[int]string{1: "0-6,8-511", 2: "512-699,701-1023", 9: "7,700"},
		},
		"a group that is left without slots": {Even([]int{1, 2}), Layout{1: Even([]int{1, 2})[2]}, map[int]string{1: "0-1023"}},
		"no plan":                            {nil, Layout{3: {2, 1}}, map[int]string{3: "1-2"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before, err := tt.plan.WithKeys(nil)
			if err != nil {
				t.Fatal(err)
			}
			changed, err := tt.plan.WithKeys(tt.keys)
			if err != nil {
				t.Fatal(err)
			}
			got := map[int]string{}
			for group, slots := range changed {
				got[group] = Format(slots)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, tt.plan, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the plan itself was changed: %s", diff)
			}
		})
	}
}

func TestWithKeysFailsWhereTwoHoldASlot(t *testing.T) {
	got, err := Even([]int{1, 2}).WithKeys(Layout{1: {3, 8}, 7: {9, 8}, 2: {600}})
	if err == nil || got != nil {
		t.Fatalf("got %v", got)
	}
	if diff := cmp.Diff("groups 1 and 7 both hold keys of slot 8", err.Error()); diff != "" {
		t.Error(diff)
	}
}

// Whatever groups there are and whoever holds keys: every slot has exactly one
// owner, who holds its keys if anybody does, and else is who was planned.
func TestWithKeysLeavesEverySlotWithOneOwner(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		plan, keys, holder := Even(ids(1+random.IntN(20))), Layout{}, map[int]int{}
		density, holders := random.IntN(100), ids(1+random.IntN(30))
		for slot := range codis.Slots {
			if random.IntN(100) < density {
				group := holders[random.IntN(len(holders))]
				keys[group], holder[slot] = append(keys[group], slot), group
			}
		}
		changed, err := plan.WithKeys(keys)
		if err != nil {
			t.Fatal(err)
		}
		planned, owners := plan.owners(), map[int]int{}
		for group, slots := range changed {
			if !slices.IsSorted(slots) || len(slots) == 0 {
				t.Fatalf("group %d owns %v", group, slots)
			}
			for _, slot := range slots {
				if other, taken := owners[slot]; taken {
					t.Fatalf("slot %d belongs to %d and %d", slot, other, group)
				}
				owners[slot] = group
			}
		}
		for slot := range codis.Slots {
			want, held := holder[slot]
			if !held {
				want = planned[slot]
			}
			if owners[slot] != want {
				t.Fatalf("slot %d belongs to %d, want %d (held: %t)", slot, owners[slot], want, held)
			}
		}
	}
}

func TestFormat(t *testing.T) {
	tests := map[string][]int{
		"":                nil,
		"0":               {0},
		"0-1":             {1, 0},
		"0-2,5,1022-1023": {0, 1, 2, 5, 1023, 1022},
	}
	for want, slots := range tests {
		t.Run(want, func(t *testing.T) {
			if got := Format(slots); got != want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestParseRefusesWhatFormatDoesNotWrite(t *testing.T) {
	for _, text := range []string{",", "1,", "-", "-1", "1-", "5-4", "1024", "0-1024", "a", "1 2", "1-2-3", " 1", "99999999999999999999"} {
		t.Run(text, func(t *testing.T) {
			slots, err := Parse(text)
			if err == nil {
				t.Fatalf("got %v", slots)
			}
			if !strings.Contains(err.Error(), "0-1023") {
				t.Errorf("the error does not say what is wanted: %v", err)
			}
		})
	}
}

func TestParseReadsWhatFormatWrote(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var slots []int
		density := random.IntN(100)
		for slot := range codis.Slots {
			if random.IntN(100) < density {
				slots = append(slots, slot)
			}
		}
		got, err := Parse(Format(slots))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slots, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "0-511", "0-99,200", "7", "5-4", "1023", ",", "00-01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		slots, err := Parse(text)
		if err != nil {
			return
		}
		for _, slot := range slots {
			if slot < 0 || slot >= codis.Slots {
				t.Fatalf("%q has slot %d", text, slot)
			}
		}
		again, err := Parse(Format(slots))
		slices.Sort(slots)
		if err != nil || !cmp.Equal(slices.Compact(slots), slices.Compact(again), cmpopts.EquateEmpty()) {
			t.Errorf("%q reads as %v, written back as %v (%v)", text, slots, again, err)
		}
	})
}
