// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/topology"
)

const (
	lockKey = "/codis3/p/topom"
	tomb    = `{"owner": "uid"}`
)

// newProduct is a product of some keys, in an etcd.
func newProduct(t *testing.T) (*fixture.Etcd, topology.Product) {
	t.Helper()
	e := fixture.NewEtcd(t)
	e.Login("root:x")
	for i := range 40 {
		e.Set(fmt.Sprintf("/codis3/p/slots/slot-%04d", i), "{}")
	}
	e.Set("/codis3/p/group/group-0001", "{}")
	e.Set(lockKey, "held")
	e.Set("/codis3/p-2/topom", "neighbour")
	return e, topology.Product{Kind: "etcd", Addr: e.Addr, Auth: "root:x", Name: "p"}
}

func look(t *testing.T, p topology.Product) topology.Found {
	t.Helper()
	found, err := p.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func mustPin(t *testing.T, p topology.Product) {
	t.Helper()
	if pinned, err := p.Pin(t.Context(), look(t, p), []byte(tomb)); err != nil || !pinned {
		t.Fatalf("Pin() = %v, %v", pinned, err)
	}
}

func TestALockIsPinnedOnlyAsItWasSeen(t *testing.T) {
	tests := map[string]struct {
		between func(e *fixture.Etcd)
		want    bool
		lock    string
	}{
		"nothing happened":             {func(*fixture.Etcd) {}, true, ""},
		"it was released":              {func(e *fixture.Etcd) { e.Release(lockKey) }, false, ""},
		"another dashboard took it":    {func(e *fixture.Etcd) { e.Set(lockKey, "other") }, false, "other"},
		"it was taken anew, as it was": {func(e *fixture.Etcd) { e.Release(lockKey); e.Set(lockKey, "held") }, false, "held"},
		"it was pinned for another":    {func(e *fixture.Etcd) { e.Release(lockKey); e.Set(lockKey+"/removing", "x") }, false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, p := newProduct(t)
			found := look(t, p)
			tt.between(e)
			pinned, _ := p.Pin(t.Context(), found, []byte(tomb))
			if pinned != tt.want || e.Get(lockKey) != tt.lock {
				t.Errorf("pinned is %v, and the lock %q", pinned, e.Get(lockKey))
			}
		})
	}
}

// A dashboard that takes the lock between the two steps of an etcd keeps it.
func TestALockThatIsTakenWhileItIsPinnedStays(t *testing.T) {
	e, p := newProduct(t)
	found := look(t, p)
	e.OnChange(func(number int, _, _ string) bool {
		if number == 1 {
			e.SetLocked(lockKey, "other")
		}
		return false
	})
	pinned, err := p.Pin(t.Context(), found, []byte(tomb))
	if err != nil || pinned || e.Get(lockKey) != "other" {
		t.Errorf("Pin() = %v, %v, and the lock is %q", pinned, err, e.Get(lockKey))
	}
}

func TestAPinnedLockCanNeitherBeTakenNorReleased(t *testing.T) {
	e, p := newProduct(t)
	mustPin(t, p)
	if e.Release(lockKey) {
		t.Error("a dashboard that ends, or starts with --remove-lock, releases it")
	}
	want := topology.Found{Exists: true, Pinned: true, Tombstone: []byte(tomb)}
	if diff := cmp.Diff(want, look(t, p), cmp.AllowUnexported(topology.Found{})); diff != "" {
		t.Error(diff)
	}
	if err := p.Unpin(t.Context(), []byte("of another"), []byte("held")); err == nil {
		t.Error("the tombstone of another is taken away")
	}
	if err := p.Unpin(t.Context(), []byte(tomb), []byte("held")); err != nil || e.Get(lockKey) != "held" {
		t.Errorf("Unpin() = %v, and the lock is %q", err, e.Get(lockKey))
	}
}

// An answer that is lost after the tombstone was made is found out.
func TestAPinWhoseAnswerIsLostIsFound(t *testing.T) {
	e, p := newProduct(t)
	p.Addr = e.Addr + "," + e.Addr // The next member that is asked.
	found := look(t, p)
	e.OnChange(func(number int, _, _ string) bool { return number == 2 })
	if pinned, err := p.Pin(t.Context(), found, []byte(tomb)); err != nil || !pinned {
		t.Errorf("Pin() = %v, %v", pinned, err)
	}
}

func TestRemoveTakesAllOfAProductAndNothingElse(t *testing.T) {
	e, p := newProduct(t)
	if err := p.Remove(t.Context(), []byte(tomb)); !errors.Is(err, topology.ErrChanged) {
		t.Errorf("Remove() of a product that is not pinned = %v", err)
	}
	mustPin(t, p)
	if err := p.Remove(t.Context(), []byte("of another")); !errors.Is(err, topology.ErrChanged) {
		t.Errorf("Remove() with the tombstone of another = %v", err)
	}
	if got := len(e.Keys("/codis3/p")); got != 46 {
		t.Fatalf("%d keys are there, want all 46", got)
	}
	if err := p.Remove(t.Context(), []byte(tomb)); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(t.Context(), []byte(tomb)); !errors.Is(err, topology.ErrChanged) {
		t.Errorf("Remove() of what is gone = %v", err)
	}
	if got := e.Keys("/codis3/p"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if e.Get("/codis3/p-2/topom") != "neighbour" {
		t.Error("the neighbour's lock is gone")
	}
}

// Each key goes as it was seen: one that somebody writes meanwhile stays.
func TestAKeyThatIsWrittenDuringTheRemovalStays(t *testing.T) {
	e, p := newProduct(t)
	mustPin(t, p)
	e.OnChange(func(number int, _, _ string) bool {
		if number == 1 {
			e.SetLocked("/codis3/p/late", "new")
		}
		return false
	})
	if err := p.Remove(t.Context(), []byte(tomb)); !errors.Is(err, topology.ErrChanged) {
		t.Errorf("Remove() = %v", err)
	}
	if e.Get("/codis3/p/late") != "new" {
		t.Error("what was written meanwhile is gone")
	}
	if string(look(t, p).Tombstone) != tomb {
		t.Error("somebody can start on it")
	}
	if err := p.Remove(t.Context(), []byte(tomb)); err != nil || len(e.Keys("/codis3/p")) > 0 {
		t.Errorf("the next try: %v, left %v", err, e.Keys("/codis3/p"))
	}
}

// A removal that breaks off leaves the tombstone, and the next try takes the rest.
func TestARemovalThatBreaksOffIsFinishedByTheNext(t *testing.T) {
	e, p := newProduct(t)
	mustPin(t, p)
	e.OnChange(func(number int, _, _ string) bool { return number >= 20 && number < 30 })
	if err := p.Remove(t.Context(), []byte(tomb)); err == nil {
		t.Fatal("it succeeded")
	}
	if string(look(t, p).Tombstone) != tomb || e.Release(lockKey) {
		t.Errorf("the lock is free again: %v", e.Keys("/codis3/p"))
	}
	e.OnChange(nil)
	if err := p.Remove(t.Context(), []byte(tomb)); err != nil || len(e.Keys("/codis3/p")) > 0 {
		t.Errorf("Remove() = %v, left %v", err, e.Keys("/codis3/p"))
	}
}

func TestSweepTakesNothingThatHoldsAnything(t *testing.T) {
	e, p := newProduct(t)
	if err := p.Sweep(t.Context()); err != nil || len(e.Keys("/codis3/p")) != 45 {
		t.Errorf("Sweep() = %v, left %v", err, e.Keys("/codis3/p"))
	}
	e.Delete("/codis3/p")
	e.Set("/codis3/p/x", "")
	e.Delete("/codis3/p/x")
	for range 2 {
		if err := p.Sweep(t.Context()); err != nil || len(e.Keys("/codis3/p")) != 0 {
			t.Errorf("Sweep() = %v, left %v", err, e.Keys("/codis3/p"))
		}
	}
}

// silent is the address of a member that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	return mute.Addr().String()
}

// A member that says nothing takes its own time, not that of the next one, and no change
// is sent to it.
func TestAMemberThatHangsKeepsNoChangeFromTheOthers(t *testing.T) {
	e, p := newProduct(t)
	p.Addr = silent(t) + "," + e.Addr
	found := look(t, p)
	if string(found.Lock) != "held" {
		t.Errorf("found %+v", found)
	}
	if pinned, err := p.Pin(t.Context(), found, []byte(tomb)); err != nil || !pinned {
		t.Fatalf("Pin() = %v, %v", pinned, err)
	}
	if err := p.Remove(t.Context(), []byte(tomb)); err != nil || len(e.Keys("/codis3/p")) > 0 {
		t.Errorf("Remove() = %v, left %v", err, e.Keys("/codis3/p"))
	}
}

// A new process does not know yet who answers: one look goes past members on lost nodes in
// less time than it would give a single one of them.
func TestALookWaitsForNoMemberThatHangs(t *testing.T) {
	e, p := newProduct(t)
	p.Addr = silent(t) + "," + silent(t) + "," + e.Addr
	ctx, cancel := context.WithTimeout(t.Context(), topology.Timeout)
	defer cancel()
	if found, err := p.Look(ctx); err != nil || string(found.Lock) != "held" {
		t.Errorf("Look() = %+v, %v", found, err)
	}
}

// However many members hang, the time for an answer is bounded, and one that answers is found.
func TestTheTimeForAnAnswerIsBounded(t *testing.T) {
	e, p := newProduct(t)
	p.Addr = strings.Join([]string{silent(t), silent(t), silent(t), silent(t), e.Addr}, ",")
	began := time.Now()
	look(t, p)
	if took := time.Since(began); took > 3*topology.Timeout {
		t.Errorf("it took %s", took)
	}
}

// A change that may come late is not asked for again elsewhere.
func TestAChangeThatHangsGoesToNobodyElse(t *testing.T) {
	e, p := newProduct(t)
	ended := make(chan struct{})
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			e.ServeHTTP(w, r)
			return
		}
		<-ended
	}))
	t.Cleanup(func() { close(ended); half.Close() })
	hung := half.Listener.Addr().String()
	p.Addr = hung + "," + e.Addr
	found := look(t, p)
	_, err := p.Pin(t.Context(), found, []byte(tomb))
	if err == nil || !strings.Contains(err.Error(), hung+" does not answer in time") || strings.Contains(err.Error(), e.Addr) {
		t.Errorf("Pin() = %v", err)
	}
	if e.Get(lockKey) != "held" {
		t.Error("a change went to the next member while the first may carry it out")
	}
}

func TestWhatIsWrongWithAMemberIsSaidInTheSameWords(t *testing.T) {
	for _, kind := range []string{"etcd", "zookeeper"} {
		p := topology.Product{Kind: kind, Addr: "nobody.invalid:1", Name: "p"}
		_, err := p.Look(t.Context())
		if err == nil || err.Error() != "nobody.invalid:1: nobody.invalid cannot be resolved" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
