// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
)

const (
	lockKey  = "/codis3/p/topom"
	slotKey  = "/codis3/p/slots/slot-0000"
	ownAddr  = "d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080"
	elseAddr = "d-dashboard-0.d-dashboard.other.svc.cluster.local:18080"
)

// lockText is the lock of one run of a dashboard.
func lockText(addr, token string) string { return lockTextSince(addr, token, "then") }

func lockTextSince(addr, token, since string) string {
	return fmt.Sprintf(`{"token": %q, "start_time": %q, "admin_addr": %q, "product_name": "p"}`, token, since, addr)
}

// leaving is a deleted dashboard with all that is around it.
type leaving struct {
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	etcd  *fixture.Etcd

	dashboard   *v1alpha1.CodisDashboard
	coordinator *v1alpha1.CodisCoordinator
	others      []client.Object
	set         *appsv1.StatefulSet
	pod         *corev1.Pod
	secret      *corev1.Secret
	// hangs tells that the pod never ends, killed that it leaves its lock.
	hangs, killed bool

	client   client.WithWatch
	recorder *events.FakeRecorder
}

// newLeaving is a dashboard that served, and is deleted now.
func newLeaving(t *testing.T) *leaving {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	l := &leaving{t: t, clock: clocktesting.NewFakePassiveClock(now), etcd: fixture.NewEtcd(t), recorder: events.NewFakeRecorder(16)}
	l.etcd.Login("root:x")
	for _, key := range []string{slotKey, "/codis3/p/group/group-0001", "/codis3/p/proxy/proxy-1", "/codis3/p2/topom", "/codis3/p2/slots/slot-0000"} {
		l.etcd.Set(key, "{}")
	}
	l.etcd.Set(lockKey, lockText(ownAddr, "own"))
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "ns", Name: name} }
	l.dashboard = &v1alpha1.CodisDashboard{ObjectMeta: meta("d")}
	l.dashboard.UID = "uid"
	l.dashboard.Finalizers = []string{v1alpha1.Finalizer}
	l.dashboard.DeletionTimestamp = &metav1.Time{Time: now}
	l.dashboard.Spec.ProductName, l.dashboard.Spec.CoordinatorRef.Name = "p", "c"
	l.dashboard.Status.Store = &v1alpha1.StoreStatus{
		Type: v1alpha1.CoordinatorExternal, Kind: v1alpha1.StoreEtcd, Endpoints: []string{l.etcd.Addr}, AuthSecretName: "login",
		Lock: &v1alpha1.StoreLock{Owner: "uid", Token: "own", StartTime: "then"},
	}
	l.coordinator = &v1alpha1.CodisCoordinator{ObjectMeta: meta("c")}
	l.coordinator.Spec.Type = v1alpha1.CoordinatorExternal
	l.coordinator.Spec.External = &v1alpha1.ExternalStore{Kind: v1alpha1.StoreEtcd}
	l.coordinator.Spec.AuthSecretRef = &v1alpha1.SecretReference{Name: "login"}
	l.coordinator.Status.Endpoints = []string{l.etcd.Addr}
	l.secret = &corev1.Secret{ObjectMeta: meta("login"), Data: map[string][]byte{"password": []byte("x")}}
	l.set = setOf(l.dashboard, 1)
	l.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: naming.DashboardPod("d"),
		OwnerReferences: []metav1.OwnerReference{{UID: "set", Controller: new(true)}},
	}}
	l.pod.Spec.NodeName = "node-1"
	return l
}

// operatorRuns makes the store one that the operator runs, for a cluster.
func (l *leaving) operatorRuns(cluster *v1alpha1.CodisCluster) {
	l.dashboard.Status.Store.Type, l.dashboard.Status.Store.AuthSecretName = v1alpha1.CoordinatorEtcd, ""
	l.coordinator.Spec = v1alpha1.CodisCoordinatorSpec{}
	l.coordinator.Spec.Type = v1alpha1.CoordinatorEtcd
	l.etcd.Login("")
	if cluster != nil {
		l.coordinator.OwnerReferences = []metav1.OwnerReference{{Kind: "CodisCluster", Name: "cc", UID: "cluster", Controller: new(true)}}
	}
}

// ownedBy makes the dashboard one of a cluster.
func (l *leaving) ownedBy(cluster *v1alpha1.CodisCluster) {
	l.dashboard.OwnerReferences = []metav1.OwnerReference{{Kind: "CodisCluster", Name: "cc", UID: "cluster", Controller: new(true)}}
	l.others = append(l.others, cluster)
}

// start puts the objects into an API server.
func (l *leaving) start() {
	l.t.Helper()
	objects := slices.Concat([]client.Object{l.dashboard}, l.others)
	if l.coordinator != nil {
		objects = append(objects, l.coordinator)
	}
	if l.secret != nil {
		objects = append(objects, l.secret)
	}
	if l.set != nil {
		objects = append(objects, l.set)
	}
	if l.pod != nil {
		objects = append(objects, l.pod)
	}
	l.client = fake.NewClientBuilder().WithScheme(scheme(l.t)).WithStatusSubresource(&v1alpha1.CodisDashboard{}).
		WithObjects(objects...).Build()
}

func (l *leaving) reconciler() *Reconciler {
	return &Reconciler{
		Client: l.client, Reader: l.client, Recorder: l.recorder, Clock: l.clock, Domain: naming.Domain("cluster.local"),
	}
}

// live returns the dashboard, nil once nothing of the operator's keeps it.
func (l *leaving) live() *v1alpha1.CodisDashboard {
	l.t.Helper()
	d := &v1alpha1.CodisDashboard{}
	err := l.client.Get(context.Background(), client.ObjectKeyFromObject(l.dashboard), d)
	if apierrors.IsNotFound(err) || err == nil && !slices.Contains(d.Finalizers, v1alpha1.Finalizer) {
		return nil
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

// kubernetes ends the pod of a set that wants none; the dashboard releases its lock.
func (l *leaving) kubernetes() {
	l.t.Helper()
	if l.set == nil || l.pod == nil || l.hangs {
		return
	}
	set := &appsv1.StatefulSet{}
	if err := l.client.Get(context.Background(), client.ObjectKeyFromObject(l.set), set); err != nil {
		l.t.Fatal(err)
	}
	if *set.Spec.Replicas > 0 {
		return
	}
	if !l.killed {
		l.etcd.Release(lockKey)
	}
	if err := l.client.Delete(context.Background(), l.pod); err != nil && !apierrors.IsNotFound(err) {
		l.t.Fatal(err)
	}
}

// pass reconciles once.
func (l *leaving) pass(r *Reconciler) {
	l.t.Helper()
	_, err := r.Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(l.dashboard)})
	if err != nil {
		l.t.Fatal(err)
	}
}

// rest reconciles until the dashboard is gone, for more time than anybody has patience.
func (l *leaving) rest(r *Reconciler) {
	l.t.Helper()
	for range 20 {
		l.pass(r)
		if l.live() == nil {
			return
		}
		l.kubernetes()
		l.clock.SetTime(l.clock.Now().Add(patience / 10))
	}
	l.t.Fatalf("the dashboard stays: %+v", l.live().Status)
}

// events that were sent.
func (l *leaving) events() string {
	var all []string
	for len(l.recorder.Events) > 0 {
		all = append(all, <-l.recorder.Events)
	}
	return strings.Join(all, "\n")
}

const (
	topologyRemoved = "Normal TopologyRemoved Removed /codis3/p from the Etcd at "
	topologyLeft    = "Warning TopologyLeft Left /codis3/p in the Etcd at "
	leftOnPurpose   = "Normal TopologyLeft Left /codis3/p in the Etcd at "
)

// What becomes of a product when its dashboard is deleted.
func TestFinalize(t *testing.T) {
	goes := func(m *metav1.ObjectMeta) {
		m.DeletionTimestamp, m.Finalizers = &metav1.Time{Time: time.Now()}, []string{"x/y"}
	}
	cluster := func(uid string) *v1alpha1.CodisCluster {
		c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "cc", UID: "cluster"}}
		if uid == "going" {
			goes(&c.ObjectMeta)
		} else {
			c.UID = "cluster"
		}
		return c
	}
	// The lock that another dashboard has, and whether it is there now.
	foreign := func(addr string) func(*leaving) {
		return func(l *leaving) { l.etcd.Set(lockKey, lockText(addr, "other")) }
	}
	tests := map[string]struct {
		change func(l *leaving)
		event  string
		why    string
		// kept tells that the slots are there at the end; lock is the lock then.
		kept bool
		lock string
	}{
		"it runs":                                       {event: topologyRemoved},
		"its process was killed":                        {change: func(l *leaving) { l.killed = true }, event: topologyRemoved},
		"it was killed before":                          {change: func(l *leaving) { l.set, l.pod = nil, nil }, event: topologyRemoved},
		"its coordinator went first":                    {change: func(l *leaving) { l.coordinator = nil }, event: topologyRemoved},
		"a coordinator of the operator stays":           {change: func(l *leaving) { l.operatorRuns(nil) }, event: topologyRemoved},
		"a coordinator of a cluster that stays":         {change: func(l *leaving) { l.operatorRuns(cluster("")); l.others = append(l.others, cluster("")) }, event: topologyRemoved},
		"a coordinator of a cluster that goes":          {change: func(l *leaving) { l.operatorRuns(cluster("")); l.others = append(l.others, cluster("going")) }, kept: true, lock: "own"},
		"a coordinator of a cluster that is gone":       {change: func(l *leaving) { l.operatorRuns(cluster("")) }, kept: true, lock: "own"},
		"a coordinator of the operator that goes":       {change: func(l *leaving) { l.operatorRuns(nil); goes(&l.coordinator.ObjectMeta) }, kept: true, lock: "own"},
		"a coordinator of the operator that is gone":    {change: func(l *leaving) { l.operatorRuns(nil); l.coordinator = nil }, kept: true, lock: "own"},
		"its own cluster stays":                         {change: func(l *leaving) { l.ownedBy(cluster("")) }, event: leftOnPurpose, why: "its CodisCluster stays", kept: true, lock: "own"},
		"its own cluster goes":                          {change: func(l *leaving) { l.ownedBy(cluster("going")) }, event: topologyRemoved},
		"a directory":                                   {change: func(l *leaving) { l.dashboard.Status.Store = nil; l.coordinator.Spec = v1alpha1.CodisCoordinatorSpec{} }, kept: true, lock: "own"},
		"nothing is there":                              {change: func(l *leaving) { l.etcd.Delete("/codis3/p") }},
		"another dashboard has the lock":                {change: foreign(elseAddr), event: topologyLeft, why: "the dashboard at " + elseAddr + " has its lock", kept: true, lock: "other"},
		"a namesake in another Kubernetes has the lock": {change: foreign(ownAddr), event: topologyLeft, why: "in a run that this one does not know", kept: true, lock: "other"},
		"another dashboard restarts just now":           {change: func(l *leaving) { l.etcd.Release(lockKey) }, event: topologyLeft, why: "nobody has its lock, which does not say whose it is", kept: true},
		"its own pod restarts just now":                 {change: func(l *leaving) { l.etcd.Release(lockKey); l.pod = nil }, event: topologyLeft, why: "does not say whose it is", kept: true},
		"nothing was ever recorded":                     {change: func(l *leaving) { l.dashboard.Status.Store = nil }, event: topologyLeft, why: "in a run that this one does not know", kept: true, lock: "own"},
		"the record is that of a copied object":         {change: func(l *leaving) { l.dashboard.Status.Store.Lock.Owner = "original" }, event: topologyLeft, why: "does not know", kept: true, lock: "own"},
		"a run of its own that nobody recorded has it":  {change: func(l *leaving) { l.etcd.Set(lockKey, lockText(ownAddr, "next")) }, event: topologyLeft, why: "does not know", kept: true, lock: "next"},
		"its pods are to stay": {change: func(l *leaving) {
			l.dashboard.Finalizers = append(l.dashboard.Finalizers, metav1.FinalizerOrphanDependents)
		}, event: leftOnPurpose, why: "its pods are not its own any more", kept: true, lock: "own"},
		"its pods were made orphans":      {change: func(l *leaving) { l.set.OwnerReferences = nil }, event: leftOnPurpose, why: "its pods are not its own any more", kept: true, lock: "own"},
		"its pod was made an orphan":      {change: func(l *leaving) { l.set = nil; l.pod.OwnerReferences = nil }, event: leftOnPurpose, why: "its pods are not its own any more", kept: true, lock: "own"},
		"the product is to stay":          {change: func(l *leaving) { l.dashboard.Spec.ReclaimPolicy = v1alpha1.ReclaimRetain }, event: leftOnPurpose, why: "spec.reclaimPolicy is Retain", kept: true, lock: "own"},
		"the store refuses its login":     {change: func(l *leaving) { l.etcd.Login("other:y") }, event: topologyLeft, why: "it answers 401", kept: true, lock: "own"},
		"the login went first":            {change: func(l *leaving) { l.secret = nil }, event: topologyLeft, why: `Secret "login"`, kept: true, lock: "own"},
		"its pod does not end":            {change: func(l *leaving) { l.hangs = true }, event: topologyLeft, why: "pod d-dashboard-0 on node node-1 has not ended", kept: true, lock: "own"},
		"the lock is none of a dashboard": {change: func(l *leaving) { l.etcd.Set(lockKey, "x") }, event: topologyLeft, why: "it is no lock of a dashboard", kept: true},
		"it is being removed for another": {change: func(l *leaving) {
			l.etcd.Delete(lockKey)
			l.etcd.Set(lockKey+"/removing", `{"owner": "other", "dashboard": "there/d"}`)
		}, event: topologyLeft, why: "it is being removed for CodisDashboard there/d", kept: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLeaving(t)
			if tt.change != nil {
				tt.change(l)
			}
			l.start()
			l.rest(l.reconciler())
			l.expect(tt.event, tt.why)
			if kept := l.etcd.Get(slotKey) != ""; kept != tt.kept {
				t.Errorf("the store has %v", l.etcd.Keys("/codis3"))
			}
			if tt.lock != "" && !strings.Contains(l.etcd.Get(lockKey), tt.lock) {
				t.Errorf("the lock is %s, want %s", l.etcd.Get(lockKey), tt.lock)
			}
			if !tt.kept && len(l.etcd.Keys("/codis3/p")) > 0 {
				t.Errorf("a namesake finds %v", l.etcd.Keys("/codis3/p"))
			}
			l.neighbourStays()
		})
	}
}

// expect one event, or none.
func (l *leaving) expect(event, why string) {
	l.t.Helper()
	got := l.events()
	if !strings.HasPrefix(got, event) || (event == "") != (got == "") || !strings.Contains(got, why) || strings.Contains(got, "\n") {
		l.t.Errorf("events %q, want %q with %q", got, event, why)
	}
	if strings.HasPrefix(event, "Warning") && !strings.Contains(got, "rm --recursive /codis3/p") {
		l.t.Errorf("it does not say how to remove it: %q", got)
	}
}

func (l *leaving) neighbourStays() {
	l.t.Helper()
	if got := l.etcd.Keys("/codis3/p2"); len(got) != 4 {
		l.t.Errorf("of the neighbour there is %v", got)
	}
}

// No key is removed before the pod is seen gone, and meanwhile nobody can take the lock.
func TestTheDashboardIsSeenGoneFirst(t *testing.T) {
	l := newLeaving(t)
	l.hangs = true
	l.start()
	r := l.reconciler()
	for range 3 {
		l.pass(r)
	}
	if l.etcd.Get(slotKey) == "" {
		t.Error("slots were removed under a dashboard that runs")
	}
	if l.etcd.Release(lockKey) {
		t.Error("a dashboard that ends, or starts with --remove-lock, can release the lock")
	}
	ready := l.live().Status.Conditions[0]
	if ready.Reason != v1alpha1.ReasonRemovingTopology || !strings.Contains(ready.Message, "pod d-dashboard-0 on node node-1 has not ended") {
		t.Errorf("it says %+v", ready)
	}
	version := l.live().ResourceVersion
	l.pass(r)
	if got := l.live().ResourceVersion; got != version {
		t.Error("waiting writes")
	}
	l.hangs = false
	l.kubernetes()
	l.pass(r)
	if l.live() != nil || len(l.etcd.Keys("/codis3/p")) > 0 {
		t.Errorf("then there is %+v, %v", l.live(), l.etcd.Keys("/codis3/p"))
	}
}

// A person who changes their mind while the dashboard ends keeps it.
func TestALockThatWasPinnedInVainIsPutBack(t *testing.T) {
	changes := map[string]func(d *v1alpha1.CodisDashboard){
		"its pods are to stay": func(d *v1alpha1.CodisDashboard) {
			d.Finalizers = append(d.Finalizers, metav1.FinalizerOrphanDependents)
		},
		"the product is to stay": func(d *v1alpha1.CodisDashboard) { d.Spec.ReclaimPolicy = v1alpha1.ReclaimRetain },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			l := newLeaving(t)
			l.hangs = true
			l.etcd.Delete(lockKey)
			l.etcd.Set(lockKey+"/removing", `{"owner": "uid", "dashboard": "ns/d", "lock": "{\"token\": \"own\"}"}`)
			change(l.dashboard)
			l.start()
			l.rest(l.reconciler())
			if got := l.etcd.Get(lockKey); got != `{"token": "own"}` {
				t.Errorf("the lock is %q", got)
			}
			if got := l.events(); !strings.HasPrefix(got, leftOnPurpose) {
				t.Errorf("events %q", got)
			}
		})
	}
}

// Patience counts from the first try, not from the deletion: the operator may have been away.
func TestPatienceCountsFromTheFirstTry(t *testing.T) {
	l := newLeaving(t)
	l.dashboard.DeletionTimestamp = &metav1.Time{Time: l.clock.Now().Add(-time.Hour)}
	l.etcd.Login("other:y")
	l.start()
	l.pass(l.reconciler())
	if d := l.live(); d == nil || d.Status.Store.RemovalTime == nil {
		t.Fatalf("after the first try there is %+v", d)
	}
	l.clock.SetTime(l.clock.Now().Add(patience + 2*time.Second))
	l.pass(l.reconciler()) // The next operator.
	if l.live() != nil {
		t.Error("the next operator begins to count anew")
	}
	l.expect(topologyLeft, "401")
}

// mortal is an operator that dies right after its nth change, in the store or in Kubernetes.
type mortal struct {
	changes, limit int
	last           string
	die            context.CancelFunc
}

func (m *mortal) changed(what string) (died bool) {
	m.changes++
	m.last = what
	if m.changes >= m.limit {
		m.die()
	}
	return m.changes >= m.limit
}

// client is one through which a dead operator changes nothing.
func (m *mortal) client(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			defer m.changed(fmt.Sprintf("a patch of %T", o))
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			defer m.changed(fmt.Sprintf("a patch of the status of %T", o))
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			defer m.changed(fmt.Sprintf("an update of the status of %T", o))
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	})
}

// Whatever change the operator dies after, the next one comes to an end that is told, and
// nobody can start on what is half removed. Only between the two steps in which an etcd
// pins a lock, the proof is lost, and the whole product is left.
func TestACrashAfterAnyChangeConverges(t *testing.T) {
	var left []string
	n := 1
	for crashed := true; crashed; n++ {
		l := newLeaving(t)
		l.start()
		ctx, die := context.WithCancel(t.Context())
		m := &mortal{limit: n, die: die}
		l.etcd.OnChange(func(_ int, method, key string) bool { return m.changed(method + " " + key) })
		dying := l.reconciler()
		dying.Client = m.client(l.client)
		for ctx.Err() == nil && l.live() != nil {
			_, _ = dying.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(l.dashboard)})
			l.kubernetes()
		}
		die()
		l.etcd.OnChange(nil)
		half := l.etcd.Get(slotKey) == "" && len(l.etcd.Keys("/codis3/p/group")) > 0
		if half && l.etcd.Release(lockKey) {
			t.Errorf("after %s somebody can start on %v", m.last, l.etcd.Keys("/codis3/p"))
		}
		if crashed = l.live() != nil; crashed {
			l.rest(l.reconciler())
		}
		if len(l.etcd.Keys("/codis3/p")) > 0 {
			if l.etcd.Get(slotKey) == "" || l.etcd.Get("/codis3/p/group/group-0001") == "" || !strings.HasPrefix(l.events(), topologyLeft) {
				t.Errorf("after %s there is %v", m.last, l.etcd.Keys("/codis3/p"))
			}
			left = append(left, m.last)
		}
		l.neighbourStays()
	}
	if want := []string{"DELETE " + lockKey}; !slices.Equal(left, want) {
		t.Errorf("a product was left after %v, want %v", left, want)
	}
	if n < 10 {
		t.Errorf("only %d changes were seen", n)
	}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
