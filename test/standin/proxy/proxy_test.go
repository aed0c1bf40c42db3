// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/memnet"
	"github.com/codis-io/codis-operator/test/standin/memserver"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/proxy"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// world is a network with two servers, a and b, and one proxy.
type world struct {
	net     *memnet.Network
	proxy   *proxy.Proxy
	servers map[string]*memserver.Server
}

const (
	addrA = "a.srv:6379"
	addrB = "b.srv:6379"
)

func newWorld(t *testing.T, opts ...func(*proxy.Config)) *world {
	t.Helper()
	w := &world{net: &memnet.Network{}, servers: map[string]*memserver.Server{}}
	cfg := proxy.Config{
		Settings: proxy.DefaultSettings(), Dial: w.net.Dial, MACs: []string{"02:00:00:00:00:01"},
		HostAdmin: "proxy-0.proxy:11080", HostProxy: "proxy-0.proxy:19000", Hostname: "proxy-0",
	}
	cfg.BackendNumberDatabases = 2
	for _, o := range opts {
		o(&cfg)
	}
	for _, addr := range []string{addrA, addrB} {
		w.servers[addr] = memserver.New(memserver.Config{Auth: cfg.ProductAuth, Dial: w.net.Dial})
		serve(t, w.net, addr, w.servers[addr].Serve)
	}
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.proxy = p
	serve(t, w.net, cfg.HostProxy, p.ServeClients)
	serve(t, w.net, cfg.HostAdmin, p.ServeAdmin)
	t.Cleanup(func() {
		for _, s := range w.servers {
			s.Kill()
		}
		p.Kill()
	})
	return w
}

func serve(t *testing.T, n *memnet.Network, name string, run func(net.Listener) error) {
	t.Helper()
	l, err := n.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = run(l) }()
	t.Cleanup(func() { _ = l.Close() })
}

// halves gives the lower half of the slots to a and the upper to b.
func halves(change func(m *models.Slot)) []*models.Slot {
	slots := make([]*models.Slot, models.MaxSlotNum)
	for id := range slots {
		slots[id] = &models.Slot{ID: id, BackendAddr: addrA, BackendAddrGroupID: 1, ForwardMethod: models.ForwardSemiAsync}
		if id >= models.MaxSlotNum/2 {
			slots[id].BackendAddr, slots[id].BackendAddrGroupID = addrB, 2
		}
		if change != nil {
			change(slots[id])
		}
	}
	return slots
}

func (w *world) online(t *testing.T, slots []*models.Slot) {
	t.Helper()
	if err := w.proxy.FillSlots(slots); err != nil {
		t.Fatal(err)
	}
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
}

// conn is a client of the proxy.
type conn struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (w *world) dial(t *testing.T) *conn {
	t.Helper()
	c, err := w.net.Dial(t.Context(), "tcp", "proxy-0.proxy:19000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &conn{t: t, Conn: c, r: bufio.NewReader(c)}
}

func (c *conn) send(commands ...string) {
	c.t.Helper()
	var out []byte
	for _, command := range commands {
		var words [][]byte
		for f := range strings.FieldsSeq(command) {
			words = append(words, []byte(f))
		}
		out = resp.AppendCommand(out, words)
	}
	if _, err := c.Write(out); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn) reply() string {
	c.t.Helper()
	p, err := resp.ReadReply(c.r)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return strings.ReplaceAll(string(p), "\r\n", " ")
}

func (c *conn) do(command string) string {
	c.t.Helper()
	c.send(command)
	return c.reply()
}

func (c *conn) want(command, want string) {
	c.t.Helper()
	if got := c.do(command); got != want {
		c.t.Errorf("%s: got %q, want %q", command, got, want)
	}
}

func TestRouting(t *testing.T) {
	w := newWorld(t)
	w.online(t, halves(nil))
	c := w.dial(t)
	c.want("SET foo{bar}baz 1", "+OK ")
	c.want("SET a 2", "+OK ")
	if w.servers[addrA].Get("foo{bar}baz") != "1" || w.servers[addrB].Get("a") != "2" {
		t.Error("keys are on the wrong servers")
	}
	c.want("MSET a 3 {bar} 4 b 5", "+OK ")
	c.want("MGET a {bar} none", "*3 $1 3 $1 4 $-1 ")
	c.want("EXISTS a {bar} none", ":2 ")
	c.want("DEL a {bar} b none", ":3 ")
	c.want("GET a", "$-1 ")
	c.want("SELECT 1", "+OK ")
	c.want("EXISTS foo{bar}baz", ":0 ")
	c.want("SELECT 2", "-ERR invalid DB index, only accept DB [0,2) ")
	c.want("PING", "+PONG ")
	c.want("PING a.srv:6379", "+PONG ")
	c.want("PING x", "-ERR backend server 'x' not found ")
	c.want("KEYS *", "-ERR handle request, command 'KEYS' is not allowed ")
	c.want("AUTH x", "-ERR Client sent AUTH, but no password is set ")
	c.want("SLOTSMAPPING 0", "*4 +0 +a.srv:6379 + *-1 ")
	c.want("QUIT", "+OK ")
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the proxy stays after QUIT")
	}
}

func TestPipelineKeepsOrder(t *testing.T) {
	w := newWorld(t)
	w.online(t, halves(nil))
	c := w.dial(t)
	var commands, want []string
	for i := range 500 {
		commands = append(commands, fmt.Sprintf("SET k%d %d", i, i), fmt.Sprintf("GET k%d", i))
		want = append(want, "+OK ", fmt.Sprintf("$%d %d ", len(fmt.Sprint(i)), i))
	}
	c.send(commands...)
	for i := range want {
		if got := c.reply(); got != want[i] {
			t.Fatalf("reply %d is %q, want %q", i, got, want[i])
		}
	}
}

func TestNotOnlineNotReady(t *testing.T) {
	w := newWorld(t)
	c := w.dial(t)
	if got := c.reply(); got != "-ERR router is not online " {
		t.Errorf("got %q", got)
	}
	w.online(t, nil)
	w.dial(t).want("GET a", "-ERR handle request, slot is not ready, may be offline ")
}

func TestSessionAuthAndLimit(t *testing.T) {
	w := newWorld(t, func(c *proxy.Config) {
		c.SessionAuth, c.ProductAuth, c.ProxyMaxClients = "s3cret", "other", 1
	})
	w.online(t, halves(nil))
	c := w.dial(t)
	c.want("GET a", "-NOAUTH Authentication required ")
	c.want("AUTH nope", "-ERR invalid password ")
	c.want("AUTH user s3cret", "-ERR wrong number of arguments for 'AUTH' command ")
	c.want("AUTH s3cret", "+OK ")
	c.want("GET a", "$-1 ")
	if got := w.dial(t).reply(); got != "-ERR max number of clients reached " {
		t.Errorf("got %q", got)
	}
}

// later starts a command whose reply comes later.
func (c *conn) later(command string) <-chan string {
	c.send(command)
	got := make(chan string, 1)
	go func() {
		p, err := resp.ReadReply(c.r)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- strings.ReplaceAll(string(p), "\r\n", " ")
	}()
	return got
}

func TestLockedSlotBlocks(t *testing.T) {
	w := newWorld(t)
	w.online(t, halves(func(m *models.Slot) { m.Locked = m.ID == 579 }))
	locked := w.dial(t).later("SET a 1")
	w.dial(t).want("SET b 1", "+OK ")
	if len(locked) != 0 {
		t.Fatal("a locked slot does not block")
	}
	if err := w.proxy.FillSlots(halves(nil)[579:580]); err != nil {
		t.Fatal(err)
	}
	if got := <-locked; got != "+OK " {
		t.Errorf("got %q", got)
	}
}

func TestCloseLetsGoOfLockedClients(t *testing.T) {
	w := newWorld(t)
	w.online(t, halves(func(m *models.Slot) { m.Locked = true }))
	c := w.dial(t)
	locked := c.later("SET a 1")
	w.eventually(t, func() bool { return w.proxy.Stats().Sessions.Alive == 1 })
	if err := w.proxy.Close(); err != nil {
		t.Fatal(err)
	}
	<-locked
}

func (w *world) eventually(t *testing.T, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not happen")
		case <-tick.C:
		}
	}
}

// fill starts a change of routes that may block.
func (w *world) fill(slots []*models.Slot) <-chan error {
	done := make(chan error, 1)
	go func() { done <- w.proxy.FillSlots(slots) }()
	return done
}

// hungRequest leaves one request in flight on server b.
func (w *world) hungRequest(t *testing.T) <-chan string {
	t.Helper()
	c := w.dial(t)
	c.want("SET a 1", "+OK ")
	w.servers[addrB].Hang(true)
	before := len(w.servers[addrB].Calls())
	reply := c.later("SET a 2")
	w.eventually(t, func() bool { return len(w.servers[addrB].Calls()) > before })
	return reply
}

func TestHungServerHoldsUpRoutes(t *testing.T) {
	w := newWorld(t, func(c *proxy.Config) { c.BackendRecvTimeout = conf.Duration(300 * time.Millisecond) })
	w.online(t, halves(nil))
	start := time.Now()
	reply := w.hungRequest(t)
	filled := w.fill(halves(func(m *models.Slot) { m.BackendAddr = addrA })[579:580])
	if err := <-filled; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("routes changed after %v, before the request was given up", took)
	}
	if got := <-reply; !strings.HasPrefix(got, "-ERR handle response, backend conn failure, ") {
		t.Errorf("got %q", got)
	}
	w.dial(t).want("SET a 3", "+OK ")
	if w.servers[addrA].Get("a") != "3" {
		t.Error("the new route is not used")
	}
}

func TestKilledHungServerFreesRoutes(t *testing.T) {
	w := newWorld(t)
	w.online(t, halves(nil))
	reply := w.hungRequest(t)
	filled := w.fill(halves(func(m *models.Slot) { m.BackendAddr = addrA })[579:580])
	w.servers[addrB].Kill()
	if err := <-filled; err != nil {
		t.Fatal(err)
	}
	if got := <-reply; !strings.HasPrefix(got, "-ERR handle response, ") {
		t.Errorf("got %q", got)
	}
}

func TestMigratingSlot(t *testing.T) {
	for method, name := range []string{"sync", "semi-async"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.online(t, halves(nil))
			c := w.dial(t)
			c.want("SET a old", "+OK ")
			moving := []*models.Slot{{
				ID: 579, BackendAddr: addrA, BackendAddrGroupID: 1, MigrateFrom: addrB, MigrateFromGroupID: 2,
				ForwardMethod: method,
			}}
			if err := w.proxy.FillSlots(moving); err != nil {
				t.Fatal(err)
			}
			c.want("GET a", "$3 old ")
			if moved := w.servers[addrA].Get("a") == "old"; moved != (method == models.ForwardSync) {
				t.Errorf("moved = %t", moved)
			}
			c.want("SET a new", "+OK ")
			c.want("GET a", "$3 new ")
			c.want("SET x{a} 1", "+OK ")
			if w.servers[addrA].Get("x{a}") != "1" {
				t.Error("a new key is not on the new server")
			}
			if got := *w.proxy.Slots()[579]; got.MigrateFrom != addrB || got.ForwardMethod != method {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestReadsFromReplicas(t *testing.T) {
	w := newWorld(t)
	w.servers[addrA].SetInfo("who", "a")
	w.online(t, halves(func(m *models.Slot) {
		m.BackendAddr, m.ReplicaGroups = addrA, [][]string{{addrB}}
	}))
	c := w.dial(t)
	c.want("SET a 1", "+OK ")
	w.eventually(t, func() bool { return c.do("GET a") == "$-1 " })
	if w.servers[addrA].Get("a") != "1" {
		t.Error("a write went to the replica")
	}
}

func TestStatsAndReset(t *testing.T) {
	w := newWorld(t)
	w.online(t, halves(nil))
	c := w.dial(t)
	c.want("SET a 1", "+OK ")
	c.want("NOSUCH a", "-ERR unknown command 'NOSUCH', with args beginning with:  ")
	_ = c.Close()
	w.eventually(t, func() bool { return w.proxy.Stats().Sessions.Alive == 0 })
	s := w.proxy.Stats()
	if s.Ops.Total != 2 || s.Ops.Redis.Errors != 1 || len(s.Ops.Cmd) != 2 || s.Ops.Cmd[1].OpStr != "SET" {
		t.Errorf("got %+v", s.Ops)
	}
	put(t, w, "stats/reset/"+w.proxy.XAuth())
	if s := w.proxy.Stats(); s.Ops.Total != 0 || len(s.Ops.Cmd) != 0 || s.Sessions.Total != 0 {
		t.Errorf("got %+v after a reset", s)
	}
}

func put(t *testing.T, w *world, call string) {
	t.Helper()
	c := rpc.NewClient(t.Context(), w.net.Dial)
	defer c.Close()
	if err := c.Put("proxy-0.proxy:11080", "/api/proxy/"+call, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAPI(t *testing.T) {
	w := newWorld(t)
	c := rpc.NewClient(t.Context(), w.net.Dial)
	defer c.Close()
	const host = "proxy-0.proxy:11080"
	var m models.Proxy
	if err := c.Get(host, "/api/proxy/model", &m); err != nil || m != *w.proxy.Model() || m.Hostname != "proxy-0" {
		t.Errorf("got %+v, %v", m, err)
	}
	if err := c.Get(host, "/api/proxy/xping/deadbeef", nil); err == nil ||
		!strings.Contains(err.Error(), "invalid xauth, please check product name & auth") {
		t.Errorf("got %v", err)
	}
	xauth := rpc.XAuth("codis-demo", "", m.Token)
	if err := c.Put(host, "/api/proxy/fillslots/"+xauth, halves(nil)); err != nil {
		t.Error(err)
	}
	put(t, w, "start/"+xauth)
	put(t, w, "start/"+xauth)
	var s models.ProxyStats
	if err := c.Get(host, "/proxy/stats", &s); err != nil || !s.Online || s.Runtime == nil {
		t.Errorf("got %+v, %v", s, err)
	}
	put(t, w, "shutdown/"+xauth)
	<-w.proxy.Done()
	if err := c.Get(host, "/api/proxy/model", &m); err == nil {
		t.Error("the API outlives the proxy")
	}
}
