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

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
)

// interruptions is how many random histories of growing and shrinking are tried.
const interruptions = 6

// The count changes before what was asked for last is done, while the operator dies at
// random calls, the dashboard is killed three times, and a proxy and a master once each.
// However that goes, it ends the same.
func TestInterruptedElasticityComesToTheSameEnd(t *testing.T) {
	t.Parallel()
	for seed := range few(interruptions) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 11))
			w := elastic(t, 2, func(c *v1alpha1.CodisCluster) { c.Spec.Proxy.Replicas = new(int32(2)) })
			w.random, w.cluster.SlotRounds = random, 3+random.IntN(12)
			strikes := []func() string{
				w.killDashboard, w.killDashboard, w.killDashboard, w.killProxy, func() string { return w.killMaster(random) },
			}
			random.Shuffle(len(strikes), func(i, j int) { strikes[i], strikes[j] = strikes[j], strikes[i] })
			var history []string
			for _, count := range []int32{4, 2, 3, 1, 3} {
				w.count(count)
				history = append(history, fmt.Sprintf("%d groups", count), strikes[0]())
				strikes = append(strikes[1:], func() string { return "" })
				for range 4 {
					w.goWrong(trouble{at: 1 + random.IntN(6), outcome: fixture.PassAndFail})
					w.rounds(1 + random.IntN(5))
					if random.IntN(4) == 0 {
						history = append(history, strikes[0]())
						strikes = append(strikes[1:], func() string { return "" })
					}
				}
			}
			for _, strike := range strikes {
				history = append(history, strike())
				w.rounds(random.IntN(3))
			}
			w.goWrong(trouble{})
			w.rest()
			w.mustBeReady()
			w.mustShare(1, 2, 3)
			if pods := len(w.podsOf(naming.ComponentServer)); pods != 6 {
				t.Errorf("%d servers run", pods)
			}
			if w.paused() {
				t.Error("moves are still paused")
			}
			if t.Failed() {
				t.Logf("after %q\n%s", slices.DeleteFunc(history, func(h string) bool { return h == "" }), w.dump())
			}
			w.clock.Step(time.Minute)
			w.rest() // The keys that moved are counted in the status.
			w.stays(8)
		})
	}
}

// killDashboard kills the process of the dashboard, if one runs.
func (w *world) killDashboard() string {
	w.t.Helper()
	for _, pod := range w.dashboardPods() {
		w.kill(pod)
		return "killed " + pod
	}
	return "no dashboard to kill"
}

// killProxy kills the process of a proxy.
func (w *world) killProxy() string {
	w.t.Helper()
	for _, pod := range w.podsOf(naming.ComponentProxy) {
		if w.cluster.Proxy(namespace, pod.Name) != nil {
			w.kill(pod.Name)
			return "killed " + pod.Name
		}
	}
	return "no proxy to kill"
}

// killMaster kills a master with a replica that has all of its data: what only a master
// has is lost with it, whoever moves slots.
func (w *world) killMaster(random *rand.Rand) string {
	w.t.Helper()
	pods := w.podsOf(naming.ComponentServer)
	random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	for _, pod := range pods {
		s := w.cluster.Server(namespace, pod.Name)
		if s == nil || s.Role().Master != "" || len(s.Data()) == 0 {
			continue
		}
		whole := func(other string) bool {
			o := w.cluster.Server(namespace, other)
			return other != pod.Name && o != nil && o.Role().Up && equal(o.Data(), s.Data())
		}
		if g := groupOf(pod.Name); whole(g+"-0") || whole(g+"-1") {
			w.kill(pod.Name)
			return "killed " + pod.Name
		}
	}
	return "no master to kill"
}

// Groups of a cluster that a person deletes are drained and made again: the count still
// asks for them. Nothing is lost on the way, and one that is made again is a new one.
func TestGroupsOfAClusterThatAreDeletedByHand(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		meanwhile func(w *world)
		groups    []int
	}{
		"nothing else happens":           {func(*world) {}, []int{1, 2, 3, 4}},
		"the count is lowered meanwhile": {func(w *world) { w.count(2) }, []int{1, 2}},
		"the count is raised meanwhile":  {func(w *world) { w.count(5) }, []int{1, 2, 3, 4, 5}},
		"the dashboard dies meanwhile":   {func(w *world) { w.killDashboard() }, []int{1, 2, 3, 4}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := elastic(t, 4, nil)
			w.cluster.SlotRounds = 8
			before := w.group("small-3").UID
			for _, group := range []string{"small-3", "small-4"} {
				w.delete(&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: group}})
			}
			w.rounds(4)
			w.mustSay("small-3", v1alpha1.ConditionReady, "False Draining: deleting: the group gives its slots to others")
			if owned := len(w.layout()[3]); owned == 0 || owned == 256 {
				t.Fatalf("group 3 owns %d slots: it is not being drained", owned)
			}
			tt.meanwhile(w)
			w.rest()
			w.mustBeReady()
			w.mustShare(tt.groups...)
			if pods := len(w.podsOf(naming.ComponentServer)); pods != 2*len(tt.groups) {
				t.Errorf("%d servers run for %d groups", pods, len(tt.groups))
			}
			if slices.Contains(tt.groups, 3) && w.group("small-3").UID == before {
				t.Error("group 3 is the one that was deleted")
			}
		})
	}
}

// A group of a person's own joins the product of a CodisCluster and leaves it, while the
// cluster grows and shrinks beside it.
func TestAGroupOfAPersonJoinsACluster(t *testing.T) {
	t.Parallel()
	w := elastic(t, 2, nil)
	w.cluster.SlotRounds = 8
	mine := func() *v1alpha1.CodisGroup {
		g := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"}}
		g.Spec.DashboardRef.Name, g.Spec.ID, g.Spec.Replicas = "small", 70, new(int32(2))
		return g
	}
	w.apply(mine())
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 70)
	w.count(3)
	w.rounds(4)
	w.delete(mine())
	w.rounds(4)
	w.count(1)
	w.rounds(4)
	w.rest() // A name is free once the object is gone.
	w.apply(mine())
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 70)
	w.delete(mine())
	w.rest()
	w.mustBeReady()
	w.mustShare(1)
}

// The id of a group of a person's own is the next one that a cluster would give: the
// cluster's group waits and says so, and takes over once the other is gone.
func TestAClusterGrowsIntoTheIDOfAGroupOfAPerson(t *testing.T) {
	t.Parallel()
	w := elastic(t, 2, nil)
	mine := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"}}
	mine.Spec.DashboardRef.Name, mine.Spec.ID, mine.Spec.Replicas = "small", 3, new(int32(2))
	w.apply(mine)
	w.rest()
	w.mustShare(1, 2, 3)
	w.count(3)
	w.rest()
	w.mustSay("small-3", v1alpha1.ConditionReady, "False GroupIDTaken: ", `CodisGroup "mine"`)
	w.mustSayOfDashboard("small", v1alpha1.ConditionRebalanced, "True Ready: ")
	if g := w.group("small-3"); g.Status.Slots != 0 {
		t.Errorf("it says that it has %d slots of the other", g.Status.Slots)
	}
	c := &v1alpha1.CodisCluster{}
	w.get("small", c)
	if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonGroupIDTaken ||
		!strings.Contains(ready.Message, "mine") {
		t.Errorf("the cluster says %+v", ready)
	}
	if available := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAvailable); available.Status != metav1.ConditionTrue {
		t.Errorf("the cluster says %+v", available)
	}
	w.mustShare(1, 2, 3)
	w.count(2)
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3)
	w.count(3)
	w.rest()
	w.delete(&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"}})
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3)
	if servers := w.masterOf(3); !strings.HasPrefix(servers, "small-3-") {
		t.Errorf("%s is master of group 3", servers)
	}
}
