// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

// serving is a dashboard that serves, whose lock is in an etcd.
type serving struct {
	*state
	etcd  *fixture.Etcd
	r     *Reconciler
	clock *clocktesting.FakePassiveClock
	// says is the token of the dashboard, since when it was started.
	says, since string
}

// asked counts the looks at the store.
func (f *serving) asked() int { return f.etcd.Reads(lockKey) }

func newServing(t *testing.T) *serving {
	t.Helper()
	f := &serving{etcd: fixture.NewEtcd(t), says: "own", since: "then", clock: clocktesting.NewFakePassiveClock(time.Now())}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, lockTextSince(ownAddr, f.says, f.since))
	}))
	t.Cleanup(server.Close)
	f.etcd.Set(lockKey, lockText(ownAddr, "own"))
	f.state = &state{
		dashboard:   &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "uid"}},
		coordinator: &v1alpha1.CodisCoordinator{},
		store:       store{Store: config.Store{Name: "etcd", Addr: f.etcd.Addr}},
		pod:         &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "pod"}},
		stats:       &codis.Stats{},
		api:         codis.Dashboard{Addr: server.Listener.Addr().String(), Product: "p"},
	}
	f.dashboard.Spec.ProductName = "p"
	f.coordinator.Spec.Type = v1alpha1.CoordinatorExternal
	c := fake.NewClientBuilder().WithScheme(scheme(t)).Build()
	f.r = &Reconciler{Client: c, Reader: c, Clock: f.clock, Domain: naming.Domain("cluster.local")}
	return f
}

// prove is a pass that looks at the dashboard and then at the lock.
func (f *serving) prove(t *testing.T) time.Duration {
	t.Helper()
	model, err := f.api.Model(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.model = model
	after, err := f.r.proveLock(t.Context(), f.state)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// owns tells whether the lock is recorded as that of the dashboard.
func (f *serving) owns() bool {
	return f.dashboard.Status.Store != nil && f.dashboard.Status.Store.Lock != nil
}

func TestTheLockIsRecordedOnceForEachRun(t *testing.T) {
	f := newServing(t)
	for range 3 {
		f.prove(t)
	}
	want := &v1alpha1.StoreStatus{
		Type: v1alpha1.CoordinatorExternal, Kind: v1alpha1.StoreEtcd, Endpoints: []string{f.etcd.Addr},
		Lock: &v1alpha1.StoreLock{Owner: "uid", Token: "own", StartTime: "then"},
	}
	if diff := cmp.Diff(want, f.dashboard.Status.Store); diff != "" {
		t.Error(diff)
	}
	if f.asked() != 1 {
		t.Errorf("the store was asked %d times", f.asked())
	}
	f.says = "again"
	f.etcd.Set(lockKey, lockText(ownAddr, "again"))
	f.prove(t)
	if got := f.dashboard.Status.Store.Lock.Token; got != "again" {
		t.Errorf("after a restart in place the lock is that of %q", got)
	}
}

func TestTheRecordIsForgottenWhenAnotherDashboardHasTheLock(t *testing.T) {
	refused := corev1.ContainerStatus{Name: podtemplate.ConfigContainer, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "held elsewhere:18080"},
	}}
	tests := map[string]struct {
		change func(f *serving)
		want   bool
	}{
		"a new run has it": {func(*serving) {}, true},
		"another has it, and keeps it out": {func(f *serving) {
			f.stats = nil
			f.pod.Status.InitContainerStatuses = []corev1.ContainerStatus{refused}
		}, false},
		"another took it from a new run":      {func(f *serving) { f.etcd.Set(lockKey, lockText(elseAddr, "other")) }, false},
		"a namesake took it from a new run":   {func(f *serving) { f.etcd.Set(lockKey, lockText(ownAddr, "other")) }, false},
		"nobody has it though a new run runs": {func(f *serving) { f.etcd.Release(lockKey) }, false},
		"the dashboard is on its way up":      {func(f *serving) { f.stats = nil }, true},
		"the store is silent":                 {func(f *serving) { f.etcd.Login("other:x") }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newServing(t)
			f.prove(t)
			if !f.owns() {
				t.Fatal("nothing is recorded")
			}
			f.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID("next")}}
			tt.change(f)
			f.prove(t)
			if f.owns() != tt.want {
				t.Errorf("recorded is %+v", f.dashboard.Status.Store)
			}
		})
	}
}

// refusedBy is a pod whose config writer said why it failed.
func refusedBy(said string, started bool) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID("of " + said)}}
	failed := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: said}}
	status := corev1.ContainerStatus{Name: podtemplate.ConfigContainer, State: failed}
	if started {
		status.State, status.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}, failed
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: naming.ComponentDashboard, Started: new(true)}}
	}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{status}
	return pod
}

// endedWith is a pod whose keeper said why it ended, and runs again or not.
func endedWith(said string, again bool) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID("of " + said)}}
	pod.Spec.Containers = []corev1.Container{{Name: naming.ComponentDashboard}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: said}}
	status := corev1.ContainerStatus{Name: naming.ComponentDashboard, State: ended}
	if again {
		status.State, status.LastTerminationState = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, ended
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
	return pod
}

// A dashboard that waits for another one takes the lock as soon as that is away for a
// moment. What is stored is the other's all the same.
func TestAProductThatWasHeldByAnotherIsNeverOnesOwn(t *testing.T) {
	tests := map[string]struct {
		before func(f *serving)
		want   string
	}{
		"it lived":                     {func(f *serving) { f.pod = refusedBy("held "+elseAddr, false) }, elseAddr},
		"it was silent":                {func(f *serving) { f.pod = refusedBy("silent "+elseAddr, false) }, elseAddr},
		"it took the lock from it":     {func(f *serving) { f.pod = endedWith("held "+elseAddr, false) }, elseAddr},
		"it did, and went":             {func(f *serving) { f.pod = endedWith("held "+elseAddr, true) }, elseAddr},
		"a run of another pod had it":  {func(f *serving) { f.pod = endedWith("held "+ownAddr, false) }, ""},
		"it ended otherwise":           {func(f *serving) { f.pod = endedWith("giving up", false) }, ""},
		"nobody looked until it began": {func(f *serving) { f.pod = refusedBy("held "+elseAddr, true) }, elseAddr},
		"it took the lock away":        {func(f *serving) { f.etcd.Set(lockKey, lockText(elseAddr, "other")) }, elseAddr},
		"there was a removal":          {func(f *serving) { f.pod = refusedBy("removing there/d", false) }, ""},
		"there was none":               {func(*serving) {}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newServing(t)
			tt.before(f)
			f.prove(t)
			f.etcd.Set(lockKey, lockText(ownAddr, "own"))
			f.pod, f.heldAnew = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "next"}}, false
			for range 2 {
				f.prove(t)
			}
			if !f.owns() || f.dashboard.Status.Store.HeldBy != tt.want || f.heldAnew {
				t.Errorf("recorded is %+v, want that %q held it", f.dashboard.Status.Store, tt.want)
			}
			f.pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			f.live = &appsv1.StatefulSet{}
			if c := workloadCondition(f.state); strings.Contains(c.Message, elseAddr) != (tt.want != "") {
				t.Errorf("the condition says %s", c.Message)
			}
		})
	}
}

// A pod that says who has the lock stays until that is written down.
func TestAPodStaysUntilItIsWrittenDownWhoHasTheLock(t *testing.T) {
	f := newServing(t)
	f.etcd.Release(lockKey)
	pod := locked(crashLoop)
	f.r.Client = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(pod).Build()
	f.pod, f.stats = pod, nil
	for _, wanted := range []bool{true, false} {
		f.heldAnew = false
		f.prove(t)
		if _, err := f.r.retryLock(t.Context(), f.state); err != nil {
			t.Fatal(err)
		}
		err := f.r.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{})
		if client.IgnoreNotFound(err) != nil || (err == nil) != wanted {
			t.Errorf("the pod: %v, and it is to be there: %v", err, wanted)
		}
	}
}

// The younger one of two dashboards of a product is not started.
func TestTwoDashboardsOfOneProduct(t *testing.T) {
	tests := map[string]struct {
		change  func(s *state, c *v1alpha1.CodisCoordinator)
		blocked bool
	}{
		"it is to be started":        {func(*state, *v1alpha1.CodisCoordinator) {}, true},
		"it runs already":            {func(s *state, _ *v1alpha1.CodisCoordinator) { s.live = &appsv1.StatefulSet{} }, false},
		"each has its own directory": {func(_ *state, c *v1alpha1.CodisCoordinator) { c.Spec.Type = v1alpha1.CoordinatorFilesystem }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			older := &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}}
			older.Spec.ProductName, older.Spec.CoordinatorRef.Name = "p", "c"
			c := keeps(v1alpha1.CoordinatorEtcd, metav1.ConditionTrue, time.Now(), "a:1")
			c.Namespace, c.Name = "ns", "c"
			s := &state{dashboard: older.DeepCopy()}
			s.dashboard.Name = "b"
			tt.change(s, c)
			r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(older, c).Build()}
			if err := r.observeCoordinator(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if s.blocked.Present() != tt.blocked {
				t.Fatalf("blocked: %+v", s.blocked)
			}
			if tt.blocked && (s.blocked.Reason != v1alpha1.ReasonLockHeld || !strings.Contains(s.blocked.Message, `CodisDashboard "a"`)) {
				t.Errorf("it says %+v", s.blocked)
			}
		})
	}
}

func TestAStoreThatIsSilentIsAskedNowAndThen(t *testing.T) {
	f := newServing(t)
	f.etcd.Login("other:x")
	if after := f.prove(t); after != proofPeriod || f.owns() {
		t.Errorf("asked again after %s, recorded %+v", after, f.dashboard.Status.Store)
	}
	f.etcd.Login("")
	f.clock.SetTime(f.clock.Now().Add(proofPeriod))
	if after := f.prove(t); after != 0 || !f.owns() {
		t.Errorf("asked again after %s, recorded %+v", after, f.dashboard.Status.Store)
	}
}

// A pass over an old copy of the object cannot write; the next one has the old copy, too.
func TestARecordWhoseWriteMetAConflictIsMadeAgain(t *testing.T) {
	f := newServing(t)
	f.prove(t)
	before := f.dashboard.DeepCopy()
	f.pod.UID, f.says = "next", "again"
	f.etcd.Set(lockKey, lockText(ownAddr, "again"))
	f.prove(t)
	f.dashboard = before
	f.prove(t)
	if f.dashboard.Status.Store.Lock.Token != "again" || f.asked() != 2 {
		t.Errorf("recorded is %+v, and the store was asked %d times", f.dashboard.Status.Store, f.asked())
	}
}

func TestAStoreThatWasNeverReadIsNotAskedInEachPass(t *testing.T) {
	f := newServing(t)
	f.etcd.Login("other:x")
	f.prove(t)
	f.clock.SetTime(f.clock.Now().Add(proofPeriod / 3))
	if after := f.prove(t); after != proofPeriod*2/3 || f.asked() != 1 {
		t.Errorf("asked %d times, and again after %s", f.asked(), after)
	}
}

func TestADirectoryHasNoLockToRecord(t *testing.T) {
	f := newServing(t)
	f.store = store{Store: config.Store{Name: filesystem, Addr: storeDir}}
	f.prove(t)
	if f.dashboard.Status.Store != nil || f.asked() > 0 {
		t.Errorf("recorded %+v", f.dashboard.Status.Store)
	}
}

// Only a dashboard whose store others reach waits for what it leaves there.
func TestHold(t *testing.T) {
	tests := map[string]struct {
		coordinator v1alpha1.CoordinatorType
		want        bool
	}{
		"an etcd of somebody else": {v1alpha1.CoordinatorExternal, true},
		"an etcd":                  {v1alpha1.CoordinatorEtcd, true},
		"a ZooKeeper":              {v1alpha1.CoordinatorZooKeeper, true},
		"a directory":              {v1alpha1.CoordinatorFilesystem, false},
		"none yet":                 {"", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d"}}
			d.Spec.CoordinatorRef.Name = "c"
			s := &state{dashboard: d}
			if tt.coordinator != "" {
				s.coordinator = &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
				s.coordinator.Spec.Type = tt.coordinator
			}
			r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(d).Build()}
			for _, want := range []bool{tt.want, false} { // Once.
				if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
					t.Fatal(err)
				}
				version := d.ResourceVersion
				held, err := r.hold(t.Context(), s)
				if err != nil || held != want || (d.ResourceVersion != version) != want {
					t.Errorf("hold() = %v, %v", held, err)
				}
			}
			if got := len(d.Finalizers) > 0; got != tt.want {
				t.Errorf("finalizers are %v", d.Finalizers)
			}
		})
	}
}
