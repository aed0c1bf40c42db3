// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
)

// crashLoop is what kubelet calls its pause.
const crashLoop = "CrashLoopBackOff"

// ran is a pod whose dashboard ran for a time, was ready until it ended, and waits.
func ran(ended time.Time, length time.Duration, reason string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: naming.DashboardPod("d")},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "dashboard"}}},
	}
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(ended),
	}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name:  "dashboard",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			StartedAt: metav1.NewTime(ended.Add(-length)), FinishedAt: metav1.NewTime(ended), ExitCode: 137, Reason: "Error",
		}},
	}}
	return pod
}

func TestNeedlessPause(t *testing.T) {
	back := time.Now()
	before, after := back.Add(-time.Second), back.Add(time.Minute)
	serves := keeps(v1alpha1.CoordinatorEtcd, metav1.ConditionTrue, back, "a:1")
	changed := func(change func(pod *corev1.Pod)) *corev1.Pod {
		pod := ran(after, lasting, crashLoop)
		change(pod)
		return pod
	}
	tests := map[string]struct {
		pod         *corev1.Pod
		coordinator *v1alpha1.CodisCoordinator
		want        bool
	}{
		"it ended before its store came back": {ran(before, time.Second, crashLoop), serves, true},
		"it ended at once":                    {ran(after, lasting-time.Second, crashLoop), serves, false},
		"it ended by accident":                {ran(after, lasting, crashLoop), serves, true},
		"it may not have the lock": {changed(func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "held d:18080"
		}), serves, false},
		"it was never ready in that run": {changed(func(pod *corev1.Pod) {
			pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(after.Add(-lasting))
		}), serves, false},
		"a sidecar ended by accident": {changed(func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses[0].Name = "sidecar"
		}), serves, false},
		"its pod goes": {changed(func(pod *corev1.Pod) {
			pod.DeletionTimestamp = &metav1.Time{Time: after}
		}), serves, false},
		"it is being started already":          {ran(before, lasting, "ContainerCreating"), serves, false},
		"its store is still away":              {ran(before, lasting, crashLoop), keeps(v1alpha1.CoordinatorEtcd, metav1.ConditionFalse, back, "a:1"), false},
		"there is no pod":                      {nil, serves, false},
		"nobody has looked at the coordinator": {ran(before, lasting, crashLoop), keeps(v1alpha1.CoordinatorEtcd, "", back), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := needlessPause(tt.pod, tt.coordinator); (got != nil) != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// deleting is a reconciler that counts what it deletes.
func deleting(t *testing.T, now time.Time, objects ...client.Object) (*Reconciler, *int) {
	t.Helper()
	deleted := 0
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).Build(), interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			deleted++
			return nil
		},
	})
	return &Reconciler{
		Client: c, Reader: c, Clock: clocktesting.NewFakePassiveClock(now), Domain: domain, Recorder: events.NewFakeRecorder(1),
	}, &deleted
}

func TestStartAgain(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		kept store
		want int
		// anew tells that it is not written down yet that another one had the lock.
		anew bool
	}{
		"others reach its store":                {store{Store: config.Store{Name: "etcd"}}, 1, false},
		"it has a volume":                       {store{Store: config.Store{Name: filesystem}, storage: &v1alpha1.Storage{}}, 1, false},
		"its directory goes with it":            {store{Store: config.Store{Name: filesystem}}, 0, false},
		"what its pod says is not written down": {store{Store: config.Store{Name: "etcd"}}, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, deleted := deleting(t, now)
			s := &state{
				dashboard: &v1alpha1.CodisDashboard{}, pod: ran(now, lasting, crashLoop), store: tt.kept, heldAnew: tt.anew,
				coordinator: keeps(v1alpha1.CoordinatorEtcd, metav1.ConditionTrue, now.Add(-time.Hour), "a:1"),
			}
			if _, err := r.startAgain(t.Context(), s); err != nil || *deleted != tt.want {
				t.Errorf("deleted %d, %v", *deleted, err)
			}
			recorder, _ := r.Recorder.(*events.FakeRecorder)
			if len(recorder.Events) != tt.want {
				t.Errorf("%d events", len(recorder.Events))
			}
		})
	}
}

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

// kept is a pod whose keeper ended with a message.
func kept(reason, message string) *corev1.Pod {
	pod := ran(time.Now(), time.Second, reason)
	pod.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = message
	return pod
}

// etcdWith is an etcd whose only key is the lock, held at an address; empty for nobody.
func etcdWith(t *testing.T, holder *string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != "root" || password != "x":
			w.WriteHeader(http.StatusUnauthorized)
		case *holder == "":
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"errorCode":100}`)
		default:
			value := fmt.Sprintf(`{"admin_addr":%q}`, *holder)
			_ = json.NewEncoder(w).Encode(map[string]any{"node": map[string]string{"value": value}})
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// silentHost is where somebody listens who says nothing.
func silentHost(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// refusingHost is where nobody listens.
func refusingHost(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestRetryLock(t *testing.T) {
	now, silent := time.Now(), silentHost(t)
	tests := map[string]struct {
		holder   string
		password string
		change   func(s *state)
		gone     bool
		again    time.Duration
	}{
		"it is the dashboard's own":  {holder: "d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080", gone: true},
		"nobody has it":              {gone: true},
		"somebody silent has it":     {holder: silent, again: lockPeriod},
		"a host that refuses had it": {holder: refusingHost(t), gone: true},
		"it refuses, and may be abroad": {holder: refusingHost(t), again: lockPeriod, change: func(s *state) {
			s.coordinator.Spec.Type = v1alpha1.CoordinatorExternal
		}},
		"the store refuses the login":    {password: "other", again: lockPeriod},
		"the login is not there":         {change: func(s *state) { s.store.login = "none" }, again: lockPeriod},
		"its keeper waits for the lock":  {change: func(s *state) { s.pod = kept(crashLoop, "held d:18080") }, gone: true},
		"its keeper waits for no lock":   {change: func(s *state) { s.pod = kept(crashLoop, "3 dashboards in a row ended") }},
		"its keeper looks right now":     {change: func(s *state) { s.pod = kept("ContainerCreating", "held d:18080") }},
		"the pod looks itself right now": {change: func(s *state) { s.pod = locked("PodInitializing") }},
		"the pod goes":                   {change: func(s *state) { s.pod.DeletionTimestamp = &metav1.Time{Time: now} }},
		"there is no pod":                {change: func(s *state) { s.pod = nil }},
		"its store is a directory":       {change: func(s *state) { s.store.Name = filesystem }},
		"its store is not known": {change: func(s *state) {
			s.store, s.blocked = store{}, &product.Problem{Reason: v1alpha1.ReasonCoordinatorMissing}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			holder := tt.holder
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "login"}}
			secret.Data = map[string][]byte{"password": []byte("x" + tt.password)}
			r, deleted := deleting(t, now, secret)
			s := &state{
				dashboard:   &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "1"}},
				coordinator: &v1alpha1.CodisCoordinator{}, pod: locked(crashLoop),
				store: store{Store: config.Store{Name: "etcd", Addr: etcdWith(t, &holder)}, login: "login"},
			}
			s.dashboard.Spec.ProductName = "p"
			if tt.change != nil {
				tt.change(s)
			}
			after, err := r.retryLock(t.Context(), s)
			if err != nil || (*deleted == 1) != tt.gone || !tt.gone && after != tt.again {
				t.Errorf("again after %s, %d deleted, %v", after, *deleted, err)
			}
		})
	}
}

// A lock is looked at every few seconds; a pod that sees it otherwise is not replaced
// again and again.
func TestRetryLockBides(t *testing.T) {
	now, holder := time.Now(), silentHost(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "login"}}
	secret.Data = map[string][]byte{"password": []byte("x")}
	r, deleted := deleting(t, now, secret)
	clock, _ := r.Clock.(*clocktesting.FakePassiveClock)
	s := &state{
		dashboard:   &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "1"}},
		coordinator: &v1alpha1.CodisCoordinator{}, pod: locked(crashLoop),
		store: store{Store: config.Store{Name: "etcd", Addr: etcdWith(t, &holder)}, login: "login"},
	}
	for _, step := range []struct {
		at      time.Duration
		holder  string
		deleted int
	}{
		{0, holder, 0},
		{lockPeriod - time.Second, "", 0},
		{lockPeriod, "", 1},
		{2 * lockPeriod, "", 1},
		{lockPeriod + time.Minute, "", 2},
	} {
		holder = step.holder
		clock.SetTime(now.Add(step.at))
		if _, err := r.retryLock(t.Context(), s); err != nil || *deleted != step.deleted {
			t.Errorf("after %s: deleted %d, want %d, %v", step.at, *deleted, step.deleted, err)
		}
	}
}
