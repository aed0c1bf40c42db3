// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard_test

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/proxy"
	"github.com/codis-io/codis-operator/test/standin/resp"
)

func (w *world) slot(id int) *models.SlotMapping { return w.stats().Slots[id] }

func (w *world) allIdle() bool {
	return !slices.ContainsFunc(w.stats().Slots, func(m *models.SlotMapping) bool { return m.Action.State != "" })
}

func TestMigrationMovesKeys(t *testing.T) {
	w := newWorld(t)
	w.layout()
	conn, err := w.net.Dial(t.Context(), "tcp", "proxy-0.proxy:19000")
	w.must(err)
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	const keys = 200
	do := func(words ...string) string {
		var command [][]byte
		for _, x := range words {
			command = append(command, []byte(x))
		}
		if _, err := conn.Write(resp.AppendCommand(nil, command)); err != nil {
			t.Fatal(err)
		}
		p, err := resp.ReadReply(r)
		w.must(err)
		return p.Text()
	}
	for i := range keys {
		do("SET", fmt.Sprintf("k%d", i), "0")
	}
	w.ok("slots/action/create-range/%s/0/15/2")
	w.fails("slot-[9] action already exists", "slots/action/create/%s/9/2")
	w.fails("slot-[600] already in group-[2]", "slots/action/create/%s/600/2")
	for round := 0; !w.allIdle(); round++ {
		for i := range keys {
			do("SET", fmt.Sprintf("k%d", i), fmt.Sprint(round))
		}
		if got := do("GET", "k7"); got != fmt.Sprint(round) {
			t.Fatalf("got %s in round %d", got, round)
		}
	}
	if total := w.servers[server(1, 0)].Len() + w.servers[server(2, 0)].Len(); total != keys {
		t.Errorf("%d keys of %d are there", total, keys)
	}
	for i := range keys {
		key := fmt.Sprintf("k%d", i)
		want := server(1, 0)
		if s := proxy.SlotOf([]byte(key)); s < 16 || s >= 512 {
			want = server(2, 0)
		}
		if w.servers[want].Get(key) == "" {
			t.Errorf("%s is not on %s", key, want)
		}
	}
	if w.slot(15).GroupID != 2 || w.slot(16).GroupID != 1 || !w.routed(0, server(2, 0), false) {
		t.Error("the slots are not where their keys are")
	}
}

func TestDisabledKeepsActionsPending(t *testing.T) {
	w := newWorld(t)
	w.layout()
	w.ok("slots/action/disabled/%s/1")
	w.ok("slots/action/create-some/%s/1/2/3")
	w.ok("slots/action/remove/%s/1")
	w.fails("slot-[1] action doesn't exist", "slots/action/remove/%s/1")
	if m := w.slot(2); m.Action.State != models.ActionPending || m.Action.Index != 3 || m.Action.TargetID != 2 {
		t.Errorf("got %+v", m)
	}
	w.must(w.dash.Close())
	w.start(nil)
	w.eventually("a restart forgets the pause", w.allIdle)
	if w.slot(0).GroupID != 2 || w.slot(1).GroupID != 1 || w.slot(2).GroupID != 2 {
		t.Error("the wrong slots moved")
	}
}

func TestStartedActionCannotBeCancelled(t *testing.T) {
	w := newWorld(t)
	w.layout()
	w.servers[server(1, 0)].Hang(true)
	w.ok("slots/action/create/%s/0/2")
	w.eventually("the slot migrates", func() bool { return w.slot(0).Action.State == models.ActionMigrating })
	w.eventually("a step runs", func() bool { return w.stats().SlotAction.Executor == 1 })
	w.fails("slot-[0] action isn't pending", "slots/action/remove/%s/0")
	w.fails("slots-migration is running = 1", "group/promote/%s/2/%s", server(2, 1))
	s := w.proxies[admin(0)].Slots()[0]
	if s.BackendAddr != server(2, 0) || s.MigrateFrom != server(1, 0) || s.Locked || s.ForwardMethod != models.ForwardSemiAsync {
		t.Errorf("the route is %+v", s)
	}
	w.servers[server(1, 0)].Hang(false)
	w.eventually("the slot has moved", w.allIdle)
}

func TestDeadProxyBlocksMigration(t *testing.T) {
	w := newWorld(t)
	w.layout()
	w.proxies[admin(1)].Kill()
	w.ok("slots/action/create/%s/0/2")
	w.eventually("the slot starts", func() bool { return w.slot(0).Action.State == models.ActionPreparing })
	w.eventually("the live proxy is unlocked", func() bool {
		s := w.proxies[admin(0)].Slots()[0]
		return s.BackendAddr == server(1, 0) && !s.Locked
	})
	if n := len(w.stats().Proxy.Models); n != 2 {
		t.Errorf("%d proxies are registered", n)
	}
	w.ok("proxy/remove/%s/%s/1", w.proxies[admin(1)].Model().Token)
	w.eventually("the slot has moved", w.allIdle)
}

func TestPromotionIsNotResumedByARestart(t *testing.T) {
	w := newWorld(t)
	w.layout()
	g := w.group(1)
	w.dash.Kill()
	g.Promoting = models.IndexedState{Index: 1, State: models.ActionPrepared}
	w.restartWith(func(save func(g *models.Group)) { save(g) })
	w.ok("group/resync/%s/1")
	if !w.routed(0, server(1, 0), true) {
		t.Fatal("the slots of a prepared promotion are not locked")
	}
	w.eventually("the loops run", func() bool { return len(w.stats().Group.Stats) == 4 })
	if w.group(1).Promoting.State != models.ActionPrepared {
		t.Fatal("the promotion went on by itself")
	}
	w.ok("group/promote/%s/1/%s", server(1, 1))
	if !w.routed(0, server(1, 1), false) {
		t.Error("the slots are still locked")
	}
}

func TestRebalance(t *testing.T) {
	w := newWorld(t)
	w.fails("no valid group could be found", "slots/rebalance/%s/0")
	w.layout()
	if plan, err := w.dash.Rebalance(false); err != nil || len(plan) != 0 {
		t.Errorf("a balanced cluster: %v, %v", plan, err)
	}
	w.must(w.dash.Assign(half(1, 0, 1023)))
	plan, err := w.dash.Rebalance(false)
	w.must(err)
	if len(plan) != 512 || slices.Min(slices.Collect(maps.Keys(plan))) != 512 || plan[512] != 2 {
		t.Errorf("got %d moves", len(plan))
	}
	w.must(w.dash.AssignOffline(half(0, 0, 1023)))
	plan, err = w.dash.Rebalance(true)
	w.must(err)
	if len(plan) != 1024 || plan[0] != 1 || plan[511] != 1 || plan[512] != 2 {
		t.Errorf("got %d moves of offline slots", len(plan))
	}
	w.eventually("offline slots come online without data", func() bool { return w.slot(0).GroupID == 1 })
	w.must(w.dash.Assign(half(1, 0, 1023)))
}
