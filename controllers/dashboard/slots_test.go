// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/layout"
)

// stats is a dashboard that knows groups with one server each, and owners.
func stats(owned layout.Layout, groups ...int) *codis.Stats {
	s := &codis.Stats{Slots: make([]codis.SlotMapping, codis.Slots)}
	for id := range s.Slots {
		s.Slots[id].ID = id
	}
	for group, slots := range owned {
		for _, slot := range slots {
			s.Slots[slot].GroupID = group
		}
	}
	for _, id := range groups {
		s.Group.Models = append(s.Group.Models, codis.Group{ID: id, Servers: []codis.GroupServer{{Addr: fmt.Sprintf("g-%d:6379", id)}}})
	}
	return s
}

// ready is the view of groups that may get slots.
func ready(ids ...int) []groupView {
	var views []groupView
	for _, id := range ids {
		views = append(views, groupView{id: id, inSync: true})
	}
	return views
}

// shares writes who gets which slots.
func shares(slots []codis.SlotMapping) string { return describe(slots) }

func TestDecideAssignment(t *testing.T) {
	const evenly = "0-511 to group 1; 512-1023 to group 2"
	emptyGroup := stats(nil, 1)
	emptyGroup.Group.Models = append(emptyGroup.Group.Models, codis.Group{ID: 2})
	onTheWay := stats(nil, 1, 2)
	onTheWay.Slots[0].Action = codis.SlotAction{State: "pending", TargetID: 2}
	half := layout.Layout{1: layout.Even([]int{1, 2})[1][:100]}
	tests := map[string]struct {
		stats    *codis.Stats
		recorded layout.Layout
		initial  []int
		groups   []groupView
		assigns  string
		restored bool
		waiting  string
	}{
		"every slot has an owner": {stats: stats(layout.Even([]int{1}), 1, 2), initial: []int{1, 2}, groups: ready(1, 2)},
		"the groups that are named share the slots": {
			stats: stats(nil, 1, 2), initial: []int{1, 2}, groups: ready(1, 2), assigns: evenly,
		},
		"the order in which they are named does not matter": {
			stats: stats(nil, 1, 2), initial: []int{2, 1}, groups: ready(2, 1), assigns: evenly,
		},
		"groups that are not named get none": {
			stats: stats(nil, 1, 2, 3), initial: []int{1, 2}, groups: ready(1, 2, 3), assigns: evenly,
		},
		"all groups share the slots where none is named": {stats: stats(nil, 1, 2), groups: ready(2, 1), assigns: evenly},
		"a group that is being deleted gets none": {
			stats: stats(nil, 1, 2, 3), groups: append(ready(1, 2), groupView{id: 3, inSync: true, leaving: true}), assigns: evenly,
		},
		"waits for any group":             {stats: stats(nil), waiting: "waiting for a CodisGroup that refers to this dashboard"},
		"waits for a group that is named": {stats: stats(nil, 1), initial: []int{1, 2}, groups: ready(1), waiting: "group 2"},
		"waits for a group to be in sync": {stats: stats(nil, 1, 2), groups: []groupView{{id: 1}, {id: 2, inSync: true}}, waiting: "group 1"},
		"waits for a group to have a server": {
			stats: emptyGroup, groups: ready(1, 2), waiting: "waiting for group 2 to be registered and in sync",
		},
		"waits for a group that is named and being deleted": {
			stats: stats(nil, 1, 2), initial: []int{1, 2}, groups: append(ready(1), groupView{id: 2, inSync: true, leaving: true}),
			waiting: "group 2",
		},
		"completes what was assigned in part, by the same plan": {
			stats: stats(half, 1, 2), initial: []int{1, 2}, groups: ready(1, 2),
			assigns: "100-511 to group 1; 512-1023 to group 2",
		},
		"leaves a slot on its way alone": {
			stats: onTheWay, groups: ready(1, 2), assigns: "1-511 to group 1; 512-1023 to group 2",
		},
		"puts the recorded layout back": {
			stats: stats(nil, 1, 2), recorded: layout.Layout{1: layout.Even([]int{1, 2})[2], 2: layout.Even([]int{1, 2})[1]},
			initial: []int{1, 2}, groups: ready(1, 2), assigns: "512-1023 to group 1; 0-511 to group 2", restored: true,
		},
		"puts it back before replicas are in sync": {
			stats: stats(nil, 1, 2), recorded: layout.Even([]int{1, 2}), groups: []groupView{{id: 1}, {id: 2}},
			assigns: evenly, restored: true,
		},
		"puts back what is missing": {
			stats: stats(half, 1, 2), recorded: layout.Even([]int{1, 2}), assigns: "100-511 to group 1; 512-1023 to group 2", restored: true,
		},
		"gives a new group nothing of what is recorded": {
			stats: stats(nil, 1, 2, 3), recorded: layout.Even([]int{1, 2}), groups: ready(1, 2, 3), assigns: evenly, restored: true,
		},
		"waits for a recorded group to be back": {
			stats: stats(nil, 1), recorded: layout.Even([]int{1, 2}), groups: ready(1, 2),
			waiting: "waiting for group 2 to be registered again, to give it back its slots",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := decideAssignment(tt.stats, tt.recorded, false, tt.initial, tt.groups)
			if diff := cmp.Diff(tt.assigns, shares(got.slots)); diff != "" {
				t.Error(diff)
			}
			if got.restored != tt.restored || (got.waiting == "") != (tt.waiting == "") || !strings.Contains(got.waiting, tt.waiting) {
				t.Errorf("restored %t, waiting %q", got.restored, got.waiting)
			}
		})
	}
}

// withKeys is the view of groups that may get slots, of which some hold keys.
func withKeys(keys map[int]string, ids ...int) []groupView {
	views := ready(ids...)
	for i := range views {
		views[i].keySlots = keys[views[i].id]
	}
	return views
}

func TestFirstLayoutFollowsKeys(t *testing.T) {
	tests := map[string]struct {
		stats    *codis.Stats
		recorded layout.Layout
		initial  []int
		groups   []groupView
		assigns  string
		waiting  string
	}{
		"each group gets the slots whose keys it has": {
			stats: stats(nil, 1, 2), groups: withKeys(map[int]string{1: "600-601", 2: "0,700"}, 1, 2),
			assigns: "1-511,600-601 to group 1; 0,512-599,602-1023 to group 2",
		},
		"a group that is not named gets those, and no more": {
			stats: stats(nil, 1, 2, 3), initial: []int{1, 2}, groups: withKeys(map[int]string{3: "7-8"}, 1, 2, 3),
			assigns: "0-6,9-511 to group 1; 512-1023 to group 2; 7-8 to group 3",
		},
		"a group whose keys nobody could look at is waited for": {
			stats: stats(nil, 1, 2), groups: withKeys(map[int]string{2: "unknown"}, 1, 2),
			waiting: "waiting for group 2, which has keys, to tell of which slots",
		},
		"one that is not named, too": {
			stats: stats(nil, 1, 2), initial: []int{1}, groups: withKeys(map[int]string{1: "5", 2: "unknown"}, 1, 2),
			waiting: "waiting for group 2, which has keys, to tell of which slots",
		},
		"a group with keys that has no server yet is waited for": {
			stats: stats(nil, 1, 2), initial: []int{1, 2}, groups: withKeys(map[int]string{3: "7"}, 1, 2, 3),
			waiting: "waiting for group 3, which has keys, to tell of which slots",
		},
		"one without keys that has no server yet is not": {
			stats: stats(nil, 1), initial: []int{1}, groups: withKeys(nil, 1, 3), assigns: "0-1023 to group 1",
		},
		"two groups with keys of a slot need a person": {
			stats: stats(nil, 1, 2), groups: withKeys(map[int]string{1: "5-9", 2: "9-12"}, 1, 2),
			waiting: "groups 1 and 2 both hold keys of slot 9, from an earlier layout that is lost, and only one can own it: " +
				"remove the copy that is not wanted (SLOTSDEL on that master)",
		},
		"a layout that was begun goes on as planned": {
			stats: stats(layout.Layout{1: {0}}, 1, 2), groups: withKeys(map[int]string{1: "0,600", 2: "0,3"}, 1, 2),
			assigns: "1-2,4-511,600 to group 1; 3,512-599,601-1023 to group 2",
		},
		"a recorded layout knows better": {
			stats: stats(nil, 1, 2), recorded: layout.Even([]int{1, 2}), groups: withKeys(map[int]string{1: "600", 2: "unknown"}, 1, 2),
			assigns: "0-511 to group 1; 512-1023 to group 2",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := decideAssignment(tt.stats, tt.recorded, false, tt.initial, tt.groups)
			if diff := cmp.Diff(tt.assigns, shares(got.slots)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.waiting, got.waiting); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// situation is a random dashboard and what is known of its groups.
type situation struct {
	stats    *codis.Stats
	recorded layout.Layout
	initial  []int
	groups   []groupView
}

func (s situation) decide() assignment {
	return decideAssignment(s.stats, s.recorded, false, slices.Clone(s.initial), s.groups)
}

func randomSituation(random *rand.Rand) situation {
	chance := func(percent int) bool { return random.IntN(100) < percent }
	s := situation{stats: stats(nil)}
	owned, moving := random.IntN(101), random.IntN(10)
	for i := range s.stats.Slots {
		if chance(owned) {
			s.stats.Slots[i].GroupID = 1 + random.IntN(4)
		}
		if chance(moving) {
			s.stats.Slots[i].Action = codis.SlotAction{State: "pending", TargetID: 1 + random.IntN(4)}
		}
	}
	var recorded []int
	for id := 1; id <= 4; id++ {
		if chance(80) {
			s.stats.Group.Models = append(s.stats.Group.Models, stats(nil, id).Group.Models...)
		}
		if chance(80) {
			s.groups = append(s.groups, groupView{id: id, inSync: chance(90), leaving: chance(5)})
		}
		if chance(40) {
			s.initial = append(s.initial, id)
		}
		if chance(60) {
			recorded = append(recorded, id)
		}
	}
	if chance(40) {
		s.recorded = layout.Even(recorded)
	}
	return s
}

// mayOwn tells whether a group may be given slots.
func (s situation) mayOwn(id int) bool {
	if !hasServer(s.stats, id) {
		return false
	}
	return len(s.recorded[id]) > 0 ||
		slices.ContainsFunc(s.groups, func(g groupView) bool { return g.id == id && g.inSync && !g.leaving })
}

func TestInvariant3OnlySlotsWithoutOwnerAreAssigned(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	planned := 0
	for range 2000 {
		s := randomSituation(random)
		plan := s.decide()
		if len(plan.slots) > 0 {
			planned++
		}
		for i, slot := range plan.slots {
			was := s.stats.Slots[slot.ID]
			switch {
			case was.GroupID != 0 || was.Action.State != "":
				t.Fatalf("slot %+v is assigned to %d", was, slot.GroupID)
			case !s.mayOwn(slot.GroupID):
				t.Fatalf("group %d is given slots: %+v", slot.GroupID, s.groups)
			case i > 0 && slot.ID <= plan.slots[i-1].ID:
				t.Fatalf("slot %d comes after %d", slot.ID, plan.slots[i-1].ID)
			case slot.Action != codis.SlotAction{}:
				t.Fatalf("slot %d gets an action", slot.ID)
			}
		}
		if len(plan.slots) > 0 && plan.waiting != "" {
			t.Fatalf("assigns and waits: %s", plan.waiting)
		}
	}
	if planned < 100 {
		t.Errorf("only %d situations led to a plan: this test shows little", planned)
	}
}

// The dashboard may crash anywhere within the one call that assigns.
func TestInvariant8AssignmentThatStoppedMidwayGoesOnAsPlanned(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		s := randomSituation(random)
		plan := s.decide()
		if len(plan.slots) == 0 {
			continue
		}
		done := random.IntN(len(plan.slots) + 1)
		for _, slot := range plan.slots[:done] {
			s.stats.Slots[slot.ID] = slot
		}
		rest := plan.slots[done:]
		if len(rest) == 0 {
			rest = nil
		}
		if diff := cmp.Diff(rest, s.decide().slots); diff != "" {
			t.Fatalf("after %d of %d slots: %s", done, len(plan.slots), diff)
		}
	}
}

func TestReportSlots(t *testing.T) {
	record := []v1alpha1.GroupSlots{{Group: 1, Slots: "0-511"}, {Group: 2, Slots: "512-1023"}}
	moving := stats(layout.Even([]int{1, 2}))
	moving.Slots[7].Action.State = "migrating"
	tests := map[string]struct {
		stats  *codis.Stats
		before []v1alpha1.GroupSlots
		counts *v1alpha1.SlotCounts
		layout []v1alpha1.GroupSlots
	}{
		"an unknown dashboard leaves the record": {nil, record, nil, record},
		"an emptied store leaves the record":     {stats(nil), record, &v1alpha1.SlotCounts{Offline: 1024}, record},
		"a layout in part leaves the record": {
			stats(layout.Layout{3: {0, 1}}), record, &v1alpha1.SlotCounts{Assigned: 2, Offline: 1022}, record,
		},
		"a slot on its way belongs to the group that it leaves": {
			moving, record[:1], &v1alpha1.SlotCounts{Assigned: 1024, Migrating: 1}, record,
		},
		"a whole layout is recorded": {stats(layout.Even([]int{2, 1})), nil, &v1alpha1.SlotCounts{Assigned: 1024}, record},
		"another layout replaces the record": {
			stats(layout.Even([]int{7})), record, &v1alpha1.SlotCounts{Assigned: 1024}, []v1alpha1.GroupSlots{{Group: 7, Slots: "0-1023"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &state{stats: tt.stats, dashboard: &v1alpha1.CodisDashboard{}}
			s.dashboard.Status.Layout = tt.before
			reportSlots(s, time.Unix(0, 0))
			if diff := cmp.Diff(tt.counts, s.dashboard.Status.Slots); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.layout, s.dashboard.Status.Layout); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRecordIsReadBack(t *testing.T) {
	s := &state{stats: stats(layout.Even([]int{1, 2, 3})), dashboard: &v1alpha1.CodisDashboard{}}
	reportSlots(s, time.Unix(0, 0))
	got, err := recordedLayout(&s.dashboard.Status)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(layout.Even([]int{1, 2, 3}), got); diff != "" {
		t.Error(diff)
	}
	s.dashboard.Status.Layout[0].Slots = "0-5000"
	if _, err := recordedLayout(&s.dashboard.Status); err == nil || !strings.Contains(err.Error(), "status.layout") {
		t.Errorf("a spoiled record is read: %v", err)
	}
}
