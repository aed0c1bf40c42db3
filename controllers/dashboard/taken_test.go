// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// goingPod is the pod of a dashboard on node-1 as it was last.
func goingPod(change func(p *corev1.Pod)) *corev1.Pod {
	pod := podOn("node-1", naming.DashboardPod("d"), "1", func(p *corev1.Pod) {
		p.Labels = naming.Labels(naming.ComponentDashboard, "d", "d")
		p.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		p.Spec.Containers[0].Name = naming.ComponentDashboard
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: naming.ComponentDashboard, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}
	})
	if change != nil {
		change(&pod)
	}
	return &pod
}

// A pod that is gone says that its dashboard has ended only if its kubelet did.
func TestPodsThatWereTakenAway(t *testing.T) {
	tests := map[string]struct {
		change func(p *corev1.Pod)
		want   bool
	}{
		"it ran when it went":         {nil, true},
		"nothing was heard of it yet": {func(p *corev1.Pod) { p.Status = corev1.PodStatus{} }, true},
		"it had ended": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
		}, false},
		"it had ended for good": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		"it was on no node":     {func(p *corev1.Pod) { p.Spec.NodeName = "" }, false},
		"it is no dashboard's":  {func(p *corev1.Pod) { p.Labels[v1alpha1.LabelComponent] = naming.ComponentProxy }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLeaving(t)
			l.pod = nil
			l.start()
			r := l.reconciler()
			if !r.noteTaken().Delete(event.DeleteEvent{Object: goingPod(tt.change)}) {
				t.Error("nobody is woken")
			}
			if why := r.mayLive(t.Context(), l.dashboard); (why != "") != tt.want {
				t.Errorf("it may live: %q", why)
			}
		})
	}
}

// A product is not removed under a dashboard whose pod was deleted by force: it may live
// where nobody reaches it, and write on once it is back.
func TestAPodThatIsDeletedByForceIsNotSeenGone(t *testing.T) {
	l := newLeaving(t)
	l.hangs = true
	l.start()
	r := l.reconciler()
	for range 3 {
		l.pass(r)
	}
	if err := l.client.Delete(t.Context(), l.pod); err != nil {
		t.Fatal(err)
	}
	r.noteGone(goingPod(nil))
	lease := leaseAt(l.clock.Now(), 40)
	if err := l.client.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.pass(r)
	}
	if l.live() == nil || l.etcd.Get(slotKey) == "" {
		t.Fatal("slots were removed under a dashboard that may live")
	}
	if said := l.live().Status.Conditions[0].Message; !strings.Contains(said, "pod d-dashboard-0 was taken away from node node-1") {
		t.Errorf("it says %s", said)
	}
	version := l.live().ResourceVersion
	if l.pass(r); l.live().ResourceVersion != version {
		t.Error("waiting writes")
	}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: l.clock.Now().Add(10 * time.Second)}
	if err := l.client.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	l.pass(r)
	if l.live() != nil || len(l.etcd.Keys("/codis3/p")) > 0 {
		t.Errorf("its kubelet lives, and there is %+v, %v", l.live(), l.etcd.Keys("/codis3/p"))
	}
}

// Nobody waits for ever for a node that is lost: the product stays then.
func TestTheProductOfADashboardThatMayLiveStays(t *testing.T) {
	l := newLeaving(t)
	l.set, l.pod = setOf(l.dashboard, 0), nil
	l.start()
	r := l.reconciler()
	r.noteGone(goingPod(nil))
	l.rest(r)
	if told := l.events(); !strings.Contains(told, topologyLeft) || l.etcd.Get(slotKey) == "" {
		t.Errorf("it is told: %s", told)
	}
}
