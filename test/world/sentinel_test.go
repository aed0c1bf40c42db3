// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
)

// guarded is a sample with three sentinels and groups of three, at rest.
func guarded(t *testing.T) *world {
	t.Helper()
	return sampleWithThree(t, &v1alpha1.SentinelSettings{})
}

// sampleWithThree is the first example with groups of three, ready, with data.
func sampleWithThree(t *testing.T, sentinel *v1alpha1.SentinelSettings) *world {
	t.Helper()
	w := newWorld(t)
	w.cluster.Poll, w.quiet = true, 12 // Some things wait for ten seconds.
	objects := example(t, "sample-1.yml")
	c := objects[0].(*v1alpha1.CodisCluster)
	c.Spec.Groups.Replicas, c.Spec.Dashboard.Sentinel = new(int32(3)), sentinel
	w.apply(objects...)
	w.rest()
	w.mustBeReady()
	w.server("sample-1-0").Set(someData)
	w.rest()
	return w
}

// annotate lets a person annotate a group.
func (w *world) annotate(group, key, value string) {
	w.t.Helper()
	g := w.group(group)
	g.Annotations = map[string]string{key: value}
	if err := w.user.Update(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sentinel(ordinal int) *fixture.Sentinel {
	w.t.Helper()
	s := w.cluster.Sentinel(namespace, naming.SentinelPod("sample", ordinal))
	if s == nil {
		w.t.Fatalf("sentinel %d does not run\n%s", ordinal, w.dump())
	}
	return s
}

// addrOf is host:port of a member by the address of its pod.
func (w *world) addrOf(pod string) string {
	w.t.Helper()
	for _, p := range w.podsOf(naming.ComponentServer) {
		if p.Name == pod {
			return net.JoinHostPort(p.Status.PodIP, "6379")
		}
	}
	w.t.Fatalf("no pod %s", pod)
	return ""
}

// mustWatch fails unless every sentinel watches a member as the master of a group.
func (w *world) mustWatch(group int, master string, sentinels int) {
	w.t.Helper()
	name := naming.Monitor("default.sample", group)
	for ordinal := range sentinels {
		if got, want := w.sentinel(ordinal).Watches(name), w.addrOf(master); got != want {
			w.t.Errorf("sentinel %d watches %q as %s, want %s of %s\n%s", ordinal, got, name, want, master, w.dump())
		}
	}
}

func (w *world) dashboardObject() *v1alpha1.CodisDashboard {
	w.t.Helper()
	d := &v1alpha1.CodisDashboard{}
	if err := w.user.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "sample"}, d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// mustSayOfSentinels fails unless the dashboard's condition begins like this.
func (w *world) mustSayOfSentinels(begin string, words ...string) {
	w.t.Helper()
	w.mustSayOfDashboard("sample", v1alpha1.ConditionSentinelsReady, begin, words...)
}

// change lets a person change the cluster.
func (w *world) change(change func(*v1alpha1.CodisCluster)) {
	w.t.Helper()
	c := &v1alpha1.CodisCluster{}
	if err := w.user.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "sample"}, c); err != nil {
		w.t.Fatal(err)
	}
	change(c)
	if err := w.user.Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func TestSentinelsWatchEveryGroup(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.mustBeReady()
	w.mustWatch(1, "sample-1-0", 3)
	w.mustWatch(2, "sample-2-0", 3)
	w.mustSayOfSentinels("True Ready: all 3 sentinels")
	for _, group := range []string{"sample-1", "sample-2"} {
		if by := w.group(group).Status.FailoverBy; by != v1alpha1.FailoverBySentinel {
			t.Errorf("failover of %s by %q", group, by)
		}
	}
	status := w.dashboardObject().Status.Sentinel
	if status.Ready != "3/3" || status.Quorum != 2 || len(status.Members) != 3 || status.Members[0].Monitors != 2 {
		t.Errorf("status %+v", status)
	}
	changes, told := w.changes(), len(w.recorder.list())
	w.rounds(15)
	if w.changes() != changes || len(w.recorder.list()) != told {
		t.Errorf("%d changes and %d events in a steady world", w.changes()-changes, len(w.recorder.list())-told)
	}
	for _, pod := range []string{"sample-1-1", "sample-1-2"} {
		if master := w.server(pod).Role().Master; master != w.addrOf("sample-1-0") {
			t.Errorf("%s follows %s: sentinels would have it copy everything once more", pod, master)
		}
	}
}

func TestSentinelsReplaceADeadMaster(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.stop("sample-1-0")
	w.rounds(1)
	w.mustSay("sample-1", v1alpha1.ConditionMasterReachable, "False SentinelDecides", "the sentinels replace the master")
	w.rest()
	group := w.group("sample-1").Status
	heir := group.Master
	if last := group.LastFailover; last == nil || last.Cause != v1alpha1.CauseSentinel || last.From != "sample-1-0" ||
		last.To != heir || heir == "sample-1-0" {
		t.Fatalf("the last failover is %+v, the master %s\n%s", last, heir, w.dump())
	}
	w.mustTakeWrites(heir)
	w.mustServe(heir)
	w.mustWatch(1, heir, 3)
	w.mustWatch(2, "sample-2-0", 3)
	if w.recorder.said(v1alpha1.ReasonMasterFenced) {
		t.Error("the operator killed a master that sentinels replace")
	}
	w.release("sample-1-0")
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", heir, someData)
	w.mustWatch(1, heir, 3)
}

// A master that hung is found by sentinels, and answers again after they replaced it.
func TestElectionIsNotUndoneWhenTheOldMasterAnswersAgain(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.halfPromoted = true // Sentinels do not care whether the old master lives.
	old := w.server("sample-1-0")
	old.Hang(true)
	for range 6 { // The cluster alone: sentinels replace it before the operator looks.
		w.step()
	}
	old.Hang(false)
	heirs := w.masters("sample-1", 3)
	if len(heirs) != 2 {
		t.Fatalf("masters %v, want two", heirs)
	}
	heir := heirs[slices.IndexFunc(heirs, func(pod string) bool { return pod != "sample-1-0" })]
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", heir, someData)
	w.mustServe(heir)
	w.mustWatch(1, heir, 3)
}

func TestSentinelsThatForgotAreToldAgain(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for ordinal := range 3 {
		w.kill(naming.SentinelPod("sample", ordinal))
	}
	w.rounds(3)
	w.mustWatch(1, "sample-1-0", 3)
	w.mustWatch(2, "sample-2-0", 3)
	w.rest()
	w.mustBeReady()
}

// Sentinels replace a master while no operator looks and the dashboard does not hear of
// it, and are then replaced themselves: what the new master took counts.
func TestElectionThatSentinelsForgotIsFollowed(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.stop("sample-1-0")
	for len(w.masters("sample-1", 3)) == 0 {
		w.step() // The cluster alone.
	}
	heir := w.masters("sample-1", 3)[0]
	newer := fixture.Dataset{"a": "1", "b": "2", "c": "3"}
	if !w.server(heir).Set(newer) {
		t.Fatal("the heir takes no writes")
	}
	for ordinal := range 3 {
		w.kill(naming.SentinelPod("sample", ordinal))
	}
	w.rest()
	w.mustServe(heir)
	w.release("sample-1-0")
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", heir, newer)
	w.mustWatch(1, heir, 3)
}

// While one group has no master, the others are told all the same.
func TestGroupWithoutAMasterKeepsNoOtherFromBeingWatched(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for ordinal := range 3 {
		w.stop(fmt.Sprintf("sample-2-%d", ordinal))
	}
	w.rest()
	for ordinal := range 3 {
		w.kill(naming.SentinelPod("sample", ordinal))
	}
	w.rounds(3)
	w.mustWatch(1, "sample-1-0", 3)
	for ordinal := range 3 {
		w.release(fmt.Sprintf("sample-2-%d", ordinal))
	}
	w.rest()
	w.mustWatch(1, "sample-1-0", 3)
}

// A sentinel that missed a switchover comes back, and makes the others believe it.
func TestSentinelWithAnOldElectionIsCorrected(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.halfPromoted = true // No proxy sends the old master anything while slots are locked.
	w.annotate("sample-1", v1alpha1.AnnotationSwitchOverTo, "sample-1-1")
	w.rest()
	w.mustServe("sample-1-1")
	w.mustWatch(1, "sample-1-1", 3)
	w.sentinel(2).Watch(naming.Monitor("default.sample", 1), w.addrOf("sample-1-0"))
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", "sample-1-1", someData)
	w.mustWatch(1, "sample-1-1", 3)
	if !w.recorder.said(v1alpha1.ReasonMonitorCorrected) {
		t.Error("nobody was told")
	}
}

// A sentinel that counts the address of a server of another group as a replica would
// have that server copy this group's data.
func TestAddressOfAnotherGroupIsForgotten(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	name := naming.Monitor("default.sample", 1)
	w.sentinel(0).Know(name, w.addrOf("sample-2-0"))
	w.rest()
	w.mustBeReady()
	if group := w.group("sample-2").Status.Master; group != "sample-2-0" {
		t.Errorf("the master of the other group is %s", group)
	}
	w.mustWatch(1, "sample-1-0", 3)
}

func TestNobodyIsReplacedWithoutAMajorityOfSentinels(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.hangSentinels(true, 0, 1)
	w.rest()
	w.mustSayOfSentinels("False NoMajority: 1 of 3 sentinels answer", "remove spec.sentinel")
	w.stop("sample-1-0")
	w.rest()
	w.mustSay("sample-1", v1alpha1.ConditionMasterReachable, "False SentinelDecides", "only 1 of 3 sentinels answer")
	if masters := w.masters("sample-1", 3); len(masters) > 0 {
		t.Errorf("masters are %v", masters)
	}
	w.hangSentinels(false, 0, 1)
	w.rest()
	heir := w.group("sample-1").Status.Master
	if heir == "sample-1-0" {
		t.Fatalf("nobody took over: %s\n%s", w.conditionOf("sample-1", v1alpha1.ConditionMasterReachable), w.dump())
	}
	w.mustTakeWrites(heir)
	w.release("sample-1-0")
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", heir, someData)
	w.mustWatch(1, heir, 3)
}

// One sentinel that still watches a master can replace nobody: it is told to forget,
// and the operator does what is to be done.
func TestOperatorReplacesAMasterThatSentinelsForgot(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.stop("sample-1-0")
	for _, ordinal := range []int{0, 1} {
		w.kill(naming.SentinelPod("sample", ordinal))
	}
	w.step()
	w.rest()
	heir := w.group("sample-1").Status.Master
	if last := w.group("sample-1").Status.LastFailover; last == nil || last.Cause != v1alpha1.CauseMasterDead {
		t.Fatalf("the last failover is %+v\n%s", last, w.dump())
	}
	w.mustTakeWrites(heir)
	w.release("sample-1-0")
	w.rest()
	w.mustBeReady()
	w.mustHold("sample-1", heir, someData)
	w.mustWatch(1, heir, 3)
}

// hangSentinels stops some sentinels from answering, or lets them go on.
func (w *world) hangSentinels(on bool, ordinals ...int) {
	w.t.Helper()
	for _, ordinal := range ordinals {
		if err := w.cluster.Hang(namespace, naming.SentinelPod("sample", ordinal), on); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestSwitchoverGoesOnWithoutAMajorityOfSentinels(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for _, ordinal := range []int{0, 1} {
		w.stop(naming.SentinelPod("sample", ordinal))
	}
	w.rest()
	w.halfPromoted = true // No proxy sends the old master anything while slots are locked.
	w.annotate("sample-1", v1alpha1.AnnotationSwitchOverTo, "sample-1-2")
	w.rest()
	w.mustServe("sample-1-2")
	for _, ordinal := range []int{0, 1} {
		w.release(naming.SentinelPod("sample", ordinal))
	}
	w.rest()
	w.mustBeReady()
	w.mustWatch(1, "sample-1-2", 3)
}

func TestSentinelsAreScaled(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for _, n := range []int32{5, 3} {
		w.change(func(c *v1alpha1.CodisCluster) { c.Spec.Dashboard.Sentinel.Replicas = new(n) })
		w.rest()
		w.mustBeReady()
		w.mustWatch(1, "sample-1-0", int(n))
		status := w.dashboardObject().Status.Sentinel
		if want := fmt.Sprintf("%d/%d", n, n); status.Ready != want || len(status.Members) != int(n) {
			t.Errorf("status %+v, want %s", status, want)
		}
	}
	w.stop("sample-1-0") // Those that are gone have no vote.
	w.rest()
	w.mustTakeWrites(w.group("sample-1").Status.Master)
}

func TestOperatorReplacesMastersAgainWithoutSentinels(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.change(func(c *v1alpha1.CodisCluster) { c.Spec.Dashboard.Sentinel = nil })
	w.rest()
	w.mustBeReady()
	w.mustSayOfSentinels("True Disabled")
	d := w.dashboardObject()
	if d.Status.Sentinel != nil || w.group("sample-1").Status.FailoverBy != "" {
		t.Errorf("status %+v, failover by %q", d.Status.Sentinel, w.group("sample-1").Status.FailoverBy)
	}
	set := &appsv1.StatefulSet{}
	err := w.user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: naming.Sentinel("sample")}, set)
	if !apierrors.IsNotFound(err) {
		t.Errorf("the StatefulSet is still there: %v", err)
	}
	for _, pod := range []string{"sample-1-1", "sample-1-2"} {
		if master := w.server(pod).Role().Master; !strings.HasPrefix(master, "sample-1-0.") {
			t.Errorf("%s follows %s, want the name", pod, master)
		}
	}
	w.stop("sample-1-0")
	w.rest()
	last := w.group("sample-1").Status.LastFailover
	if last == nil || last.Cause != v1alpha1.CauseMasterDead {
		t.Errorf("the last failover is %+v", last)
	}
}

func TestSentinelsComeToAClusterThatServes(t *testing.T) {
	t.Parallel()
	w := sampleWithThree(t, nil)
	w.change(func(c *v1alpha1.CodisCluster) { c.Spec.Dashboard.Sentinel = &v1alpha1.SentinelSettings{} })
	w.rest()
	w.mustBeReady()
	w.mustWatch(1, "sample-1-0", 3)
	w.mustHold("sample-1", "sample-1-0", someData)
	if !w.recorder.said(v1alpha1.ReasonFailoverHandedOver) {
		t.Error("nobody was told who replaces masters now")
	}
}
