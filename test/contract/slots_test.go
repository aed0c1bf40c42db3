// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// pairOfGroups is a dashboard with two groups of one server each, and all slots offline.
func pairOfGroups(t *testing.T) (*world, *dashboard) {
	t.Helper()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, w.server(1))
	d.newGroup(2, w.server(2))
	return w, d
}

func (d *dashboard) offline(mappings []slotMapping) reply {
	d.t.Helper()
	return d.send(http.MethodPut, d.path("slots/assign")+"/offline", mappings)
}

func requireSlot(t *testing.T, d *dashboard, want slotMapping) {
	t.Helper()
	if got := d.stats().Slots[want.ID]; got != want {
		t.Errorf("slot is %+v, want %+v", got, want)
	}
}

// Assigning says where slots are. Actions on them are gone without a word; nothing else changes.
func TestAssignDropsTheActionsOfItsSlotsAndNothingElse(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.mustAssign(0, 9, 1)
	d.ok("slots/action/disabled", 1)
	d.ok("slots/action/create-range", 3, 4, 2)
	d.mustAssign(3, 3, 1)
	requireSlot(t, d, slotMapping{ID: 3, GroupID: 1})
	requireSlot(t, d, slotMapping{ID: 4, GroupID: 1, Action: action{Index: 2, State: "pending", TargetID: 2}})
	requireSlot(t, d, slotMapping{ID: 5, GroupID: 1})
	requireSlot(t, d, slotMapping{ID: 10})
	if got := d.stats().owners(); got[1] != 10 || got[0] != slotCount-10 {
		t.Errorf("owners are %v", got)
	}
}

func TestAssignOfAMalformedBodyIsOKAndDoesNothing(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.mustAssign(0, 0, 1)
	for _, body := range []any{nil, "", "{not json", `{"id": 0, "group_id": 2}`, `[]`, `null`} {
		if r := d.send(http.MethodPut, d.path("slots/assign"), body); !r.isOK() {
			t.Errorf("%v: %s", body, r.cause())
		}
	}
	requireSlot(t, d, slotMapping{ID: 0, GroupID: 1})
}

func TestAssignRefusals(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.ok("group/create", 3)
	d.mustAssign(0, 0, 1)
	tests := map[string][]slotMapping{
		"group-[3] is empty":                  {{ID: 0, GroupID: 2}, {ID: 1, GroupID: 3}},
		"group-[9] doesn't exist":             {{ID: 0, GroupID: 2}, {ID: 1, GroupID: 9}},
		"group-[0] doesn't exist":             {{ID: 0, GroupID: 0}},
		"slot-[1024] doesn't exist":           {{ID: 0, GroupID: 2}, {ID: slotCount, GroupID: 1}},
		"slot-[-1] doesn't exist":             {{ID: -1, GroupID: 1}},
		"invalid slot-[1] action = migrating": {{ID: 0, GroupID: 2}, {ID: 1, GroupID: 1, Action: action{State: "migrating"}}},
	}
	for cause, body := range tests {
		if got := d.assign(body).cause(); got != cause {
			t.Errorf("got %q, want %q", got, cause)
		}
	}
	// What is refused in part is refused as a whole.
	requireSlot(t, d, slotMapping{ID: 0, GroupID: 1})
}

func TestOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 1})
	c.d.ok("group/resync-all")
	if got := c.d.offline([]slotMapping{{ID: 0, GroupID: 1}}).cause(); got != "group of slot-[0] should be 0" {
		t.Errorf("offline: %s", got)
	}
	if r := c.d.offline(mappings(0, 0, 0)); !r.isOK() {
		t.Fatalf("offline: %s", r.cause())
	}
	requireSlot(t, c.d, slotMapping{ID: 0})
	if c.d.group(1).OutOfSync {
		t.Error("the group is out of sync")
	}
	if got := c.proxies[0].slots()[0]; got.Backend != "" || got.Locked {
		t.Errorf("the proxy has %+v", got)
	}
	// The tag {} is empty, and slot 0 is that of the empty string.
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "ERR handle request, slot is not ready, may be offline", "GET", "{}x")
	conn.expect(t, "<nil>", "GET", "a")
	// An action brings it back without any server having to move anything.
	c.d.ok("slots/action/create", 0, 1)
	c.d.settled()
	requireSlot(t, c.d, slotMapping{ID: 0, GroupID: 1})
	conn.expect(t, "<nil>", "GET", "{}x")
}

func TestPendingActionsCanBeCancelled(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.mustAssign(0, 9, 1)
	d.ok("slots/action/disabled", 1)
	d.ok("slots/action/create", 5, 2)
	d.ok("slots/action/create", 6, 2)
	requireSlot(t, d, slotMapping{ID: 6, GroupID: 1, Action: action{Index: 2, State: "pending", TargetID: 2}})
	d.refused("slot-[5] action already exists", "slots/action/create", 5, 2)
	d.refused("slot-[7] already in group-[1]", "slots/action/create", 7, 1)
	d.refused("slot-[7] action doesn't exist", "slots/action/remove", 7)
	d.ok("slots/action/remove", 5)
	requireSlot(t, d, slotMapping{ID: 5, GroupID: 1})
	// Disabled actions wait.
	holds(t, 2500*time.Millisecond, "the other action is pending", func() bool {
		return d.stats().Slots[6].Action.State == "pending"
	})
	d.ok("slots/action/disabled", 0)
	d.settled()
	requireSlot(t, d, slotMapping{ID: 5, GroupID: 1})
	requireSlot(t, d, slotMapping{ID: 6, GroupID: 2})
}

// An action that has started goes to its end: here a dead proxy keeps it from getting any further.
func TestStartedActionCannotBeCancelledAndDeadProxyBlocksIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 1, proxies: 2})
	dead := c.proxies[1]
	dead.proc.kill()
	c.d.ok("slots/action/create", 0, 2)
	eventually(t, patience, "the action has started", func() bool {
		return c.d.stats().Slots[0].Action.State == "preparing"
	})
	c.d.refused("slot-[0] action isn't pending", "slots/action/remove", 0)
	// It is locked only for as long as a push lasts, which is tried again every few seconds.
	eventually(t, patience, "the live proxy has the old route, unlocked", func() bool {
		got := c.proxies[0].slots()[0]
		return !got.Locked && got.Backend == c.member(1, 1).addr && got.MigrateFrom == ""
	})
	c.d.ok("proxy/remove", dead.token, 1)
	// The loop comes back some six seconds after a failure.
	c.d.settled()
	requireSlot(t, c.d, slotMapping{ID: 0, GroupID: 2})
}

func TestSlotActionSettings(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	for value, want := range map[int]int{-5: 0, 0: 0, 17: 17, 2000000: 1000000} {
		d.ok("slots/action/interval", value)
		if got := d.stats().SlotAction.Interval; got != want {
			t.Errorf("interval %d is %d", value, got)
		}
	}
	d.ok("slots/action/disabled", 1)
	if !d.stats().SlotAction.Disabled {
		t.Error("actions are enabled")
	}
}

func TestCreateSomeAndCreateRange(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.mustAssign(0, 9, 1)
	d.ok("slots/action/disabled", 1)
	d.refused("invalid slot range [5,2]", "slots/action/create-range", 5, 2, 2)
	d.refused("invalid slot range [0,1024]", "slots/action/create-range", 0, slotCount, 2)
	d.ok("slots/action/create", 4, 2)
	d.refused("slot-[4] action already exists", "slots/action/create-range", 3, 5, 2)
	d.refused("slot-[3] already in group-[1]", "slots/action/create-range", 3, 3, 1)
	requireSlot(t, d, slotMapping{ID: 3, GroupID: 1})
	// The first idle slots, and no complaint if there are fewer.
	d.ok("slots/action/create-some", 1, 2, 3)
	for id, state := range map[int]string{0: "pending", 1: "pending", 2: "pending", 3: "", 4: "pending", 5: ""} {
		if got := d.stats().Slots[id].Action.State; got != state {
			t.Errorf("slot %d is %q", id, got)
		}
	}
	d.ok("slots/action/create-some", 1, 2, 500)
	if got := d.stats().busy(); got != 10 {
		t.Errorf("%d actions", got)
	}
	// Offline slots are group 0's, and a source that is not there has none.
	d.ok("slots/action/create-some", 0, 2, 5)
	d.ok("slots/action/create-some", 77, 2, 5)
	if got := d.stats().busy(); got != 15 {
		t.Errorf("%d actions", got)
	}
	d.refused("group-[77] doesn't exist", "slots/action/create-some", 1, 77, 5)
}

// Slots of disjoint pairs of groups move in one round, offline slots too.
func TestOfflineSlotsAreSpreadByActions(t *testing.T) {
	t.Parallel()
	_, d := pairOfGroups(t)
	d.ok("slots/action/create-range", 0, 7, 1)
	d.ok("slots/action/create-range", 8, 15, 2)
	d.settled()
	if got := d.stats().owners(); got[1] != 8 || got[2] != 8 {
		t.Errorf("owners are %v", got)
	}
	if got := fmt.Sprint(d.stats().SlotAction.Progress.Status); got != "" {
		t.Errorf("status is %q", got)
	}
}
