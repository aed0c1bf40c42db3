// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/store"
)

const (
	dashboardPod = "sample-dashboard-0"
	product      = namespace + ".sample"
)

// sample is the first example, ready, with data.
func sample(t *testing.T, change func(*v1alpha1.CodisCluster)) *world {
	t.Helper()
	w := newWorld(t)
	objects := example(t, "sample-1.yml")
	if change != nil {
		change(objects[0].(*v1alpha1.CodisCluster))
	}
	w.apply(objects...)
	w.rest()
	w.mustBeReady()
	w.server("sample-1-0").Set(someData)
	w.rest()
	return w
}

// stored is the product as it is in the store of the dashboard.
func (w *world) stored() store.Product {
	w.t.Helper()
	return w.storedOf("sample")
}

func (w *world) storedOf(cluster string) store.Product {
	w.t.Helper()
	memory := w.cluster.Store(namespace, cluster+"-dashboard-0")
	if memory == nil {
		w.t.Fatal("the dashboard has no store")
	}
	return store.Product{Client: memory.Open(), Name: namespace + "." + cluster}
}

func TestDashboardKilledWithItsLock(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	want := w.topology()
	w.kill(dashboardPod)
	if lock, err := w.stored().Topom(); err != nil || lock == nil {
		t.Fatalf("a killed dashboard leaves its lock: %v, %v", lock, err)
	}
	w.rest()
	w.mustBeReady()
	if got := w.topology(); got != want {
		t.Errorf("the world is\n%s\nwant\n%s", got, want)
	}
	if w.recorder.said(v1alpha1.ReasonLayoutRestored) {
		t.Error("the layout was put back although the store was there")
	}
	if !w.recorder.said(v1alpha1.ReasonDashboardRestarted) {
		t.Error("nobody was told that it was started again, which its pod does not show")
	}
}

// keepRoutes fails as soon as a proxy that had all its routes has not.
func (w *world) keepRoutes() {
	complete := map[string]bool{}
	w.observe = func() {
		for _, pod := range w.podsOf(naming.ComponentProxy) {
			p := w.cluster.Proxy(namespace, pod.Name)
			if p == nil {
				continue
			}
			missing := 0
			for _, slot := range p.Slots() {
				if slot.BackendAddr == "" {
					missing++
				}
			}
			if complete[pod.Name] && missing > 0 {
				w.fault("proxy %s lost the routes of %d slots", pod.Name, missing)
			}
			complete[pod.Name] = missing == 0
		}
	}
	w.look()
	if len(complete) == 0 {
		w.t.Fatal("there are no proxies to look at")
	}
}

func TestInvariant3AnEmptiedStoreGetsItsLayoutBack(t *testing.T) {
	t.Parallel()
	for seed := range few(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := sample(t, nil)
			want := w.topology()
			w.keepRoutes()
			w.random = rand.New(rand.NewPCG(seed, 3))
			w.deletePod(dashboardPod)
			w.rest()
			w.mustBeReady()
			if got := w.topology(); got != want {
				t.Errorf("the world is\n%s\nwant\n%s", got, want)
			}
			if !w.recorder.said(v1alpha1.ReasonLayoutRestored) {
				t.Error("no event tells that the layout was put back")
			}
		})
	}
}

// After a failover the second member is master; a dashboard that forgot that
// must not be told otherwise.
func TestInvariant3AnEmptiedStoreAfterAFailover(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	w.kill("sample-1-0")
	w.rest()
	w.mustHold("sample-1", "sample-1-1", someData)
	w.keepRoutes()
	w.deletePod(dashboardPod)
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", "sample-1-1", someData)
	if order := servers(w.dashboardGroup(1)); !strings.HasPrefix(order, "sample-1-1.") {
		t.Errorf("the dashboard's order is %s", order)
	}
}

// A store that lost some slots gets back those, and no other slot is touched:
// one that somebody gave to another group stays there.
func TestInvariant3OnlySlotsWithoutOwnerAreAssigned(t *testing.T) {
	t.Parallel()
	w := sample(t, func(c *v1alpha1.CodisCluster) {
		c.Spec.Dashboard.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceOff}
	})
	w.kill(dashboardPod)
	for id := range 10 {
		if err := w.stored().SaveSlot(&models.SlotMapping{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.stored().SaveSlot(&models.SlotMapping{ID: 20, GroupID: 2}); err != nil {
		t.Fatal(err)
	}
	w.rest()
	w.mustBeReady()
	topology := w.topology()
	for _, want := range []string{"slots 0-19,21-511;", "slots 20,512-1023;", " 0 slots without owner"} {
		if !strings.Contains(topology, want) {
			t.Errorf("the world lacks %q:\n%s", want, topology)
		}
	}
}

func TestDashboardReplacedWithItsVolume(t *testing.T) {
	t.Parallel()
	w := sample(t, func(c *v1alpha1.CodisCluster) {
		c.Spec.Coordinator.Storage = &v1alpha1.Storage{Size: resource.MustParse("1Gi")}
	})
	want := w.topology()
	w.keepRoutes()
	w.deletePod(dashboardPod)
	w.rest()
	w.mustBeReady()
	if got := w.topology(); got != want {
		t.Errorf("the world is\n%s\nwant\n%s", got, want)
	}
	if w.recorder.said(v1alpha1.ReasonLayoutRestored) {
		t.Error("the layout was put back although the volume was there")
	}
}

// A dashboard that dies in a promotion leaves it in one of three states, in two
// of which clients of the group wait. The second member becomes master, unless it
// was not told: then the first goes on, which has every write.
func TestPromotionLeftHalfDoneIsFinished(t *testing.T) {
	t.Parallel()
	swap := func(_ *world, g *models.Group) { reorder(g) }
	tests := map[string]struct {
		state  string
		change func(*world, *models.Group)
		master string
	}{
		"before slots are locked":       {models.ActionPreparing, func(*world, *models.Group) {}, "sample-1-1"},
		"while slots are locked":        {models.ActionPrepared, func(*world, *models.Group) {}, "sample-1-1"},
		"before the new master is told": {models.ActionFinished, swap, "sample-1-1"},
		"before the new routes are pushed": {models.ActionFinished, func(w *world, g *models.Group) {
			swap(w, g)
			w.server("sample-1-1").TakeWrites()
		}, "sample-1-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sample(t, nil)
			w.killInPromotion("sample", 1, tt.state, func(g *models.Group) { tt.change(w, g) })
			w.rest()
			w.mustBeReady()
			w.mustHold("sample-1", tt.master, someData)
			w.mustHavePromoted(tt.master, 2)
		})
	}
}

// reorder does what Codis does when a promotion is finished: the new master is
// the first server, the old one the last.
func reorder(g *models.Group) {
	index := g.Promoting.Index
	chosen, old := g.Servers[index], g.Servers[0]
	g.Servers = append([]*models.GroupServer{chosen}, slices.Delete(slices.Clone(g.Servers[1:]), index-1, index)...)
	g.Servers = append(g.Servers, old)
	g.Promoting.Index = 0
}

// killInPromotion kills the dashboard as it promotes a server of group 1, with what
// it would have stored by then.
func (w *world) killInPromotion(cluster string, index int, state string, change func(*models.Group)) {
	w.t.Helper()
	w.halfPromoted = true
	w.kill(cluster + "-dashboard-0")
	g, err := w.storedOf(cluster).Group(1)
	if err != nil {
		w.t.Fatal(err)
	}
	g.Promoting = models.IndexedState{Index: index, State: state}
	change(g)
	if err := w.storedOf(cluster).SaveGroup(g); err != nil {
		w.t.Fatal(err)
	}
}

// mustHavePromoted fails unless group 1 is led by a member, for the dashboard and
// for all proxies, and no client waits.
func (w *world) mustHavePromoted(master string, proxies int) {
	w.t.Helper()
	if now := w.dashboardGroup(1); now.Promoting.State != "" || !strings.HasPrefix(servers(now), master+".") {
		w.t.Errorf("the group is left as %s %+v", servers(now), now.Promoting)
	}
	topology := w.topology()
	if strings.Contains(topology, "LOCKED") {
		w.t.Errorf("clients wait:\n%s", topology)
	}
	if n := strings.Count(topology, `routes "`+master+"."); n != proxies {
		w.t.Errorf("%d proxies send clients of the group to its master:\n%s", n, topology)
	}
}

// The other replica of a group of three follows the new master, too; a master that
// is lost meanwhile does not stop what was begun.
func TestPromotionLeftHalfDoneInAGroupOfThree(t *testing.T) {
	t.Parallel()
	for _, state := range []string{models.ActionPreparing, models.ActionPrepared, models.ActionFinished} {
		for name, lost := range map[string]string{"all there": "", "the old master lost": "sample-1-0"} {
			t.Run(state+", "+name, func(t *testing.T) {
				t.Parallel()
				w := sample(t, func(c *v1alpha1.CodisCluster) { c.Spec.Groups.Replicas = new(int32(3)) })
				w.killInPromotion("sample", 2, state, func(g *models.Group) {
					if state == models.ActionFinished {
						reorder(g)
					}
				})
				if lost != "" {
					w.kill(lost)
				}
				w.rest()
				w.mustBeReady()
				w.mustHold("sample-1", "sample-1-2", someData)
				w.mustHavePromoted("sample-1-2", 2)
			})
		}
	}
}

// A slot that moves is no reason to leave clients waiting: the move pauses, in
// whichever state it is, until the promotion is finished, and goes on then.
func TestPromotionLeftHalfDoneBesideAMove(t *testing.T) {
	t.Parallel()
	moves := []string{models.ActionPending, models.ActionPreparing, models.ActionPrepared, models.ActionMigrating, models.ActionFinished}
	for _, state := range []string{models.ActionPreparing, models.ActionPrepared, models.ActionFinished} {
		for _, move := range moves {
			t.Run(state+" beside "+move, func(t *testing.T) {
				t.Parallel()
				w := sample(t, func(c *v1alpha1.CodisCluster) {
					c.Spec.Dashboard.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceOff}
				})
				w.killInPromotion("sample", 1, state, func(g *models.Group) {
					if state == models.ActionFinished {
						reorder(g)
					}
				})
				for _, slot := range []*models.SlotMapping{
					{ID: 7, GroupID: 1, Action: models.SlotAction{Index: 1, State: move, TargetID: 2}},
					{ID: 700, GroupID: 2, Action: models.SlotAction{Index: 2, State: move, TargetID: 1}},
				} {
					if err := w.stored().SaveSlot(slot); err != nil {
						t.Fatal(err)
					}
				}
				w.rest()
				w.mustBeReady()
				w.mustHold("sample-1", "sample-1-1", someData)
				w.mustHavePromoted("sample-1-1", 2)
				for _, want := range []string{"slots 0-6,8-511,700;", "slots 7,512-699,701-1023;"} {
					if topology := w.topology(); !strings.Contains(topology, want) {
						t.Errorf("the world lacks %q:\n%s", want, topology)
					}
				}
			})
		}
	}
}

func (w *world) dashboardGroup(id int) *models.Group {
	w.t.Helper()
	stats, err := w.cluster.Dashboard(namespace, dashboardPod).Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range stats.Group.Models {
		if g.ID == id {
			return g
		}
	}
	w.t.Fatalf("the dashboard knows no group %d", id)
	return nil
}

// entries are the host names of the proxies that the dashboard knows, with
// their tokens.
func (w *world) entries() map[string]string {
	w.t.Helper()
	stats, err := w.cluster.Dashboard(namespace, dashboardPod).Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range stats.Proxy.Models {
		found[p.Hostname] = p.Token
	}
	return found
}

func TestEntryOfADeadProxyIsRemoved(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	gone := w.podsOf(naming.ComponentProxy)[0].Name
	w.deletePod(gone)
	w.step() // It is gone before the operator looks.
	w.rest()
	w.mustBeReady()
	entries := w.entries()
	if _, left := entries[gone]; left || len(entries) != 2 {
		t.Errorf("the dashboard knows %v, of which %s is gone", entries, gone)
	}
	for _, pod := range w.podsOf(naming.ComponentProxy) {
		if entries[pod.Name] == "" {
			t.Errorf("the dashboard does not know %s", pod.Name)
		}
	}
	if !w.recorder.said(v1alpha1.ReasonProxyEntryRemoved) {
		t.Error("no event tells of the removal")
	}
}

func TestInvariant5ASilentProxyKeepsItsEntry(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	w.timeout, w.cluster.ProbeTimeout = 50*time.Millisecond, 50*time.Millisecond
	w.startOperator()
	silent := w.podsOf(naming.ComponentProxy)[0].Name
	token := w.entries()[silent]
	if err := w.cluster.Hang(namespace, silent, true); err != nil {
		t.Fatal(err)
	}
	w.rounds(8)
	if now := w.entries()[silent]; now != token || token == "" {
		t.Errorf("the entry of the silent proxy is %q, was %q", now, token)
	}
	pod := &corev1.Pod{}
	w.get(silent, pod)
	if err := w.cluster.Hang(namespace, silent, false); err != nil {
		t.Fatal(err)
	}
	w.timeout, w.cluster.ProbeTimeout = 20*time.Second, 20*time.Second
	w.startOperator()
	w.rest()
	w.mustBeReady()
	if now := w.entries(); now[silent] != token || len(now) != 2 {
		t.Errorf("in the end the dashboard knows %v", now)
	}
}

func TestEntryOfAForeignProxyIsKept(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	w.kill(dashboardPod)
	foreign := &models.Proxy{
		ID: 99, Token: strings.Repeat("f", 32), AdminAddr: "127.0.0.9:1", ProxyAddr: "127.0.0.9:2",
		ProductName: product, Hostname: "vm-17.example.com",
	}
	if err := w.stored().SaveProxy(foreign); err != nil {
		t.Fatal(err)
	}
	w.rest()
	w.rounds(5)
	if entries := w.entries(); entries[foreign.Hostname] != foreign.Token || len(entries) != 3 {
		t.Errorf("the dashboard knows %v", entries)
	}
}

// A proxy that was started again in its pod has its old token, and no routes.
func TestRestartedProxyIsBroughtOnlineAgain(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	pod := w.podsOf(naming.ComponentProxy)[0].Name
	token := w.entries()[pod]
	w.kill(pod)
	w.rest()
	w.mustBeReady()
	if entries := w.entries(); entries[pod] != token || len(entries) != 2 {
		t.Errorf("the dashboard knows %v, want %s with %s", entries, pod, token)
	}
	if p := w.cluster.Proxy(namespace, pod); !p.Online() || strings.Contains(routes(p.Slots()), `""`) {
		t.Errorf("the proxy is online: %v, with routes %s", p.Online(), routes(p.Slots()))
	}
}
