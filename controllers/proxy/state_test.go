// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

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
	"github.com/codis-io/codis-operator/internal/product"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func example() *v1alpha1.CodisProxy {
	p := &v1alpha1.CodisProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Generation: 5}}
	p.Spec.Replicas = new(int32(2))
	p.Spec.DashboardRef.Name = "d"
	return p
}

func readyView(name string, f fate) proxyView {
	v := view(name, f)
	v.pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return v
}

// converged is a pass over two proxies that are as they should be.
func converged() *state {
	return &state{
		proxy:     example(),
		dashboard: &v1alpha1.CodisDashboard{},
		live:      &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2}},
		proxies:   []proxyView{readyView(podA, online), readyView(podB, online)},
		stats:     stats(true, own(podA), own(podB)),
	}
}

func TestReportSetsEveryConditionInEveryState(t *testing.T) {
	const good, none = "True Ready", "False ProxyNotOnline"
	blocked := func(s *state) {
		s.stats, s.blocked = nil, &product.Problem{Reason: v1alpha1.ReasonDashboardMissing, Message: "create it"}
	}
	tests := map[string]struct {
		prepare                                func(s *state)
		ready, available, workload, registered string
		online                                 int32
	}{
		"converged": {func(*state) {}, good, good, good, good, 2},
		"one proxy is not online": {
			func(s *state) { s.proxies[1] = readyView(podB, offline) }, "False ProxyNotOnline", good, good, "False ProxyNotOnline", 1,
		},
		"one proxy is being stopped": {
			func(s *state) { s.proxies[1] = readyView(podB, leaving) }, good, good, good, good, 1,
		},
		"no proxy is ready": {
			func(s *state) { s.proxies = []proxyView{view(podA, online), view(podB, silent)} },
			"False ProxyNotOnline", none, good, "False ProxyNotOnline", 1,
		},
		"slots have no owner": {
			func(s *state) { s.stats = stats(false) }, "False WaitingForSlots", good, good, "False WaitingForSlots", 2,
		},
		"the dashboard is missing": {blocked, "False DashboardMissing", good, "False DashboardMissing", "Unknown DashboardMissing", 2},
		"the dashboard is silent": {
			func(s *state) {
				s.stats, s.problem = nil, &product.Problem{Reason: v1alpha1.ReasonDashboardUnreachable, Message: "silent"}
			},
			"False DashboardUnreachable", good, good, "Unknown DashboardUnreachable", 2,
		},
		"nobody looked": {func(s *state) { s.stats = nil }, "False NotObserved", good, good, "Unknown NotObserved", 2},
		"the dashboard refuses": {
			func(s *state) { s.refused = errors.New("remove the entry: store failed") },
			"False DashboardRefused", good, good, "False DashboardRefused", 2,
		},
		"a name is taken": {
			func(s *state) { s.applied = fmt.Errorf("apply: %w", apply.ErrCollision) },
			"False NameCollision", good, "False NameCollision", good, 2,
		},
		"the API server refuses": {
			func(s *state) { s.applied = errors.New("exceeded quota") }, "False ApplyFailed", good, "False ApplyFailed", good, 2,
		},
		"a pod crashes": {
			func(s *state) { s.proxies[1] = view(podB, crashing) }, "False PodsNotReady", good, "False PodsNotReady", "False ProxyNotOnline", 1,
		},
		"there is no Deployment": {func(s *state) { s.live = nil }, "False PodsNotReady", good, "False PodsNotReady", good, 2},
		"the Deployment was not seen": {
			func(s *state) { s.live.Generation = 2 }, "False PodsNotReady", good, "False PodsNotReady", good, 2,
		},
		"a rollout is under way": {
			func(s *state) { s.live.Status.UpdatedReplicas = 1 }, "False PodsNotReady", good, "False PodsNotReady", good, 2,
		},
		"a pod too many runs": {
			func(s *state) { s.live.Status.Replicas = 3 }, "False PodsNotReady", good, "False PodsNotReady", good, 2,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := converged()
			tt.prepare(s)
			report(s, "cluster.local", now)
			got := map[string]string{}
			for _, c := range s.proxy.Status.Conditions {
				got[c.Type] = string(c.Status) + " " + c.Reason
				if c.Message == "" || c.ObservedGeneration != 5 {
					t.Errorf("%s: message %q, generation %d", c.Type, c.Message, c.ObservedGeneration)
				}
			}
			want := map[string]string{
				v1alpha1.ConditionReady: tt.ready, v1alpha1.ConditionAvailable: tt.available,
				v1alpha1.ConditionWorkloadReady: tt.workload, v1alpha1.ConditionRegistered: tt.registered,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if s.proxy.Status.Online != tt.online {
				t.Errorf("%d online, want %d", s.proxy.Status.Online, tt.online)
			}
		})
	}
}

func TestReportSaysWhereClientsConnect(t *testing.T) {
	s := converged()
	report(s, "cluster.local", now)
	got := s.proxy.Status
	if got.Address != "p-proxy.ns.svc.cluster.local:19000" || got.Replicas != 2 || got.ObservedGeneration != 5 {
		t.Errorf("%+v", got)
	}
	want := "app.kubernetes.io/component=proxy,app.kubernetes.io/instance=p,app.kubernetes.io/name=codis"
	if diff := cmp.Diff(want, got.Selector); diff != "" {
		t.Error(diff)
	}
}

func TestReportUsageWritesWhatMoved(t *testing.T) {
	s := converged()
	s.proxies[0].status.Ops.QPS, s.proxies[1].status.Ops.QPS = 100, 20
	s.proxies[0].status.Sessions.Alive = 7
	report(s, "cluster.local", now)
	status := &s.proxy.Status
	if status.OpsPerSecond != 120 || status.Sessions != 7 || !status.UsageTime.Time.Equal(now) {
		t.Errorf("%+v", status)
	}
	s.proxies[0].status.Ops.QPS = 101
	report(s, "cluster.local", now.Add(time.Hour))
	if status.OpsPerSecond != 120 {
		t.Error("what moved a little was written")
	}
	s.proxies[0].status.Ops.QPS = 1000
	report(s, "cluster.local", now.Add(time.Second))
	if status.OpsPerSecond != 120 {
		t.Error("it was written again at once")
	}
	report(s, "cluster.local", now.Add(time.Hour))
	if status.OpsPerSecond != 1020 || !status.UsageTime.Time.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", status)
	}
}

func TestReadinessGateReplacesItselfOnly(t *testing.T) {
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
	gate := func(status corev1.ConditionStatus) corev1.PodCondition {
		return corev1.PodCondition{Type: v1alpha1.ConditionOnline, Status: status}
	}
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{ready}}}
	setPodCondition(pod, gate(corev1.ConditionFalse))
	setPodCondition(pod, gate(corev1.ConditionTrue))
	if diff := cmp.Diff([]corev1.PodCondition{ready, gate(corev1.ConditionTrue)}, pod.Status.Conditions); diff != "" {
		t.Error(diff)
	}
}
