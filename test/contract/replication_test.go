// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
	"testing"
)

// fence are the arguments that start a server as a replica of nowhere.
var fence = []string{"--slaveof", "127.0.0.1", "1"}

func requireFenced(t *testing.T, s *server) {
	t.Helper()
	if i := s.info(); i["role"] != "slave" || i["master_link_status"] != "down" || i["master_port"] != "1" {
		t.Fatalf("replication is %v", i)
	}
	if got := s.text("SET", "a", "b"); !strings.HasPrefix(got, "READONLY ") {
		t.Fatalf("a write got %q", got)
	}
}

// The command line comes before the file, also before one that was rewritten: a fenced server is fenced again
// whatever it was made in between.
func TestFencedStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.newServer(1)
	s.writeConfig()
	s.start(fence...)
	requireFenced(t, s)
	s.must("SLAVEOF", "NO", "ONE")
	s.must("CONFIG", "REWRITE")
	s.must("SET", "a", "1")
	s.must("SAVE")
	if strings.Contains(readFile(t, s.configPath()), "127.0.0.1 1") {
		t.Error("the fence is in the file")
	}
	s.proc.kill()
	s.start(fence...)
	requireFenced(t, s)
	// It has its data.
	if got := s.text("GET", "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
	s.must("SLAVEOF", "NO", "ONE")
	s.must("SET", "a", "2")
	// Without the fence the file says master.
	s.proc.kill()
	s.start()
	if got := s.role(); got != "master" {
		t.Errorf("the server is %s", got)
	}
}

// A replica forgets the fence too when it is made one of somebody.
func TestFencedStartOfAReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	master, s := w.server(1), w.newServer(2)
	s.writeConfig()
	s.start(fence...)
	s.follow(master)
	s.must("CONFIG", "REWRITE")
	s.proc.kill()
	s.start(fence...)
	requireFenced(t, s)
	s.follow(master)
}

// The hazard itself: a master that comes back empty makes its replicas empty.
func TestMasterThatComesBackEmptyWipesItsReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	master, replica := w.server(1), w.server(2)
	replica.follow(master)
	master.must("SET", "a", "1")
	eventually(t, patience, "the value is on the replica", func() bool { return replica.text("GET", "a") == "1" })
	master.proc.kill()
	if got := replica.text("GET", "a"); got != "1" {
		t.Fatalf("the replica has %q", got)
	}
	master.start()
	eventually(t, patience, "the replica is empty", func() bool {
		return replica.text("GET", "a") == "<nil>" && replica.inSyncWith(master)
	})
}

// And what the fence is for.
func TestFencedMasterThatComesBackEmptyWipesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	master, replica := w.server(1), w.server(2)
	replica.follow(master)
	master.must("SET", "a", "1")
	eventually(t, patience, "the value is on the replica", func() bool { return replica.text("GET", "a") == "1" })
	master.proc.kill()
	master.start(fence...)
	requireFenced(t, master)
	holds(t, patience/10, "the replica keeps its data", func() bool { return replica.text("GET", "a") == "1" })
}

// A master whose replicas do not keep up refuses writes.
func TestMinSlavesFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	master, replica := w.server(1), w.server(2)
	replica.follow(master)
	master.must("CONFIG", "SET", "min-slaves-to-write", 1)
	master.must("CONFIG", "SET", "min-slaves-max-lag", 2)
	eventually(t, patience, "writes are taken", func() bool { return master.text("SET", "a", "1") == "OK" })
	replica.proc.signal(stopSignal)
	eventually(t, patience, "writes are refused", func() bool {
		return strings.HasPrefix(master.text("SET", "a", "2"), "NOREPLICAS ")
	})
	replica.proc.signal(continueSignal)
	eventually(t, patience, "writes are taken", func() bool { return master.text("SET", "a", "3") == "OK" })
}

// SIGSTOP and SIGKILL have to reach the server itself, not something that started it.
func TestServerProcessIsTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(1)
	if got, want := s.text("INFO", "server"), fmt.Sprintf("process_id:%d\r\n", s.proc.pid()); !strings.Contains(got, want) {
		t.Errorf("no %q in INFO", want)
	}
	s.proc.signal(stopSignal)
	conn := dial(t, s.addr)
	conn.timeout = patience / 40
	if v, err := conn.do("PING"); err == nil {
		t.Errorf("a stopped server answers %v", v)
	}
	s.proc.signal(continueSignal)
	conn.timeout = patience
	if v, err := conn.receive(); err != nil || v != "PONG" {
		t.Errorf("a continued server answers %v %v", v, err)
	}
	s.proc.stop()
}

// SIGTERM saves if the configuration has save lines. SIGKILL saves nothing.
func TestDataIsSavedBySIGTERMOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(1, "save 900 1")
	s.must("SET", "a", 1)
	s.proc.stop()
	s.start()
	if got := s.text("GET", "a"); got != "1" {
		t.Errorf("after SIGTERM a is %s", got)
	}
	s.must("SET", "a", 2)
	s.proc.kill()
	s.start()
	if got := s.text("GET", "a"); got != "1" {
		t.Errorf("after SIGKILL a is %s", got)
	}
}

// SLOTSINFO tells how many keys each slot has. It is how a dashboard knows a codis-server.
func TestSlotsInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(1)
	if got := s.text("SLOTSINFO", 0, slotCount); got != "[]" {
		t.Errorf("an empty server has %s", got)
	}
	s.must("SET", "a", 1)
	s.must("SET", "x{a}", 1)
	s.must("SET", "{}x", 1)
	if got, want := s.text("SLOTSINFO", 0, slotCount), "[[0 1] [579 2]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.must("DEL", "a", "{}x")
	if got, want := s.text("SLOTSINFO"), "[[579 1]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
