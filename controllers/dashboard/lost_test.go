// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/product"
)

// answering is where a dashboard answers, deaf where none does.
const (
	answering = "127.77.0.1"
	deaf      = "127.77.0.2"
)

func TestPodOfALostNodeIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", answering+":18080")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	const grace = 10 * time.Second
	now := time.Now().Truncate(time.Second)
	tests := map[string]struct {
		ended  time.Duration // Since the end of the grace, as the operator saw it; 0 for a pod that stays.
		ahead  time.Duration // How far the clock of the API server is ahead.
		addr   string
		change func(s *state)
		gone   bool
	}{
		"it is overdue and silent":          {ended: overdue, addr: deaf, gone: true},
		"it has no address":                 {ended: overdue, gone: true},
		"its grace has just ended":          {ended: overdue - time.Second, addr: deaf},
		"the other clock is far behind":     {ended: time.Second, ahead: -time.Hour, addr: deaf},
		"the other clock is far ahead":      {ended: overdue, ahead: time.Hour, addr: deaf, gone: true},
		"it answers":                        {ended: overdue, addr: answering},
		"nobody took it away":               {addr: deaf},
		"a person deleted it":               {ended: overdue, addr: deaf, change: func(s *state) { s.pod.Status.Conditions = nil }},
		"it was evicted for something else": {ended: overdue, addr: deaf, change: func(s *state) { s.pod.Status.Conditions[0].Reason = "EvictionByEvictionAPI" }},
		"it has a directory of its own":     {ended: overdue, addr: deaf, change: func(s *state) { s.store.Name = filesystem }},
		"nobody knows where its product is": {ended: overdue, addr: deaf, change: func(s *state) { s.blocked = &product.Problem{} }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d-0", UID: "1", Finalizers: []string{"x/y"}}}
			if tt.ended != 0 {
				pod.DeletionTimestamp = &metav1.Time{Time: now.Add(grace + tt.ahead)}
				pod.DeletionGracePeriodSeconds = new(int64(grace.Seconds()))
			}
			pod.Status.PodIP = tt.addr
			pod.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reasonTaint,
			}}
			var deleted []client.DeleteOptions
			c := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
				Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, opts ...client.DeleteOption) error {
					deleted = append(deleted, *(&client.DeleteOptions{}).ApplyOptions(opts))
					return nil
				},
			})
			recorder := events.NewFakeRecorder(1)
			clock := clocktesting.NewFakePassiveClock(now)
			r := &Reconciler{Client: c, Recorder: recorder, Clock: clock}
			s := &state{dashboard: &v1alpha1.CodisDashboard{}, pod: pod, store: store{Store: config.Store{Name: "etcd"}}}
			if tt.change != nil {
				tt.change(s)
			}
			for _, at := range []time.Duration{0, grace + tt.ended} {
				clock.SetTime(now.Add(at))
				if _, err := r.replaceLost(t.Context(), s); err != nil || at == 0 && len(deleted) > 0 {
					t.Fatalf("%s after it began to end: %v, %v", at, deleted, err)
				}
			}
			if (len(deleted) == 1) != tt.gone || (len(recorder.Events) == 1) != tt.gone {
				t.Fatalf("deleted %v, told %d", deleted, len(recorder.Events))
			}
			if tt.gone && (*deleted[0].GracePeriodSeconds != 0 || *deleted[0].Preconditions.UID != pod.UID) {
				t.Errorf("deleted with %+v", deleted[0])
			}
		})
	}
}

func TestLeaveLostNodes(t *testing.T) {
	tests := map[string]struct {
		user []corev1.Toleration
		want int
	}{
		"the user says nothing":       {nil, 1},
		"the user speaks of others":   {[]corev1.Toleration{{Key: "dedicated"}}, 2},
		"the user bears lost nodes":   {[]corev1.Toleration{{Key: corev1.TaintNodeUnreachable}}, 1},
		"the user bears all there is": {[]corev1.Toleration{{Operator: corev1.TolerationOpExists}}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := &corev1.PodSpec{Tolerations: tt.user}
			leaveLostNodes(spec)
			if len(spec.Tolerations) != tt.want {
				t.Errorf("got %+v", spec.Tolerations)
			}
		})
	}
}
