// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/test/standin/proxy"
)

// stop kills the process of a pod, which is not started again until it may.
func (w *world) stop(pod string) {
	w.t.Helper()
	w.cluster.Hold(namespace, pod, true)
	w.kill(pod)
}

// release lets the process of a pod be started again.
func (w *world) release(pod string) { w.cluster.Hold(namespace, pod, false) }

// conditionOf writes a condition of a group as "status reason: message".
func (w *world) conditionOf(group, kind string) string {
	w.t.Helper()
	for _, c := range w.group(group).Status.Conditions {
		if c.Type == kind {
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	w.t.Fatalf("group %s has no condition %s", group, kind)
	return ""
}

// mustSay fails unless a condition of a group begins and goes on in these words.
func (w *world) mustSay(group, kind, begin string, words ...string) {
	w.t.Helper()
	got := w.conditionOf(group, kind)
	if !strings.HasPrefix(got, begin) {
		w.t.Errorf("%s of %s is %q, want %q\n%s", kind, group, got, begin, w.dump())
	}
	for _, word := range words {
		if !strings.Contains(got, word) {
			w.t.Errorf("%s of %s is %q, without %q", kind, group, got, word)
		}
	}
}

// masters are the members of a group that take writes.
func (w *world) masters(group string, members int) []string {
	var found []string
	for ordinal := range members {
		pod := fmt.Sprintf("%s-%d", group, ordinal)
		if s := w.cluster.Server(namespace, pod); s != nil && s.Role().Master == "" {
			found = append(found, pod)
		}
	}
	return found
}

// mustTakeWrites fails unless a member is master and has the data.
func (w *world) mustTakeWrites(pod string) {
	w.t.Helper()
	if s := w.server(pod); s.Role().Master != "" || !equal(s.Data(), someData) {
		w.t.Fatalf("%s follows %q and holds %v (crashed at %q)\n%s", pod, s.Role().Master, s.Data(), w.crashed, w.dump())
	}
}

// mustServe fails unless the dashboard calls a member the first of group 1, and
// every proxy sends its clients there.
func (w *world) mustServe(master string) {
	w.t.Helper()
	if order := servers(w.dashboardGroup(1)); !strings.HasPrefix(order, master+".") {
		w.t.Errorf("the dashboard's order is %s", order)
	}
	w.mustRoute(master, 2)
}

// mustRoute fails unless so many proxies send the clients of a member's group to it.
func (w *world) mustRoute(master string, proxies int) {
	w.t.Helper()
	topology := w.topology()
	if n := strings.Count(topology, `routes "`+master+"."); n != proxies || strings.Contains(topology, "LOCKED") {
		w.t.Errorf("%d proxies send clients of the group to %s, want %d:\n%s", n, master, proxies, topology)
	}
}

func TestDeadMasterIsReplacedWhileTheDashboardIsDown(t *testing.T) {
	t.Parallel()
	w := sample(t, func(c *v1alpha1.CodisCluster) { c.Spec.Groups.Replicas = new(int32(3)) })
	w.stop(dashboardPod)
	w.rest()
	w.stop("sample-1-0")
	w.rest()
	w.mustTakeWrites("sample-1-1")
	w.mustRoute("sample-1-1", 2)
	group := w.group("sample-1").Status
	if last := group.LastFailover; last == nil || last.To != "sample-1-1" || last.Cause != v1alpha1.CauseMasterDead {
		t.Errorf("the last failover is %+v", last)
	}
	if !group.DashboardBehind || group.Master != "sample-1-1" || group.Promotion != nil {
		t.Errorf("behind %t, master %s, promotion %+v", group.DashboardBehind, group.Master, group.Promotion)
	}
	w.mustSay("sample-1", v1alpha1.ConditionReplicasInSync, "False ReplicaNotInSync", "sample-1-0")
	w.stop("sample-1-1") // And again.
	w.rest()
	w.mustTakeWrites("sample-1-2")
	w.mustRoute("sample-1-2", 2)
	first := w.group("sample-1").Status.LastFailover.Time
	w.release(dashboardPod)
	w.rest()
	w.mustServe("sample-1-2")
	w.release("sample-1-0")
	w.release("sample-1-1")
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", "sample-1-2", someData)
	last := w.group("sample-1").Status
	if last.DashboardBehind || last.LastFailover.From != "sample-1-1" || !last.LastFailover.Time.Equal(&first) {
		t.Errorf("behind %t, last failover %+v, told again since %s", last.DashboardBehind, last.LastFailover, first)
	}
}

// A proxy that hangs keeps the dashboard from telling any other; it is not waited for.
func TestDeadMasterIsReplacedWhileAProxyHangs(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	w.timeout, w.cluster.ProbeTimeout = 300*time.Millisecond, 300*time.Millisecond
	w.startOperator()
	hung := w.podsOf(naming.ComponentProxy)[0].Name
	if err := w.cluster.Hang(namespace, hung, true); err != nil {
		t.Fatal(err)
	}
	w.stop("sample-1-0")
	w.rounds(12)
	w.mustTakeWrites("sample-1-1")
	w.mustRoute("sample-1-1", 1)
	w.mustSay("sample-1", v1alpha1.ConditionRegistered, "False DashboardBehind", hung)
	w.mustSay("sample-1", v1alpha1.ConditionAvailable, "True Ready")
	w.release("sample-1-0")
	w.rounds(6)
	if err := w.cluster.Hang(namespace, hung, false); err != nil {
		t.Fatal(err)
	}
	w.timeout, w.cluster.ProbeTimeout = 20*time.Second, 20*time.Second
	w.startOperator()
	w.rest()
	w.mustBeReady()
	w.mustServe("sample-1-1")
	w.mustHold("sample-1", "sample-1-1", someData)
}

func TestDeadMasterThatStaysAwayIsReplaced(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	w.keepRoutes()
	w.stop("sample-1-0")
	w.rest()
	w.mustServe("sample-1-1")
	if !w.server("sample-1-1").Set(fixture.Dataset{"c": "3"}) {
		t.Fatalf("the new master takes no writes\n%s", w.dump())
	}
	last := w.group("sample-1").Status.LastFailover
	if last == nil || last.From != "sample-1-0" || last.To != "sample-1-1" || last.Cause != v1alpha1.CauseMasterDead {
		t.Errorf("the last failover is %+v", last)
	}
	w.mustSay("sample-1", v1alpha1.ConditionMasterReachable, "True Ready", "sample-1-1 is the master")
	w.mustSay("sample-1", v1alpha1.ConditionReplicasInSync, "False ReplicaNotInSync", "sample-1-0")
	w.release("sample-1-0")
	w.rest()
	w.mustBeReady()
	w.mustServe("sample-1-1")
	w.mustHold("sample-1", "sample-1-1", fixture.Dataset{"a": "1", "b": "2", "c": "3"})
	if now := w.group("sample-1").Status; now.Promotion != nil || len(w.group("sample-2").Status.InSync) != 1 ||
		now.LastFailover == nil || now.LastFailover.To != "sample-1-1" {
		t.Errorf("in the end promotion %+v, last failover %+v", now.Promotion, now.LastFailover)
	}
	if other := w.group("sample-2").Status.LastFailover; other != nil {
		t.Errorf("the other group had a failover, too: %+v", other)
	}
}

// Without a prober nobody knows for how long a master has been silent, so that
// nothing follows from it.
func TestInvariant5ASilentMasterStaysMaster(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	want := w.topology()
	w.timeout, w.cluster.ProbeTimeout = 50*time.Millisecond, 50*time.Millisecond
	w.startOperator()
	if err := w.cluster.Hang(namespace, "sample-1-0", true); err != nil {
		t.Fatal(err)
	}
	calls := len(w.calls)
	w.rounds(8)
	for _, c := range w.calls[calls:] {
		writesStatus := c.Target == fixture.ToKubernetes && c.Verb == "status"
		if c.Changes() && !writesStatus {
			t.Errorf("the operator does not leave it alone: %s", c)
		}
	}
	if got := w.topology(); got != want {
		t.Errorf("the world is\n%s\nwant\n%s", got, want)
	}
	w.mustSay("sample-1", v1alpha1.ConditionMasterReachable, "False MasterUnreachable", "sample-1-0", "no answer in time")
	if err := w.cluster.Hang(namespace, "sample-1-0", false); err != nil {
		t.Fatal(err)
	}
	w.timeout, w.cluster.ProbeTimeout = 20*time.Second, 20*time.Second
	w.startOperator()
	w.rest()
	w.mustBeReady()
	w.mustServe("sample-1-0")
	if last := w.group("sample-1").Status.LastFailover; last != nil {
		t.Errorf("there was a failover: %+v", last)
	}
}

// The replica missed the last writes: it waits for the master, whatever it has.
func TestInvariant2AReplicaThatWasNotInSyncIsNotPromoted(t *testing.T) {
	t.Parallel()
	w := groupWithData(t, 2, true)
	w.stop("small-1-1")
	w.rest()
	newer := fixture.Dataset{"a": "1", "b": "2", "c": "3"}
	w.server("small-1-0").Set(newer)
	w.stop("small-1-0")
	w.release("small-1-1")
	w.rest()
	if masters := w.masters("small-1", 2); len(masters) > 0 {
		t.Fatalf("%v take writes\n%s", masters, w.dump())
	}
	w.mustSay("small-1", v1alpha1.ConditionMasterReachable, "False MasterUnreachable", "small-1-0 does not answer",
		"no member that was in sync with it can take its place", v1alpha1.AnnotationAcceptDataLoss)
	w.mustSay("small-1", v1alpha1.ConditionAvailable, "False MasterUnreachable")
	w.release("small-1-0")
	w.rest()
	w.mustBeReady()
	w.mustHold("small-1", "small-1-0", newer)
}

// Nobody becomes master on the word of one member while the others are away, and
// what is on volumes comes back whoever is first.
func TestInvariant2AllMembersEndAndComeBackOneByOne(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		volumes bool
		back    []string
		data    fixture.Dataset
	}{
		"the master first":                {false, []string{"small-1-0", "small-1-1"}, noData},
		"the replica first":               {false, []string{"small-1-1", "small-1-0"}, noData},
		"the master first, with volumes":  {true, []string{"small-1-0", "small-1-1"}, someData},
		"the replica first, with volumes": {true, []string{"small-1-1", "small-1-0"}, someData},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := groupWithData(t, 2, tt.volumes)
			w.stop("small-1-0")
			w.stop("small-1-1")
			w.rest()
			w.mustSay("small-1", v1alpha1.ConditionMasterReachable, "False MasterUnreachable", "small-1-0 does not answer")
			w.release(tt.back[0])
			w.rest()
			// A volume that gets every write is all that the master needs.
			alone := tt.volumes && tt.back[0] == "small-1-0"
			if masters := w.masters("small-1", 2); (len(masters) > 0) != alone {
				t.Errorf("%v take writes while %s is away\n%s", masters, tt.back[1], w.dump())
			}
			w.release(tt.back[1])
			w.rest()
			w.mustBeReady()
			w.mustHold("small-1", "small-1-0", tt.data)
		})
	}
}

// usurped is the first example with three members a group, of which the last was
// started again and made master by somebody, who also told the dashboard, and
// has one key.
func usurped(t *testing.T) *world {
	t.Helper()
	w := sample(t, func(c *v1alpha1.CodisCluster) { c.Spec.Groups.Replicas = new(int32(3)) })
	w.kill("sample-1-2")
	w.kill(dashboardPod)
	g, err := w.stored().Group(1)
	if err != nil {
		t.Fatal(err)
	}
	g.Servers[0], g.Servers[2], g.OutOfSync = g.Servers[2], g.Servers[0], true
	if err := w.stored().SaveGroup(g); err != nil {
		t.Fatal(err)
	}
	w.step() // They are back before the operator looks.
	w.cluster.Redis.OnMaster = nil
	w.server("sample-1-2").TakeWrites()
	w.cluster.Redis.OnMaster = w.checkMasters
	w.server("sample-1-2").Set(fixture.Dataset{"x": "9"})
	w.rest()
	return w
}

func TestInvariant2AUsurperIsNotCopiedOverData(t *testing.T) {
	t.Parallel()
	tests := map[string]fixture.Dataset{"sample-1-0": someData, "sample-1-1": someData, "sample-1-2": {"x": "9"}}
	for chosen, data := range tests {
		t.Run(chosen, func(t *testing.T) {
			t.Parallel()
			w := usurped(t)
			for _, pod := range []string{"sample-1-0", "sample-1-1"} {
				if got := w.server(pod).Data(); !equal(got, someData) {
					t.Errorf("%s lost its data and holds %v\n%s", pod, got, w.dump())
				}
			}
			w.mustSay("sample-1", v1alpha1.ConditionReplicasInSync, "False PromotionHeld", "somebody made sample-1-2 master",
				"lose its data", v1alpha1.AnnotationAcceptDataLoss+"=")
			g := w.group("sample-1")
			g.Annotations = map[string]string{v1alpha1.AnnotationAcceptDataLoss: chosen}
			if err := w.user.Update(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			w.halfPromoted = true // The old master takes writes, too, as it did all the time.
			w.rest()
			w.mustBeReady()
			w.mustServe(chosen)
			w.mustHold("sample-1", chosen, data)
			if value, left := w.group("sample-1").Annotations[v1alpha1.AnnotationAcceptDataLoss]; left {
				t.Errorf("the annotation is left: %q", value)
			}
		})
	}
}

// del removes a key as a person does who has the password.
func (w *world) del(pod, key string) {
	w.t.Helper()
	d, secret, p := &v1alpha1.CodisDashboard{}, &corev1.Secret{}, &corev1.Pod{}
	w.get("sample", d)
	w.get(d.Status.AuthSecretName, secret)
	w.get(pod, p)
	c := goredis.NewClient(&goredis.Options{
		Addr: net.JoinHostPort(p.Status.PodIP, "6379"), Password: string(secret.Data[naming.PasswordKey]), Protocol: 2, DisableIdentity: true,
	})
	defer c.Close()
	if gone, err := c.Del(w.t.Context(), key).Result(); gone != 1 || err != nil {
		w.t.Fatalf("%d keys were removed: %v", gone, err)
	}
}

// keyOf returns a key of a slot.
func keyOf(slot int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("k%d", i); proxy.SlotOf([]byte(key)) == slot {
			return key
		}
	}
}

// loseLayout makes the dashboard lose its store, and the operator what it had
// recorded of it.
func (w *world) loseLayout() {
	w.t.Helper()
	w.deletePod(dashboardPod)
	w.step()
	d := &v1alpha1.CodisDashboard{}
	w.get("sample", d)
	d.Status.Layout = nil
	if err := w.user.Status().Update(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
}

// The groups hold keys from a layout that was not an even share, and that nobody
// knows any more but they.
func TestInvariant3ALostLayoutIsFoundInTheKeys(t *testing.T) {
	t.Parallel()
	w := sample(t, func(c *v1alpha1.CodisCluster) {
		c.Spec.Dashboard.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceOff}
	})
	first := fixture.Dataset{keyOf(700): "1", keyOf(1023): "2", keyOf(5): "3"}
	second := fixture.Dataset{keyOf(10): "4", keyOf(600): "5"}
	w.server("sample-1-0").Set(first)
	w.server("sample-2-0").Set(second)
	maps.Copy(first, someData) // Which is there already.
	w.rest()
	w.loseLayout()
	w.rest()
	w.mustBeReady()
	owners := map[int]int{}
	for group, data := range map[int]fixture.Dataset{1: first, 2: second} {
		for key := range data {
			owners[proxy.SlotOf([]byte(key))] = group
		}
	}
	stats, err := w.cluster.Dashboard(namespace, dashboardPod).Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range stats.Slots {
		want, held := owners[slot.ID]
		if !held {
			want = 1 + slot.ID/512
		}
		if slot.GroupID != want {
			t.Errorf("slot %d belongs to group %d, want %d (held: %t)", slot.ID, slot.GroupID, want, held)
		}
	}
	w.mustHold("sample-1", "sample-1-0", first)
	w.mustHold("sample-2", "sample-2-0", second)
	if keys := w.group("sample-1").Status.KeySlots; keys != "" {
		t.Errorf("the group still tells its slots: %q", keys)
	}
}

// Two groups with keys of one slot: a person has to remove a copy, and then it
// goes on.
func TestInvariant3ALostLayoutThatIsContested(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	mine, common := keyOf(600), keyOf(601)
	w.server("sample-1-0").Set(fixture.Dataset{mine: "1", common: "2"})
	w.server("sample-2-0").Set(fixture.Dataset{common: "3"})
	w.rest()
	w.loseLayout()
	w.rest()
	text := w.conditions()
	if !strings.Contains(text, "SlotsAssigned=False WaitingForGroups 1024 of 1024 slots have no owner; "+
		"groups 1 and 2 both hold keys of slot 601") {
		t.Fatalf("no condition tells of the conflict:\n%s", text)
	}
	w.del("sample-2-0", common)
	w.rest()
	w.mustBeReady()
}
