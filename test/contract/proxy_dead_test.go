// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// One dead proxy blocks every push, and nothing but pushes.
func TestDeadProxyBlocksPushesUntilItIsRemovedByForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 2, proxies: 2})
	dead, d := c.proxies[1], c.d
	dead.proc.kill()
	failed := "proxy-[" + dead.token + "] resync slots failed"
	d.refused(failed, "group/resync", 1)
	d.refused(failed, "group/resync-all")
	d.refused(failed, "group/promote", 1, c.member(1, 2).addr)
	if got := d.assign(mappings(1023, 1023, 1)).cause(); got != failed {
		t.Errorf("assign: %s", got)
	}
	if got := d.offline(mappings(1022, 1022, 0)).cause(); got != failed {
		t.Errorf("offline: %s", got)
	}
	// What was refused is stored all the same, and the live proxy has it.
	requireSlot(t, d, slotMapping{ID: 1023, GroupID: 1})
	requireSlot(t, d, slotMapping{ID: 1022})
	if got := c.proxies[0].slots()[1023].Backend; got != c.member(1, 1).addr {
		t.Errorf("the live proxy has %s", got)
	}
	d.ok("group/create", 3)
	spare := w.server(8)
	d.ok("group/add", 3, spare.addr)
	d.ok("group/action/create", c.member(2, 2).addr)
	d.ok("slots/action/disabled", 1)
	d.ok("slots/action/create", 5, 2)
	if got := d.plan(0); len(got) == 0 {
		t.Error("no rebalance plan")
	}
	d.ok("group/del", 3, spare.addr)
	d.ok("group/remove", 3)
	d.refused("proxy-["+dead.token+"] shutdown failed", "proxy/remove", dead.token, 0)
	d.ok("proxy/remove", dead.token, 1)
	d.ok("group/promote", 1, c.member(1, 2).addr)
	d.ok("group/resync-all")
}

// With no proxy at all every push succeeds: a layout can be made before the first proxy is there.
func TestLayoutBeforeTheFirstProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2})
	c.d.ok("group/promote", 1, c.member(1, 2).addr)
	p := w.proxy(1, proxySpec{})
	c.d.register(p)
	if got := p.slots()[7]; got.Backend != c.member(1, 2).addr || got.BackendGroup != 1 {
		t.Errorf("the proxy has %+v", got)
	}
}

// fakeProxy answers as a proxy's admin interface would, up to the first push, which gets what answer says.
func fakeProxy(t *testing.T, w *world, answer http.HandlerFunc) (addr, token string) {
	t.Helper()
	l, err := net.Listen("tcp", w.at(portAdmin+9))
	if err != nil {
		t.Fatal(err)
	}
	addr, token = l.Addr().String(), strings.Repeat("f", 32)
	model, err := json.Marshal(map[string]any{
		"token": token, "admin_addr": addr, "proxy_addr": w.at(portProxy + 9), "proto_type": "tcp4",
		"product_name": w.product, "start_time": "now", "pid": 1, "pwd": "/", "sys": "none", "hostname": "fake",
		"datacenter": "",
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/proxy/model", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(model) })
	mux.HandleFunc("GET /api/proxy/xping/{xauth}", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(`"OK"`))
	})
	mux.HandleFunc("/", answer)
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return addr, token
}

func refuse(rw http.ResponseWriter, _ *http.Request) {
	rw.WriteHeader(statusError)
	_, _ = rw.Write([]byte(`{"Cause": "no", "Stack": null}`))
}

// The entry is stored before the pushes, so that a failed registration leaves a proxy that blocks everything.
func TestFailedRegistrationLeavesAnEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	addr, token := fakeProxy(t, w, refuse)
	d.refused("proxy-["+token+"] fillslots failed", "proxy/online", addr)
	if m := d.stats().Proxy.Models; len(m) != 1 || m[0].Token != token {
		t.Fatalf("proxies are %+v", m)
	}
	d.newGroup(1, w.server(1))
	if got := d.assign(mappings(0, 0, 1)).cause(); got != "proxy-["+token+"] resync slots failed" {
		t.Errorf("assign: %s", got)
	}
	d.ok("proxy/remove", token, 1)
}

// One lock guards the dashboard's state, and a push to a proxy that does not answer is made under it.
func TestPushToAHungProxyHoldsEverybodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, w.server(1))
	reached, release := make(chan struct{}, 16), make(chan struct{})
	addr, token := fakeProxy(t, w, func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/proxy/fillslots/") {
			reached <- struct{}{}
			<-release
		}
		refuse(rw, r)
	})
	answers := make(chan string, 2)
	go func() { answers <- d.put("proxy/online", addr).cause() }()
	<-reached
	go func() {
		r, err := request(http.MethodGet, d.url("/topom/stats"), nil)
		if err != nil || r.status != http.StatusOK {
			answers <- "stats failed"
			return
		}
		answers <- "stats"
	}()
	holds(t, time.Second, "both calls wait", func() bool { return len(answers) == 0 })
	// What takes no lock answers.
	if r := d.send(http.MethodGet, "/topom/model", nil); r.status != http.StatusOK {
		t.Errorf("model: %s", r.cause())
	}
	close(release)
	got := setOf(<-answers, <-answers)
	if !got["stats"] || !got["proxy-["+token+"] fillslots failed"] {
		t.Errorf("answers are %v", got)
	}
}

// Force takes the entry out of the books whether or not the proxy is dead. One that is merely out of reach serves on,
// with routes that nobody will ever correct.
func TestForcedRemovalOfALiveProxyLeavesItServingOldRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 2, proxies: 2})
	p, d := c.proxies[1], c.d
	d.proc.stop()
	// Out of reach: the dashboard knows it by an address where nobody listens.
	key := w.storePath("proxy/proxy-" + p.token)
	writeFile(t, key, strings.ReplaceAll(readFile(t, key), p.addr, w.at(portNobody)))
	d = w.dashboard(dashboardSpec{})
	d.refused("proxy-["+p.token+"] shutdown failed", "proxy/remove", p.token, 0)
	d.ok("proxy/remove", p.token, 1)
	d.ok("group/promote", 1, c.member(1, 2).addr)
	dial(t, p.client).expect(t, "OK", "SET", "a", "lost")
	if got := c.member(1, 1).text("GET", "a"); got != "lost" {
		t.Errorf("the old master has %q", got)
	}
	if !p.stats().Online || p.slots()[0].Backend != c.member(1, 1).addr {
		t.Errorf("the proxy routes to %s", p.slots()[0].Backend)
	}
}

// Proxies have two identities, token and address, and only the token counts: the successor of a dead one gets an
// entry beside it, which blocks on.
func TestNewTokenOnTheSameAddressIsASecondEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, w.server(1))
	p := w.proxy(1, proxySpec{})
	d.register(p)
	old := p.token
	p.proc.kill()
	// Another listen address makes another token behind the same announced address.
	p.spec.settings = settings{"proxy_addr": w.at(portProxy + 2)}
	p.start()
	d.register(p)
	if m := d.stats().Proxy.Models; len(m) != 2 || m[0].AdminAddr != m[1].AdminAddr {
		t.Fatalf("proxies are %+v", m)
	}
	if got := d.assign(mappings(0, 0, 1)).cause(); got != "proxy-["+old+"] resync slots failed" {
		t.Errorf("assign: %s", got)
	}
	// Removing the old entry by force does not touch the process at its address.
	d.ok("proxy/remove", old, 1)
	d.mustAssign(0, 0, 1)
	if p.proc.exited() || !p.stats().Online {
		t.Error("the new proxy is gone")
	}
}
