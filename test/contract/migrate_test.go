// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"
)

// slotOf is the slot of a key without a tag.
func slotOf(key string) int { return int(crc32.ChecksumIEEE([]byte(key)) % slotCount) }

// reader reads the same keys over and over and keeps what was wrong.
type reader struct {
	stop, done chan struct{}
	rounds     int
	wrong      []string
}

// startReader reads those of the loaded keys whose slots are below limit.
func startReader(t *testing.T, client string, keys, limit int) *reader {
	t.Helper()
	var moving []int
	for n := range keys {
		if slotOf(loadKey(n)) < limit {
			moving = append(moving, n)
		}
	}
	r := &reader{stop: make(chan struct{}), done: make(chan struct{})}
	conn := dial(t, client)
	go func() {
		defer close(r.done)
		for i := 0; ; i++ {
			select {
			case <-r.stop:
				return
			default:
			}
			n := moving[i%len(moving)]
			if got := conn.text("GET", loadKey(n)); got != loadValue(n) && len(r.wrong) < 10 {
				r.wrong = append(r.wrong, fmt.Sprintf("%s: %q", loadKey(n), got))
			}
			r.rounds++
		}
	}()
	return r
}

func (r *reader) end(t *testing.T) {
	t.Helper()
	close(r.stop)
	<-r.done
	if len(r.wrong) > 0 {
		t.Errorf("%d reads, wrong among them: %v", r.rounds, r.wrong)
	}
	if r.rounds == 0 {
		t.Error("nothing was read")
	}
}

// Half of the slots go to another group while two clients read through two proxies. A range of them keeps the test
// short: each slot costs the dashboard a round.
func TestMigrationKeepsAllKeysReadable(t *testing.T) {
	t.Parallel()
	for method, password := range map[string]string{"semi-async": "", "sync": "secret"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			// Servers give each other the password they have themselves.
			w.productAuth = password
			c := w.cluster(layout{
				groups: 2, members: 1, proxies: 2,
				dashboard: dashboardSpec{settings: settings{"migration_method": method}},
				proxy:     proxySpec{settings: settings{"backend_number_databases": 3}},
			})
			const keys, slots = 20000, 24
			c.load(c.proxies[0].client, keys)
			c.loadTypes(c.proxies[0].client)
			source, target := c.member(1, 1), c.member(2, 1)
			before := source.must("DBSIZE")
			readers := []*reader{startReader(t, c.proxies[0].client, keys, slots), startReader(t, c.proxies[1].client, keys, slots)}
			c.d.ok("slots/action/create-range", 0, slots-1, 2)
			c.d.settled()
			for _, r := range readers {
				r.end(t)
			}
			if got := c.d.stats().owners(); got[2] != slotCount/2+slots {
				t.Errorf("owners are %v", got)
			}
			if after := source.must("DBSIZE"); after == before {
				t.Errorf("the source has %s keys as before", after)
			}
			total := fmt.Sprint(keys + typedKeys)
			if got := sumOfSizes(t, source, target); got != total {
				t.Errorf("%s keys in both, want %s", got, total)
			}
			c.checkTypes(c.proxies[1].client)
		})
	}
}

func sumOfSizes(t *testing.T, servers ...*server) string {
	t.Helper()
	var sum int64
	for _, s := range servers {
		n, err := s.do("DBSIZE")
		if err != nil {
			t.Fatal(err)
		}
		sum += n.(int64)
	}
	return fmt.Sprint(sum)
}

// typedKeys are one of each type, all in slot 0 because of their empty tag.
const typedKeys = 7

// manyElements is more than a migration in small steps moves at once.
const manyElements = 3000

func (c *cluster) loadTypes(client string) {
	c.t.Helper()
	conn := dial(c.t, client)
	conn.expect(c.t, "2", "RPUSH", "{}list", "a", "b")
	conn.expect(c.t, "1", "HSET", "{}hash", "f", "v")
	conn.expect(c.t, "2", "SADD", "{}set", "x", "y")
	conn.expect(c.t, "2", "ZADD", "{}zset", "1", "m", "2", "n")
	conn.expect(c.t, "OK", "SET", "{}ttl", "v", "EX", "1000")
	conn.expect(c.t, "OK", "SET", "{}binary", "\x00\xff\r\n")
	elements := []any{"RPUSH", "{}big"}
	for i := range manyElements {
		elements = append(elements, i)
	}
	conn.expect(c.t, fmt.Sprint(manyElements), elements...)
	// Slots span all databases.
	conn.expect(c.t, "OK", "SELECT", "2")
	conn.expect(c.t, "OK", "SET", "{}x", "elsewhere")
}

func (c *cluster) checkTypes(client string) {
	c.t.Helper()
	conn := dial(c.t, client)
	conn.expect(c.t, "[a b]", "LRANGE", "{}list", "0", "-1")
	conn.expect(c.t, "v", "HGET", "{}hash", "f")
	conn.expect(c.t, "2", "SCARD", "{}set")
	conn.expect(c.t, "2", "ZSCORE", "{}zset", "n")
	conn.expect(c.t, "\x00\xff\r\n", "GET", "{}binary")
	conn.expect(c.t, fmt.Sprint(manyElements), "LLEN", "{}big")
	conn.expect(c.t, fmt.Sprint(manyElements-1), "LINDEX", "{}big", "-1")
	ttl, err := conn.do("TTL", "{}ttl")
	if n, ok := ttl.(int64); err != nil || !ok || n <= 0 || n > 1000 {
		c.t.Errorf("TTL is %v %v", ttl, err)
	}
	conn.expect(c.t, "OK", "SELECT", "2")
	conn.expect(c.t, "elsewhere", "GET", "{}x")
	if got := c.member(1, 1).text("SLOTSINFO", 0, 1); got != "[]" {
		c.t.Errorf("the source has %s of slot 0", got)
	}
}

// Writes that are made while their slot moves are not lost.
func TestMigrationLosesNoWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 1, proxies: 2})
	c.load(c.proxies[0].client, 2000)
	c.d.ok("slots/action/create-range", 0, 39, 2)
	one, two := dial(t, c.proxies[0].client), dial(t, c.proxies[1].client)
	writes := int64(0)
	eventually(t, patience, "no slot has an action", func() bool {
		for i := range 40 {
			key := fmt.Sprintf("counter-%d", i)
			for _, conn := range []*respConn{one, two} {
				if v, err := conn.do("INCR", key); err != nil {
					t.Fatalf("INCR %s: %v %v", key, v, err)
				}
				writes++
			}
		}
		return c.d.stats().busy() == 0
	})
	var sum int64
	for i := range 40 {
		n := int64(0)
		if _, err := fmt.Sscan(one.text("GET", fmt.Sprintf("counter-%d", i)), &n); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != writes {
		t.Errorf("%d writes, %d counted", writes, sum)
	}
}

// While a slot migrates, proxies know both servers of it; afterwards only the target.
func TestMigratingSlotAsProxiesKnowIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 1, proxies: 1})
	source, target := c.member(1, 1), c.member(2, 1)
	if got, want := c.proxies[0].slots()[0], (slot{Backend: source.addr, BackendGroup: 1, ForwardMethod: 1}); !sameSlot(got, want) {
		t.Errorf("the slot is %+v, want %+v", got, want)
	}
	// A target that is not there holds the slot in the state migrating, if there is a key to be moved at all.
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "{}x", "v")
	target.proc.kill()
	c.d.ok("slots/action/create", 0, 2)
	eventually(t, patience, "the slot migrates", func() bool { return c.d.stats().Slots[0].Action.State == "migrating" })
	want := slot{Backend: target.addr, BackendGroup: 2, MigrateFrom: source.addr, MigrateGroup: 1, ForwardMethod: 1}
	if got := c.proxies[0].slots()[0]; !sameSlot(got, want) {
		t.Errorf("the slot is %+v, want %+v", got, want)
	}
	c.d.refused("slot-[0] action isn't pending", "slots/action/remove", 0)
	eventually(t, patience, "the status says what is wrong", func() bool {
		return strings.HasPrefix(c.d.stats().SlotAction.Progress.Status, "[ERROR] Slot[0000]: ")
	})
	// A slot that has started to move goes on after a restart of the dashboard, before any that has not.
	c.d.proc.kill()
	d := w.dashboard(dashboardSpec{args: removeLock})
	if got := d.stats().Slots[0]; got.Action.State != "migrating" || got.GroupID != 1 {
		t.Errorf("after a restart the slot is %+v", got)
	}
	target.start()
	d.settled()
	eventually(t, patience, "the key can be read", func() bool { return conn.text("GET", "{}x") == "v" })
	if got := target.text("GET", "{}x"); got != "v" {
		t.Errorf("the target has %q", got)
	}
}

func sameSlot(a, b slot) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

// Promotion waits for no migration: it is refused while a step runs, and goes once they are paused.
func TestPromoteIsRefusedWhileAStepRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.cluster(layout{groups: 2, members: 2, proxies: 1})
	c.member(1, 1).proc.signal(stopSignal)
	c.d.ok("slots/action/create", 0, 2)
	eventually(t, patience, "a step runs", func() bool { return c.d.stats().SlotAction.Executor == 1 })
	c.d.refused("slots-migration is running = 1", "group/promote", 2, c.member(2, 2).addr)
	c.d.ok("slots/action/disabled", 1)
	c.member(1, 1).proc.signal(continueSignal)
	eventually(t, patience, "no step runs", func() bool { return c.d.stats().SlotAction.Executor == 0 })
	c.d.ok("group/promote", 2, c.member(2, 2).addr)
	holds(t, time.Second, "the group has its new order", func() bool {
		return c.d.group(2).order()[0] == c.member(2, 2).addr
	})
}
