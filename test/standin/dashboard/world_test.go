// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/dashboard"
	"github.com/codis-io/codis-operator/test/standin/memnet"
	"github.com/codis-io/codis-operator/test/standin/memserver"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/proxy"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/store"
)

const (
	product  = "demo"
	password = "pw"
	dashAddr = "dash-0.dash:18080"
)

// world is a cluster in one process: two groups of two servers, proxies, and a dashboard whose loops run fast.
type world struct {
	t       *testing.T
	net     *memnet.Network
	store   *store.Memory
	dash    *dashboard.Dashboard
	servers map[string]*memserver.Server
	proxies map[string]*proxy.Proxy
	client  *rpc.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, net: &memnet.Network{}, store: &store.Memory{},
		servers: map[string]*memserver.Server{}, proxies: map[string]*proxy.Proxy{},
	}
	w.client = rpc.NewClient(t.Context(), w.net.Dial)
	t.Cleanup(func() {
		w.client.Close()
		for _, s := range w.servers {
			s.Kill()
		}
		w.dash.Kill()
		for _, p := range w.proxies {
			p.Kill()
		}
	})
	w.start(nil)
	return w
}

func server(gid, i int) string { return fmt.Sprintf("g%d-%d.srv:6379", gid, i) }

func admin(i int) string { return fmt.Sprintf("proxy-%d.proxy:11080", i) }

func (w *world) listen(name string, serve func(net.Listener) error) {
	w.t.Helper()
	l, err := w.net.Listen(name)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = serve(l) }()
	w.t.Cleanup(func() { _ = l.Close() })
}

// start brings up a dashboard and waits until it is online.
func (w *world) start(change func(*dashboard.Config)) {
	w.t.Helper()
	w.client.Close() // Kept connections lead to the dashboard before: what is sent to one that ended is lost.
	w.create(change)
	if err := w.dash.Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(change func(*dashboard.Config)) {
	w.t.Helper()
	cfg := dashboard.Config{
		Settings: dashboard.DefaultSettings(), Dial: w.net.Dial, HostAdmin: dashAddr,
		Period: 5 * time.Millisecond, LockRetry: 5 * time.Millisecond,
	}
	cfg.ProductName, cfg.ProductAuth, cfg.Client = product, password, w.store.Open()
	if change != nil {
		change(&cfg)
	}
	d, err := dashboard.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.dash = d
	w.listen(dashAddr, d.Serve)
}

func (w *world) addServer(name string, cfg memserver.Config) *memserver.Server {
	w.t.Helper()
	cfg.Auth, cfg.Dial = password, w.net.Dial
	s := memserver.New(cfg)
	w.servers[name] = s
	w.listen(name, s.Serve)
	return s
}

func (w *world) addProxy(i int) *proxy.Proxy {
	w.t.Helper()
	cfg := proxy.Config{
		Settings: proxy.DefaultSettings(), Dial: w.net.Dial, MACs: []string{fmt.Sprintf("02:00:00:00:00:%02x", i)},
		HostAdmin: admin(i), HostProxy: strings.Replace(admin(i), "11080", "19000", 1),
	}
	cfg.ProductName, cfg.ProductAuth, cfg.BackendNumberDatabases = product, password, 1
	cfg.BackendRecvTimeout = conf.Duration(500 * time.Millisecond)
	p, err := proxy.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxies[admin(i)] = p
	w.listen(cfg.HostAdmin, p.ServeAdmin)
	w.listen(cfg.HostProxy, p.ServeClients)
	return p
}

// layout is two groups in sync, half of the slots each, and two proxies online.
func (w *world) layout() {
	w.t.Helper()
	for gid := 1; gid <= 2; gid++ {
		w.ok("group/create/%s/%d", gid)
		for i := range 2 {
			w.addServer(server(gid, i), memserver.Config{})
			w.ok("group/add/%s/%d/%s", gid, server(gid, i))
		}
		w.ok("group/action/create/%s/%s", server(gid, 1))
	}
	w.eventually("replicas sync", func() bool { return w.action(1, 1) == "synced" && w.action(2, 1) == "synced" })
	for i := range 2 {
		w.addProxy(i)
		w.ok("proxy/online/%s/%s", admin(i))
	}
	w.must(w.dash.Assign(half(1, 0, 511)))
	w.must(w.dash.Assign(half(2, 512, 1023)))
}

func half(gid, beg, end int) []*models.SlotMapping {
	var slots []*models.SlotMapping
	for id := beg; id <= end; id++ {
		slots = append(slots, &models.SlotMapping{ID: id, GroupID: gid})
	}
	return slots
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// call formats the path of a call, whose first verb is the xauth.
func (w *world) call(format string, args ...any) error {
	path := "/api/topom/" + fmt.Sprintf(format, append([]any{rpc.XAuth(product)}, args...)...)
	return w.client.Put(dashAddr, path, nil)
}

func (w *world) ok(format string, args ...any) {
	w.t.Helper()
	if err := w.call(format, args...); err != nil {
		w.t.Fatalf(format+": %v", append(append([]any{"X"}, args...), err)...)
	}
}

// fails expects a cause.
func (w *world) fails(cause, format string, args ...any) {
	w.t.Helper()
	err := w.call(format, args...)
	if err == nil || !strings.Contains(err.Error(), cause) {
		w.t.Errorf("%s: got %v, want %s", format, err, cause)
	}
}

func (w *world) stats() *dashboard.Stats {
	w.t.Helper()
	s, err := w.dash.Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) group(gid int) *models.Group {
	w.t.Helper()
	for _, g := range w.stats().Group.Models {
		if g.ID == gid {
			return g
		}
	}
	w.t.Fatalf("no group %d", gid)
	return nil
}

func (w *world) action(gid, index int) string { return w.group(gid).Servers[index].Action.State }

func (w *world) order(gid int) string {
	var names []string
	for _, x := range w.group(gid).Servers {
		names = append(names, x.Addr)
	}
	return strings.Join(names, " ")
}

func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// routed says that all proxies that are registered route a slot to an address.
func (w *world) routed(slot int, addr string, locked bool) bool {
	for _, p := range w.stats().Proxy.Models {
		if s := w.proxies[p.AdminAddr].Slots()[slot]; s.BackendAddr != addr || s.Locked != locked {
			return false
		}
	}
	return true
}

// restartWith changes groups in the store while no dashboard runs, frees the lock, and starts another.
func (w *world) restartWith(change func(save func(g *models.Group))) {
	w.t.Helper()
	p := w.stored()
	change(func(g *models.Group) { w.must(p.SaveGroup(g)) })
	w.must(p.Release())
	w.start(nil)
}

// stored is the product as it is in the store.
func (w *world) stored() store.Product { return store.Product{Client: w.store.Open(), Name: product} }

func (w *world) locked() bool {
	w.t.Helper()
	topom, err := w.stored().Topom()
	w.must(err)
	return topom != nil
}
