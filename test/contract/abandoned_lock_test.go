// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

const notOnline = "topom is not online"

var removeLock = []string{"--remove-lock"}

// requireOffline expects a dashboard that answers but does not hold the lock: whoever asks /topom/model sees nothing
// wrong with it.
func requireOffline(t *testing.T, d *dashboard) {
	t.Helper()
	for _, path := range []string{"/topom/model", "/api/topom/model", d.path("xping")} {
		if r := d.send(http.MethodGet, path, nil); r.status != http.StatusOK {
			t.Errorf("GET %s: %s", path, r.cause())
		}
	}
	for _, path := range []string{"/topom", "/topom/stats", "/topom/slots", d.path("stats"), d.path("slots")} {
		if got := d.send(http.MethodGet, path, nil).cause(); got != notOnline {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	d.refused(notOnline, "group/create", 1)
	d.refused(notOnline, "reload")
}

// A dashboard tries 17 times, two seconds apart, and then gives up. This is the longest test, and the name of its
// file makes it the first to start.
func TestStaleLockMakesDashboardExitAfterHalfAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dashboard(dashboardSpec{}).proc.kill()
	started := time.Now()
	d := w.startDashboard(dashboardSpec{})
	if code := d.proc.exitCode(3 * patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(started); took < 30*time.Second {
		t.Errorf("gave up after %v", took)
	}
	if !w.stored("topom") {
		t.Error("it took the lock of somebody else with it")
	}
}

func TestLockIsLeftBySIGKILLAndRemovedByFlag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.dashboard(dashboardSpec{})
	first.proc.kill()
	if !w.stored("topom") {
		t.Fatal("SIGKILL released the lock")
	}
	second := w.startDashboard(dashboardSpec{})
	requireOffline(t, second)
	second.proc.kill()
	w.dashboard(dashboardSpec{args: removeLock})
}

func TestWaitingDashboardTakesTheLockOnceItIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dashboard(dashboardSpec{}).proc.kill()
	d := w.startDashboard(dashboardSpec{})
	requireOffline(t, d)
	if err := os.Remove(w.storePath("topom")); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the dashboard is online", d.isOnline)
}

func TestSignalsReleaseTheLock(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		w := newWorld(t)
		d := w.dashboard(dashboardSpec{})
		d.proc.signal(sig)
		if code := d.proc.exitCode(patience); code != 0 {
			t.Errorf("%v: exit code %d", sig, code)
		}
		if w.stored("topom") {
			t.Errorf("%v left the lock", sig)
		}
	}
}

func TestShutdownReleasesTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.ok("shutdown")
	if code := d.proc.exitCode(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if w.stored("topom") {
		t.Error("shutdown left the lock")
	}
}

// Only a dashboard that is online releases: one that waits in vain leaves the owner's lock alone.
func TestWaitingDashboardLeavesTheOwnersLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.dashboard(dashboardSpec{})
	waiting := w.startDashboard(dashboardSpec{port: portDashboard + 1})
	requireOffline(t, waiting)
	waiting.proc.stop()
	if !w.stored("topom") || !owner.isOnline() {
		t.Error("the owner lost its lock")
	}
}

// --remove-lock asks nobody: both dashboards are online after it, and the first to close deletes the other's lock.
func TestClosingDashboardDeletesTheLockOfWhoeverHasIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.dashboard(dashboardSpec{})
	second := w.dashboard(dashboardSpec{port: portDashboard + 1, args: removeLock})
	if !first.isOnline() {
		t.Fatal("the first dashboard noticed")
	}
	first.ok("group/create", 1)
	second.ok("group/create", 2)
	first.proc.stop()
	if w.stored("topom") {
		t.Error("the lock of the second dashboard is still there")
	}
	if !second.isOnline() {
		t.Error("the second dashboard noticed")
	}
}
