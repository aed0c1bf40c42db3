// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// hang stops the group's master with a write to it in flight, and tells when that write was sent.
func (c *cluster) hang() time.Time {
	c.t.Helper()
	conn := dial(c.t, c.proxies[0].client)
	conn.expect(c.t, "OK", "SET", "a", "before")
	c.member(1, 1).proc.signal(stopSignal)
	sent := time.Now()
	if err := conn.send("SET", "a", "in flight"); err != nil {
		c.t.Fatal(err)
	}
	return sent
}

// promoteLater promotes the group's replica in the background.
func (c *cluster) promoteLater() <-chan string {
	answer := make(chan string, 1)
	path := c.d.path("group/promote", 1, c.member(1, 2).addr)
	go func() {
		r, err := request("PUT", c.d.url(path), nil)
		switch {
		case err != nil:
			answer <- err.Error()
		case r.isOK():
			answer <- "OK"
		default:
			answer <- r.cause()
		}
	}()
	return answer
}

// A push waits for the requests in flight, and those wait for backend_recv_timeout.
func TestHungMasterHoldsPromoteForBackendRecvTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const timeout = 3 * time.Second
	c := w.cluster(layout{
		groups: 1, members: 2, proxies: 1,
		proxy: proxySpec{settings: settings{"backend_recv_timeout": "3s"}},
	})
	sent := c.hang()
	answer := c.promoteLater()
	holds(t, time.Until(sent.Add(timeout-1500*time.Millisecond)), "the promotion waits", func() bool {
		return len(answer) == 0
	})
	if got := <-answer; got != "OK" {
		t.Fatalf("promote: %s", got)
	}
	if took := time.Since(sent); took < timeout-500*time.Millisecond {
		t.Errorf("the promotion was through after %v", took)
	}
	dial(t, c.proxies[0].client).expect(t, "OK", "SET", "a", "after")
}

// Killing the hung process resets its connections, and what waited for them goes on long before any timeout.
func TestKillOfAHungMasterFreesPromote(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{
		groups: 1, members: 2, proxies: 1,
		proxy: proxySpec{settings: settings{"backend_recv_timeout": "300s"}},
	})
	c.hang()
	answer := c.promoteLater()
	holds(t, time.Second, "the promotion waits", func() bool { return len(answer) == 0 })
	c.member(1, 1).proc.kill()
	if got := <-answer; got != "OK" {
		t.Fatalf("promote: %s", got)
	}
	dial(t, c.proxies[0].client).expect(t, "OK", "SET", "a", "after")
}

// Routes can be pushed past the dashboard. When it comes back it believes what it stored, pushes nothing by itself,
// and a promotion makes it agree.
func TestFailoverWithoutDashboardAndRepair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 2})
	master, replica := c.member(1, 1), c.member(1, 2)
	one, two := dial(t, c.proxies[0].client), dial(t, c.proxies[1].client)
	one.expect(t, "OK", "SET", "a", "1")
	eventually(t, patience, "the value is on the replica", func() bool { return replica.text("GET", "a") == "1" })
	c.d.proc.kill()
	master.proc.kill()
	replica.must("SLAVEOF", "NO", "ONE")
	for _, p := range c.proxies {
		routes := p.slots()
		for i := range routes {
			routes[i].Backend = replica.addr
		}
		p.mustFill(routes)
	}
	eventually(t, patience, "clients of both proxies write", func() bool {
		return one.text("SET", "a", "2") == "OK" && two.text("SET", "b", "2") == "OK"
	})
	d := w.dashboard(dashboardSpec{args: removeLock})
	requireOrder(t, d, 1, master, replica)
	holds(t, 2500*time.Millisecond, "the dashboard pushes nothing", func() bool {
		return c.proxies[0].slots()[0].Backend == replica.addr && d.slots()[0].Backend == master.addr
	})
	d.ok("group/promote", 1, replica.addr)
	requireOrder(t, d, 1, replica, master)
	if got := d.slots()[0].Backend; got != replica.addr {
		t.Errorf("the dashboard routes to %s", got)
	}
	one.expect(t, "2", "GET", "a")
}

// writer counts up one key for as long as it lasts, and keeps what went wrong.
type writer struct {
	stop, done chan struct{}
	last       atomic.Int64
	errors     []string
}

func startWriter(t *testing.T, client, key string) *writer {
	t.Helper()
	wr := &writer{stop: make(chan struct{}), done: make(chan struct{})}
	conn := dial(t, client)
	go func() {
		defer close(wr.done)
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-wr.stop:
				return
			case <-pace.C:
			}
			if got := conn.text("INCR", key); got != fmt.Sprint(wr.last.Load()+1) {
				wr.errors = append(wr.errors, got)
				return
			}
			wr.last.Add(1)
		}
	}()
	return wr
}

// A planned switchover: lock the group's slots on all proxies, wait until the replica has everything, promote,
// which unlocks them with the new route. No client sees an error, and no write is lost.
func TestSwitchoverUnderLockLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 2})
	writers := []*writer{startWriter(t, c.proxies[0].client, "a"), startWriter(t, c.proxies[1].client, "b")}
	from, to := c.member(1, 1), c.member(1, 2)
	for range 2 {
		before := writers[0].last.Load()
		eventually(t, patience, "writes are made", func() bool { return writers[0].last.Load() > before+20 })
		locked := c.d.slots()
		for i := range locked {
			locked[i].Locked = true
		}
		for _, p := range c.proxies {
			p.mustFill(locked)
		}
		eventually(t, patience, "the replica has everything", func() bool {
			return from.info()["master_repl_offset"] == to.info()["slave_repl_offset"]
		})
		c.d.ok("group/promote", 1, to.addr)
		c.d.syncAction(from.addr, "synced")
		eventually(t, patience, "the old master is in sync", func() bool { return from.inSyncWith(to) })
		from, to = to, from
	}
	for i, wr := range writers {
		close(wr.stop)
		<-wr.done
		if len(wr.errors) > 0 {
			t.Errorf("writer %d after %d writes: %v", i, wr.last.Load(), wr.errors)
		}
	}
	if got, want := from.text("GET", "a"), fmt.Sprint(writers[0].last.Load()); got != want {
		t.Errorf("the master has %s of %s writes", got, want)
	}
}

// Whoever finds slots locked resyncs the group, and clients go on with the old route.
func TestResyncFreesSlotsThatSomebodyLeftLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 1})
	p := c.proxies[0]
	locked := c.d.slots()
	for i := range locked {
		locked[i].Locked = true
	}
	p.mustFill(locked)
	conn := dial(t, p.client)
	answers := make(chan string, 1)
	go func() { answers <- conn.text("SET", "a", "1") }()
	holds(t, time.Second, "the client waits", func() bool { return len(answers) == 0 })
	c.d.ok("group/resync", 1)
	if got := <-answers; got != "OK" {
		t.Errorf("the client got %q", got)
	}
}
