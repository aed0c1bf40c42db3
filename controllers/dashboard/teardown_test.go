// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/lock"
)

func TestDecideAboutTheProductOfADeletedDashboard(t *testing.T) {
	own, other := lock.Session{Token: "own", StartTime: "1"}, lock.Session{Token: "other", StartTime: "1"}
	again := lock.Session{Token: "own", StartTime: "2"}
	taken := func(s lock.Session, addr string) lock.View {
		return lock.View{State: lock.Taken, Session: s, Addr: addr}
	}
	pinned := func(owner string) lock.View {
		return lock.View{State: lock.Pinned, Tombstone: &lock.Tombstone{Owner: owner, Dashboard: "ns/x"}}
	}
	missed := pinned("uid")
	missed.Missed = true
	free, nothing := lock.View{State: lock.Free}, lock.View{State: lock.Nothing}
	silent := errors.New("it is silent")
	tests := map[string]struct {
		with teardown
		want verdict
		why  string
	}{
		"the lock is that of the run that was recorded":    {teardown{process: processRunning, recorded: own, view: taken(own, "own")}, pinIt, ""},
		"a dashboard that was killed left that lock":       {teardown{recorded: own, view: taken(own, "own")}, pinIt, ""},
		"late, the lock is its own":                        {teardown{process: processRunning, recorded: own, view: taken(own, "own"), late: true}, pinIt, ""},
		"another dashboard has the lock":                   {teardown{process: processRunning, recorded: own, view: taken(other, "elsewhere")}, leaveIt, "the dashboard at elsewhere has its lock"},
		"a namesake in another cluster has the lock":       {teardown{process: processRunning, recorded: own, view: taken(other, "own")}, leaveIt, "in a run that this one does not know"},
		"a namesake has it, and its own never had":         {teardown{process: processRunning, view: taken(other, "own")}, leaveIt, "in a run that this one does not know"},
		"a run of its own that nobody recorded has it":     {teardown{process: processRunning, recorded: own, view: taken(again, "own")}, leaveIt, "does not know"},
		"the lock has no token, and nothing is recorded":   {teardown{process: processRunning, view: taken(lock.Session{}, "own")}, leaveIt, "in a run that this one does not know"},
		"the lock is its own, and was another's once":      {teardown{process: processRunning, recorded: own, heldBy: "elsewhere", view: taken(own, "own")}, leaveIt, "the dashboard at elsewhere had its lock once"},
		"nobody has the lock":                              {teardown{process: processRunning, recorded: own, view: free}, leaveIt, "does not say whose it is"},
		"nobody has the lock, and the process is gone":     {teardown{recorded: own, view: free}, leaveIt, "does not say whose it is"},
		"it is pinned, and the dashboard runs":             {teardown{process: processRunning, waits: "pod", view: pinned("uid")}, endIt, "pod"},
		"it is pinned, and the pod ends":                   {teardown{process: processEnding, waits: "pod", view: pinned("uid")}, endIt, "pod"},
		"the pod does not end":                             {teardown{process: processEnding, waits: "pod", view: pinned("uid"), late: true}, leaveIt, "pod"},
		"it is pinned, and the dashboard is gone":          {teardown{view: pinned("uid")}, removeIt, ""},
		"late, it is pinned, and the dashboard is gone":    {teardown{view: pinned("uid"), late: true}, removeIt, ""},
		"it is pinned for somebody else":                   {teardown{recorded: own, view: pinned("other")}, leaveIt, "removed for CodisDashboard ns/x"},
		"a tombstone cannot be read":                       {teardown{recorded: own, view: lock.View{State: lock.Pinned}}, leaveIt, "pinned for something else"},
		"nothing is there":                                 {teardown{view: nothing}, letGo, ""},
		"nothing is there, and the dashboard runs":         {teardown{process: processRunning, waits: "pod", view: nothing}, endIt, "pod"},
		"nothing is there, and its pod does not end":       {teardown{process: processEnding, waits: "pod", view: nothing, late: true}, leaveIt, "pod"},
		"its pods are to stay":                             {teardown{process: processRunning, orphaned: true, recorded: own, view: taken(own, "own")}, leaveIt, "not its own any more"},
		"its pods are to stay, and one is away":            {teardown{orphaned: true, recorded: own, view: free}, leaveIt, "not its own any more"},
		"they are to stay after all":                       {teardown{process: processRunning, orphaned: true, view: pinned("uid")}, leaveIt, "not its own any more"},
		"they are to stay, but the removal has begun":      {teardown{orphaned: true, view: pinned("uid")}, removeIt, ""},
		"they are to stay, and the store is silent":        {teardown{orphaned: true, problem: silent}, leaveIt, "not its own any more"},
		"the product is to stay":                           {teardown{process: processRunning, retained: true, recorded: own, view: taken(own, "own")}, leaveIt, "reclaimPolicy"},
		"its cluster goes on":                              {teardown{process: processRunning, goesOn: true, recorded: own, view: taken(own, "own")}, leaveIt, "its CodisCluster stays"},
		"its cluster goes on, and nobody has the lock":     {teardown{goesOn: true, recorded: own, view: free}, leaveIt, "its CodisCluster stays"},
		"the pin met another dashboard's lock":             {teardown{process: processRunning, recorded: own, view: missed}, leaveIt, "another dashboard took its lock"},
		"it did, and the dashboard is gone":                {teardown{recorded: own, view: missed}, leaveIt, "another dashboard took its lock"},
		"the store is silent":                              {teardown{process: processRunning, recorded: own, problem: silent}, lookAgain, "it is silent"},
		"the store is silent for too long":                 {teardown{process: processRunning, recorded: own, problem: silent, late: true}, leaveIt, "it is silent"},
		"what was seen before says nothing while it is so": {teardown{problem: silent, view: pinned("uid")}, lookAgain, "it is silent"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.with.uid = "uid"
			got, why := decide(tt.with)
			if got != tt.want || !strings.Contains(why, tt.why) {
				t.Errorf("decide() = %v, %q, want %v, %q", got, why, tt.want, tt.why)
			}
		})
	}
}

// Of all that can be found out, only three states lead to an act on what is stored, and
// all of them have proof.
func TestNothingIsRemovedWithoutProof(t *testing.T) {
	own := lock.Session{Token: "own", StartTime: "1"}
	sessions := []lock.Session{{}, own, {Token: "other", StartTime: "1"}, {Token: "own"}}
	tombstones := []*lock.Tombstone{nil, {Owner: "uid"}, {Owner: "other"}, {}}
	flags := []bool{false, true}
	seen := map[verdict]int{}
	for _, state := range []lock.State{lock.Nothing, lock.Free, lock.Taken, lock.Pinned} {
		for _, session := range sessions {
			for _, recorded := range sessions {
				for _, tombstone := range tombstones {
					for _, p := range []process{processGone, processEnding, processRunning} {
						for bits := range 128 {
							b := func(i int) bool { return flags[bits>>i&1] }
							with := teardown{
								uid: "uid", process: p, orphaned: b(0), retained: b(1), late: b(2),
								goesOn: b(4), recorded: recorded,
								view: lock.View{State: state, Session: session, Addr: "own", Tombstone: tombstone, Missed: b(5)},
							}
							if b(6) {
								with.heldBy = "elsewhere"
							}
							if b(3) {
								with.problem = errors.New("silent")
							}
							got, _ := decide(with)
							seen[got]++
							owner := tombstone != nil && tombstone.Owner == "uid" && state == lock.Pinned && with.problem == nil
							proven := state == lock.Taken && session.Known() && session == recorded
							if got == removeIt && (!owner || with.view.Missed || p != processGone) {
								t.Fatalf("%+v is removed", with)
							}
							if got == pinIt && (!proven || with.problem != nil || with.heldBy != "" || with.orphaned || with.retained || with.goesOn) {
								t.Fatalf("%+v is pinned", with)
							}
							if got == endIt && (with.orphaned || with.retained || with.goesOn || with.late) {
								t.Fatalf("%+v is ended", with)
							}
							if with.late && (got == lookAgain || got == endIt) {
								t.Fatalf("%+v stays for ever", with)
							}
						}
					}
				}
			}
		}
	}
	for _, v := range []verdict{letGo, leaveIt, lookAgain, endIt, pinIt, removeIt} {
		if seen[v] == 0 {
			t.Errorf("no state leads to %v", v)
		}
	}
}

func setOf(owner *v1alpha1.CodisDashboard, replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "d-dashboard",
			OwnerReferences: []metav1.OwnerReference{{UID: owner.UID, Controller: new(true)}},
		},
		Spec: appsv1.StatefulSetSpec{Replicas: new(replicas)},
	}
}

func TestADashboardIsGoneOnceNothingMakesItsPodAnew(t *testing.T) {
	d := &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{UID: "uid"}}
	goes := setOf(d, 1)
	goes.DeletionTimestamp = &metav1.Time{}
	undefined := setOf(d, 1)
	undefined.Spec.Replicas = nil
	pod := &corev1.Pod{}
	tests := map[string]struct {
		set  *appsv1.StatefulSet
		pod  *corev1.Pod
		want process
	}{
		"it runs":                            {setOf(d, 1), pod, processRunning},
		"its pod is away for a moment":       {setOf(d, 1), nil, processRunning},
		"its pod is away, of one by default": {undefined, nil, processRunning},
		"its pod ends":                       {setOf(d, 0), pod, processEnding},
		"its pod has ended":                  {setOf(d, 0), nil, processGone},
		"its set goes":                       {goes, pod, processEnding},
		"its set goes, and its pod has gone": {goes, nil, processGone},
		"its set went first":                 {nil, pod, processEnding},
		"it never ran, or everything went":   {nil, nil, processGone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, waits := processOf(tt.set, tt.pod)
			if got != tt.want || (waits == "") != (got == processGone) {
				t.Errorf("got %v, %q", got, waits)
			}
		})
	}
}

func TestPodsThatAreNotItsOwnAnyMore(t *testing.T) {
	d := &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{UID: "uid"}}
	orphan := setOf(d, 1)
	orphan.OwnerReferences = nil
	owned := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: "set", Controller: new(true)}}}}
	goes := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}}
	tests := map[string]struct {
		set  *appsv1.StatefulSet
		pod  *corev1.Pod
		want bool
	}{
		"its own":                              {setOf(d, 1), owned, false},
		"the set was made an orphan":           {orphan, owned, true},
		"the set is that of a namesake":        {setOf(&v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{UID: "other"}}, 1), owned, true},
		"the pod was made an orphan":           {nil, &corev1.Pod{}, true},
		"the pod's set went, and the pod goes": {nil, goes, false},
		"the pod's set went, and the pod will": {nil, owned, false},
		"nothing is there":                     {nil, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := stray(d, tt.set, tt.pod); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
