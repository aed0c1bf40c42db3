// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/codis-io/codis-operator/test/standin/dashboard"
	"github.com/codis-io/codis-operator/test/standin/memserver"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

func TestLockOutlivesAKilledDashboard(t *testing.T) {
	w := newWorld(t)
	w.dash.Kill()
	if !w.locked() {
		t.Fatal("a killed dashboard released its lock")
	}
	w.create(nil)
	if err := w.dash.Run(t.Context()); err == nil {
		t.Fatal("a second dashboard got the lock")
	}
	var model models.Topom
	if err := w.client.Get(dashAddr, "/topom/model", &model); err != nil || model.AdminAddr != dashAddr {
		t.Errorf("the model without the lock: %+v, %v", model, err)
	}
	if err := w.client.Get(dashAddr, "/topom/stats", nil); err == nil || !strings.Contains(err.Error(), "topom is not online") {
		t.Errorf("stats without the lock: %v", err)
	}
	w.must(w.dash.Close())
	if !w.locked() {
		t.Fatal("a dashboard that was not online released the lock")
	}
	w.must(w.stored().Release())
	w.start(nil)
	w.must(w.dash.Close())
	if w.locked() {
		t.Error("a closed dashboard left its lock")
	}
}

func TestCloseReleasesWhoeverHoldsTheLock(t *testing.T) {
	w := newWorld(t)
	old := w.dash
	w.must(w.stored().Release())
	w.start(nil)
	w.must(old.Close())
	if w.locked() {
		t.Error("the lock of the new dashboard is still there")
	}
}

func TestShutdownAnswers(t *testing.T) {
	w := newWorld(t)
	w.ok("shutdown/%s")
	<-w.dash.Done()
	if w.locked() {
		t.Error("the lock is left")
	}
	if w.dash.Failure() != nil {
		t.Error("a shutdown is a failure")
	}
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	w.addServer("plain:6379", memserver.Config{Vanilla: true})
	w.addServer(server(1, 0), memserver.Config{})
	w.addServer(server(1, 1), memserver.Config{})
	w.fails("invalid group id = 0, out of range", "group/create/%s/%d", 0)
	w.fails("invalid group id = 10000, out of range", "group/create/%s/%d", 10000)
	w.ok("group/create/%s/%d", 1)
	w.ok("group/create/%s/%d", 2)
	w.fails("group-[1] already exists", "group/create/%s/%d", 1)
	w.fails("group-[9] doesn't exist", "group/add/%s/%d/%s", 9, server(1, 0))
	w.fails("ERR unknown command 'SLOTSINFO'", "group/add/%s/%d/%s", 1, "plain:6379")
	w.fails("dial tcp", "group/add/%s/%d/%s", 1, "nobody:6379")
	w.ok("group/add/%s/%d/%s/%s", 1, server(1, 0), "dc1")
	w.fails("server-[g1-0.srv:6379] already exists", "group/add/%s/%d/%s", 2, server(1, 0))
	w.ok("group/add/%s/%d/%s", 1, server(1, 1))
	w.fails("group-[1] can't promote master", "group/promote/%s/%d/%s", 1, server(1, 0))
	w.fails("group-[1] doesn't have server-[x:1]", "group/promote/%s/%d/%s", 1, "x:1")
	w.fails("group-[1] can't remove master, still in use", "group/del/%s/%d/%s", 1, server(1, 0))
	w.fails("group-[1] isn't empty", "group/remove/%s/%d", 1)
	w.ok("group/replica-groups/%s/%d/%s/1", 1, server(1, 1))
	if g := w.group(1); g.Servers[0].DataCenter != "dc1" || !g.Servers[1].ReplicaGroup || g.OutOfSync {
		t.Errorf("got %+v", g)
	}
	w.ok("group/del/%s/%d/%s", 1, server(1, 1))
	w.ok("group/del/%s/%d/%s", 1, server(1, 0))
	w.ok("group/remove/%s/%d", 1)
	w.fails("server-[x:1] doesn't exist", "group/action/create/%s/%s", "x:1")
	w.fails("invalid gid", "group/create/%s/x")
}

func TestXAuth(t *testing.T) {
	w := newWorld(t)
	err := w.client.Put(dashAddr, "/api/topom/group/create/deadbeef/1", nil)
	if err == nil || !strings.Contains(err.Error(), rpc.ErrInvalidXAuth.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestSyncAction(t *testing.T) {
	w := newWorld(t)
	w.layout()
	if got := w.servers[server(1, 1)].Master(); got != server(1, 0) {
		t.Errorf("the replica follows %q", got)
	}
	w.ok("group/action/create/%s/%s", server(1, 0))
	w.eventually("the master syncs", func() bool { return w.action(1, 0) == "synced" })
	if got := w.servers[server(1, 0)].Master(); got != "" {
		t.Errorf("the master follows %q", got)
	}
	w.addServer("readonly:6379", memserver.Config{ReadOnlyConfig: true})
	w.ok("group/add/%s/1/readonly:6379")
	w.ok("group/action/create/%s/readonly:6379")
	w.eventually("the sync fails", func() bool { return w.action(1, 2) == "synced_failed" })
	if got := w.servers["readonly:6379"].Master(); got != server(1, 0) {
		t.Errorf("SLAVEOF did not take effect: %q", got)
	}
	w.ok("group/action/remove/%s/readonly:6379")
	w.fails("server-[readonly:6379] action doesn't exist", "group/action/remove/%s/readonly:6379")
}

func TestPromote(t *testing.T) {
	w := newWorld(t)
	w.layout()
	w.ok("group/promote/%s/1/%s", server(1, 1))
	if got := w.order(1); got != server(1, 1)+" "+server(1, 0) {
		t.Errorf("got %s", got)
	}
	if w.servers[server(1, 1)].Master() != "" {
		t.Error("the new master is none")
	}
	if w.servers[server(1, 0)].Master() != "" {
		t.Error("the old master was repointed")
	}
	if g := w.group(1); g.OutOfSync || g.Promoting.State != "" || g.Servers[1].Action.State != "" {
		t.Errorf("got %+v", g)
	}
	if !w.routed(0, server(1, 1), false) || !w.routed(600, server(2, 0), false) {
		t.Error("the proxies do not know")
	}
}

func TestPromoteOfAnUnreachableServerWorks(t *testing.T) {
	w := newWorld(t)
	w.layout()
	w.servers[server(1, 1)].Kill()
	w.ok("group/promote/%s/1/%s", server(1, 1))
	if !w.routed(0, server(1, 1), false) {
		t.Error("the proxies do not know")
	}
}

func TestDeadProxyBlocks(t *testing.T) {
	w := newWorld(t)
	w.layout()
	dead := w.proxies[admin(1)]
	token := dead.Model().Token
	dead.Kill()
	w.fails("proxy-["+token+"] resync slots failed", "group/promote/%s/1/%s", server(1, 1))
	if g := w.group(1); g.Promoting.State != models.ActionPreparing || g.Promoting.Index != 1 || g.Servers[0].Addr != server(1, 0) {
		t.Errorf("got %+v", g)
	}
	if s := w.proxies[admin(0)].Slots()[0]; s.Locked {
		t.Error("the live proxy was left locked")
	}
	w.fails("group-[1] is promoting", "group/action/create/%s/%s", server(1, 0))
	w.fails("group-[1] is promoting index = 1", "group/promote/%s/1/%s", server(1, 0))
	w.fails("proxy-["+token+"] shutdown failed", "proxy/remove/%s/%s/0", token)
	w.ok("proxy/remove/%s/%s/1", token)
	w.fails("proxy-["+token+"] doesn't exist", "proxy/remove/%s/%s/1", token)
	w.ok("group/promote/%s/1/%s", server(1, 1))
}

func TestProxyEntries(t *testing.T) {
	w := newWorld(t)
	p := w.addProxy(0)
	w.fails("proxy@nobody:1 fetch model failed", "proxy/online/%s/nobody:1")
	w.ok("proxy/create/%s/%s", admin(0))
	w.fails("proxy-["+p.Model().Token+"] already exists", "proxy/create/%s/%s", admin(0))
	w.ok("proxy/online/%s/%s", admin(0))
	w.addProxy(1)
	w.ok("proxy/online/%s/%s", admin(1))
	if m := w.stats().Proxy.Models; len(m) != 2 || m[0].ID != 1 || m[1].ID != 2 {
		t.Errorf("got %+v", m)
	}
	w.eventually("proxies are polled", func() bool {
		x := w.stats().Proxy.Stats[p.Model().Token]
		return x != nil && x.Stats != nil && x.Stats.Online
	})
	w.ok("proxy/remove/%s/%s/0", p.Model().Token)
	<-p.Done()
}

func TestProxyThatComesBackIsBroughtOnline(t *testing.T) {
	w := newWorld(t)
	w.layout()
	w.proxies[admin(1)].Kill()
	again := w.addProxy(1)
	if again.Online() {
		t.Fatal("it is online by itself")
	}
	w.eventually("the dashboard brings it online", again.Online)
	if s := again.Slots()[0]; s.BackendAddr != server(1, 0) {
		t.Errorf("got %+v", s)
	}
}

func TestAssign(t *testing.T) {
	w := newWorld(t)
	w.layout()
	if !w.group(1).OutOfSync {
		t.Error("assign leaves the group in sync")
	}
	w.ok("group/resync-all/%s")
	if w.group(1).OutOfSync {
		t.Error("resync leaves the group out of sync")
	}
	put := func(path, body string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/api/topom/slots/assign/"+rpc.XAuth(product)+path,
			strings.NewReader(body))
		rec := httptest.NewRecorder()
		w.dash.Handler().ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	if code, body := put("", "{not json"); code != http.StatusOK || body != `"OK"` {
		t.Errorf("a malformed body gives %d %s", code, body)
	}
	if code, body := put("", `[{"id":0,"group_id":77}]`); code != rpc.StatusFailed || !strings.Contains(body, "group-[77] doesn't exist") {
		t.Errorf("got %d %s", code, body)
	}
	if code, _ := put("/offline", `[{"id":0}]`); code != http.StatusOK || !w.routed(0, "", false) {
		t.Errorf("got %d", code)
	}
	if code, body := put("/offline", `[{"id":0,"group_id":1}]`); code != rpc.StatusFailed {
		t.Errorf("got %d %s", code, body)
	}
}

func TestSettingsAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.ok("slots/action/interval/%s/5000000")
	w.ok("slots/action/disabled/%s/1")
	if s := w.stats().SlotAction; s.Interval != 1000000 || !s.Disabled {
		t.Errorf("got %+v", s)
	}
	w.must(w.dash.Close())
	w.start(nil)
	if s := w.stats().SlotAction; s.Interval != 0 || s.Disabled {
		t.Errorf("got %+v after a restart", s)
	}
}

func TestReloadReadsTheStore(t *testing.T) {
	w := newWorld(t)
	w.ok("group/create/%s/1")
	w.must(w.stored().SaveGroup(&models.Group{ID: 5, Servers: []*models.GroupServer{{Addr: "x:1"}}}))
	if n := len(w.stats().Group.Models); n != 1 {
		t.Errorf("%d groups before the reload", n)
	}
	w.ok("reload/%s")
	if n := len(w.stats().Group.Models); n != 2 {
		t.Errorf("%d groups after the reload", n)
	}
}

func TestUnknownStateEndsTheDashboard(t *testing.T) {
	w := newWorld(t)
	w.must(w.stored().SaveSlot(&models.SlotMapping{Action: models.SlotAction{State: "invented"}}))
	w.ok("reload/%s")
	if err := w.client.Get(dashAddr, "/topom/slots", nil); err == nil {
		t.Error("it answers")
	}
	<-w.dash.Done()
	if w.dash.Failure() == nil || !w.locked() {
		t.Errorf("failure %v, lock left %t", w.dash.Failure(), w.locked())
	}
}

func TestSentinelNobodyListensOn(t *testing.T) {
	w := newWorld(t)
	w.fails("dial tcp", "sentinels/add/%s/nobody:26379")
	w.fails("sentinel-[x:1] not found", "sentinels/del/%s/x:1/0")
}

func TestJSONShape(t *testing.T) {
	w := newWorld(t)
	var got map[string]json.RawMessage
	w.must(w.client.Get(dashAddr, "/topom/stats", &got))
	for _, key := range []string{"closed", "slots", "group", "proxy", "slot_action", "sentinels"} {
		if got[key] == nil {
			t.Errorf("no %s", key)
		}
	}
	var slots []json.RawMessage
	w.must(json.Unmarshal(got["slots"], &slots))
	var compact struct {
		ID      int `json:"id"`
		GroupID int `json:"group_id"`
		Action  json.RawMessage
	}
	w.must(json.Unmarshal(slots[5], &compact))
	if len(slots) != models.MaxSlotNum || compact.ID != 5 || string(compact.Action) != "{}" {
		t.Errorf("got %s", slots[5])
	}
	var overview dashboard.Overview
	w.must(w.client.Get(dashAddr, "/topom", &overview))
	if overview.Config.MigrationAsyncMaxBytes != 32<<20 || overview.Config.ProductAuth != "" {
		t.Error("the settings are wrong or tell the password")
	}
}
