// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// standby is a lost node that an operator watches which does not lead.
type standby struct {
	*lostNode
	warmer *Warmer
	// dialled counts connections that were tried, at the dashboard those to it.
	dialled, atDashboard atomic.Int32
}

func newStandby(t *testing.T) *standby {
	t.Helper()
	n := &standby{lostNode: newLostNode(t)}
	n.warmer = NewWarmer(n.r)
	dial := n.r.Dial
	n.r.Dial = func(ctx context.Context, addr string) error {
		n.dialled.Add(1)
		if addr == "1:18080" {
			n.atDashboard.Add(1)
		}
		return dial(ctx, addr)
	}
	n.d.Spec.CoordinatorRef.Name = "c"
	if err := n.client.Update(t.Context(), n.d); err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
	c.Spec.Type = v1alpha1.CoordinatorEtcd
	n.add(c)
	c.Status.Endpoints = []string{coordinatorAddr, n.etcd.Addr}
	if err := n.client.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	n.add(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: naming.Dashboard("d")}})
	return n
}

func (n *standby) request() ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKeyFromObject(n.d)}
}

// watch looks once, and lets a second pass.
func (n *standby) watch() ctrl.Result {
	n.t.Helper()
	result, err := n.warmer.Reconcile(n.t.Context(), n.request())
	if err != nil {
		n.t.Fatal(err)
	}
	n.clock.SetTime(n.clock.Now().Add(time.Second))
	return result
}

// lead makes the part of the first pass of an operator that leads that has to do with silence.
func (n *standby) lead() *state {
	n.t.Helper()
	c := &v1alpha1.CodisCoordinator{}
	c.Spec.Type = v1alpha1.CoordinatorEtcd
	s := &state{
		dashboard: n.d, coordinator: c, pod: n.pod(naming.DashboardPod("d")), watched: n.r.vigil.take(n.request().NamespacedName),
		store: store{Store: config.Store{Name: "etcd", Addr: n.addr}},
	}
	n.r.adopt(s)
	if err := n.r.observeTopology(n.t.Context(), s); err != nil {
		n.t.Error(err)
	}
	if _, err := n.r.replaceSilent(n.t.Context(), s); err != nil {
		n.t.Error(err)
	}
	return s
}

func (n *standby) toldToEnd() bool {
	n.t.Helper()
	pod := n.pod(naming.DashboardPod("d"))
	return pod == nil || pod.DeletionTimestamp != nil
}

// The first pass tries to connect side by side, to the dashboard as to all others: it is not
// asked for its topology, which takes a second more where nothing answers.
func TestOperatorThatWatchedTellsADashboardToEndInItsFirstPass(t *testing.T) {
	n := newStandby(t)
	before := n.api.Version()
	for range 3 {
		if after := n.watch().RequeueAfter; after != reconcile.Closely {
			t.Fatalf("it looks again after %s", after)
		}
	}
	if n.api.Version() != before || len(n.recorder.Events) > 0 {
		t.Fatalf("an operator that does not lead wrote something: %s", n.events())
	}
	n.dialled.Store(0)
	n.atDashboard.Store(0)
	s := n.lead()
	if !n.toldToEnd() {
		t.Error("the dashboard is watched anew")
	}
	if !s.asked.IsZero() {
		t.Error("the dashboard is asked for its topology")
	}
	// 4 here, 2 elsewhere, and those 2 beside it: the look at the node, and nothing else.
	if n.atDashboard.Load() != 2 || n.dialled.Load() != 8 {
		t.Errorf("%d connections, %d of them to the dashboard", n.dialled.Load(), n.atDashboard.Load())
	}
}

// What happens between the last look of an operator and its first pass, or while it looks,
// that keeps it from acting at once.
func TestOperatorThatWatchedLooksAnewBeforeItActs(t *testing.T) {
	none := func(*standby) {}
	tests := map[string]struct {
		// watched happens before the third of four looks, then before the first pass.
		watched, then func(n *standby)
		want          bool
	}{
		"nothing answers, as before":          {watched: none, then: none, want: true},
		"its node answers meanwhile":          {watched: none, then: func(n *standby) { n.cut = nil }},
		"a proxy beside it answers meanwhile": {watched: none, then: func(n *standby) { n.cut = []string{"1:18080", "6:80"} }},
		"the operator is cut off meanwhile":   {watched: none, then: func(n *standby) { n.cut = append(n.cut, "3:80", "4:80") }},
		"the operator stood still": {watched: none, then: func(n *standby) {
			n.clock.SetTime(n.clock.Now().Add(time.Minute))
		}},
		"the operator stood still between two looks": {watched: func(n *standby) {
			n.clock.SetTime(n.clock.Now().Add(time.Minute))
		}, then: none},
		"the operator stood still while it dialled first": {watched: func(n *standby) {
			n.answerOnce()
			n.stopAt("1:18080")
		}, then: none},
		"the operator stood still while it looked around": {watched: func(n *standby) {
			n.stopAt("2:80")
		}, then: none},
		"the operator was cut off": {watched: func(n *standby) {
			n.cut = append(n.cut, "3:80", "4:80")
			n.watch()
			n.cut = n.cut[:3]
		}, then: none},
		"its node answered for a moment": {watched: func(n *standby) { n.answerOnce() }, then: none},
		"its pod was replaced on the same node": {watched: none, then: func(n *standby) {
			if err := n.client.Delete(n.t.Context(), n.pod(naming.DashboardPod("d")), client.GracePeriodSeconds(0)); err != nil {
				n.t.Fatal(err)
			}
			n.dashboardOn("node-1", "1")
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := newStandby(t)
			for i := range 4 {
				if i == 2 {
					tt.watched(n)
				}
				n.watch()
			}
			tt.then(n)
			n.lead()
			if got := n.toldToEnd(); got != tt.want {
				t.Errorf("told to end: %v", got)
			}
		})
	}
}

// answerOnce has everything on the node answer one look.
func (n *standby) answerOnce() {
	cut := n.cut
	n.cut = nil
	n.watch()
	n.cut = cut
}

// stopAt has the operator stand still for a minute when it dials an address next.
func (n *standby) stopAt(addr string) {
	dial, once := n.r.Dial, sync.Once{}
	n.r.Dial = func(ctx context.Context, at string) error {
		if at == addr {
			once.Do(func() { n.clock.SetTime(n.clock.Now().Add(time.Minute)) })
		}
		return dial(ctx, at)
	}
}

// A dashboard that answers costs one connection in the time of a steady pass.
func TestDashboardThatAnswersIsDialledOnce(t *testing.T) {
	n := newStandby(t)
	n.cut = nil
	if after := n.watch().RequeueAfter; after != reconcile.Steady || n.dialled.Load() != 1 {
		t.Errorf("%d connections, and again after %s", n.dialled.Load(), after)
	}
	n.cut = []string{"1:18080"} // Its pod is away for long, and its node is not.
	if after := n.watch().RequeueAfter; after != reconcile.Steady || len(n.r.vigil.known) != 0 {
		t.Errorf("looked at again after %s: %+v", after, n.r.vigil.known)
	}
}

// The reconciler begins while the warmer looks: what that sees is older, and counts no more.
func TestVigilEndsWithTheFirstPass(t *testing.T) {
	n := newStandby(t)
	for range 3 {
		n.watch()
	}
	dial, leads := n.r.Dial, atomic.Bool{}
	n.r.Dial = func(ctx context.Context, addr string) error {
		if leads.CompareAndSwap(false, true) { // That dials, too.
			n.lead()
		}
		return dial(ctx, addr)
	}
	n.watch()
	if !n.toldToEnd() || len(n.r.vigil.known) != 0 {
		t.Errorf("remembered beside the reconciler: %+v", n.r.vigil.known)
	}
	n.dialled.Store(0)
	if after := n.watch().RequeueAfter; after != 0 || n.dialled.Load() != 0 {
		t.Errorf("%d connections beside the reconciler, and again after %s", n.dialled.Load(), after)
	}
}

// Many looks of both go on at once; the race detector sees whether they share anything.
func TestWarmerAndReconcilerShareNothing(t *testing.T) {
	n := newStandby(t)
	n.watch()
	var all sync.WaitGroup
	all.Go(func() {
		for range 50 {
			_, _ = n.warmer.Reconcile(t.Context(), n.request())
		}
	})
	n.lead()
	n.lead()
	all.Wait()
	if len(n.r.vigil.known) != 0 {
		t.Errorf("remembered beside the reconciler: %+v", n.r.vigil.known)
	}
}

// The memory of a dashboard goes with it, and with what makes it worth watching.
func TestWarmerForgets(t *testing.T) {
	tests := map[string]func(n *standby) error{
		"the dashboard is gone": func(n *standby) error { return n.client.Delete(n.t.Context(), n.d) },
		"its pod is told to end": func(n *standby) error {
			return n.client.Delete(n.t.Context(), n.pod(naming.DashboardPod("d")))
		},
		"its coordinator is gone": func(n *standby) error {
			return n.client.Delete(n.t.Context(), &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}})
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			n := newStandby(t)
			if n.watch(); len(n.r.vigil.known) != 1 {
				t.Fatal("nothing is known of it")
			}
			if err := change(n); err != nil {
				t.Fatal(err)
			}
			if n.watch(); len(n.r.vigil.known) != 0 {
				t.Errorf("still known: %+v", n.r.vigil.known)
			}
		})
	}
}

func TestWhichDashboardsAreWatched(t *testing.T) {
	now := metav1.Now()
	tests := map[string]struct {
		change func(s *state)
		want   bool
	}{
		"it runs":                       {func(*state) {}, true},
		"it is deleted":                 {func(s *state) { s.dashboard.DeletionTimestamp = &now }, false},
		"it is paused":                  {func(s *state) { s.dashboard.Annotations = map[string]string{v1alpha1.AnnotationPaused: "true"} }, false},
		"no coordinator":                {func(s *state) { s.coordinator = nil }, false},
		"no pod could be made":          {func(s *state) { s.blocked = &product.Problem{Reason: "r"} }, false},
		"it has a directory of its own": {func(s *state) { s.store.Name = filesystem }, false},
		"no pod":                        {func(s *state) { s.pod = nil }, false},
		"its pod is ending":             {func(s *state) { s.pod.DeletionTimestamp = &now }, false},
		"its pod is on no node":         {func(s *state) { s.pod.Spec.NodeName = "" }, false},
		"its pod has no address":        {func(s *state) { s.pod.Status.PodIP = "" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := podOn("node-1", "d-dashboard-0", "1", nil)
			s := &state{
				dashboard: &v1alpha1.CodisDashboard{}, coordinator: &v1alpha1.CodisCoordinator{}, pod: &pod,
				store: store{Store: config.Store{Name: "etcd"}},
			}
			if tt.change(s); toWatch(s) != tt.want {
				t.Errorf("watched: %v", !tt.want)
			}
		})
	}
}

func TestWhetherASilenceGoesOn(t *testing.T) {
	start := time.Now()
	known := sighting{pod: "1", silence: silence{node: "node-1", since: start}, looked: start.Add(time.Second)}
	tests := map[string]struct {
		change func(k *sighting, pod *corev1.Pod)
		after  time.Duration
		want   bool
	}{
		"looked at a moment ago":        {nil, time.Second, true},
		"looked at just in time":        {nil, lookTimeout, true},
		"nobody looked for a while":     {nil, lookTimeout + 1, false},
		"something answered":            {func(k *sighting, _ *corev1.Pod) { k.since = time.Time{} }, 0, false},
		"another pod":                   {func(_ *sighting, pod *corev1.Pod) { pod.UID = "2" }, 0, false},
		"another node":                  {func(_ *sighting, pod *corev1.Pod) { pod.Spec.NodeName = "node-2" }, 0, false},
		"it was never looked at before": {func(k *sighting, _ *corev1.Pod) { *k = sighting{} }, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k, pod := known, podOn("node-1", "d-dashboard-0", "1", func(p *corev1.Pod) { p.UID = "1" })
			if tt.change != nil {
				tt.change(&k, &pod)
			}
			if got := k.goesOn(&pod, known.looked.Add(tt.after)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if known.goesOn(nil, known.looked) {
		t.Error("it goes on without a pod")
	}
}
