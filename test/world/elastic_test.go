// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/proxy"
)

// everyNth slot has keys, more than a step of a move takes at a time.
const everyNth, keysOfSlot = 41, 3

// keysOf returns keys of a slot: a tag decides where they belong.
func keysOf(slot int) []string {
	tag := keyOf(slot)
	var keys []string
	for n := range keysOfSlot {
		keys = append(keys, fmt.Sprintf("{%s}%d", tag, n))
	}
	return keys
}

// elastic is a cluster with a number of groups, and keys in all parts of the key space.
func elastic(t *testing.T, groups int32, change func(*v1alpha1.CodisCluster)) *world {
	t.Helper()
	w := newWorld(t)
	elasticIn(w, groups, change)
	return w
}

func elasticIn(w *world, groups int32, change func(*v1alpha1.CodisCluster)) {
	w.t.Helper()
	c := smallCluster()
	c.Spec.Groups.Count = &groups
	if change != nil {
		change(c)
	}
	w.apply(c)
	w.rest()
	w.mustBeReady()
	w.fillUp()
	w.rest()
}

// fillUp gives every group the keys of its slots.
func (w *world) fillUp() {
	w.t.Helper()
	for group, slots := range w.layout() {
		data := fixture.Dataset{}
		for _, slot := range slots {
			if slot%everyNth == 0 {
				for _, key := range keysOf(slot) {
					data[key] = fmt.Sprint(slot)
				}
			}
		}
		if !w.server(w.masterOf(group)).Set(data) {
			w.t.Fatalf("the master of group %d takes no writes", group)
		}
	}
}

// slots are those that the one dashboard knows.
func (w *world) slots() []*models.SlotMapping {
	w.t.Helper()
	stats, err := w.cluster.Dashboard(namespace, w.dashboardPods()[0]).Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	return stats.Slots
}

// layout is who owns which slots.
func (w *world) layout() layout.Layout {
	w.t.Helper()
	owned := layout.Layout{}
	for _, slot := range w.slots() {
		owned[slot.GroupID] = append(owned[slot.GroupID], slot.ID)
	}
	return owned
}

// masterOf is the pod of the master of a group by the dashboard.
func (w *world) masterOf(group int) string {
	w.t.Helper()
	stats, err := w.cluster.Dashboard(namespace, w.dashboardPods()[0]).Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range stats.Group.Models {
		if g.ID == group && len(g.Servers) > 0 {
			pod, _, _ := strings.Cut(g.Servers[0].Addr, ".")
			return pod
		}
	}
	w.t.Fatalf("group %d has no master", group)
	return ""
}

// count changes how many groups a cluster shall have.
func (w *world) count(groups int32) {
	w.t.Helper()
	c := &v1alpha1.CodisCluster{}
	w.get("small", c)
	c.Spec.Groups.Count = &groups
	if err := w.user.Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// settings changes what a person wants of a dashboard that belongs to no cluster.
func (w *world) settings(name string, change func(*v1alpha1.CodisDashboardTemplate)) {
	w.t.Helper()
	d := &v1alpha1.CodisDashboard{}
	w.get(name, d)
	change(&d.Spec.CodisDashboardTemplate)
	if err := w.user.Update(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
}

// mustShare fails unless the groups share the slots evenly, nothing is under way,
// and every key is where its slot is, on all members, and nowhere else.
func (w *world) mustShare(groups ...int) {
	w.t.Helper()
	owned := w.layout()
	if diff := slices.Compare(owned.Groups(), groups); diff != 0 {
		w.t.Fatalf("groups %v own slots, want %v (crashed at %q)\n%s", owned.Groups(), groups, w.crashed, w.dump())
	}
	for group, slots := range owned {
		if share := codis.Slots / len(groups); len(slots) < share || len(slots) > share+1 {
			w.t.Errorf("group %d owns %d slots of %d groups", group, len(slots), len(groups))
		}
	}
	for _, slot := range w.slots() {
		if slot.Action.State != "" {
			w.t.Errorf("slot %d is still on its way: %+v", slot.ID, slot.Action)
		}
	}
	w.mustHaveAllKeys()
}

// mustHaveAllKeys fails unless every key is on all members of the group that owns
// its slot and nowhere else.
func (w *world) mustHaveAllKeys() {
	w.t.Helper()
	want := map[string]fixture.Dataset{}
	for group, slots := range w.layout() {
		data := fixture.Dataset{}
		for _, slot := range slots {
			if slot%everyNth == 0 {
				for _, key := range keysOf(slot) {
					data[key] = fmt.Sprint(slot)
				}
			}
		}
		want[groupOf(w.masterOf(group))] = data
	}
	for _, pod := range w.podsOf("server") {
		if got := w.server(pod.Name).Data(); !maps.Equal(got, want[groupOf(pod.Name)]) {
			w.t.Errorf("%s holds %d keys, want %d: %v", pod.Name, len(got), len(want[groupOf(pod.Name)]), misplaced(got, want[groupOf(pod.Name)]))
		}
	}
}

// misplaced lists slots of keys that are only in one of two datasets.
func misplaced(a, b fixture.Dataset) []int {
	slots := map[int]bool{}
	for _, pair := range [][2]fixture.Dataset{{a, b}, {b, a}} {
		for key, value := range pair[0] {
			if pair[1][key] != value {
				slots[proxy.SlotOf([]byte(key))] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(slots))
}

// mustSayOfDashboard fails unless a condition of the dashboard begins in these
// words and has those.
func (w *world) mustSayOfDashboard(name, kind, begins string, words ...string) {
	w.t.Helper()
	d := &v1alpha1.CodisDashboard{}
	w.get(name, d)
	for _, c := range d.Status.Conditions {
		if c.Type != kind {
			continue
		}
		text := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		if !strings.HasPrefix(text, begins) {
			w.t.Errorf("%s is %q, want %q", kind, text, begins)
		}
		for _, word := range words {
			if !strings.Contains(text, word) {
				w.t.Errorf("%s is %q and does not say %q", kind, text, word)
			}
		}
		return
	}
	w.t.Errorf("the dashboard has no condition %s", kind)
}

func (w *world) paused() bool {
	w.t.Helper()
	stats, err := w.cluster.Dashboard(namespace, w.dashboardPods()[0]).Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	return stats.SlotAction.Disabled
}

func TestGroupsComeAndGo(t *testing.T) {
	t.Parallel()
	w := elastic(t, 2, nil)
	for _, count := range []int32{4, 2, 3} {
		w.count(count)
		w.rest()
		w.mustBeReady()
		var all []int
		for id := range int(count) {
			all = append(all, id+1)
		}
		w.mustShare(all...)
		if pods := len(w.podsOf("server")); pods != 2*int(count) {
			t.Errorf("%d servers run for %d groups", pods, count)
		}
	}
	w.stays(8)
}

// In small steps: a few slots a round, and what is asked for changes all the time.
func TestTheCountIsRaisedAgainWhileGroupsAreDrained(t *testing.T) {
	t.Parallel()
	w := elastic(t, 4, nil)
	uid := w.group("small-4").UID
	w.cluster.SlotRounds = 8
	w.count(2)
	w.rounds(6)
	owned := w.layout()
	if n := len(owned[4]); n == 0 || n == 256 {
		t.Fatalf("group 4 owns %d slots: it is not being drained", n)
	}
	if policy := w.group("small-4").Spec.SlotPolicy; policy != v1alpha1.SlotsDrain {
		t.Errorf("the policy of group 4 is %q", policy)
	}
	w.mustSayOfDashboard("small", v1alpha1.ConditionRebalanced, "False Rebalancing: ", "from groups 3, 4 to groups 1, 2")
	w.count(4)
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3, 4)
	if w.group("small-4").UID != uid {
		t.Error("group 4 was made anew")
	}
	moved := 0
	for group, slots := range w.layout() {
		for _, slot := range slots {
			if slot/256+1 != group {
				moved++
			}
		}
	}
	// No more than what had moved before the count was raised could not be taken back.
	if before := 1024 - len(owned[4]) - len(owned[3]) - 512; moved > 2*before+2*64 {
		t.Errorf("%d slots are elsewhere than at first, and %d had moved", moved, before)
	}
}

// A person adds groups to a product and deletes them again, both at once.
func TestGroupsOfAPersonJoinAndLeave(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	w.fillUp()
	w.rest()
	objects := example(t, "components/3-groups.yml")
	for i, object := range objects {
		g := object.(*v1alpha1.CodisGroup)
		g.Name, g.Spec.ID = fmt.Sprintf("mine-%d", i), int32(70+i)
		w.apply(g)
	}
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 70, 71)
	for i := range objects {
		w.delete(&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("mine-%d", i)}})
	}
	w.cluster.SlotRounds = 16
	w.rounds(3)
	w.mustSay("mine-0", v1alpha1.ConditionReady, "False Draining: deleting: the group gives its slots to others")
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2)
	if pods := len(w.podsOf("server")); pods != 4 {
		t.Errorf("%d servers run", pods)
	}
}

// Nobody is left to take the slots: nothing of the data goes.
func TestInvariant3TheLastGroupIsNotDrained(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	w.fillUp()
	w.rest()
	for _, name := range []string{"parts-1", "parts-2"} {
		w.delete(&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	}
	w.rest()
	w.mustSayOfDashboard("parts", v1alpha1.ConditionRebalanced, "False NoGroupForSlots: 1024 slots")
	w.mustShare(1, 2)
}

func TestFailoverGoesFirstWhileSlotsMove(t *testing.T) {
	t.Parallel()
	w := elastic(t, 2, func(c *v1alpha1.CodisCluster) { c.Spec.Groups.Replicas = new(int32(2)) })
	w.cluster.SlotRounds = 6
	w.count(3)
	for n := 0; len(w.layout()[3]) < 20; n++ {
		if n > 30 {
			t.Fatalf("no slots move\n%s", w.dump())
		}
		w.rounds(1)
	}
	w.stop("small-1-0")
	w.rounds(3)
	if masters := w.masters("small-1", 2); len(masters) != 1 || masters[0] != "small-1-1" {
		t.Fatalf("%v take writes three rounds later\n%s", masters, w.dump())
	}
	w.release("small-1-0")
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3)
	if w.paused() {
		t.Error("moves are still paused")
	}
	if w.masterOf(1) != "small-1-1" {
		t.Errorf("%s is master of group 1", w.masterOf(1))
	}
}

// A master that nobody can replace: all moves wait, and go on when it is back.
func TestMovesWaitForAMasterThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := elastic(t, 2, func(c *v1alpha1.CodisCluster) {
		c.Spec.Groups.Replicas = new(int32(1))
		c.Spec.Groups.Storage = &v1alpha1.Storage{Size: resource.MustParse("1Gi")}
	})
	w.cluster.SlotRounds = 6
	w.count(3)
	for n := 0; len(w.layout()[3]) < 20; n++ {
		if n > 30 {
			t.Fatalf("no slots move\n%s", w.dump())
		}
		w.rounds(1)
	}
	w.stop("small-2-0")
	w.rest()
	w.mustSayOfDashboard("small", v1alpha1.ConditionRebalanced, "False FailoverFirst: ", "the master of group 2 does not answer")
	if !w.paused() {
		t.Error("moves are not paused")
	}
	w.stays(5)
	w.release("small-2-0")
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3)
	if w.paused() {
		t.Error("moves are still paused")
	}
}

func TestTheDashboardIsLostWhileSlotsMove(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"its process":           func(w *world) { w.kill("small-dashboard-0") },
		"its pod and its store": func(w *world) { w.deletePod("small-dashboard-0") },
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := elastic(t, 2, func(c *v1alpha1.CodisCluster) {
				c.Spec.Dashboard.Migration = &v1alpha1.Migration{IntervalMicroseconds: new(int32(700))}
			})
			w.cluster.SlotRounds = 9
			w.count(4)
			for range 3 {
				w.rounds(7)
				lose(w)
			}
			w.rest()
			w.mustBeReady()
			w.mustShare(1, 2, 3, 4)
			stats, err := w.cluster.Dashboard(namespace, w.dashboardPods()[0]).Stats()
			if err != nil {
				t.Fatal(err)
			}
			if stats.SlotAction.Interval != 700 {
				t.Errorf("the interval is %d", stats.SlotAction.Interval)
			}
		})
	}
}

// A server does not give the keys of a slot away: that is said, in the words of the
// dashboard, also by the cluster; and when the server does, all goes on by itself.
func TestASlotThatIsStuckIsSaid(t *testing.T) {
	t.Parallel()
	w := elastic(t, 2, nil)
	w.cluster.SlotRounds = 6
	w.count(3)
	for n := 0; len(w.layout()[3]) < 20; n++ {
		if n > 30 {
			t.Fatalf("no slots move\n%s", w.dump())
		}
		w.rounds(1)
	}
	for _, group := range []int{1, 2} {
		w.server(w.masterOf(group)).RefuseMoves("ERR no memory to send a slot")
	}
	w.rounds(30)
	w.mustSayOfDashboard("small", v1alpha1.ConditionRebalanced, "False Rebalancing: ")
	w.rounds(60)
	words := []string{"slot ", "on its way from group ", "to group 3, gets no further", "no memory to send a slot"}
	w.mustSayOfDashboard("small", v1alpha1.ConditionRebalanced, "False SlotStuck: ", words...)
	c := &v1alpha1.CodisCluster{}
	w.get("small", c)
	if ready := readyOf(c.Status.Conditions); ready.Reason != v1alpha1.ReasonSlotStuck {
		t.Errorf("the cluster says %+v", ready)
	}
	for _, group := range []int{1, 2} {
		w.server(w.masterOf(group)).RefuseMoves("")
	}
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3)
}

func TestMovesThatAPersonDecidesOn(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	w.settings("parts", func(d *v1alpha1.CodisDashboardTemplate) {
		d.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceManual}
	})
	w.fillUp()
	third := example(t, "components/3-groups.yml")[0].(*v1alpha1.CodisGroup)
	third.Name, third.Spec.ID = "third", 3
	w.apply(third)
	w.rest()
	w.mustShare(1, 2)
	w.mustSayOfDashboard("parts", v1alpha1.ConditionRebalanced, "False ApprovalNeeded: 341 moves", v1alpha1.AnnotationRebalance+"=now")
	d := &v1alpha1.CodisDashboard{}
	w.get("parts", d)
	if r := d.Status.Rebalance; r == nil || r.Left != 341 || r.Moved != 0 || len(r.Plan) != 2 {
		t.Errorf("the plan is %+v", r)
	}
	w.stays(8)
	w.get("parts", d)
	d.Annotations = map[string]string{v1alpha1.AnnotationRebalance: "now"}
	if err := w.user.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	w.rest()
	w.mustBeReady()
	w.mustShare(1, 2, 3)
	w.get("parts", d)
	if _, left := d.Annotations[v1alpha1.AnnotationRebalance]; left {
		t.Error("the annotation is left")
	}
	if r := d.Status.Rebalance; r == nil || r.Left != 0 || r.Moved != 341 || len(r.Plan) != 0 {
		t.Errorf("the status says %+v", r)
	}
}

// A person pauses moves midway, and the dashboard forgets it.
func TestMovesThatAPersonPauses(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	w.cluster.SlotRounds = 6
	w.fillUp()
	third := example(t, "components/3-groups.yml")[0].(*v1alpha1.CodisGroup)
	third.Name, third.Spec.ID = "third", 3
	w.apply(third)
	for n := 0; len(w.layout()[3]) < 20; n++ {
		if n > 30 {
			t.Fatalf("no slots move\n%s", w.dump())
		}
		w.rounds(1)
	}
	w.settings("parts", func(d *v1alpha1.CodisDashboardTemplate) {
		d.Migration = &v1alpha1.Migration{State: v1alpha1.MigrationPaused}
	})
	w.rest()
	w.mustSayOfDashboard("parts", v1alpha1.ConditionRebalanced, "False MigrationPaused: ")
	moved := len(w.layout()[3])
	w.kill("parts-dashboard-0")
	w.rest()
	if !w.paused() {
		t.Error("the new dashboard does not pause")
	}
	if now := len(w.layout()[3]); now > moved+2*6 { // What the new one did in the two steps before it was told.
		t.Errorf("group 3 had %d slots and has %d", moved, now)
	}
	w.settings("parts", func(d *v1alpha1.CodisDashboardTemplate) { d.Migration = nil })
	w.rest()
	w.mustShare(1, 2, 3)
}

// While slots move the status is written every five seconds at most, whoever moves them:
// each write wakes every group and proxy of the product.
func TestProgressCostsFewWrites(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"by the plan": func(w *world) { w.count(3) },
		"by hand, the operator looking on": func(w *world) {
			c := &v1alpha1.CodisCluster{}
			w.get("small", c)
			c.Spec.Groups.Count = new(int32(3))
			c.Spec.Dashboard.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceOff}
			if err := w.user.Update(w.t.Context(), c); err != nil {
				w.t.Fatal(err)
			}
			w.rest()
			if _, err := w.cluster.Dashboard(namespace, w.dashboardPods()[0]).Rebalance(true); err != nil {
				w.t.Fatal(err)
			}
		},
	}
	for name, move := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := elastic(t, 2, nil)
			w.cluster.SlotRounds = 2
			move(w)
			for len(w.layout()[3]) < 20 {
				w.rounds(1)
			}
			before := w.dashboardWrites()
			const seconds = 40 // A round is one.
			w.rounds(seconds)
			if len(w.layout()[3]) > 300 {
				t.Fatalf("it is over: %d slots moved", len(w.layout()[3]))
			}
			if got := w.dashboardWrites() - before; got == 0 || got > seconds/5+1 {
				t.Errorf("%d writes in %d seconds", got, seconds)
			}
			w.cluster.SlotRounds = 0
			w.rest()
			w.mustShare(1, 2, 3)
			d := &v1alpha1.CodisDashboard{}
			w.get("small", d)
			if d.Status.Slots.Migrating != 0 || len(d.Status.Layout) != 3 {
				t.Errorf("the status is left at %+v, %+v", d.Status.Slots, d.Status.Layout)
			}
		})
	}
}

// dashboardWrites counts the writes of the status of the dashboard.
func (w *world) dashboardWrites() int {
	n := 0
	for _, c := range w.calls {
		if c.Verb == "status" && c.What == "CodisDashboard small" {
			n++
		}
	}
	return n
}
