// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience bounds what a test waits for; nothing takes nearly as long.
const patience = 30 * time.Second

func open(t *testing.T, c Client, addr string) *Line {
	t.Helper()
	line, err := c.Open(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	return line
}

func (s *server) say(command, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[command] = answer
}

// expectAnswer asks and compares; an error is compared by what it says.
func expectAnswer(t *testing.T, line *Line, want Observation) {
	t.Helper()
	got, err := line.Ask(t.Context())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (%v)", diff, err)
	}
	if (err == nil) != want.Reachable {
		t.Errorf("error %v", err)
	}
}

func TestALineAsksForTheRunIDOnce(t *testing.T) {
	s := newServer(t, map[string]string{"INFO": bulk("role:master\r\nrun_id:abc\r\nused_memory:7\r\ndb0:keys=3\r\n")})
	line := open(t, Client{Timeout: patience}, s.addr)
	expectAnswer(t, line, Observation{Reachable: true, RunID: "abc", Role: RoleMaster})
	s.say("INFO", bulk("role:master\r\nconnected_slaves:2\r\nmaster_repl_offset:9\r\nmin_slaves_good_slaves:2\r\n"))
	expectAnswer(t, line, Observation{
		Reachable: true, RunID: "abc", Role: RoleMaster, Replicas: 2, Offset: 9, WritesGuarded: true,
	})
	if diff := cmp.Diff([]string{"info", "info replication"}, s.commands()); diff != "" {
		t.Error(diff)
	}
}

func TestALineAsksForEverythingWhileTheServerLoads(t *testing.T) {
	s := newServer(t, map[string]string{"INFO": "-LOADING Redis is loading the dataset in memory\r\n"})
	line := open(t, Client{Timeout: patience}, s.addr)
	expectAnswer(t, line, Observation{Reachable: true, Loading: true})
	s.say("INFO", bulk("role:master\r\nrun_id:abc\r\nloading:1\r\n"))
	expectAnswer(t, line, Observation{Reachable: true, Loading: true, RunID: "abc", Role: RoleMaster})
	s.say("INFO", bulk("role:master\r\nrun_id:abc\r\nloading:0\r\n"))
	expectAnswer(t, line, Observation{Reachable: true, RunID: "abc", Role: RoleMaster})
	s.say("INFO", "-LOADING Redis is loading the dataset in memory\r\n")
	expectAnswer(t, line, Observation{Reachable: true, Loading: true, RunID: "abc"})
	if diff := cmp.Diff([]string{"info", "info", "info", "info replication"}, s.commands()); diff != "" {
		t.Error(diff)
	}
}

func TestALineSaysWhyThereIsNoAnswer(t *testing.T) {
	denied := Observation{Denied: true, Problem: "the server wants another password"}
	tests := map[string]struct {
		answers map[string]string
		want    Observation
	}{
		"no password": {map[string]string{"INFO": "-NOAUTH Authentication required.\r\n"}, denied},
		"another one": {map[string]string{"AUTH": "-ERR invalid password\r\n"}, denied},
		"one of Redis 7": {
			map[string]string{"AUTH": "-WRONGPASS invalid username-password pair or user is disabled.\r\n"}, denied,
		},
		"it hangs up": {map[string]string{"AUTH": "+OK\r\n", "INFO": ""}, Observation{Problem: "no answer"}},
		"nonsense": {
			map[string]string{"AUTH": "+OK\r\n", "INFO": bulk("hello")}, Observation{Problem: "the answer to INFO makes no sense"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			password := ""
			if tt.answers["AUTH"] != "" {
				password = "secret"
			}
			s := newServer(t, tt.answers)
			expectAnswer(t, open(t, Client{Password: password, Timeout: patience}, s.addr), tt.want)
		})
	}
}

func TestALineThatNobodyTakesIsRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if line, err := (Client{}).Open(t.Context(), listener.Addr().String()); line != nil || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, %v", line, err)
	}
}

func TestALineGivesUpInTimeOrWhenItIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // Takes connections and says nothing.
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	expectAnswer(t, open(t, Client{Timeout: 20 * time.Millisecond}, addr), Observation{Problem: "no answer in time"})

	line := open(t, Client{Timeout: time.Hour}, addr)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := line.Ask(ctx); err == nil {
		t.Error("a cancelled question was answered")
	}
	expectBroken(t, line.wire)
}

func TestALineTellsItsEndWithoutAQuestion(t *testing.T) {
	socket, peer := sockets(t)
	line := &Line{wire: newWire(socket)}
	t.Cleanup(func() { _ = line.wire.Close() })
	select {
	case <-line.Broken():
		t.Fatal("broken before its end")
	default:
	}
	peer.Close()
	expectBroken(t, line.wire)
}

func TestALineThatWasNeverAskedIsClosed(t *testing.T) {
	line := open(t, Client{}, newServer(t, nil).addr)
	line.Close()
	expectBroken(t, line.wire)
	line.Close()
}

// sockets returns both ends of a connection.
func sockets(t *testing.T) (socket, peer net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if socket, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if peer, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return socket, peer
}

func wires(t *testing.T) (*wire, net.Conn) {
	t.Helper()
	socket, peer := sockets(t)
	w := newWire(socket)
	t.Cleanup(func() {
		_ = w.Close()
		expectNobody(t, "(*wire)")
	})
	return w, peer
}

func expectBroken(t *testing.T, w *wire) {
	t.Helper()
	select {
	case <-w.broken:
	case <-time.After(patience):
		t.Fatal("nobody told that the connection broke")
	}
}

// expectNobody waits until no goroutine runs a function of that name.
func expectNobody(t *testing.T, name string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), name) {
			return
		}
	}
	t.Errorf("%s still runs:\n%s", name, stacks)
}

func send(t *testing.T, peer net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(peer, text); err != nil {
		t.Fatal(err)
	}
}

func expectRead(t *testing.T, w *wire, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(w, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func TestAWireHandsOutWhatArrived(t *testing.T) {
	w, peer := wires(t)
	send(t, peer, "hello world")
	expectRead(t, w, "hello")
	expectRead(t, w, " wor")
	peer.Close()
	expectBroken(t, w)
	expectRead(t, w, "ld") // What came before the end counts.
	if n, err := w.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestAWireMindsDeadlines(t *testing.T) {
	w, peer := wires(t)
	expectLate := func() {
		t.Helper()
		var late net.Error
		if _, err := w.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &late) || !late.Timeout() {
			t.Errorf("got %v", err)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.SetReadDeadline(time.Now().Add(10 * time.Millisecond)))
	expectLate()
	expectLate() // A deadline holds until another one is set.
	check(w.SetDeadline(time.Now().Add(-time.Second)))
	expectLate()

	// One that is set while somebody waits holds for that wait.
	check(w.SetReadDeadline(time.Time{}))
	time.AfterFunc(10*time.Millisecond, func() { _ = w.SetReadDeadline(time.Now()) })
	expectLate()

	// What has arrived is handed out nevertheless.
	send(t, peer, "a")
	w.mu.Lock()
	for len(w.data) == 0 {
		w.changed.Wait()
	}
	w.mu.Unlock()
	expectRead(t, w, "a")

	check(w.SetReadDeadline(time.Now().Add(patience)))
	send(t, peer, "b")
	expectRead(t, w, "b")
	select {
	case <-w.broken:
		t.Error("a deadline broke the connection")
	default:
	}
}

func TestAnOldDeadlineDoesNotEndALaterWait(t *testing.T) {
	w, peer := wires(t)
	if err := w.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.expire(w.nth - 1) // As if it had fired just when the next one was set.
	send(t, peer, "a")
	expectRead(t, w, "a")
	if w.expired {
		t.Error("expired")
	}
}

func TestClosingAWireEndsWhoeverWaits(t *testing.T) {
	w, _ := wires(t)
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if _, err := w.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	time.AfterFunc(10*time.Millisecond, func() { _ = w.Close() })
	waiting.Wait()
	expectBroken(t, w)
	_ = w.Close()
	if err := w.SetReadDeadline(time.Now().Add(time.Hour)); err != nil || w.timer != nil {
		t.Errorf("a closed wire keeps a timer (%v)", err)
	}
}

func TestAWireBreaksWhenItIsFlooded(t *testing.T) {
	w, peer := wires(t)
	go func() { _, _ = io.WriteString(peer, strings.Repeat("x", 2*maxUnread)) }()
	expectBroken(t, w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(w.err, errUnread) {
		t.Errorf("got %v", w.err)
	}
}

func TestWritesAreGuardedWhereGoodReplicasAreCounted(t *testing.T) {
	for text, want := range map[string]bool{
		"role:master\r\nrun_id:a\r\n":                              false,
		"role:master\r\nrun_id:a\r\nmin_slaves_good_slaves:0\r\n":  true,
		"role:master\r\nrun_id:a\r\nmin_slaves_good_slavesx:1\r\n": false,
	} {
		if got := ParseInfo(text).observation().WritesGuarded; got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}
