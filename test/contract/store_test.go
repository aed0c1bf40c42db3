// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// storedDocument reads a key as the dashboard wrote it, which is indented JSON.
func (w *world) storedDocument(key string) map[string]any {
	w.t.Helper()
	doc := map[string]any{}
	if err := json.Unmarshal([]byte(readFile(w.t, w.storePath(key))), &doc); err != nil {
		w.t.Fatalf("%s: %v", key, err)
	}
	return doc
}

func TestStoreKeysOnDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	s := w.server(1)
	d.newGroup(1, s)
	p := w.proxy(1, proxySpec{})
	d.register(p)
	d.mustAssign(1023, 1023, 1)
	want := map[string]any{"id": 1023., "group_id": 1., "action": map[string]any{}}
	if diff := cmp.Diff(want, w.storedDocument("slots/slot-1023")); diff != "" {
		t.Errorf("slot:\n%s", diff)
	}
	if w.stored("slots/slot-0000") {
		t.Error("a slot that nobody touched is stored")
	}
	want = map[string]any{
		"id": 1., "promoting": map[string]any{}, "out_of_sync": true,
		"servers": []any{map[string]any{
			"server": s.addr, "datacenter": "", "action": map[string]any{}, "replica_group": false,
		}},
	}
	if diff := cmp.Diff(want, w.storedDocument("group/group-0001")); diff != "" {
		t.Errorf("group:\n%s", diff)
	}
	requireFields(t, w.storedDocument("topom"),
		"token", "start_time", "admin_addr", "product_name", "pid", "pwd", "sys")
	requireFields(t, w.storedDocument("proxy/proxy-"+p.token), "id", "token", "start_time", "admin_addr", "proto_type",
		"proxy_addr", "product_name", "pid", "pwd", "sys", "hostname", "datacenter")
	d.ok("proxy/remove", p.token, 0)
	d.ok("slots/action/create", 0, 1)
	d.settled()
	if w.stored("proxy/proxy-" + p.token) {
		t.Error("the proxy's key is still there")
	}
}

func requireFields(t *testing.T, doc map[string]any, names ...string) {
	t.Helper()
	got := map[string]bool{}
	for k := range doc {
		got[k] = true
	}
	if diff := cmp.Diff(setOf(names...), got); diff != "" {
		t.Errorf("fields:\n%s", diff)
	}
}

func TestDataSurvivesADashboardAndSlotActionSettingsDoNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 2, proxies: 1})
	c.d.ok("slots/action/disabled", 1)
	c.d.ok("slots/action/interval", 1234)
	c.d.ok("slots/action/create", 5, 2)
	before := c.d.stats()
	if !before.SlotAction.Disabled || before.SlotAction.Interval != 1234 {
		t.Fatalf("slot_action is %+v", before.SlotAction)
	}
	c.d.proc.stop()
	// Proxies need no dashboard.
	dial(t, c.proxies[0].client).expect(t, "OK", "MSET", "a", "1", "{}x", "2")
	d := w.dashboard(dashboardSpec{})
	after := d.stats()
	if diff := cmp.Diff(before.Group.Models, after.Group.Models); diff != "" {
		t.Errorf("groups:\n%s", diff)
	}
	if diff := cmp.Diff(before.Proxy.Models, after.Proxy.Models); diff != "" {
		t.Errorf("proxies:\n%s", diff)
	}
	if after.SlotAction.Disabled || after.SlotAction.Interval != 0 {
		t.Errorf("slot_action is %+v", after.SlotAction)
	}
	// The pending action is not held back any more.
	eventually(t, patience, "slot 5 has moved", func() bool {
		m := d.stats().Slots[5]
		return m.GroupID == 2 && m.Action.State == ""
	})
}

// The store's lock is tried once per operation: whoever else holds it makes the operation fail.
func TestReaderOfTheStoreMakesAnOperationFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	f, err := os.OpenFile(filepath.Join(w.coordinator(), "data.lck"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	d.refused("store: create group-[1] failed", "group/create", 1)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	d.ok("group/create", 1)
}

// A dashboard whose first look at the store fails is online without any of its loops.
func TestDashboardThatCannotLoadTheStoreRunsNoLoops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.storePath("group/group-0007")
	writeFile(t, key, "not json")
	d := w.startDashboard(dashboardSpec{})
	eventually(t, patience, "the dashboard has the lock", func() bool { return w.stored("topom") })
	if got := d.send(http.MethodGet, "/topom/stats", nil).cause(); got != "store: load group failed" {
		t.Fatalf("stats: %s", got)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if !d.isOnline() {
		t.Fatal("the dashboard is not online")
	}
	s := w.server(1)
	d.newGroup(1, s)
	d.ok("group/action/create", s.addr)
	holds(t, 3*time.Second, "the sync action waits and no stats are taken", func() bool {
		stats := d.stats()
		return stats.Group.Models[0].Servers[0].Action.State == "pending" && len(stats.Group.Stats) == 0
	})
}

// A state that Codis does not know ends the process: never write one.
func TestUnknownStateInTheStoreEndsTheDashboard(t *testing.T) {
	t.Parallel()
	for _, unknown := range []map[string]string{
		{"slots/slot-0003": `{"id": 3, "group_id": 1, "action": {"state": "paused"}}`},
		{
			"slots/slot-0003":  `{"id": 3, "group_id": 1}`,
			"group/group-0001": `{"id": 1, "servers": [], "promoting": {"state": "paused"}}`,
		},
	} {
		w := newWorld(t)
		for key, text := range unknown {
			writeFile(t, w.storePath(key), text)
		}
		d := w.startDashboard(dashboardSpec{})
		eventually(t, patience, "the dashboard is gone", func() bool {
			_, _ = request(http.MethodGet, d.url("/topom/slots"), nil)
			return d.proc.exited()
		})
		if code := d.proc.exitCode(patience); code != 1 {
			t.Errorf("%v: exit code %d", unknown, code)
		}
	}
}

// What is edited in the store is seen only after a reload.
func TestReloadReadsTheStoreAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.ok("group/create", 1)
	// A write makes the next operation read that key again, so the edit has to come after one.
	d.group(1)
	edited := `{"id": 1, "servers": [], "promoting": {}, "out_of_sync": true}`
	writeFile(t, w.storePath("group/group-0001"), edited)
	if d.group(1).OutOfSync {
		t.Fatal("seen without a reload")
	}
	d.ok("reload")
	if !d.group(1).OutOfSync {
		t.Fatal("not seen after a reload")
	}
}
