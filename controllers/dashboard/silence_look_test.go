// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
)

// timeoutError is what a dial to a host that is cut off ends with.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

var errTimeout = &net.OpError{Op: "dial", Err: timeoutError{errors.New("i/o timeout")}}

func TestUnanswered(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	tests := map[string]struct {
		err  error
		want bool
	}{
		"it accepts":             {nil, false},
		"it refuses":             {refused, false},
		"it breaks off":          {&net.OpError{Op: "dial", Err: syscall.ECONNRESET}, false},
		"it says nothing":        {errTimeout, true},
		"nobody knows a way":     {&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, true},
		"the call was cut short": {context.DeadlineExceeded, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := unanswered(tt.err); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func leaseAt(renewed time.Time, seconds int32) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: "node-1"},
		Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: renewed}, LeaseDurationSeconds: &seconds},
	}
}

// What is remembered of a node from one pass to the next. The clock of the node is an
// hour ahead, which must not matter.
func TestSilenceIsRemembered(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	const ahead = 3600
	type pass struct {
		at, asked int
		node      string
		heard     bool
		lease     *coordinationv1.Lease
	}
	quiet := func(seconds, renewed int) pass {
		return pass{at: seconds, asked: seconds - 1, node: "node-1", lease: leaseAt(at(ahead+renewed), 40)}
	}
	tests := map[string]struct {
		passes  []pass
		since   time.Time
		renewed bool
	}{
		"silent since it was asked":         {[]pass{quiet(2, 0)}, at(1), false},
		"silent since it was first asked":   {[]pass{quiet(2, 0), quiet(4, 0)}, at(1), false},
		"silent, and it was never asked":    {[]pass{{at: 2, asked: -ahead, node: "node-1"}}, at(2), false},
		"it was asked too long ago":         {[]pass{{at: 9, asked: 5, node: "node-1"}}, at(9), false},
		"something answered":                {[]pass{quiet(2, 0), {at: 4, node: "node-1", heard: true}}, time.Time{}, false},
		"something answered in between":     {[]pass{quiet(2, 0), {at: 4, node: "node-1", heard: true}, quiet(6, 0)}, at(5), false},
		"its Lease was renewed":             {[]pass{quiet(2, 0), quiet(4, 3)}, at(1), true},
		"its Lease was renewed long ago":    {[]pass{quiet(2, 0), quiet(4, 3), quiet(16, 3)}, at(1), false},
		"its Lease was renewed just not":    {[]pass{quiet(2, 0), quiet(4, 3), quiet(15, 3)}, at(1), true},
		"its Lease could not be read once":  {[]pass{quiet(2, 0), {at: 4, node: "node-1"}, quiet(6, 5)}, at(1), true},
		"a Lease that is renewed less":      {[]pass{quiet(2, 0), {at: 4, node: "node-1", lease: leaseAt(at(ahead+3), 80)}, {at: 27, node: "node-1", lease: leaseAt(at(ahead+3), 80)}}, at(1), true},
		"its next pod is on another node":   {[]pass{quiet(2, 0), {at: 9, asked: 8, node: "node-2", lease: leaseAt(at(ahead+7), 40)}}, at(8), false},
		"that was renewed before the first": {[]pass{quiet(2, -9)}, at(1), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &silence{told: true}
			var last pass
			for _, last = range tt.passes {
				asked := at(last.asked)
				if last.asked == -ahead {
					asked = time.Time{}
				}
				k.note(last.node, last.heard, last.lease, asked, at(last.at))
			}
			renewed := last.lease != nil && k.kubeletLives(last.lease, at(last.at))
			if !k.since.Equal(tt.since) || renewed != tt.renewed || !k.told {
				t.Errorf("silent since %s, renewed %v: %+v", k.since.Sub(start), renewed, k)
			}
		})
	}
}

func TestGraceIsCountedFromWhenItWasSeen(t *testing.T) {
	now := time.Now()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		UID: "1", DeletionTimestamp: &metav1.Time{Time: now.Add(-time.Hour)}, DeletionGracePeriodSeconds: new(int64(10)),
	}}
	r, d := &Reconciler{}, &v1alpha1.CodisDashboard{}
	for _, at := range []time.Duration{0, 13 * time.Second} {
		if got := r.graceOver(d, pod, now.Add(at)); got != at-10*time.Second {
			t.Errorf("its grace is over for %s after %s", got, at)
		}
	}
	pod.UID = "2"
	if got := r.graceOver(d, pod, now.Add(time.Minute)); got != -10*time.Second {
		t.Errorf("the grace of another pod is over for %s", got)
	}
}

// podOn is a pod of the operator's that is ready.
func podOn(node, name, ip string, change func(p *corev1.Pod)) corev1.Pod {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: naming.Labels(naming.ComponentProxy, "p", "d")},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{
			{Name: "main", Ports: []corev1.ContainerPort{{ContainerPort: 80}}},
		}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	if change != nil {
		change(&pod)
	}
	return pod
}

func TestWhoIsAsked(t *testing.T) {
	unready := func(p *corev1.Pod) { p.Status.Conditions = nil }
	pods := []corev1.Pod{
		podOn("b", "here", "1", nil),
		podOn("b", "here-not-ready", "2", unready),
		podOn("b", "ended", "3", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		podOn("b", "page", "4", func(p *corev1.Pod) { p.Labels[v1alpha1.LabelComponent] = naming.ComponentFE }),
		podOn("b", "no-address", "", nil),
		podOn("b", "no-port", "5", func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }),
		podOn("", "on-no-node", "6", nil),
		podOn("c", "c-1", "7", nil), podOn("c", "c-2", "8", nil), podOn("c", "c-3", "9", nil),
		podOn("d", "not-ready", "10", unready),
		podOn("a", "a-1", "11", nil),
	}
	here, elsewhere := byNode(pods, "b")
	names := func(pods []corev1.Pod) (found []string) {
		for _, pod := range pods {
			found = append(found, pod.Name)
		}
		return found
	}
	got := [][]string{names(here)}
	for _, pods := range elsewhere {
		got = append(got, names(pods))
	}
	want := [][]string{{"here", "here-not-ready"}, {"a-1"}, {"c-1", "c-2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A dashboard that is slow is waited for, a host that is cut off is not.
func TestStatsOfAHostThatIsCutOff(t *testing.T) {
	for name, deaf := range map[string]bool{"it is cut off": true, "it is slow": false} {
		t.Run(name, func(t *testing.T) {
			dialled := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if deaf {
					<-r.Context().Done()
					return
				}
				<-dialled // It answers once it was seen that its host lives.
				w.WriteHeader(800)
				_, _ = fmt.Fprint(w, `{"Cause": "topom is not online"}`)
			}))
			t.Cleanup(server.Close)
			r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(time.Now()), Dial: func(context.Context, string) error {
				close(dialled)
				if deaf {
					return errTimeout
				}
				return nil
			}}
			s := &state{}
			_, err := r.stats(t.Context(), s, codis.Dashboard{Addr: server.Listener.Addr().String(), Product: "p"})
			if err == nil || s.deaf != deaf || s.asked.IsZero() {
				t.Errorf("deaf: %v, asked %v, %v", s.deaf, s.asked, err)
			}
		})
	}
}
