// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

const (
	oldRevision = "g-old"
	newRevision = "g-new"
)

// pod of a member that runs a template and is ready.
func pod(ordinal int, revision string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: memberName(ordinal),
			Labels: map[string]string{appsv1.ControllerRevisionHashLabelKey: revision},
		},
		Status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "server", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
}

// waiting makes a pod one whose container waits for a reason.
func waiting(p *corev1.Pod, reason string) *corev1.Pod {
	p.Status.Conditions = nil
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	return p
}

// serverStats is a dashboard that knows group 1 with the servers of a world.
func serverStats(w world) *codis.Stats {
	stats := &codis.Stats{Slots: make([]codis.SlotMapping, codis.Slots)}
	for i := range stats.Slots {
		stats.Slots[i] = codis.SlotMapping{ID: i, GroupID: 2}
	}
	group := codis.Group{ID: 1}
	for _, addr := range w.order {
		group.Servers = append(group.Servers, codis.GroupServer{Addr: addr})
	}
	if len(w.order) > 0 {
		stats.Group.Models = append(stats.Group.Models, group)
	}
	return stats
}

// stateOfWorld is a pass over a group of such members, decided and with every
// pod ready; g-0 is the dashboard's master.
func stateOfWorld(in ...situation) *state {
	w := smallWorld(in, 0)
	s := &state{
		group: &v1alpha1.CodisGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g", Generation: 3},
			Spec: v1alpha1.CodisGroupSpec{
				ID: 1, CodisGroupTemplate: v1alpha1.CodisGroupTemplate{Replicas: new(int32(len(in)))},
				DashboardRef: v1alpha1.LocalReference{Name: "d"},
			},
		},
		dashboard: &v1alpha1.CodisDashboard{},
		live: &appsv1.StatefulSet{Status: appsv1.StatefulSetStatus{
			UpdateRevision: newRevision,
		}},
		stats: serverStats(w),
		world: w,
	}
	for ordinal := range in {
		s.pods = append(s.pods, pod(ordinal, newRevision))
	}
	s.decision = decideMaster(w)
	if s.decision.verb == keep {
		_, s.held = decideFollowers(w, *s.decision.master)
	}
	return s
}
