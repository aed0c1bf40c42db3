// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
)

// locked is a pod whose config writer found the lock taken.
func locked(reason string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: naming.DashboardPod("d")}}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{
		Name:                 "config",
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "held d:18080"}},
	}}
	return pod
}

func TestRetryLock(t *testing.T) {
	const pause = "CrashLoopBackOff"
	now := time.Now()
	tests := map[string]struct {
		change func(l *leaving, s *state)
		gone   bool
		again  time.Duration
	}{
		"the lock is free":               {gone: true},
		"nobody has it":                  {change: func(l *leaving, _ *state) { delete(l.store.all, "/codis3/p/topom") }, gone: true},
		"somebody silent has it":         {change: func(l *leaving, _ *state) { l.store.all["/codis3/p/topom"] = `{"admin_addr":"` + silentHost(t) + `"}` }, again: lockPeriod},
		"the store does not take it":     {change: func(l *leaving, _ *state) { l.store.auth = "other" }, again: lockPeriod},
		"the pod looks itself right now": {change: func(_ *leaving, s *state) { s.pod = locked("PodInitializing") }},
		"the pod goes":                   {change: func(_ *leaving, s *state) { s.pod.DeletionTimestamp = &metav1.Time{Time: now} }},
		"there is no pod":                {change: func(_ *leaving, s *state) { s.pod = nil }},
		"its store is a directory":       {change: func(_ *leaving, s *state) { s.store.Name = filesystem }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLeaving(t, now)
			s := &state{dashboard: l.dashboard, coordinator: l.coordinator, pod: locked(pause), store: store{
				Store: config.Store{Name: "etcd", Addr: l.dashboard.Status.Store.Endpoints[0]}, login: "login",
			}}
			s.coordinator.Spec.Type = v1alpha1.CoordinatorExternal
			if tt.change != nil {
				tt.change(l, s)
			}
			deleted := 0
			c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(l.secret).Build(), interceptor.Funcs{
				Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
					deleted++
					return nil
				},
			})
			clock := clocktesting.NewFakePassiveClock(now)
			r := &Reconciler{Client: c, Reader: c, Clock: clock, Domain: naming.Domain("cluster.local")}
			after, err := r.retryLock(t.Context(), s)
			if err != nil || (deleted == 1) != tt.gone || !tt.gone && after != tt.again {
				t.Errorf("again after %s, %d deleted, %v", after, deleted, err)
			}
			if tt.again == 0 {
				return
			}
			clock.SetTime(now.Add(time.Second))
			l.store.auth, l.store.all = "root:x", map[string]string{}
			if after, err := r.retryLock(t.Context(), s); err != nil || deleted != 0 || after != lockPeriod-time.Second {
				t.Errorf("too early: again after %s, %d deleted, %v", after, deleted, err)
			}
			clock.SetTime(now.Add(lockPeriod))
			if _, err := r.retryLock(t.Context(), s); err != nil || deleted != 1 {
				t.Errorf("in time: %d deleted, %v", deleted, err)
			}
		})
	}
}
