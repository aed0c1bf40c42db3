// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"testing"
	"time"
)

func TestPromoteReordersAndRepointsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 3, proxies: 1})
	a, b, last := c.member(1, 1), c.member(1, 2), c.member(1, 3)
	c.d.syncAction(b.addr, "synced")
	c.d.mustAssign(0, 0, 1)
	if !c.d.group(1).OutOfSync {
		t.Fatal("the group is in sync after assign")
	}
	c.d.ok("group/promote", 1, last.addr)
	requireOrder(t, c.d, 1, last, b, a)
	g := c.d.group(1)
	if g.OutOfSync || g.Promoting.State != "" {
		t.Errorf("the group is %+v", g)
	}
	for _, s := range g.Servers {
		if s.Action.State != "" {
			t.Errorf("%s has action %q", s.Addr, s.Action.State)
		}
	}
	if got := c.proxies[0].slots()[0]; got.Backend != last.addr || got.Locked {
		t.Errorf("the proxy has %+v", got)
	}
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "k", "v")
	// Two rounds of the dashboard's loops change nothing: two masters, and a replica of the old one.
	holds(t, 2500*time.Millisecond, "nobody is repointed", func() bool {
		return last.role() == "master" && a.role() == "master" && b.replicaOf(a)
	})
	if got := a.text("GET", "k"); got != "<nil>" {
		t.Errorf("the old master has %q", got)
	}
}

// Promotion looks neither at the link nor at the data of the new master.
func TestPromoteLooksAtNoData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 1})
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "k", "v")
	empty := w.server(2)
	c.d.ok("group/add", 1, empty.addr)
	c.d.ok("group/promote", 1, empty.addr)
	conn.expect(t, "<nil>", "GET", "k")
	if got := c.member(1, 1).text("GET", "k"); got != "v" {
		t.Errorf("the old master has %q", got)
	}
}

// Nor does it ask whether the new master is there at all.
func TestPromoteOfADeadServerIsAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 1})
	dead := c.member(1, 2)
	dead.proc.kill()
	c.d.ok("group/promote", 1, dead.addr)
	requireOrder(t, c.d, 1, dead, c.member(1, 1))
	if got := c.proxies[0].slots()[0].Backend; got != dead.addr {
		t.Errorf("the proxy writes to %s", got)
	}
}

// A server that hangs is given a second to become master, and is made it in the books then.
func TestPromoteOfAHungServerIsAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 1})
	hung := c.member(1, 2)
	hung.proc.signal(stopSignal)
	started := time.Now()
	c.d.ok("group/promote", 1, hung.addr)
	if took := time.Since(started); took < 900*time.Millisecond {
		t.Errorf("accepted after %v", took)
	}
	requireOrder(t, c.d, 1, hung, c.member(1, 1))
}

// A healthy promotion is not seen by clients, other than that they write to another server.
func TestPromoteUnderLoadShowsNoErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 2})
	stop, bad := make(chan struct{}), make(chan string, 2)
	for _, p := range c.proxies {
		conn := dial(t, p.client)
		go func() {
			for {
				select {
				case <-stop:
					bad <- ""
					return
				default:
				}
				if got := conn.text("SET", "k", "v"); got != "OK" {
					bad <- got
					return
				}
			}
		}()
	}
	c.d.ok("group/promote", 1, c.member(1, 2).addr)
	holds(t, time.Second/2, "nothing goes wrong", func() bool { return len(bad) == 0 })
	close(stop)
	for range c.proxies {
		if got := <-bad; got != "" {
			t.Errorf("a client got %q", got)
		}
	}
}

// A promotion that ends before its last push has the new order already, and is finished by asking for its first
// server, which would be refused otherwise.
func TestFinishedPromotionIsEnteredAgainWithTheFirstServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	one, two := w.server(1), w.server(2)
	d.newGroup(1, one, two)
	d.proc.stop()
	writeFile(t, w.storePath("group/group-0001"), fmt.Sprintf(
		`{"id": 1, "servers": [{"server": %q}, {"server": %q}], "promoting": {"state": "finished"}, "out_of_sync": true}`,
		two.addr, one.addr))
	d = w.dashboard(dashboardSpec{})
	d.refused("group-[1] is promoting index = 0", "group/promote", 1, one.addr)
	d.ok("group/promote", 1, two.addr)
	if g := d.group(1); g.Promoting != (action{}) || g.OutOfSync {
		t.Errorf("the group is %+v", g)
	}
	requireOrder(t, d, 1, two, one)
}

func TestPromoteTheReplicaOfAKilledMaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 2})
	master, replica := c.member(1, 1), c.member(1, 2)
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "k", "v")
	eventually(t, patience, "the value is on the replica", func() bool { return replica.text("GET", "k") == "v" })
	master.proc.kill()
	c.d.ok("group/promote", 1, replica.addr)
	eventually(t, patience, "clients read from the new master", func() bool { return conn.text("GET", "k") == "v" })
	eventually(t, patience, "clients write to the new master", func() bool { return conn.text("SET", "k", "w") == "OK" })
	if replica.role() != "master" || replica.text("GET", "k") != "w" {
		t.Errorf("the new master is %v", replica.info())
	}
	c.d.ok("group/del", 1, master.addr)
	requireOrder(t, c.d, 1, replica)
}

func TestPromoteRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	one, two := w.server(1), w.server(2)
	d.newGroup(1, one)
	d.newGroup(2, two)
	d.refused("group-[1] can't promote master", "group/promote", 1, one.addr)
	d.refused(fmt.Sprintf("group-[1] doesn't have server-[%s]", two.addr), "group/promote", 1, two.addr)
	d.refused("group-[3] doesn't exist", "group/promote", 3, two.addr)
}

// A promotion whose push fails stops where it is: it blocks most of what can be done to the group, survives the
// dashboard, is resumed by nobody, and goes on when the same promotion is asked for again.
func TestHalfDonePromotionIsEnteredAgainByCallingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 3, proxies: 2})
	a, b, last := c.member(1, 1), c.member(1, 2), c.member(1, 3)
	dead := c.proxies[1]
	dead.proc.kill()
	failed := fmt.Sprintf("proxy-[%s] resync slots failed", dead.token)
	c.d.refused(failed, "group/promote", 1, b.addr)
	spare := w.server(8)
	requireHalfDone(t, c.d, b, last, spare)
	c.d.proc.kill()
	d := w.dashboard(dashboardSpec{args: removeLock})
	holds(t, 2500*time.Millisecond, "the dashboard leaves it half-done", func() bool {
		return d.group(1).Promoting.State == "preparing"
	})
	requireHalfDone(t, d, b, last, spare)
	requireOrder(t, d, 1, a, b, last)
	if got := c.proxies[0].slots()[0]; got.Locked || got.Backend != a.addr {
		t.Errorf("the live proxy has %+v", got)
	}
	d.refused(failed, "group/promote", 1, b.addr)
	d.ok("proxy/remove", dead.token, 1)
	d.ok("group/promote", 1, b.addr)
	requireOrder(t, d, 1, b, last, a)
	if got := d.group(1).Promoting; got != (action{}) {
		t.Errorf("promoting is %+v", got)
	}
}

func requireHalfDone(t *testing.T, d *dashboard, chosen, other, spare *server) {
	t.Helper()
	if got := d.group(1).Promoting; got != (action{Index: 1, State: "preparing"}) {
		t.Fatalf("promoting is %+v", got)
	}
	const promoting = "group-[1] is promoting"
	d.refused(promoting+" index = 1", "group/promote", 1, other.addr)
	d.refused(promoting, "group/add", 1, spare.addr)
	d.refused(promoting, "group/del", 1, other.addr)
	d.refused(promoting, "group/action/create", chosen.addr)
	d.refused(promoting, "group/action/remove", chosen.addr)
	d.refused(promoting, "group/replica-groups", 1, chosen.addr, 1)
}

// A dashboard that dies between lock and reorder leaves the state prepared: every push from then on locks the
// group's slots, and clients of proxies that get one hang until the promotion is asked for again.
func TestPreparedPromotionKeepsSlotsLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 1})
	p := c.proxies[0]
	c.d.proc.stop()
	// The order of the file's fields is of no account to whoever reads it.
	writeFile(t, w.storePath("group/group-0001"), fmt.Sprintf(
		`{"id": 1, "servers": [{"server": %q}, {"server": %q}], "promoting": {"index": 1, "state": "prepared"}}`,
		c.member(1, 1).addr, c.member(1, 2).addr))
	d := w.dashboard(dashboardSpec{})
	if !d.slots()[0].Locked {
		t.Fatal("slot 0 is not locked")
	}
	d.ok("proxy/reinit", p.token)
	if got := p.slots()[0]; !got.Locked {
		t.Fatalf("the proxy has %+v", got)
	}
	answers := make(chan string, 1)
	conn := dial(t, p.client)
	go func() { answers <- conn.text("SET", "k", "v") }()
	holds(t, time.Second, "the client waits", func() bool { return len(answers) == 0 })
	d.ok("group/promote", 1, c.member(1, 2).addr)
	if got := <-answers; got != "OK" {
		t.Errorf("the client got %q", got)
	}
	if got := c.member(1, 2).text("GET", "k"); got != "v" {
		t.Errorf("the new master has %q", got)
	}
}
