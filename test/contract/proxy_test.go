// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/http"
	"path/filepath"
)

// proxySpec is what a test wants different from the usual proxy.
type proxySpec struct {
	settings settings
	args     []string
}

type proxy struct {
	*api
	w      *world
	n      int
	spec   proxySpec
	client string // where clients connect
	token  string
	proc   *process
}

// proxy starts proxy number n and waits until it answers.
func (w *world) proxy(n int, spec proxySpec) *proxy {
	w.t.Helper()
	p := &proxy{
		api: &api{t: w.t, addr: w.at(portAdmin + n), prefix: "proxy"},
		w:   w, n: n, spec: spec, client: w.at(portProxy + n),
	}
	p.start()
	return p
}

// start starts the process, for the first time or again.
func (p *proxy) start() {
	p.t.Helper()
	p.launch()
	eventually(p.t, patience, "the proxy answers", func() bool {
		return p.proc.exited() || p.answers("/proxy/model", http.StatusOK)
	})
	if p.proc.exited() {
		p.t.Fatalf("%s left with code %d", p.proc.name, p.proc.exitCode(patience))
	}
	var m proxyModel
	p.get("/proxy/model", &m)
	p.token = m.Token
	p.xauth = xauth(p.w.product, p.w.productAuth, p.token)
}

// launch starts the process and waits for nothing.
func (p *proxy) launch() {
	p.t.Helper()
	name := fmt.Sprintf("proxy-%d", p.n)
	config := filepath.Join(p.w.dir, name+".toml")
	// Small numbers where the defaults reserve memory and connections that no test is about.
	settings{
		"product_name":             p.w.product,
		"product_auth":             p.w.productAuth,
		"admin_addr":               p.addr,
		"proto_type":               "tcp4",
		"proxy_addr":               p.client,
		"proxy_max_offheap_size":   "0",
		"proxy_heap_placeholder":   "0",
		"backend_number_databases": 1,
	}.with(p.spec.settings).write(p.t, config)
	args := append([]string{"--config", config, "--ncpu", "2", "--max-ncpu", "2"}, p.spec.args...)
	p.proc = startProcess(p.t, p.w.dir, name, binary("codis-proxy"), args...)
}

func (p *proxy) stats() proxyStats {
	p.t.Helper()
	var s proxyStats
	p.get("/proxy/stats", &s)
	return s
}

func (p *proxy) slots() []slot {
	p.t.Helper()
	var s []slot
	p.get("/proxy/slots", &s)
	return s
}

// fill pushes slots past the dashboard.
func (p *proxy) fill(slots []slot) reply {
	p.t.Helper()
	return p.send(http.MethodPut, p.path("fillslots"), slots)
}

func (p *proxy) mustFill(slots []slot) {
	p.t.Helper()
	if r := p.fill(slots); !r.isOK() {
		p.t.Fatalf("fillslots: %s", r.cause())
	}
}

// register makes the proxy online through the dashboard.
func (d *dashboard) register(p *proxy) {
	d.t.Helper()
	d.ok("proxy/online", p.addr)
}
