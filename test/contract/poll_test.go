// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen. It bounds nothing that is measured: it is only there so
// that a broken implementation fails instead of hanging, and is generous because the machine may be slow.
const patience = 40 * time.Second

// Polling starts fast, for what happens at once, and slows down, since an answer costs the process under test
// processor time that other tests want.
const (
	pollFirst = 5 * time.Millisecond
	pollLast  = 100 * time.Millisecond
)

// eventually polls cond until it holds and fails the test at the deadline.
func eventually(t *testing.T, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	if !poll(timeout, cond) {
		t.Fatalf("after %v still not: %s", timeout, what)
	}
}

// holds polls cond for the whole of d and fails the test as soon as it does not hold.
func holds(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	if poll(d, func() bool { return !cond() }) {
		t.Fatalf("within %v no longer: %s", d, what)
	}
}

func poll(timeout time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	interval := pollFirst
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if cond() {
			return true
		}
		select {
		case <-tick.C:
			interval = min(2*interval, pollLast)
			tick.Reset(interval)
		case <-deadline.C:
			return cond()
		}
	}
}
