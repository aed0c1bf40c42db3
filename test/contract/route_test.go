// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const slotNotReady = "ERR handle request, slot is not ready, may be offline"

// soloProxy is a proxy without dashboard that has all slots on one server.
func soloProxy(t *testing.T) (*world, *proxy, *server) {
	t.Helper()
	return soloProxyWith(t, nil)
}

func soloProxyWith(t *testing.T, s settings) (*world, *proxy, *server) {
	t.Helper()
	w := newWorld(t)
	backend, p := w.server(1), w.proxy(1, proxySpec{settings: s})
	p.mustFill(allSlots(backend.addr))
	p.ok("start")
	return w, p, backend
}

func allSlots(addr string) []slot {
	all := make([]slot, slotCount)
	for id := range all {
		all[id] = slot{ID: id, Backend: addr, BackendGroup: 1, ForwardMethod: 1}
	}
	return all
}

// hashVectors: a tag is what is between the first { and the first } after it, and an empty one counts.
var hashVectors = map[string]int{
	"a": 579, "b": 1017, "c": 879, "foo{bar}baz": 170, "{}x": 0, "bar": 170, "{}": 0, "x{}y": 0,
	"{bar}{other}": 170, "}{bar}": 170,
}

// Each key must be served when its slot alone has a backend, and refused when its slot alone has none.
func TestHashVectors(t *testing.T) {
	t.Parallel()
	_, p, s := soloProxy(t)
	conn := dial(t, p.client)
	for key, id := range hashVectors {
		p.mustFill([]slot{{ID: id, ForwardMethod: 1}})
		conn.expect(t, slotNotReady, "SET", key, "v")
		p.mustFill([]slot{{ID: id, Backend: s.addr, ForwardMethod: 1}})
		conn.expect(t, "OK", "SET", key, "v")
	}
}

// Some commands have their key elsewhere than in the first argument.
func TestKeysInTheThirdArgument(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	p.mustFill([]slot{{ID: hashVectors["a"], ForwardMethod: 1}})
	conn := dial(t, p.client)
	conn.expect(t, "1", "ZADD", "b", "1", "m")
	conn.expect(t, slotNotReady, "EVAL", "return 1", "1", "a")
	conn.expect(t, "1", "EVAL", "return 1", "1", "b")
	conn.expect(t, slotNotReady, "ZUNIONSTORE", "b", "1", "a")
	conn.expect(t, "1", "ZINTERSTORE", "b", "1", "b")
}

func TestUnassignedSlotsAreAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.proxy(1, proxySpec{})
	p.ok("start")
	conn := dial(t, p.client)
	for _, command := range [][]any{{"PING"}, {"INFO"}, {"GET", "a"}, {"SET", "a", "1"}, {"MGET", "a", "b"}} {
		conn.expect(t, slotNotReady, command...)
	}
}

func TestCommandsOfManyKeysAreSplit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 1, proxies: 1})
	conn := dial(t, c.proxies[0].client)
	// a and c are group 2's, foo{bar}baz and {}x group 1's.
	conn.expect(t, "OK", "MSET", "a", "1", "{}x", "2", "c", "3", "foo{bar}baz", "4")
	conn.expect(t, "[1 2 <nil> 4]", "MGET", "a", "{}x", "nothing", "foo{bar}baz")
	conn.expect(t, "3", "EXISTS", "a", "{}x", "c", "nothing")
	if one, two := c.member(1, 1).text("DBSIZE"), c.member(2, 1).text("DBSIZE"); one != "2" || two != "2" {
		t.Errorf("the groups have %s and %s keys", one, two)
	}
	conn.expect(t, "3", "DEL", "a", "{}x", "c", "nothing")
	conn.expect(t, "[<nil> 4]", "MGET", "a", "foo{bar}baz")
	conn.expect(t, "ERR wrong number of arguments for 'MSET' command", "MSET", "a", "1", "b")
	conn.expect(t, "ERR wrong number of arguments for 'MGET' command", "MGET")
	conn.expect(t, "ERR wrong number of arguments for 'DEL' command", "DEL")
}

// A single slot without backend spoils a whole command of many keys.
func TestSplitCommandFailsAsAWhole(t *testing.T) {
	t.Parallel()
	_, p, s := soloProxy(t)
	p.mustFill([]slot{{ID: hashVectors["a"], ForwardMethod: 1}})
	conn := dial(t, p.client)
	conn.expect(t, slotNotReady, "MSET", "b", "1", "a", "2")
	conn.expect(t, slotNotReady, "MGET", "b", "a")
	// What was sent before the error is done.
	eventually(t, patience, "b is there", func() bool { return s.text("GET", "b") == "1" })
}

func TestSlotsMapping(t *testing.T) {
	t.Parallel()
	_, p, s := soloProxy(t)
	p.mustFill([]slot{
		{ID: 3, ForwardMethod: 1},
		{ID: 4, Backend: s.addr, MigrateFrom: "127.0.0.1:1", ForwardMethod: 1},
		{ID: 5, Backend: s.addr, ReplicaGroups: [][]string{{"127.0.0.1:2"}}, ForwardMethod: 1},
	})
	conn := dial(t, p.client)
	conn.expect(t, fmt.Sprintf("[2 %s  <nil>]", s.addr), "SLOTSMAPPING", "2")
	conn.expect(t, "[3   <nil>]", "SLOTSMAPPING", "3")
	conn.expect(t, fmt.Sprintf("[4 %s 127.0.0.1:1 <nil>]", s.addr), "SLOTSMAPPING", "4")
	conn.expect(t, fmt.Sprintf("[5 %s  [[127.0.0.1:2]]]", s.addr), "SLOTSMAPPING", "5")
	conn.expect(t, "ERR parse slotnum '1024' failed, out of range", "SLOTSMAPPING", "1024")
	conn.expect(t, `ERR parse slotnum 'x' failed, strconv.ParseInt: parsing "x": invalid syntax`, "SLOTSMAPPING", "x")
	conn.expect(t, "ERR wrong number of arguments for 'SLOTSMAPPING' command", "SLOTSMAPPING", "1", "2")
	all, err := conn.do("SLOTSMAPPING")
	if list, ok := all.([]any); err != nil || !ok || len(list) != slotCount {
		t.Errorf("SLOTSMAPPING: %v %.200v", err, all)
	}
}

// A locked slot keeps its clients waiting, for however long, and lets them go with its next route.
func TestLockedSlotHoldsItsClientsUntilItIsUnlocked(t *testing.T) {
	t.Parallel()
	w, p, s := soloProxy(t)
	other := w.server(2)
	id := hashVectors["a"]
	p.mustFill([]slot{{ID: id, Locked: true, Backend: s.addr, BackendGroup: 1, ForwardMethod: 1}})
	if got := p.slots()[id]; !got.Locked || got.Backend != s.addr {
		t.Errorf("the slot is %+v", got)
	}
	waiting := dial(t, p.client)
	answers := make(chan string, 1)
	go func() { answers <- waiting.text("SET", "a", "v") }()
	conn := dial(t, p.client)
	holds(t, time.Second, "the client waits, and others do not", func() bool {
		return len(answers) == 0 && conn.text("SET", "b", "v") == "OK"
	})
	p.mustFill([]slot{{ID: id, Backend: other.addr, BackendGroup: 2, ForwardMethod: 1}})
	if got := <-answers; got != "OK" {
		t.Errorf("the client got %q", got)
	}
	if got := other.text("GET", "a"); got != "v" {
		t.Errorf("the new backend has %q", got)
	}
	if got := s.text("GET", "a"); got != "<nil>" {
		t.Errorf("the old backend has %q", got)
	}
}

// A backend that is gone makes errors, at once and not after a timeout, and comes back by itself. The longer it was
// gone the longer it may take to notice, up to some five seconds.
func TestBackendThatComesBack(t *testing.T) {
	t.Parallel()
	_, p, s := soloProxy(t)
	conn := dial(t, p.client)
	for range 2 {
		conn.expect(t, "OK", "SET", "a", "1")
		s.proc.kill()
		var got string
		holds(t, time.Second, "every request gets an error", func() bool {
			got = conn.text("SET", "a", "2")
			return strings.HasPrefix(got, "ERR handle response, backend conn failure, ") ||
				got == "ERR handle response, backend conn reset"
		})
		s.start()
		eventually(t, patience, "the backend is back", func() bool { return conn.text("SET", "a", "3") == "OK" })
	}
}

// A backend that hangs costs each request backend_recv_timeout, and goes on where it was.
func TestBackendThatHangs(t *testing.T) {
	t.Parallel()
	_, p, s := soloProxyWith(t, settings{"backend_recv_timeout": "1s"})
	conn := dial(t, p.client)
	conn.expect(t, "OK", "SET", "a", "1")
	s.proc.signal(stopSignal)
	started := time.Now()
	got := conn.text("SET", "a", "2")
	if !strings.HasPrefix(got, "ERR handle response, backend conn failure, read tcp ") ||
		!strings.HasSuffix(got, ": i/o timeout") {
		t.Errorf("a hung backend makes %q", got)
	}
	if took := time.Since(started); took < 900*time.Millisecond {
		t.Errorf("the error came after %v", took)
	}
	s.proc.signal(continueSignal)
	eventually(t, patience, "the backend is back", func() bool { return conn.text("SET", "a", "3") == "OK" })
}

// A proxy opens its connections to a backend as soon as a slot has it: one for each database and parallel connection.
func TestProxyConnectsEagerly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(1)
	clients := func() string {
		text := s.text("INFO", "clients")
		_, count, _ := strings.Cut(text, "connected_clients:")
		count, _, _ = strings.Cut(count, "\r\n")
		return count
	}
	// The server notices that the connections of its start are gone when it gets to it.
	eventually(t, patience, "nobody but who asks", func() bool { return clients() == "1" })
	p := w.proxy(1, proxySpec{settings: settings{"backend_number_databases": 3, "backend_primary_parallel": 2}})
	p.mustFill(allSlots(s.addr))
	p.ok("start")
	eventually(t, patience, "six connections", func() bool { return clients() == "7" })
}

// Replies come in the order of the requests, whichever backends they are from and however large they are.
func TestPipelinesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 1, proxies: 1})
	conn := dial(t, c.proxies[0].client)
	large := strings.Repeat("x", 1<<20)
	const requests = 1000
	for i := range requests {
		key, value := fmt.Sprintf("{%d}", i), fmt.Sprint(i)
		if i%250 == 0 {
			value = large
		}
		for _, command := range [][]any{{"SET", key, value}, {"GET", key}} {
			if err := conn.send(command...); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range requests {
		want := fmt.Sprint(i)
		if i%250 == 0 {
			want = large
		}
		for _, reply := range []string{"OK", want} {
			if got, err := conn.receive(); err != nil || got != reply {
				t.Fatalf("request %d: %v %.40q, want %.40q", i, err, got, reply)
			}
		}
	}
}

// FillSlots takes what makes sense of a list up to the first entry that does not.
func TestFillslotsRefusals(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	if got := p.fill([]slot{{ID: slotCount}}).cause(); got != "use of invalid slot id" {
		t.Errorf("slot out of range: %s", got)
	}
	if got := p.fill([]slot{{ID: 1, ForwardMethod: 7}}).cause(); got != "use of invalid forwarder method" {
		t.Errorf("unknown method: %s", got)
	}
	p.xauth = "wrong"
	if got := p.fill(nil).cause(); got != "invalid xauth, please check product name & auth" {
		t.Errorf("wrong xauth: %s", got)
	}
}
