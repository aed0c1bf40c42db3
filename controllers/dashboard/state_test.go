// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/product"
)

const revision = "d-1"

// converged is a pass over a dashboard that is as it should be.
func converged() *state {
	return &state{
		dashboard: &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", Generation: 4}},
		live:      &appsv1.StatefulSet{Status: appsv1.StatefulSetStatus{UpdateRevision: revision}},
		pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "d-dashboard-0", Labels: map[string]string{appsv1.ControllerRevisionHashLabelKey: revision}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		},
		stats:   stats(layout.Even([]int{1, 2}), 1, 2),
		version: "3.2.2",
	}
}

func withFE(s *state, readyPods int32, live bool) {
	s.dashboard.Spec.FE = &v1alpha1.FESettings{Replicas: new(int32(2))}
	if live {
		s.fe = &appsv1.Deployment{Status: appsv1.DeploymentStatus{ReadyReplicas: readyPods, UpdatedReplicas: readyPods}}
	}
}

func silent(s *state) {
	s.stats = nil
	s.problem = &product.Problem{Reason: v1alpha1.ReasonDashboardUnreachable, Message: "the dashboard does not answer yet"}
}

func TestReportSetsEveryConditionInEveryState(t *testing.T) {
	const good, off = "True Ready", "True Disabled"
	tests := map[string]struct {
		prepare                    func(s *state)
		ready, workload, slots, fe string
	}{
		"converged":                 {func(*state) {}, good, good, good, off},
		"with a web page":           {func(s *state) { withFE(s, 2, true) }, good, good, good, good},
		"the web page is not there": {func(s *state) { withFE(s, 0, false) }, "False PodsNotReady", good, good, "False PodsNotReady"},
		"the web page is not ready": {func(s *state) { withFE(s, 1, true) }, "False PodsNotReady", good, good, "False PodsNotReady"},
		"the dashboard is silent":   {silent, "False DashboardUnreachable", "False DashboardUnreachable", "Unknown DashboardUnreachable", off},
		"nobody looked":             {func(s *state) { s.stats = nil }, "False NotObserved", good, "Unknown NotObserved", off},
		"slots wait for a group": {
			func(s *state) { s.stats, s.assignment.waiting = stats(nil), "waiting for group 1" },
			"False WaitingForGroups", good, "False WaitingForGroups", off,
		},
		"the dashboard refuses": {
			func(s *state) { s.refused = errors.New("assign slots: group-[1] is empty") },
			"False DashboardRefused", good, "False DashboardRefused", off,
		},
		"the coordinator is missing": {
			func(s *state) {
				s.stats, s.blocked = nil, &product.Problem{Reason: v1alpha1.ReasonCoordinatorMissing, Message: "create it"}
			},
			"False CoordinatorMissing", "False CoordinatorMissing", "Unknown NotObserved", off,
		},
		"a name is taken": {
			func(s *state) { s.applied = fmt.Errorf("apply Service: %w", apply.ErrCollision) },
			"False NameCollision", "False NameCollision", good, off,
		},
		"the API server refuses": {
			func(s *state) { s.applied = errors.New("exceeded quota") }, "False ApplyFailed", "False ApplyFailed", good, off,
		},
		"the pod is missing":   {func(s *state) { s.pod = nil }, "False PodsNotReady", "False PodsNotReady", good, off},
		"the pod is not ready": {func(s *state) { s.pod.Status.Conditions = nil }, "False PodsNotReady", "False PodsNotReady", good, off},
		"the pod is outdated":  {func(s *state) { s.pod.Labels = nil }, "False PodsNotReady", "False PodsNotReady", good, off},
		"the pod has no image": {
			func(s *state) {
				s.pod.Status.ContainerStatuses = []corev1.ContainerStatus{
					{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}},
				}
			}, "False ImageNotFound", "False ImageNotFound", good, off,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := converged()
			tt.prepare(s)
			report(s, "cluster.local", time.Unix(0, 0))
			got := map[string]string{}
			for _, c := range s.dashboard.Status.Conditions {
				got[c.Type] = string(c.Status) + " " + c.Reason
				if c.Message == "" || c.ObservedGeneration != 4 {
					t.Errorf("%s: message %q, generation %d", c.Type, c.Message, c.ObservedGeneration)
				}
			}
			want := map[string]string{
				v1alpha1.ConditionReady: tt.ready, v1alpha1.ConditionWorkloadReady: tt.workload,
				v1alpha1.ConditionSlotsAssigned: tt.slots, v1alpha1.ConditionFEReady: tt.fe,
				v1alpha1.ConditionRebalanced:     tt.slots, // Nothing moves here.
				v1alpha1.ConditionSentinelsReady: off,
			}
			if name == "the dashboard refuses" {
				want[v1alpha1.ConditionRebalanced] = good
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReportSaysWhereTheDashboardIs(t *testing.T) {
	s := converged()
	s.dashboard.Status.Version = "old"
	s.dashboard.Spec.AuthSecretRef = &v1alpha1.SecretReference{Name: "own"}
	report(s, "cluster.local", time.Unix(0, 0))
	got := s.dashboard.Status
	want := v1alpha1.CodisDashboardStatus{
		ObservedGeneration: 4, Address: "d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080", ProductName: "ns.d",
		AuthSecretName: "own", Version: "3.2.2", Slots: got.Slots, Layout: got.Layout, Conditions: got.Conditions,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.version = ""
	report(s, "cluster.local", time.Unix(0, 0))
	if s.dashboard.Status.Version != "3.2.2" {
		t.Errorf("the version was forgotten: %q", s.dashboard.Status.Version)
	}
}

func TestSlotsConditionSaysWhatIsWaitedFor(t *testing.T) {
	s := converged()
	s.stats = stats(layout.Layout{1: {0}})
	if diff := cmp.Diff("1023 of 1024 slots have no owner", slotsCondition(s).Message); diff != "" {
		t.Error(diff)
	}
	s.assignment.waiting = "waiting for group 2"
	if diff := cmp.Diff("1023 of 1024 slots have no owner; waiting for group 2", slotsCondition(s).Message); diff != "" {
		t.Error(diff)
	}
}

func TestViewOfAGroup(t *testing.T) {
	group := func(registered, inSync, reachable metav1.ConditionStatus) *v1alpha1.CodisGroup {
		g := &v1alpha1.CodisGroup{Spec: v1alpha1.CodisGroupSpec{ID: 3}}
		g.Status.Conditions = []metav1.Condition{
			{Type: v1alpha1.ConditionRegistered, Status: registered},
			{Type: v1alpha1.ConditionReplicasInSync, Status: inSync},
			{Type: v1alpha1.ConditionMasterReachable, Status: reachable},
		}
		return g
	}
	leaving := group("True", "True", "True")
	leaving.DeletionTimestamp = &metav1.Time{}
	drained := group("True", "True", "True")
	drained.Spec.SlotPolicy = v1alpha1.SlotsDrain
	promoting := group("True", "True", "True")
	promoting.Status.Promotion = &v1alpha1.Promotion{}
	behind := group("True", "True", "True")
	behind.Status.Dashboard = v1alpha1.DashboardBehind
	withKeys := group("False", "True", "True")
	withKeys.Status.KeySlots = "0-511"
	tests := map[string]struct {
		group *v1alpha1.CodisGroup
		want  groupView
	}{
		"in sync":                   {group("True", "True", "True"), groupView{id: 3, inSync: true, registered: true, reachable: true}},
		"not registered":            {group("False", "True", "True"), groupView{id: 3, reachable: true}},
		"a replica is not in sync":  {group("True", "Unknown", "True"), groupView{id: 3, registered: true, reachable: true}},
		"the master is not reached": {group("True", "True", "False"), groupView{id: 3, registered: true}},
		"never looked at":           {&v1alpha1.CodisGroup{}, groupView{}},
		"being deleted":             {leaving, groupView{id: 3, inSync: true, registered: true, reachable: true, leaving: true}},
		"of which the dashboard does not know the master": {
			behind, groupView{id: 3, inSync: true, registered: true, reachable: true, promoting: true},
		},
		"being drained":          {drained, groupView{id: 3, inSync: true, registered: true, reachable: true, leaving: true}},
		"getting another master": {promoting, groupView{id: 3, inSync: true, registered: true, reachable: true, promoting: true, changing: true}},
		"with keys and no slots": {withKeys, groupView{id: 3, reachable: true, keySlots: "0-511"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, viewOf(tt.group), cmp.AllowUnexported(groupView{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
