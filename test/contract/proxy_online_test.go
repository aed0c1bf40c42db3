// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const routerNotOnline = "ERR router is not online"

// A proxy accepts connections long before it serves: an open port is no readiness.
func TestProxyWithoutFlagsWaitsToBeMadeOnline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.proxy(1, proxySpec{})
	conn := dial(t, p.client)
	if _, err := conn.receive(); err == nil || err.Error() != routerNotOnline {
		t.Errorf("the proxy greets with %v", err)
	}
	if v, err := conn.receive(); err == nil {
		t.Errorf("the connection is still open: %v", v)
	}
	if s := p.stats(); s.Online || s.Closed {
		t.Errorf("stats are %+v", s)
	}
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, w.server(1))
	d.mustAssign(0, slotCount-1, 1)
	d.register(p)
	if !p.stats().Online {
		t.Error("the proxy is not online")
	}
	dial(t, p.client).expect(t, "PONG", "PING")
}

// registersItself waits until proxy n is online and in the dashboard's list.
func (d *dashboard) registersItself(p *proxy) {
	d.t.Helper()
	eventually(d.t, patience, "the proxy is online and registered", func() bool {
		for _, m := range d.stats().Proxy.Models {
			if m.Token == p.token && m.AdminAddr == p.addr {
				return p.stats().Online
			}
		}
		return false
	})
}

func TestProxyRegistersItselfThroughDashboardFlag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The dashboard comes later: a proxy asks ten times, three seconds apart.
	p := w.proxy(1, proxySpec{args: []string{"--dashboard", w.at(portDashboard)}})
	d := w.dashboard(dashboardSpec{})
	d.registersItself(p)
}

func TestProxyRegistersItselfThroughTheCoordinator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.registersItself(w.proxy(1, proxySpec{args: []string{"--filesystem", w.coordinator()}}))
}

func TestProxyOfAnotherProductExits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	w.product = "other"
	p := &proxy{
		api: &api{t: t, addr: w.at(portAdmin + 1), prefix: "proxy"}, w: w, n: 1, client: w.at(portProxy + 1),
		spec: proxySpec{args: []string{"--dashboard", d.addr}},
	}
	p.launch()
	if code := p.proc.exitCode(patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if n := len(d.stats().Proxy.Models); n != 0 {
		t.Errorf("%d proxies are registered", n)
	}
}

// A file of slots makes a proxy that no dashboard knows of.
func TestProxyWithSlotsFromAFileIsNeverRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	s := w.server(1)
	var all []slot
	for id := range slotCount {
		all = append(all, slot{ID: id, Backend: s.addr})
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "slots.json")
	writeFile(t, file, string(text))
	p := w.proxy(1, proxySpec{args: []string{"--fillslots", file}})
	eventually(t, patience, "the proxy is online", func() bool { return p.stats().Online })
	dial(t, p.client).expect(t, "PONG", "PING")
	if n := len(d.stats().Proxy.Models); n != 0 {
		t.Errorf("%d proxies are registered", n)
	}
}

func TestProxyWithAnotherProductAuthIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	p := w.proxy(1, proxySpec{settings: settings{"product_auth": "another"}})
	d.refused("proxy@"+p.addr+" check xauth failed", "proxy/online", p.addr)
	if n := len(d.stats().Proxy.Models); n != 0 {
		t.Errorf("%d proxies are registered", n)
	}
}

// A proxy that is registered, reachable and not online is made online by the dashboard: a process that was
// restarted on the same machine is back within seconds.
func TestRestartedProxyIsMadeOnlineAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 1})
	p := c.proxies[0]
	token := p.token
	p.proc.kill()
	p.start()
	// Somebody who adds network devices meanwhile gives it another token, and then this is another proxy.
	for attempt := 0; p.token != token && attempt < 5; attempt++ {
		c.d.register(p)
		token = p.token
		p.proc.kill()
		p.start()
	}
	eventually(t, patience, "the proxy is online", func() bool { return p.stats().Online })
	dial(t, p.client).expect(t, "PONG", "PING")
	m := c.d.stats().Proxy.Models
	if m[len(m)-1].Token != p.token || m[len(m)-1].PID != p.proc.pid() {
		t.Errorf("proxies are %+v, the process is %d", m, p.proc.pid())
	}
}

// SIGTERM tells nobody: the entry stays until somebody removes it.
func TestProxyDoesNotDeregister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 1})
	p := c.proxies[0]
	p.proc.stop()
	eventually(t, patience, "the dashboard sees an error", func() bool {
		return c.d.stats().Proxy.Stats[p.token].Error != nil
	})
	if m := c.d.stats().Proxy.Models; len(m) != 1 || m[0].Token != p.token {
		t.Errorf("proxies are %+v", m)
	}
}

func TestRemovalOfALiveProxyEndsItsProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 2})
	p := c.proxies[0]
	c.d.ok("proxy/remove", p.token, 0)
	if code := p.proc.exitCode(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if m := c.d.stats().Proxy.Models; len(m) != 1 || m[0].Token != c.proxies[1].token {
		t.Errorf("proxies are %+v", m)
	}
	c.d.refused("proxy-["+p.token+"] doesn't exist", "proxy/remove", p.token, 0)
	c.d.refused("proxy-["+p.token+"] doesn't exist", "proxy/reinit", p.token)
}

func TestProxyIDsAndRepeatedRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	one, two := w.proxy(1, proxySpec{}), w.proxy(2, proxySpec{})
	d.ok("proxy/create", one.addr)
	d.refused("proxy-["+one.token+"] already exists", "proxy/create", one.addr)
	d.register(two)
	d.register(one)
	d.ok("proxy/reinit", one.token)
	ids := map[string]int{}
	for _, m := range d.stats().Proxy.Models {
		ids[m.Token] = m.ID
	}
	if len(ids) != 2 || ids[one.token] != 1 || ids[two.token] != 2 {
		t.Errorf("ids are %v", ids)
	}
	const failed = " fetch model failed"
	d.refused("proxy@"+w.at(portNobody)+failed, "proxy/online", w.at(portNobody))
	// create tells more than online does.
	got := d.put("proxy/create", w.at(portNobody)).cause()
	if want := "proxy@" + w.at(portNobody) + failed + ", "; len(got) <= len(want) || got[:len(want)] != want {
		t.Errorf("create: %s", got)
	}
}

// The stats of a proxy as a dashboard sees them, and what becomes of them when it hangs.
func TestHungProxyIsATimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 1, members: 1, proxies: 1})
	p := c.proxies[0]
	health := func() proxyHealth { return c.d.stats().Proxy.Stats[p.token] }
	eventually(t, patience, "the proxy is seen online", func() bool {
		h := health()
		return h.Stats != nil && h.Stats.Online && h.Error == nil && !h.Timeout
	})
	p.proc.signal(stopSignal)
	eventually(t, patience, "the proxy is a timeout", func() bool {
		h := health()
		return h.Timeout && h.Stats == nil && h.Error == nil
	})
	p.proc.signal(continueSignal)
	eventually(t, patience, "the proxy is seen online", func() bool { return health().Stats != nil })
}

// The parts of a proxy's stats are chosen by bits, of which the dashboard sets none.
func TestProxyStatsByFlags(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	dial(t, p.client).expect(t, "OK", "SET", "a", "1")
	type parts struct {
		Ops struct {
			Cmd []any `json:"cmd"`
		} `json:"ops"`
		Runtime map[string]any `json:"runtime"`
	}
	type has struct{ cmd, runtime bool }
	for path, want := range map[string]has{
		p.path("stats"): {}, p.path("stats", 0): {}, p.path("stats", 1): {cmd: true},
		p.path("stats", 4): {runtime: true}, p.path("stats", 5): {true, true}, "/proxy/stats": {true, true},
	} {
		eventually(t, patience, path+" has its parts", func() bool {
			var s parts
			p.get(path, &s)
			return want == has{len(s.Ops.Cmd) > 0, len(s.Runtime) > 0}
		})
	}
}

// An entry can be matched to its machine by the host name.
func TestProxyModelHasTheHostName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	p := w.proxy(1, proxySpec{settings: settings{"proxy_datacenter": "dc1"}})
	var m proxyModel
	p.get("/api/proxy/model", &m)
	if m.Hostname != want || m.PID != p.proc.pid() || m.DataCenter != "dc1" || m.ProxyAddr != p.client {
		t.Errorf("the model is %+v", m)
	}
}

func TestProxyShutdownEndsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.proxy(1, proxySpec{})
	p.ok("start")
	p.ok("start")
	if !p.stats().Online {
		t.Error("started, and not online")
	}
	p.ok("stats/reset")
	p.ok("forcegc")
	p.ok("loglevel", "WARN")
	started := time.Now()
	p.ok("shutdown")
	if code := p.proc.exitCode(patience); code != 0 {
		t.Errorf("exit code %d after %v", code, time.Since(started))
	}
	if _, err := request(http.MethodGet, p.url("/proxy/model"), nil); err == nil {
		t.Error("somebody answers")
	}
}
