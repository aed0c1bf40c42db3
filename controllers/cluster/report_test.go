// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
)

// said is what a child of generation 1 says of itself.
func said(list ...conditions.Condition) []metav1.Condition {
	var out []metav1.Condition
	conditions.Set(&out, 1, list...)
	return out
}

func isTrue(t string) conditions.Condition { return conditions.True(t, "Ready", "all is well") }

// converged is a pass over a cluster of two groups whose children are ready.
func converged() *state {
	s := &state{cluster: example(2)}
	own := metav1.ObjectMeta{Namespace: "ns", Name: "c", Generation: 1}
	fine := said(isTrue(v1alpha1.ConditionReady), isTrue(v1alpha1.ConditionAvailable))
	s.coordinator = &v1alpha1.CodisCoordinator{ObjectMeta: own}
	s.coordinator.Status.Conditions = fine
	s.dashboard = &v1alpha1.CodisDashboard{ObjectMeta: own}
	s.dashboard.Status.Conditions = said(isTrue(v1alpha1.ConditionReady), isTrue(v1alpha1.ConditionRebalanced))
	s.dashboard.Status.Slots = &v1alpha1.SlotCounts{Assigned: 1024}
	s.dashboard.Status.Layout = []v1alpha1.GroupSlots{{Group: 1, Slots: "0-511"}, {Group: 2, Slots: "512-1023"}}
	s.proxy = &v1alpha1.CodisProxy{ObjectMeta: own}
	s.proxy.Status.Conditions, s.proxy.Status.Online, s.proxy.Status.Address = fine, 2, "c-proxy:19000"
	for id := 1; id <= 2; id++ {
		g := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprintf("c-%d", id), Generation: 1}}
		g.Spec.ID = int32(id)
		g.Status.Conditions = fine
		s.groups = append(s.groups, g)
	}
	return s
}

// surplus is a group that was asked to give its slots away.
func surplus(id int32) *v1alpha1.CodisGroup {
	g := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprintf("c-%d", id), Generation: 2}}
	g.Spec.ID, g.Spec.SlotPolicy, g.Status.ObservedGeneration = id, v1alpha1.SlotsDrain, 2
	g.Status.Conditions = said(isTrue(v1alpha1.ConditionAvailable))
	return g
}

func broken(reason string) []metav1.Condition {
	return said(conditions.False(v1alpha1.ConditionReady, reason, "it broke"), conditions.False(v1alpha1.ConditionAvailable, reason, "it broke"))
}

func TestReportSetsEveryConditionInEveryState(t *testing.T) {
	const good, progressing, rebalancing = "True Ready", "False Progressing", "False Rebalancing"
	// In the order Ready, Available, CoordinatorReady, DashboardReady, GroupsReady, ProxiesReady, Rebalanced.
	tests := map[string]struct {
		prepare func(s *state)
		want    [7]string
	}{
		"converged": {func(*state) {}, [7]string{good, good, good, good, good, good, good}},
		"nothing is there yet": {
			func(s *state) { *s = state{cluster: s.cluster} },
			[7]string{progressing, "False WaitingForSlots", progressing, progressing, progressing, progressing, progressing},
		},
		"a group is being created": {
			func(s *state) { s.groups = s.groups[:1] },
			[7]string{progressing, "False ChildNotReady", good, good, progressing, good, good},
		},
		"a group heals": {
			func(s *state) {
				s.groups[1].Status.Conditions = said(
					conditions.False(v1alpha1.ConditionReady, "ReplicaNotInSync", "it copies"), isTrue(v1alpha1.ConditionAvailable))
			},
			[7]string{"False ReplicaNotInSync", good, good, good, "False ReplicaNotInSync", good, good},
		},
		"a group has no master": {
			func(s *state) { s.groups[0].Status.Conditions = broken("PromotionHeld") },
			[7]string{"False PromotionHeld", "False ChildNotReady", good, good, "False PromotionHeld", good, good},
		},
		"a group was never looked at": {
			func(s *state) { s.groups[0].Status.Conditions = nil },
			[7]string{progressing, "False ChildNotReady", good, good, progressing, good, good},
		},
		"the dashboard has not seen its spec": {
			func(s *state) { s.dashboard.Generation = 2 }, [7]string{progressing, good, good, progressing, good, good, good},
		},
		"the dashboard is broken": {
			func(s *state) { s.dashboard.Status.Conditions = broken("DashboardUnreachable") },
			[7]string{"False DashboardUnreachable", good, good, "False DashboardUnreachable", good, good, progressing},
		},
		"slots were never assigned": {
			func(s *state) { s.dashboard.Status.Layout = nil },
			[7]string{rebalancing, "False WaitingForSlots", good, good, good, good, rebalancing},
		},
		"slots move": {
			func(s *state) {
				s.dashboard.Status.Conditions = said(isTrue(v1alpha1.ConditionReady),
					conditions.False(v1alpha1.ConditionRebalanced, "TargetFull", "it is full"))
			},
			[7]string{"False TargetFull", good, good, good, good, good, "False TargetFull"},
		},
		"a group that came last has no slots yet": {
			func(s *state) { s.dashboard.Status.Layout = s.dashboard.Status.Layout[:1] },
			[7]string{rebalancing, good, good, good, good, good, rebalancing},
		},
		"a group has no slots and nobody shall move any": {
			func(s *state) {
				s.dashboard.Status.Layout = s.dashboard.Status.Layout[:1]
				s.dashboard.Status.Conditions = said(isTrue(v1alpha1.ConditionReady),
					conditions.True(v1alpha1.ConditionRebalanced, "Disabled", "the policy is Off"))
			},
			[7]string{good, good, good, good, good, good, "True Disabled"},
		},
		"a group without slots has no master": {
			func(s *state) {
				s.dashboard.Status.Layout = s.dashboard.Status.Layout[:1]
				s.groups[1].Status.Conditions = broken("MasterUnreachable")
			},
			[7]string{"False MasterUnreachable", good, good, good, "False MasterUnreachable", good, rebalancing},
		},
		"a group is drained": {
			func(s *state) { s.surplus = []*v1alpha1.CodisGroup{surplus(3)} },
			[7]string{"False Draining", good, good, good, "False Draining", good, good},
		},
		"a group that is drained and has slots left has no master": {
			func(s *state) {
				s.surplus = []*v1alpha1.CodisGroup{surplus(3)}
				s.surplus[0].Status.Conditions = broken("MasterUnreachable")
				s.dashboard.Status.Layout = append(s.dashboard.Status.Layout, v1alpha1.GroupSlots{Group: 3, Slots: "7"})
			},
			[7]string{"False Draining", "False ChildNotReady", good, good, "False Draining", good, good},
		},
		"the id of a group without a master is another group's": {
			func(s *state) { s.groups[1].Status.Conditions = broken("GroupIDTaken") },
			[7]string{"False GroupIDTaken", good, good, good, "False GroupIDTaken", good, rebalancing},
		},
		"no proxy serves": {
			func(s *state) { s.proxy.Status.Conditions = broken("ProxyNotOnline") },
			[7]string{"False ProxyNotOnline", "False ProxyNotOnline", good, good, good, "False ProxyNotOnline", good},
		},
		"a name is taken": {
			func(s *state) { s.applied = fmt.Errorf("apply: %w", apply.ErrCollision) },
			[7]string{"False NameCollision", good, good, good, good, good, good},
		},
		"the API server refuses": {
			func(s *state) { s.applied = errors.New("no") }, [7]string{"False ApplyFailed", good, good, good, good, good, good},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := converged()
			tt.prepare(s)
			report(s)
			var got [7]string
			for i, conditionType := range []string{
				v1alpha1.ConditionReady, v1alpha1.ConditionAvailable, v1alpha1.ConditionCoordinatorReady,
				v1alpha1.ConditionDashboardReady, v1alpha1.ConditionGroupsReady, v1alpha1.ConditionProxiesReady,
				v1alpha1.ConditionRebalanced,
			} {
				c := meta.FindStatusCondition(s.cluster.Status.Conditions, conditionType)
				if c == nil || c.Message == "" || c.ObservedGeneration != 6 {
					t.Fatalf("%s is %+v", conditionType, c)
				}
				got[i] = string(c.Status) + " " + c.Reason
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if got := len(s.cluster.Status.Conditions); got != 7 {
				t.Errorf("%d conditions", got)
			}
		})
	}
}

func TestReportCounts(t *testing.T) {
	s := converged()
	s.groups[1].Status.Conditions = broken("PromotionHeld")
	s.proxy.Spec.Replicas = new(int32(3))
	report(s)
	got := s.cluster.Status
	want := v1alpha1.CodisClusterStatus{
		ObservedGeneration: 6, Groups: "1/2", Proxies: "2/3", Slots: 1024, Address: "c-proxy:19000", Conditions: got.Conditions,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	empty := &state{cluster: example(2)}
	report(empty)
	if got := empty.cluster.Status; got.Groups != "0/2" || got.Proxies != "0/0" || got.Slots != 0 {
		t.Errorf("%+v", got)
	}
}

func TestReportNamesTheChildThatIsNotReady(t *testing.T) {
	s := converged()
	s.groups[1].Status.Conditions = broken("PromotionHeld")
	report(s)
	ready := meta.FindStatusCondition(s.cluster.Status.Conditions, v1alpha1.ConditionReady)
	if diff := cmp.Diff("group c-2: it broke", ready.Message); diff != "" {
		t.Error(diff)
	}
}
