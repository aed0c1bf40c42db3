// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

var warmName = types.NamespacedName{Namespace: "ns", Name: "d"}

// standby is an operator that does not lead, beside a dashboard on a lost node.
type standby struct {
	*lostNode

	w       *Warmer
	elected chan struct{}
}

func newStandby(t *testing.T) *standby {
	t.Helper()
	n := newLostNode(t)
	n.d.Spec.CoordinatorRef.Name, n.d.UID = "c", "u"
	if err := n.client.Update(t.Context(), n.d); err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.CodisCoordinator{}
	c.Namespace, c.Name, c.Spec.Type = "ns", "c", v1alpha1.CoordinatorEtcd
	n.add(c)
	elected := make(chan struct{})
	return &standby{lostNode: n, w: NewWarmer(n.r, elected), elected: elected}
}

// watches looks for some seconds, and returns how soon it would look again.
func (s *standby) watches(seconds int) (after time.Duration) {
	s.t.Helper()
	for range seconds {
		result, err := s.w.Reconcile(s.t.Context(), ctrl.Request{NamespacedName: warmName})
		if err != nil {
			s.t.Fatal(err)
		}
		after = result.RequeueAfter
		s.clock.SetTime(s.clock.Now().Add(time.Second))
	}
	return after
}

// leads is the first pass of the operator as the leader; it tells whether the dashboard is
// told to end.
func (s *standby) leads() bool {
	s.t.Helper()
	close(s.elected)
	s.r.takeOver(warmName, s.d.UID)
	s.passes(1)
	return s.pod(naming.DashboardPod("d")).DeletionTimestamp != nil
}

// Who takes over from an operator that was lost with a node knows since when it is silent.
func TestAnOperatorThatTakesOverKnowsOfTheSilence(t *testing.T) {
	tests := map[string]struct {
		before func(s *standby)
		told   bool
	}{
		"it has been silent for long enough": {func(s *standby) { s.watches(4) }, true},
		"it has been silent for a moment":    {func(s *standby) { s.watches(2) }, false},
		"it answered meanwhile": {func(s *standby) {
			s.watches(4)
			cut := s.cut
			s.cut = nil
			s.watches(1)
			s.cut = cut
			s.watches(2)
		}, false},
		"something else on its node answered meanwhile": {func(s *standby) {
			s.watches(4)
			cut := s.cut
			s.cut = []string{"1:18080"}
			s.watches(1)
			s.cut = cut
			s.watches(2)
		}, false},
		"the operator stood still": {func(s *standby) {
			s.watches(1)
			s.clock.SetTime(s.clock.Now().Add(time.Minute))
			s.watches(1)
		}, false},
		"the operator stood still before it led": {func(s *standby) {
			s.watches(4)
			s.clock.SetTime(s.clock.Now().Add(time.Minute))
		}, false},
		"a namesake was silent": {func(s *standby) {
			s.watches(4)
			s.d.UID = "another"
		}, false},
		"the operator is cut off": {func(s *standby) {
			s.cut = append(s.cut, "3:80", "4:80")
			s.watches(4)
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStandby(t)
			tt.before(s)
			if told := s.events(); told != "" {
				t.Errorf("an operator that does not lead told: %s", told)
			}
			if pod := s.pod(naming.DashboardPod("d")); pod.DeletionTimestamp != nil {
				t.Fatal("an operator that does not lead had it told to end")
			}
			if got := s.leads(); got != tt.told {
				t.Errorf("told to end at once: %t", got)
			}
		})
	}
}

// What the reconciler has taken over does not come back: it may have been answered since.
func TestWhoLeadsDoesNotWarm(t *testing.T) {
	s := newStandby(t)
	s.watches(2)
	late := warmth{uid: s.d.UID, at: s.clock.Now(), silence: silence{node: "node-1", since: s.clock.Now()}}
	s.leads()
	s.w.remember(warmName, late)
	if after := s.watches(1); after != 0 {
		t.Errorf("it looks again after %s", after)
	}
	s.r.silences.Delete(s.d.UID)
	s.r.takeOver(warmName, s.d.UID)
	if found, known := s.r.silences.Load(s.d.UID); known {
		t.Errorf("the reconciler has %+v", found)
	}
}

func TestHowSoonAStandbyLooksAgain(t *testing.T) {
	tests := map[string]struct {
		change func(s *standby)
		want   time.Duration
	}{
		"it answers":         {func(s *standby) { s.cut = nil }, reconcile.Steady},
		"it does not":        {func(*standby) {}, reconcile.Closely},
		"it has no node yet": {func(s *standby) { s.onNode("") }, reconcile.Steady},
		"it has a directory": {func(s *standby) { s.keptIn(v1alpha1.CoordinatorFilesystem) }, reconcile.Steady},
		"it was deleted meanwhile": {func(s *standby) {
			s.watches(1)
			if err := s.client.Delete(s.t.Context(), s.d); err != nil {
				s.t.Fatal(err)
			}
		}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStandby(t)
			tt.change(s)
			if got := s.watches(1); got != tt.want {
				t.Errorf("after %s, want %s", got, tt.want)
			}
			_, known := s.r.warmth.Load(warmName)
			if silent := tt.want == reconcile.Closely; known != silent {
				t.Errorf("something is remembered: %t", known)
			}
		})
	}
}

// onNode makes the pod of the dashboard anew.
func (s *standby) onNode(node string) {
	s.t.Helper()
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = "ns", naming.DashboardPod("d")
	if err := s.client.Delete(s.t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		s.t.Fatal(err)
	}
	s.dashboardOn(node, "1")
}

func (s *standby) keptIn(kind v1alpha1.CoordinatorType) {
	s.t.Helper()
	c := &v1alpha1.CodisCoordinator{}
	if err := s.client.Get(s.t.Context(), types.NamespacedName{Namespace: "ns", Name: "c"}, c); err != nil {
		s.t.Fatal(err)
	}
	c.Spec.Type = kind
	if err := s.client.Update(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
}
