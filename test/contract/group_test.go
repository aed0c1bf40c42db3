// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Adding a server writes it down and sends it nothing: whatever it was, master or replica, it stays.
func TestGroupAddAppendsAndTouchesNoServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	one, two, three := w.server(1), w.server(2), w.server(3)
	two.follow(three)
	d.ok("group/create", 1)
	d.ok("group/add", 1, one.addr)
	d.ok("group/add", 1, two.addr, "dc1")
	d.ok("group/add", 1, three.addr)
	requireOrder(t, d, 1, one, two, three)
	if got := d.server(two.addr); got.DataCenter != "dc1" || got.Action.State != "" {
		t.Errorf("the entry is %+v", got)
	}
	// Two rounds of the dashboard's loops change nothing.
	holds(t, 2500*time.Millisecond, "replication is as it was", func() bool {
		return one.role() == "master" && two.inSyncWith(three) && three.role() == "master"
	})
}

func TestGroupAddAsksTheServerForItsSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.ok("group/create", 1)
	vanilla := w.vanillaServer(9)
	d.refused("ERR unknown command 'SLOTSINFO', with args beginning with: ", "group/add", 1, vanilla.addr)
	d.refused(fmt.Sprintf("dial tcp %s: connect: connection refused", w.at(portNobody)), "group/add", 1, w.at(portNobody))
	if got := d.group(1).order(); len(got) != 0 {
		t.Errorf("the group has %v", got)
	}
}

// Only the HTTP handler asks for slots. Through the store a vanilla Redis gets in, and is led and promoted like any
// other; what cannot work is to move slots away from it.
func TestVanillaRedisGetsInThroughTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	one, old := w.server(1), w.vanillaServer(8)
	older := w.vanillaServer(9)
	d.newGroup(1, one)
	writeFile(t, w.storePath("group/group-0002"), fmt.Sprintf(
		`{"id": 2, "servers": [{"server": %q}, {"server": %q}]}`, old.addr, older.addr))
	d.ok("reload")
	d.syncAction(older.addr, "synced")
	eventually(t, patience, "replication works", func() bool { return older.inSyncWith(old) })
	d.mustAssign(0, 0, 2)
	d.ok("group/promote", 2, older.addr)
	if got := older.role(); got != "master" {
		t.Errorf("the promoted server is %s", got)
	}
	d.ok("slots/action/create", 0, 1)
	eventually(t, patience, "the status says what is wrong", func() bool {
		s := d.stats()
		return s.Slots[0].Action.State == "migrating" && strings.HasPrefix(s.SlotAction.Progress.Status,
			"[ERROR] Slot[0000]: ERR unknown command 'SLOTSMGRTTAGSLOT-ASYNC'")
	})
	// To assign the slot again is the way out.
	d.mustAssign(0, 0, 2)
	requireSlot(t, d, slotMapping{ID: 0, GroupID: 2})
}

// product_auth has to be the password of every server: one without the other breaks everything.
func TestProductAuthAndRequirepassHaveToAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	locked := w.server(1, "requirepass secret")
	open := w.server(2)
	d := w.dashboard(dashboardSpec{})
	d.ok("group/create", 1)
	d.refused("NOAUTH Authentication required.", "group/add", 1, locked.addr)
	d.proc.stop()
	w.productAuth = "secret"
	d = w.dashboard(dashboardSpec{})
	d.ok("group/add", 1, locked.addr)
	if r := d.put("group/add", 1, open.addr); r.status != statusError {
		t.Errorf("a server without password was added")
	}
	requireOrder(t, d, 1, locked)
}

func TestGroupsAreTakenApartFromTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	one, two := w.server(1), w.server(2)
	d.newGroup(1, one, two)
	const inUse = "group-[1] can't remove master, still in use"
	d.refused(inUse, "group/del", 1, one.addr)
	d.refused("group-[1] isn't empty", "group/remove", 1)
	d.refused("group-[1] doesn't have server-["+w.at(portNobody)+"]", "group/del", 1, w.at(portNobody))
	d.ok("group/del", 1, two.addr)
	d.mustAssign(7, 7, 1)
	d.refused(inUse, "group/del", 1, one.addr)
	if r := d.send("PUT", d.path("slots/assign")+"/offline", mappings(7, 7, 0)); !r.isOK() {
		t.Fatalf("offline: %s", r.cause())
	}
	d.ok("group/del", 1, one.addr)
	if d.group(1).OutOfSync {
		t.Error("an empty group is out of sync")
	}
	d.ok("group/remove", 1)
	d.refused("group-[1] doesn't exist", "group/remove", 1)
	if n := len(d.stats().Group.Models); n != 0 {
		t.Errorf("%d groups are left", n)
	}
}

func TestAssignLeavesTheGroupOutOfSyncUntilResync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, w.server(1))
	d.newGroup(2, w.server(2))
	d.mustAssign(0, 9, 1)
	if !d.group(1).OutOfSync || d.group(2).OutOfSync {
		t.Fatalf("groups are %+v %+v", d.group(1), d.group(2))
	}
	d.mustAssign(10, 19, 2)
	d.ok("group/resync", 1)
	if d.group(1).OutOfSync || !d.group(2).OutOfSync {
		t.Fatalf("groups are %+v %+v", d.group(1), d.group(2))
	}
	d.ok("group/resync-all")
	if d.group(2).OutOfSync {
		t.Fatal("group 2 is out of sync")
	}
}

// Reads from replicas: a flag for each server, which proxies learn with the next resync.
func TestReplicaGroupsReachProxiesWithResync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 1})
	c.d.ok("group/resync-all")
	replica := c.member(1, 2)
	c.d.ok("group/replica-groups", 1, replica.addr, 1)
	if g := c.d.group(1); !g.OutOfSync || !g.Servers[1].ReplicaGroup {
		t.Fatalf("the group is %+v", g)
	}
	if got := c.proxies[0].slots()[0].ReplicaGroups; got != nil {
		t.Fatalf("the proxy has %v before the resync", got)
	}
	c.d.ok("group/resync", 1)
	want := fmt.Sprint([][]string{{replica.addr}})
	if got := c.proxies[0].slots()[0].ReplicaGroups; fmt.Sprint(got) != want {
		t.Fatalf("the proxy has %v, want %s", got, want)
	}
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "where", "both")
	eventually(t, patience, "the value is on the replica", func() bool { return replica.text("GET", "where") == "both" })
	// Only the replica says this: reads go there, writes do not.
	replica.must("CONFIG", "SET", "slave-read-only", "no")
	replica.must("SET", "where", "replica")
	eventually(t, patience, "reads are served by the replica", func() bool { return conn.text("GET", "where") == "replica" })
	conn.expect(t, "OK", "SET", "where", "master")
	if got := c.member(1, 1).text("GET", "where"); got != "master" {
		t.Errorf("the master has %q", got)
	}
	// To take such a server out changes what proxies should know.
	c.d.ok("group/del", 1, replica.addr)
	if !c.d.group(1).OutOfSync {
		t.Error("the group is in sync")
	}
}

func TestReplicaGroupsOfAllServersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, w.server(1), w.server(2))
	d.ok("group/replica-groups-all", 1)
	for _, s := range d.group(1).Servers {
		if !s.ReplicaGroup {
			t.Errorf("%s has no flag", s.Addr)
		}
	}
	if d.group(1).OutOfSync {
		t.Error("a group without slots is out of sync")
	}
	d.ok("group/replica-groups-all", 0)
	d.refused("server-["+w.at(portNobody)+"] doesn't exist", "group/action/create", w.at(portNobody))
}
