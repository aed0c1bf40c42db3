// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/lock"
)

// book is an etcd that counts how often its only key, the lock, was read.
type book struct {
	addr string
	run  atomic.Value
	// holder is the address of whoever has the lock.
	holder atomic.Value
	// away has it answer that it has no leader.
	away  atomic.Bool
	reads atomic.Int64
}

func newBook(t *testing.T) *book {
	t.Helper()
	b := &book{}
	b.run.Store("")
	b.holder.Store(own)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer b.reads.Add(1)
		if b.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		run, _ := b.run.Load().(string)
		if run == "" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"errorCode":100}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"node":{"value":"{\"admin_addr\":\"%s\",\"token\":\"t\",\"start_time\":\"%s\"}"}}`, b.holder.Load(), run)
	}))
	t.Cleanup(server.Close)
	b.addr = server.Listener.Addr().String()
	return b
}

func (b *book) guard(s *setting) {
	s.Lock = lock.Lock{Store: "etcd", Addr: b.addr, Product: "p", Holder: own}
}

// held gives the lock to a run, and waits until it was seen.
func (b *book) held(t *testing.T, run string) {
	t.Helper()
	b.run.Store(run)
	before := b.reads.Load()
	eventually(t, "the lock is looked at", func() bool { return b.reads.Load() > before+1 })
}

// start runs a dashboard that has the lock.
func (b *book) start(t *testing.T) (c *container, pid int) {
	t.Helper()
	c = startKeeper(t, b.guard, "serve")
	pid = c.awaitRun(t, 1)
	eventually(t, "the run is recorded", func() bool { return len(lines(c.Dir, "record")) > 0 })
	b.held(t, strconv.Itoa(pid))
	return c, pid
}

// A dashboard whose node seemed lost: another pod of its name has the lock by now.
func TestADashboardWithoutItsLockIsKilledForGood(t *testing.T) {
	b := newBook(t)
	c, pid := b.start(t)
	b.run.Store("another")
	if code := c.awaitEnd(t); code != 1 || c.message() != "held "+own {
		t.Errorf("ended with %d: %q", code, c.message())
	}
	if stateOf(pid) != "" || len(lines(c.Dir, "told")) > 0 {
		t.Errorf("dashboard %d is %q, and was told to end: %v", pid, stateOf(pid), lines(c.Dir, "told"))
	}
	again := startKeeper(t, func(s *setting) { b.guard(s); s.Dir = c.Dir }, "serve")
	if code := again.awaitEnd(t); code != 1 || again.runs() != 1 || again.message() != "held "+own {
		t.Errorf("the container starts again, and its dashboards: %d after %d runs: %q", code, again.runs(), again.message())
	}
	anew := startKeeper(t, b.guard, "serve") // The next pod takes the lock from whoever has it.
	eventually(t, "the next pod starts one", func() bool { return anew.runs() == 1 })
}

// Two that start at the same time take the lock from each other: the first never sees it
// as its own.
func TestADashboardWhoseLockWasTakenAtOnceIsKilled(t *testing.T) {
	b := newBook(t)
	b.run.Store("another")
	c := startKeeper(t, b.guard, "serve")
	if code := c.awaitEnd(t); code != 1 || c.runs() != 1 || c.message() != "held "+own {
		t.Errorf("ended with %d after %d runs: %q", code, c.runs(), c.message())
	}
}

func TestADashboardThatWaitsForItsLockIsLeftAlone(t *testing.T) {
	b := newBook(t)
	b.run.Store("another")
	c := startKeeper(t, b.guard, "wait")
	pid := c.awaitRun(t, 1)
	b.held(t, "another")
	if stateOf(pid) == "" || len(c.ended) > 0 {
		t.Errorf("it was ended: %q", c.message())
	}
}

// Who took the lock need not be a namesake.
func TestWhoTookTheLockIsNamed(t *testing.T) {
	b := newBook(t)
	c, _ := b.start(t)
	b.holder.Store("other:18080")
	b.run.Store("another")
	if code := c.awaitEnd(t); code != 1 || c.message() != "held other:18080" {
		t.Errorf("ended with %d: %q", code, c.message())
	}
}

func TestADashboardKeepsOnWhileNobodyElseHasItsLock(t *testing.T) {
	b := newBook(t)
	c, pid := b.start(t)
	b.held(t, "")
	b.held(t, strconv.Itoa(pid))
	if c.runs() != 1 || stateOf(pid) == "" {
		t.Fatalf("it was ended; %d runs", c.runs())
	}
	send(t, pid, syscall.SIGKILL) // By accident: its own lock keeps nobody from starting again.
	c.awaitRun(t, 2)
}

// A dashboard that is told to end gives the lock back, whoever has it. One that has lost
// it is killed instead, and one that may have.
func TestADashboardThatIsToldToEndReleasesItsOwnLockOnly(t *testing.T) {
	tests := map[string]struct {
		change func(b *book)
		killed bool
	}{
		"its own":               {func(*book) {}, false},
		"nobody's":              {func(b *book) { b.run.Store("") }, false},
		"that of another":       {func(b *book) { b.run.Store("another") }, true},
		"one that nobody tells": {func(b *book) { b.away.Store(true) }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			c, _ := b.start(t)
			tt.change(b)
			send(t, c.keeper.Process.Pid, syscall.SIGTERM)
			c.awaitEnd(t)
			if told := len(lines(c.Dir, "told")) > 0; told == tt.killed {
				t.Errorf("it was told to end: %v", told)
			}
		})
	}
}

func TestARivalIsLookedAtAgainSoon(t *testing.T) {
	view := func(run string) lock.View {
		return lock.View{State: lock.Taken, Addr: own, Session: lock.Session{Token: run, StartTime: "then"}}
	}
	tenure := &tenure{}
	tenure.is(view("mine").Session)
	tests := []struct {
		seen string
		want time.Duration
	}{{"mine", fencing}, {"another", asking}, {"mine", fencing}}
	for _, tt := range tests {
		if tenure.lost(view(tt.seen), true) {
			t.Fatalf("lost by one look at %s", tt.seen)
		}
		if got := tenure.pause(fencing, asking); got != tt.want {
			t.Errorf("after %s it is looked at again in %s", tt.seen, got)
		}
	}
}

func TestRecordOfRuns(t *testing.T) {
	k := &keeper{record: filepath.Join(t.TempDir(), "runs")}
	if got := k.recorded(); got != nil {
		t.Fatalf("a new pod had %v", got)
	}
	run := func(n int) lock.Session { return lock.Session{Token: "t", StartTime: strconv.Itoa(n)} }
	var want []lock.Session
	for n := range maxRuns + 3 {
		for range 2 {
			if err := k.add(run(n)); err != nil {
				t.Fatal(err)
			}
		}
		if n >= 3 {
			want = append(want, run(n))
		}
	}
	if diff := cmp.Diff(want, k.recorded()); diff != "" {
		t.Error(diff)
	}
	if err := (&keeper{}).add(run(1)); err != nil {
		t.Errorf("without a file: %v", err)
	}
}
