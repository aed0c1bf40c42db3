// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestSyncActionMakesReplicasAndTheFirstServerMaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.productAuth = "secret"
	first, second, elsewhere := w.server(1), w.server(2), w.server(3)
	first.follow(elsewhere)
	second.must("CONFIG", "SET", "masterauth", "wrong")
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, first, second)
	d.syncAction(first.addr, "synced")
	if got := first.role(); got != "master" {
		t.Fatalf("the first server is %s", got)
	}
	d.syncAction(second.addr, "synced")
	// masterauth was set with it.
	eventually(t, patience, "the second server is in sync", func() bool { return second.inSyncWith(first) })
	if g := d.group(1); g.OutOfSync || g.Promoting.State != "" {
		t.Errorf("the group is %+v", g)
	}
	// CONFIG REWRITE went with it too: the process comes back as what it was.
	second.proc.kill()
	second.start()
	eventually(t, patience, "the second server is in sync again", func() bool { return second.inSyncWith(first) })
}

// A sync action acts once. Whatever happens to the replication later is repaired by nobody.
func TestSyncActionActsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.server(1), w.server(2)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, first, second)
	d.syncAction(second.addr, "synced")
	eventually(t, patience, "the second server is in sync", func() bool { return second.inSyncWith(first) })
	second.must("SLAVEOF", "NO", "ONE")
	holds(t, 3*time.Second, "the second server is a master that is called synced", func() bool {
		return second.role() == "master" && d.server(second.addr).Action.State == "synced"
	})
	d.ok("group/action/remove", second.addr)
	if got := d.server(second.addr).Action.State; got != "" {
		t.Errorf("the action is %q", got)
	}
	d.refused(fmt.Sprintf("server-[%s] action doesn't exist", second.addr), "group/action/remove", second.addr)
}

// "synced" means that SLAVEOF was accepted. There need not be anybody to follow.
func TestSyncedSaysNothingAboutTheLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.server(1), w.server(2)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, first, second)
	first.proc.kill()
	d.syncAction(second.addr, "synced")
	if i := second.info(); i["role"] != "slave" || i["master_link_status"] != "down" {
		t.Errorf("replication is %v", i)
	}
	first.start()
	first.proc.kill()
	d.syncAction(first.addr, "synced_failed")
}

// CONFIG REWRITE is part of the transaction: where it fails the action fails although SLAVEOF took effect.
func TestSyncActionFailsWithoutWritableConfigAndTakesEffectAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.server(1), w.newServer(2)
	second.writeConfig()
	second.launch("--bind", w.ip, "--port", fmt.Sprint(portServer+2), "--dir", second.dir, "--save", "")
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, first, second)
	d.syncAction(second.addr, "synced_failed")
	eventually(t, patience, "the second server is in sync", func() bool { return second.inSyncWith(first) })
	// And what is not in a file is forgotten with the process.
	second.proc.kill()
	second.launch("--bind", w.ip, "--port", fmt.Sprint(portServer+2), "--dir", second.dir, "--save", "")
	if got := second.role(); got != "master" {
		t.Errorf("the second server came back as %s", got)
	}
}

// A dashboard that dies during a sync action leaves it as it is, and the next one does not take it up. To ask again
// is allowed in every state but pending.
func TestInterruptedSyncActionIsLeftToItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.server(1), w.server(2)
	writeFile(t, w.storePath("group/group-0001"), fmt.Sprintf(
		`{"id": 1, "servers": [{"server": %q}, {"server": %q, "action": {"state": "syncing"}}]}`,
		first.addr, second.addr))
	d := w.dashboard(dashboardSpec{})
	holds(t, 2500*time.Millisecond, "the action is as it was left", func() bool {
		return d.server(second.addr).Action.State == "syncing" && second.role() == "master"
	})
	d.syncAction(second.addr, "synced")
	if !second.replicaOf(first) {
		t.Errorf("replication is %v", second.info())
	}
}

// A sync action drops the clients of the server, proxies included. They come back.
func TestSyncActionDropsTheServersClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.server(1)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, first)
	conn := dial(t, first.addr)
	conn.expect(t, "PONG", "PING")
	d.syncAction(first.addr, "synced")
	if v, err := conn.do("PING"); err == nil {
		t.Errorf("the connection still answers %v", v)
	}
}

// Sync actions are taken in the order in which they were asked for, one a second.
func TestSyncActionsQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	servers := []*server{w.server(1), w.server(2), w.server(3)}
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, servers...)
	for _, server := range slices.Backward(servers) {
		d.ok("group/action/create", server.addr)
	}
	eventually(t, patience, "all have ended", func() bool {
		var ended [3]bool
		for i, s := range d.group(1).Servers {
			ended[i] = s.Action.State == "synced"
		}
		if ended[1] && !ended[2] || ended[0] && !ended[1] {
			t.Fatalf("the action of a server has ended before one that was asked for earlier: %v", ended)
		}
		return ended[0]
	})
}
