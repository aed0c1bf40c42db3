// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A sentinel is asked whether it is one before it is registered, and nothing else.
func TestSentinelAddAndDel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(withSentinels(nil))
	server := w.server(1)
	d.newGroup(1, server)
	d.refused(w.refusedConnection(w.at(portNobody)), "sentinels/add", w.at(portNobody))
	d.refusedWith("ERR unknown command", "sentinels/add", server.addr)
	d.requireSentinels(false)
	if w.stored("sentinel") {
		t.Error("a list is stored")
	}
	one := d.sentinels(1)[0]
	d.requireSentinels(true, one)
	one.requireNames("")
	d.refused(fmt.Sprintf("sentinel-[%s] already exists", one.addr), "sentinels/add", one.addr)
	two := w.sentinel(2)
	d.ok("sentinels/add", two.addr)
	d.requireSentinels(true, one, two)
	d.refused(fmt.Sprintf("sentinel-[%s] not found", w.at(portNobody)), "sentinels/del", w.at(portNobody), 1)

	// A sentinel that does not answer can only be forgotten by force.
	d.resyncSentinels()
	two.proc.kill()
	d.refused(fmt.Sprintf("remove sentinel %s failed", two.addr), "sentinels/del", two.addr, 0)
	d.requireSentinels(true, one, two)
	d.ok("sentinels/del", two.addr, 1)
	d.requireSentinels(true, one)
	// The one that is left is not touched by that.
	one.requireNames("demo-1")
	d.delSentinel(one)
	d.requireSentinels(true)
	one.requireNames("")
	d.resyncSentinels()
	d.requireSentinels(false)
}

// Whatever looks like a group of the product is the product's, and nothing else is touched.
func TestSentinelResyncReplacesWhatIsOfTheProduct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(withSentinels(nil))
	d.newGroup(1, w.server(1))
	d.newGroup(3)
	s := d.sentinels(1)[0]
	for _, name := range []string{"demo-2", "demo-1", "demo--5", "demo", "demo-", "demo-x", "demo-1-1", "demon-1", "other-1"} {
		s.must("SENTINEL", "monitor", name, w.ip, portNobody, 1)
	}
	d.resyncSentinels()
	const others = "demo demo- demo-1-1 demo-x demon-1 other-1"
	s.requireNames("demo demo- demo-1 demo-1-1 demo-x demon-1 other-1")
	if m := s.masters()["demo-1"]; m["port"] != fmt.Sprint(portServer+1) {
		t.Errorf("demo-1 is at port %s", m["port"])
	}
	d.requireSentinels(false, s)
	d.delSentinel(s)
	s.requireNames(others)
}

func TestSentinelResyncTellsAllSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.productAuth = "secret"
	spec := withSentinels(settings{
		"sentinel_quorum": 1, "sentinel_parallel_syncs": 3, "sentinel_down_after": "7s", "sentinel_failover_timeout": "90s",
	})
	d := w.dashboard(spec)
	master, replica := w.server(1), w.server(2)
	replica.follow(master)
	d.newGroup(1, master, replica)
	d.proc.stop()
	// A name is looked up by the dashboard.
	writeFile(t, w.storePath("group/group-0002"),
		fmt.Sprintf(`{"id": 2, "servers": [{"server": "localhost:%d"}], "promoting": {}}`, portNobody))
	d = w.dashboard(spec)
	s := d.sentinels(1)[0]
	d.resyncSentinels()
	got := s.masters()["demo-1"]
	want := map[string]string{
		"ip": w.ip, "port": fmt.Sprint(portServer + 1), "quorum": "1", "parallel-syncs": "3",
		"down-after-milliseconds": "7000", "failover-timeout": "90000",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	if m := s.masters()["demo-2"]; m["ip"] != "127.0.0.1" {
		t.Errorf("demo-2 is at %q", m["ip"])
	}
	// The sentinel can only see the replica if it was told the password.
	eventually(t, patience, "the sentinel finds the replica", func() bool {
		return s.masters()["demo-1"]["num-slaves"] == "1"
	})
}

// A resync that fails leaves sentinels as it left them, and says so by the mark that stays.
func TestSentinelResyncFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const timeout = time.Second
	c := w.cluster(layout{
		groups: 1, members: 1, proxies: 2, dashboard: withSentinels(settings{"sentinel_client_timeout": "1s"}),
	})
	all := c.d.sentinels(2)
	one, two := all[0], all[1]
	two.proc.kill()
	c.d.refused(w.refusedConnection(two.addr), "sentinels/resync-all")
	c.d.requireSentinels(true, one, two)
	one.requireNames("demo-1")
	requireProxySentinels(c, nil, 0, 1)

	// One that hangs takes the whole time twice: to remove, and to monitor.
	two.start()
	two.proc.signal(stopSignal)
	started := time.Now()
	c.d.refused("context deadline exceeded", "sentinels/resync-all")
	if took := time.Since(started); took < 2*timeout-100*time.Millisecond {
		t.Errorf("refused after %v", took)
	}
	two.proc.signal(continueSignal)
	c.d.requireSentinels(true, one, two)

	dead := c.proxies[1]
	dead.proc.kill()
	c.d.refused(fmt.Sprintf("proxy-[%s] sentinel failed", dead.token), "sentinels/resync-all")
	c.d.requireSentinels(true, one, two)
	two.requireNames("demo-1")
	requireProxySentinels(c, all, 0)

	dead.start()
	eventually(t, patience, "the dashboard brings the proxy online", func() bool { return dead.stats().Online })
	requireProxySentinels(c, all, 1)
	c.d.resyncSentinels()
	c.d.requireSentinels(false, one, two)
}

// requireProxySentinels compares the lists of proxies, counted from 0.
func requireProxySentinels(c *cluster, want []*sentinel, proxies ...int) {
	c.t.Helper()
	var addrs []string
	for _, s := range want {
		addrs = append(addrs, s.addr)
	}
	for _, n := range proxies {
		if got := c.proxies[n].stats().Sentinels.Servers; fmt.Sprint(got) != fmt.Sprint(addrs) {
			c.t.Fatalf("proxy %d listens to %v, want %v", n, got, addrs)
		}
	}
}

// Everything is removed before it is known whether all of it can be put back.
func TestSentinelResyncWithAMasterNobodyFindsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(withSentinels(nil))
	d.newGroup(1, w.server(1))
	s := d.sentinels(1)[0]
	d.resyncSentinels()
	s.requireNames("demo-1")
	d.proc.stop()
	writeFile(t, w.storePath("group/group-0002"), `{"id": 2, "servers": [{"server": "localhost:99999"}], "promoting": {}}`)
	d = w.dashboard(withSentinels(nil))
	d.refusedWith("invalid port", "sentinels/resync-all")
	d.requireSentinels(true, s)
	s.requireNames("")
}

// Changes of groups tell sentinels nothing, but for a promotion, which makes them forget the group.
func TestGroupChangesMarkSentinelsOutOfSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(withSentinels(nil))
	master, replica, spare := w.server(1), w.server(2, w.announced()), w.server(3)
	replica.follow(master)
	d.newGroup(1, master, replica)
	d.newGroup(2, w.server(4))
	s := d.sentinels(1)[0]
	resync := func() {
		t.Helper()
		d.resyncSentinels()
		d.requireSentinels(false, s)
	}
	resync()
	eventually(t, patience, "the sentinel finds the replica", func() bool {
		return s.masters()["demo-1"]["num-slaves"] == "1"
	})
	d.ok("group/create", 3)
	d.requireSentinels(false, s)
	d.ok("group/add", 3, spare.addr)
	d.requireSentinels(true, s)
	s.requireNames("demo-1 demo-2")
	resync()
	s.requireNames("demo-1 demo-2 demo-3")
	d.ok("group/del", 3, spare.addr)
	d.requireSentinels(true, s)
	s.requireNames("demo-1 demo-2 demo-3")
	resync()
	eventually(t, patience, "the sentinel finds the replica", func() bool {
		return s.masters()["demo-1"]["num-slaves"] == "1"
	})
	// What is no member any more can still be chosen.
	d.ok("group/del", 1, replica.addr)
	if known := fmt.Sprint(s.must("SENTINEL", "slaves", "demo-1")); !strings.Contains(known, replica.addr) {
		t.Errorf("the sentinel knows %s", known)
	}
	d.ok("group/add", 1, replica.addr)
	eventually(t, patience, "a promotion makes the sentinel forget the group", func() bool {
		resync()
		order := d.group(1).order()
		eventually(t, patience, "the dashboard hears of both", func() bool {
			return d.seesMaster(1, order[0]) && d.seesMaster(2, w.at(portServer+4))
		})
		d.ok("group/promote", 1, order[1])
		d.requireSentinels(true, s)
		return s.names() == "demo-2"
	})
	if got := d.stats().Sentinels.Masters; len(got) != 1 || got["2"] == "" {
		t.Errorf("the masters are %v", got)
	}
}

// A promotion waits for sentinels while it has the group's slots locked, and does not care what comes of it.
func TestHungSentinelHoldsPromoteAndItsClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const timeout = 2 * time.Second
	c := w.cluster(layout{
		groups: 1, members: 2, proxies: 1, dashboard: withSentinels(settings{"sentinel_client_timeout": "2s"}),
	})
	s := c.d.sentinels(1)[0]
	c.d.resyncSentinels()
	s.proc.signal(stopSignal)
	started := time.Now()
	answer := c.promoteLater()
	eventually(t, patience, "the slots are locked", func() bool { return c.proxies[0].slots()[0].Locked })
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "k", "v")
	if took := time.Since(started); took < timeout-100*time.Millisecond {
		t.Errorf("the client was let through after %v", took)
	}
	if got := <-answer; got != "OK" {
		t.Fatalf("promote: %s", got)
	}
	requireOrder(t, c.d, 1, c.member(1, 2), c.member(1, 1))
	s.proc.signal(continueSignal)
	eventually(t, patience, "the sentinel answers again", func() bool { return askText(s.addr, "PING") == "PONG" })
	c.d.requireSentinels(true, s)
}
