// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the dashboard shows of sentinels, and what it asks them.
func TestSentinelStats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(withSentinels(nil))
	master, replica := w.server(1), w.server(2, w.announced())
	replica.follow(master)
	d.newGroup(1, master, replica)
	s := d.sentinels(1)[0]
	if got := d.monitored(s.addr); len(got) != 0 {
		t.Errorf("it monitors %v", got)
	}
	if got := d.stats().Sentinels.Masters; got == nil || len(got) != 0 {
		t.Errorf("the masters are %v", got)
	}
	s.must("SENTINEL", "monitor", "other-1", w.ip, portNobody, 1)
	d.resyncSentinels()
	shown := func() serverStats { return d.stats().Sentinels.Stats[s.addr] }
	eventually(t, patience, "the statistics show the group", func() bool {
		g := shown().Sentinel["demo-1"]
		return g.Master["port"] == fmt.Sprint(portServer+1) && len(g.Slaves) == 1
	})
	if got := shown(); len(got.Sentinel) != 1 || got.Stats["sentinel_masters"] != "2" || got.UnixTime == 0 {
		t.Errorf("the statistics are %+v", got)
	}
	if got := shown().Sentinel["demo-1"].Slaves[0]["name"]; got != replica.addr {
		t.Errorf("the replica is %s", got)
	}
	if got := d.monitored(s.addr); len(got) != 1 || got["demo-1"].Slaves[0]["name"] != replica.addr {
		t.Errorf("it monitors %v", got)
	}
	var info map[string]string
	d.get("/api/topom/sentinels/info/"+s.addr, &info)
	if info["sentinel_masters"] != "2" {
		t.Errorf("INFO says %v", info)
	}
	eventually(t, patience, "the dashboard is told the master", func() bool { return d.seesMaster(1, master.addr) })

	// A sentinel that comes back without its file has forgotten everything, and nobody does anything about it.
	s.proc.kill()
	eventually(t, patience, "the statistics show that it is gone", func() bool { return shown().Error != nil })
	for _, path := range []string{"", "/monitored"} {
		r := d.send("GET", "/api/topom/sentinels/info/"+s.addr+path, nil)
		if r.cause() != w.refusedConnection(s.addr) {
			t.Errorf("info%s: %s", path, r.cause())
		}
	}
	s.writeConfig()
	s.start()
	eventually(t, patience, "the statistics show that it is back", func() bool { return shown().Stats["sentinel_masters"] == "0" })
	holds(t, 2500*time.Millisecond, "it monitors nothing, and that is called in sync", func() bool {
		return s.names() == "" && len(shown().Sentinel) == 0 && !d.sentinelModel().OutOfSync
	})
	d.resyncSentinels()
	s.requireNames("demo-1")
}

// alias starts server n on a second address too, which leads to the same process.
func (w *world) alias(n int) (s *server, other string) {
	w.t.Helper()
	ip := reserveIP(w.t)
	return w.server(n, fmt.Sprintf("bind %s %s", w.ip, ip)), fmt.Sprintf("%s:%d", ip, portServer+n)
}

// switchWorld is one sentinel and a group for each thing that it can say.
type switchWorld struct {
	*world
	d *dashboard
	p *proxy
	s *sentinel
	// moved has three members, stuck is in the middle of a promotion, aliased has a replica with another address, still
	// is a master with another one, and stray is in no group.
	moved, stuck, aliased  []*server
	still, robbed, stray   *server
	stillAlias, otherAlias string
}

func newSwitchWorld(t *testing.T) *switchWorld {
	t.Helper()
	w := newWorld(t)
	x := &switchWorld{world: w}
	x.moved = []*server{w.server(1), w.server(2), w.server(3)}
	x.stuck = []*server{w.server(4), w.server(5), w.server(6)}
	x.aliased = []*server{w.server(7), nil}
	x.aliased[1], x.otherAlias = w.alias(8)
	x.still, x.stillAlias = w.alias(9)
	x.robbed, x.stray = w.server(10), w.server(11)
	x.d = w.dashboard(withSentinels(nil))
	for i, members := range [][]*server{x.moved, x.stuck, x.aliased, {x.still}, {x.robbed}} {
		x.d.newGroup(i+1, members...)
	}
	for gid := range 5 {
		x.d.mustAssign(gid, gid, gid+1)
	}
	x.d.ok("group/resync-all")
	x.d.proc.stop()
	writeFile(t, w.storePath("group/group-0002"), fmt.Sprintf(`{"id": 2, "servers": [{"server": %q}, {"server": %q},`+
		` {"server": %q}], "promoting": {"index": 1, "state": "preparing"}}`, x.stuck[0].addr, x.stuck[1].addr, x.stuck[2].addr))
	x.d = w.dashboard(withSentinels(nil))
	x.p = w.proxy(1, proxySpec{})
	x.d.register(x.p)
	x.s = x.d.sentinels(1)[0]
	x.d.resyncSentinels()
	return x
}

func (x *switchWorld) routes() string {
	x.t.Helper()
	var backends []string
	for _, s := range x.p.slots()[:5] {
		backends = append(backends, s.Backend)
	}
	return strings.Join(backends, " ")
}

// A proxy goes wherever a sentinel says, unless the same process listens there. The dashboard reorders a group if it can
// tell a member by address or process, whatever the group is doing, and tells no proxy.
func TestSentinelSwitch(t *testing.T) {
	t.Parallel()
	x := newSwitchWorld(t)
	eventually(t, patience, "both hear of the masters", func() bool {
		return x.d.seesMaster(5, x.robbed.addr) && x.p.stats().Sentinels.Masters["5"] == x.robbed.addr
	})
	if x.p.stats().Sentinels.Switched || x.d.group(1).OutOfSync {
		t.Fatal("something changed before the switch")
	}
	said := []string{x.moved[2].addr, x.stuck[2].addr, x.otherAlias, x.stillAlias, x.stray.addr}
	for i, addr := range said {
		x.s.persuade(fmt.Sprintf("demo-%d", i+1), addr, 1)
	}
	want := strings.Join([]string{said[0], said[1], said[2], x.still.addr, said[4]}, " ")
	eventually(t, patience, "the proxy follows", func() bool { return x.routes() == want })
	eventually(t, patience, "the dashboard follows", func() bool { return x.d.seesMaster(5, said[4]) })
	if !x.p.stats().Sentinels.Switched {
		t.Error("the proxy does not say that it switched")
	}
	requireOrder(t, x.d, 1, x.moved[2], x.moved[1], x.moved[0])
	requireOrder(t, x.d, 2, x.stuck[2], x.stuck[1], x.stuck[0])
	requireOrder(t, x.d, 3, x.aliased[1], x.aliased[0])
	requireOrder(t, x.d, 4, x.still)
	requireOrder(t, x.d, 5, x.robbed)
	for gid, outOfSync := range []bool{true, true, true, false, false} {
		if got := x.d.group(gid + 1).OutOfSync; got != outOfSync {
			t.Errorf("group %d is out of sync: %t", gid+1, got)
		}
	}
	if got := x.d.group(2).Promoting; got != (action{Index: 1, State: "preparing"}) {
		t.Errorf("the promotion is %+v", got)
	}
	if x.d.sentinelModel().OutOfSync {
		t.Error("the sentinels are out of sync")
	}
	// Every push brings back what the books say: here a member, and no longer the stray server.
	for gid := range 5 {
		x.d.ok("group/resync", gid+1)
	}
	want = strings.Join([]string{said[0], said[1], x.aliased[1].addr, x.still.addr, x.robbed.addr}, " ")
	if got := x.routes(); got != want {
		t.Errorf("after a resync the routes are %s, want %s", got, want)
	}
	if x.p.stats().Sentinels.Switched {
		t.Error("the proxy still says that it switched")
	}
}

// Of sentinels that disagree the highest epoch counts, and without a majority of them nothing does.
func TestSentinelMajority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(withSentinels(nil))
	a, b := w.server(1), w.server(2)
	d.newGroup(1, a, b)
	d.mustAssign(0, 0, 1)
	p := w.proxy(1, proxySpec{})
	d.register(p)
	all := d.sentinels(3)
	d.resyncSentinels()
	d.proc.stop()
	all[0].persuade("demo-1", b.addr, 3)
	for _, s := range all[1:] {
		s.proc.kill()
	}
	d = w.dashboard(withSentinels(nil))
	p.ok("sentinels", "rewatch")
	holds(t, 2500*time.Millisecond, "nobody follows one of three", func() bool {
		return len(d.stats().Sentinels.Masters) == 0 && p.stats().Sentinels.Masters == nil && p.slots()[0].Backend == a.addr
	})
	all[1].start()
	// They try again ten seconds after the last time.
	eventually(t, patience, "two of three are followed", func() bool {
		return d.seesMaster(1, b.addr) && p.slots()[0].Backend == b.addr
	})
	requireOrder(t, d, 1, b, a)
	// A proxy keeps its list, and where it went, when the list is taken away; only what it heard is gone.
	p.putSentinels()
	if got := p.stats().Sentinels; got.Servers != nil || got.Masters != nil || !got.Switched {
		t.Errorf("the proxy has %+v", got)
	}
}

// What the dashboard read from sentinels before a promotion made them forget is believed afterwards: if the promotion
// takes longer than the five seconds to the second look, the old master is the first of the group again.
func TestSentinelLookUndoesAPromotion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{
		groups: 1, members: 2, proxies: 1, dashboard: withSentinels(nil),
		proxy: proxySpec{settings: settings{"backend_recv_timeout": "8s"}},
	})
	master, replica := c.member(1, 1), c.member(1, 2)
	c.d.sentinels(1)
	c.d.resyncSentinels()
	eventually(t, patience, "the dashboard has looked once", func() bool { return c.d.seesMaster(1, master.addr) })
	c.hang()
	if got := <-c.promoteLater(); got != "OK" {
		t.Fatalf("promote: %s", got)
	}
	eventually(t, patience, "the old master is back in the books", func() bool {
		return c.d.group(1).order()[0] == master.addr
	})
	requireOrder(t, c.d, 1, master, replica)
	if !c.d.group(1).OutOfSync {
		t.Error("the group is in sync")
	}
	// The promotion itself has happened, and proxies are where it put them.
	if got := c.proxies[0].slots()[0].Backend; got != replica.addr || replica.role() != "master" {
		t.Errorf("the proxy is at %s, the replica is %s", got, replica.role())
	}
}

// The whole of it: sentinels find a master dead, make its replica master, and clients write to that.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{
		groups: 1, members: 2, proxies: 2, conf: []string{w.announced()},
		dashboard: withSentinels(settings{"sentinel_down_after": "1s"}),
	})
	master, replica := c.member(1, 1), c.member(1, 2)
	all := c.d.sentinels(3)
	c.d.resyncSentinels()
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "k", "v")
	for _, s := range all {
		eventually(t, patience, "the sentinels know each other and the replica", func() bool {
			m := s.masters()["demo-1"]
			return m["num-other-sentinels"] == "2" && m["num-slaves"] == "1"
		})
	}
	eventually(t, patience, "the value is on the replica", func() bool { return replica.text("GET", "k") == "v" })
	master.proc.kill()
	for _, p := range c.proxies {
		eventually(t, failoverPatience, "the proxy follows", func() bool { return p.slots()[0].Backend == replica.addr })
	}
	eventually(t, failoverPatience, "the dashboard follows", func() bool { return c.d.group(1).order()[0] == replica.addr })
	eventually(t, patience, "clients write", func() bool { return conn.text("SET", "k", "w") == "OK" })
	if replica.role() != "master" || replica.text("GET", "k") != "w" {
		t.Errorf("the replica is %v", replica.info())
	}
	requireOrder(t, c.d, 1, replica, master)
	if !c.d.group(1).OutOfSync || c.d.sentinelModel().OutOfSync {
		t.Error("it is the group that is out of sync, and not the sentinels")
	}
}

// failoverPatience has room for the half minute in which a sentinel does nothing because the machine was too slow.
const failoverPatience = 2 * patience
