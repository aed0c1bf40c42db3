// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"testing"
)

// plan asks for a rebalance and returns slot -> group.
func (d *dashboard) plan(confirm int) map[int]int {
	d.t.Helper()
	r := d.put("slots/rebalance", confirm)
	if r.status != http.StatusOK {
		d.t.Fatalf("rebalance: %s", r.cause())
	}
	var doc map[string]int
	if err := json.Unmarshal(r.body, &doc); err != nil {
		d.t.Fatal(err)
	}
	moves := map[int]int{}
	for sid, gid := range doc {
		n, err := strconv.Atoi(sid)
		if err != nil {
			d.t.Fatal(err)
		}
		moves[n] = gid
	}
	return moves
}

// span adds beg..end -> gid to a plan.
func span(plan map[int]int, beg, end, gid int) map[int]int {
	for sid := beg; sid <= end; sid++ {
		plan[sid] = gid
	}
	return plan
}

func TestRebalanceOfOfflineSlotsGivesLowSlotsToLowGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.refused("no valid group could be found", "slots/rebalance", 0)
	d.ok("group/create", 5)
	d.refused("no valid group could be found", "slots/rebalance", 0)
	d.newGroup(1, w.server(1))
	d.newGroup(2, w.server(2))
	want := span(span(map[int]int{}, 0, 511, 1), 512, 1023, 2)
	if got := d.plan(0); !maps.Equal(got, want) {
		t.Errorf("plan of %d moves: %v", len(got), got)
	}
	if n := d.stats().busy(); n != 0 {
		t.Errorf("a mere plan made %d actions", n)
	}
}

// The highest slots leave a group first, and of what leaves the lowest goes to the lowest group.
func TestRebalanceFromTwoGroupsToThree(t *testing.T) {
	t.Parallel()
	w, d := pairOfGroups(t)
	d.mustAssign(0, 511, 1)
	d.mustAssign(512, 1023, 2)
	if got := d.plan(0); len(got) != 0 {
		t.Errorf("a balanced product has the plan %v", got)
	}
	d.newGroup(3, w.server(3))
	d.ok("slots/action/disabled", 1)
	want := span(span(map[int]int{}, 342, 511, 3), 853, 1023, 3)
	if got := d.plan(1); !maps.Equal(got, want) {
		t.Errorf("plan of %d moves: %v", len(got), got)
	}
	stats := d.stats()
	if got := stats.busy(); got != len(want) {
		t.Errorf("%d actions for %d moves", got, len(want))
	}
	if got := stats.Slots[342].Action; got != (action{Index: 1, State: "pending", TargetID: 3}) {
		t.Errorf("the first action is %+v", got)
	}
	// Slots that have an action count where they go: there is nothing left to plan.
	if got := d.plan(0); len(got) != 0 {
		t.Errorf("the second plan is %v", got)
	}
}

func TestRebalanceCountsSlotsAndCannotDrain(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.mustAssign(0, 1023, 1)
	if got, want := d.plan(0), span(map[int]int{}, 512, 1023, 2); !maps.Equal(got, want) {
		t.Errorf("plan of %d moves: %v", len(got), got)
	}
	d.ok("slots/action/disabled", 1)
	d.ok("slots/action/create-range", 0, 99, 2)
	if got, want := d.plan(0), span(map[int]int{}, 612, 1023, 2); !maps.Equal(got, want) {
		t.Errorf("plan of %d moves: %v", len(got), got)
	}
}
