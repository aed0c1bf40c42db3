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
	"strings"
	"sync"
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

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// keys is an etcd of one member that knows as much of the v2 API as is needed.
type keys struct {
	mu   sync.Mutex
	all  map[string]string
	auth string
}

func (k *keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if user, password, _ := r.BasicAuth(); user+":"+password != k.auth {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/v2/keys")
	value, found := k.all[key]
	switch {
	case r.Method == http.MethodPut && found:
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = fmt.Fprint(w, `{"errorCode":105}`)
		return
	case r.Method == http.MethodPut:
		k.all[key] = r.URL.Query().Get("value")
	case r.Method == http.MethodDelete:
		for other := range k.all {
			if strings.HasPrefix(other, key+"/") {
				delete(k.all, other)
			}
		}
	case !found:
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"errorCode":100}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"node": map[string]string{"value": value}})
}

const ownLock = `{"admin_addr":"d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080"}`

// leaving is a deleted dashboard with all that is around it.
type leaving struct {
	dashboard   *v1alpha1.CodisDashboard
	coordinator *v1alpha1.CodisCoordinator
	set         *appsv1.StatefulSet
	pod         *corev1.Pod
	secret      *corev1.Secret
	store       *keys
}

func newLeaving(t *testing.T, now time.Time) *leaving {
	t.Helper()
	l := &leaving{store: &keys{all: map[string]string{
		"/codis3/p/slots/slot-0000": "{}", "/codis3/p/topom": ownLock, "/codis3/p2/topom": "{}",
	}, auth: "root:x"}}
	server := httptest.NewServer(l.store)
	t.Cleanup(server.Close)
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "ns", Name: name} }
	l.dashboard = &v1alpha1.CodisDashboard{ObjectMeta: meta("d")}
	l.dashboard.UID = "1"
	l.dashboard.Finalizers = []string{v1alpha1.Finalizer}
	l.dashboard.DeletionTimestamp = &metav1.Time{Time: now}
	l.dashboard.Spec.ProductName, l.dashboard.Spec.CoordinatorRef.Name = "p", "c"
	l.dashboard.Status.Store = &v1alpha1.StoreStatus{
		Type: v1alpha1.CoordinatorExternal, Kind: v1alpha1.StoreEtcd,
		Endpoints: []string{server.Listener.Addr().String()}, AuthSecretName: "login",
	}
	l.coordinator = &v1alpha1.CodisCoordinator{ObjectMeta: meta("c")}
	l.secret = &corev1.Secret{ObjectMeta: meta("login"), Data: map[string][]byte{"password": []byte("x")}}
	return l
}

// runs adds a pod of the dashboard and its StatefulSet.
func (l *leaving) runs(owner *v1alpha1.CodisDashboard) {
	controller := []metav1.OwnerReference{{UID: owner.UID, Controller: new(true)}}
	l.set = &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: naming.Dashboard("d"), OwnerReferences: controller},
		Spec:       appsv1.StatefulSetSpec{Replicas: new(int32(1))},
	}
	l.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: naming.DashboardPod("d")}}
}

func (l *leaving) objects() []client.Object {
	objects := []client.Object{l.dashboard}
	if l.coordinator != nil {
		objects = append(objects, l.coordinator)
	}
	if l.secret != nil {
		objects = append(objects, l.secret)
	}
	if l.set != nil {
		objects = append(objects, l.set, l.pod)
	}
	return objects
}

func TestFinalize(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	managed := func(l *leaving) {
		l.dashboard.Status.Store.Type, l.dashboard.Status.Store.AuthSecretName = v1alpha1.CoordinatorEtcd, ""
		l.store.auth = ":"
	}
	tests := map[string]struct {
		change       func(l *leaving)
		stays, kept  bool
		event, waits string
	}{
		"it has ended":                      {event: "Normal TopologyRemoved Removed /codis3/p"},
		"nobody has the lock":               {change: func(l *leaving) { delete(l.store.all, "/codis3/p/topom") }, event: "Normal TopologyRemoved"},
		"nothing is there":                  {change: func(l *leaving) { l.store.all = map[string]string{"/codis3/p2/topom": ""} }, event: "Normal TopologyRemoved"},
		"its coordinator went first":        {change: func(l *leaving) { l.coordinator = nil }, event: "Normal TopologyRemoved"},
		"the operator runs the store":       {change: managed, event: "Normal TopologyRemoved"},
		"it never answered":                 {change: func(l *leaving) { l.dashboard.Status.Store = nil }, kept: true},
		"the operator ran the store":        {change: func(l *leaving) { managed(l); l.coordinator = nil }, kept: true},
		"the operator's store goes":         {change: func(l *leaving) { managed(l); goes(&l.coordinator.ObjectMeta, now) }, kept: true},
		"its pod has not ended":             {change: func(l *leaving) { l.runs(l.dashboard) }, stays: true, kept: true, waits: "deleting: pod d-dashboard-0 on node  has not ended"},
		"its pod does not end":              {change: func(l *leaving) { l.runs(l.dashboard); l.old(now) }, kept: true, event: "Warning TopologyLeft Left /codis3/p"},
		"the pod is somebody else's":        {change: func(l *leaving) { l.runs(&v1alpha1.CodisDashboard{}) }, event: "Normal TopologyRemoved"},
		"a silent dashboard has the lock":   {change: func(l *leaving) { l.store.all["/codis3/p/topom"] = `{"admin_addr":"` + silentHost(t) + `"}` }, kept: true, event: "Warning TopologyLeft"},
		"the store refuses its login":       {change: func(l *leaving) { l.store.auth = "other" }, stays: true, kept: true, waits: "answers 401"},
		"the store never takes its login":   {change: func(l *leaving) { l.store.auth = "other"; l.old(now) }, kept: true, event: "Warning TopologyLeft"},
		"the login of the store went first": {change: func(l *leaving) { l.secret = nil }, kept: true, event: "Warning TopologyLeft"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLeaving(t, now)
			if tt.change != nil {
				tt.change(l)
			}
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithStatusSubresource(l.dashboard).WithObjects(l.objects()...).Build()
			recorder := events.NewFakeRecorder(4)
			r := &Reconciler{
				Client: c, Reader: c, Recorder: recorder, Clock: clocktesting.NewFakePassiveClock(now), Domain: naming.Domain("cluster.local"),
			}
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(l.dashboard)}); err != nil {
				t.Fatal(err)
			}
			l.expect(t, c, tt.stays, tt.kept, tt.waits)
			if got := said(recorder); !strings.HasPrefix(got, tt.event) || tt.event == "" && got != "" {
				t.Errorf("event %q, want %q", got, tt.event)
			}
		})
	}
}

// old makes a deletion last longer than anybody waits.
func (l *leaving) old(now time.Time) {
	l.dashboard.DeletionTimestamp = &metav1.Time{Time: now.Add(-patience - time.Second)}
}

func goes(meta *metav1.ObjectMeta, now time.Time) {
	meta.DeletionTimestamp, meta.Finalizers = &metav1.Time{Time: now}, []string{"x/y"}
}

// expect compares what is left with what shall be.
func (l *leaving) expect(t *testing.T, c client.Client, stays, kept bool, waits string) {
	t.Helper()
	d := &v1alpha1.CodisDashboard{}
	err := c.Get(context.Background(), client.ObjectKeyFromObject(l.dashboard), d)
	if apierrors.IsNotFound(err) == stays {
		t.Errorf("the dashboard: %v", err)
	}
	if waits != "" && (len(d.Status.Conditions) != 1 || !strings.Contains(d.Status.Conditions[0].Message, waits)) {
		t.Errorf("conditions %v, want %q", d.Status.Conditions, waits)
	}
	if _, found := l.store.all["/codis3/p/slots/slot-0000"]; found != kept {
		t.Errorf("the store has %v", l.store.all)
	}
	if _, found := l.store.all["/codis3/p2/topom"]; !found {
		t.Error("the product of somebody else is gone")
	}
	if l.set == nil || !metav1.IsControlledBy(l.set, l.dashboard) {
		return
	}
	set := &appsv1.StatefulSet{}
	if err := c.Get(context.Background(), client.ObjectKeyFromObject(l.set), set); err != nil || *set.Spec.Replicas != 0 {
		t.Errorf("the StatefulSet has %d replicas, %v", *set.Spec.Replicas, err)
	}
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

func said(recorder *events.FakeRecorder) string {
	select {
	case text := <-recorder.Events:
		return text
	default:
		return ""
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
