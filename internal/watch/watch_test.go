// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// meta of an object that was made a number of seconds after the epoch.
func meta(namespace, name string, age int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Time{Time: epoch.Add(time.Duration(age) * time.Second)}}
}

func group(namespace, name, dashboard string, id int32, age int) *v1alpha1.CodisGroup {
	g := &v1alpha1.CodisGroup{ObjectMeta: meta(namespace, name, age)}
	g.Spec.DashboardRef.Name, g.Spec.ID = dashboard, id
	return g
}

func proxy(namespace, name, dashboard string) *v1alpha1.CodisProxy {
	p := &v1alpha1.CodisProxy{ObjectMeta: meta(namespace, name, 0)}
	p.Spec.DashboardRef.Name = dashboard
	return p
}

func dashboard(namespace, name, coordinator string) *v1alpha1.CodisDashboard {
	d := &v1alpha1.CodisDashboard{ObjectMeta: meta(namespace, name, 0)}
	d.Spec.CoordinatorRef.Name = coordinator
	return d
}

func builder(t *testing.T, objects ...client.Object) *fake.ClientBuilder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
}

var errDown = errors.New("the API server is down")

// down is an API server that answers nothing.
func down(t *testing.T) client.Client {
	t.Helper()
	return builder(t).WithInterceptorFuncs(interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return errDown },
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errDown
		},
	}).Build()
}

// woken returns the names of the objects that an event wakes.
func woken(t *testing.T, h handler.EventHandler, object client.Object) []string {
	t.Helper()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	h.Create(t.Context(), event.CreateEvent{Object: object}, queue)
	var names []string
	for queue.Len() > 0 {
		request, _ := queue.Get()
		names = append(names, request.String())
		queue.Done(request)
	}
	slices.Sort(names)
	return names
}

func pod(component, instance string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "pod", Labels: naming.Labels(component, instance, "d"),
	}}
}

func TestEventsWakeWhoCares(t *testing.T) {
	page := dashboard("ns", "page", "co")
	page.Spec.FE = &v1alpha1.FESettings{}
	namesake := dashboard("ns", "new", "co")
	namesake.Spec.ProductName = "ns.other"
	c := builder(t, page,
		group("ns", "g1", "d", 1, 0), group("ns", "g2", "d", 2, 0), group("ns", "g3", "other", 1, 0), group("else", "g4", "d", 1, 0),
		proxy("ns", "p1", "d"), proxy("ns", "p2", "other"), proxy("else", "p3", "d"),
		dashboard("ns", "d", "co"), dashboard("ns", "other", "co"), dashboard("ns", "third", "co2"), dashboard("else", "d", "co"),
	).Build()
	tests := map[string]struct {
		handler handler.EventHandler
		object  client.Object
		want    []string
	}{
		"a server pod wakes its group":         {PodsOf(naming.ComponentServer), pod(naming.ComponentServer, "g1"), []string{"ns/g1"}},
		"a pod of another kind wakes no group": {PodsOf(naming.ComponentServer), pod(naming.ComponentProxy, "g1"), nil},
		"a foreign pod wakes nobody":           {PodsOf(naming.ComponentServer), &corev1.Pod{}, nil},
		"a dashboard wakes its groups":         {Dashboards(c, GroupsOf), dashboard("ns", "d", ""), []string{"ns/g1", "ns/g2"}},
		"a dashboard wakes its proxies":        {Dashboards(c, ProxiesOf), dashboard("ns", "d", ""), []string{"ns/p1"}},
		"a dashboard without any wakes nobody": {Dashboards(c, GroupsOf), dashboard("ns", "third", ""), nil},
		"a dashboard pod wakes its groups":     {DashboardPods(c, GroupsOf), pod(naming.ComponentDashboard, "d"), []string{"ns/g1", "ns/g2"}},
		"a pod of the web page wakes nobody":   {DashboardPods(c, GroupsOf), pod(naming.ComponentFE, "d"), nil},
		"what is no pod wakes nobody":          {DashboardPods(c, GroupsOf), dashboard("ns", "d", ""), nil},
		"a group wakes its dashboard":          {DashboardOf(), group("ns", "g1", "d", 1, 0), []string{"ns/d"}},
		"a proxy wakes its dashboard":          {DashboardOf(), proxy("ns", "p1", "d"), []string{"ns/d"}},
		"anything else wakes no dashboard":     {DashboardOf(), &corev1.Pod{}, nil},
		"a coordinator wakes its dashboards": {
			Coordinators(c), &v1alpha1.CodisCoordinator{ObjectMeta: meta("ns", "co", 0)}, []string{"ns/d", "ns/other", "ns/page"},
		},
		"nobody is woken while the cache is not there":       {Dashboards(down(t), GroupsOf), dashboard("ns", "d", ""), nil},
		"a dashboard wakes the page of its coordinator":      {Neighbours(c), dashboard("ns", "new", "co"), []string{"ns/page"}},
		"a dashboard of another coordinator wakes no page":   {Neighbours(c), dashboard("ns", "new", "co2"), nil},
		"a dashboard elsewhere wakes no page":                {Neighbours(c), dashboard("else", "new", "co"), nil},
		"a dashboard wakes who waits for its product":        {Neighbours(c), namesake, []string{"ns/other", "ns/page"}},
		"no page is woken while the cache is not there":      {Neighbours(down(t)), dashboard("ns", "new", "co"), nil},
		"no dashboard is woken while the cache is not there": {Coordinators(down(t)), &v1alpha1.CodisCoordinator{}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, woken(t, tt.handler, tt.object)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGroupWithSameID(t *testing.T) {
	tests := map[string]struct {
		others []client.Object
		want   string
	}{
		"none but me":           {nil, ""},
		"older, same id":        {[]client.Object{group("ns", "z", "d", 7, -1)}, "z"},
		"younger, same id":      {[]client.Object{group("ns", "a", "d", 7, 1)}, ""},
		"same age, first name":  {[]client.Object{group("ns", "a", "d", 7, 0)}, "a"},
		"same age, second name": {[]client.Object{group("ns", "z", "d", 7, 0)}, ""},
		"another id":            {[]client.Object{group("ns", "a", "d", 8, -1)}, ""},
		"another dashboard":     {[]client.Object{group("ns", "a", "other", 7, -1)}, ""},
		"another namespace":     {[]client.Object{group("else", "a", "d", 7, -1)}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			me := group("ns", "m", "d", 7, 0)
			got, err := GroupWithSameID(t.Context(), builder(t, append(tt.others, me)...).Build(), me)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := GroupWithSameID(t.Context(), down(t), group("ns", "m", "d", 7, 0)); !errors.Is(err, errDown) {
		t.Errorf("got %v", err)
	}
}

func TestDashboardOfSameProduct(t *testing.T) {
	of := func(namespace, name, coordinator, product string, age int) client.Object {
		d := dashboard(namespace, name, coordinator)
		d.ObjectMeta, d.Spec.ProductName = meta(namespace, name, age), product
		return d
	}
	tests := map[string]struct {
		other client.Object
		want  string
	}{
		"none but me":               {of("ns", "m", "co", "ns.a", 0), ""},
		"older, by its own name":    {of("ns", "a", "co", "", -1), "a"},
		"older, by a name it chose": {of("ns", "z", "co", "ns.a", -1), "z"},
		"younger":                   {of("ns", "a", "co", "", 1), ""},
		"same age, first name":      {of("ns", "a", "co", "", 0), "a"},
		"same age, second name":     {of("ns", "z", "co", "ns.a", 0), ""},
		"another product":           {of("ns", "z", "co", "", -1), ""},
		"another coordinator":       {of("ns", "a", "co2", "", -1), ""},
		"another namespace":         {of("else", "a", "co", "ns.a", -1), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			me, _ := of("ns", "m", "co", "ns.a", 0).(*v1alpha1.CodisDashboard)
			got, err := DashboardOfSameProduct(t.Context(), builder(t, tt.other).Build(), me)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := DashboardOfSameProduct(t.Context(), down(t), dashboard("ns", "m", "co")); !errors.Is(err, errDown) {
		t.Errorf("got %v", err)
	}
}

func TestOfOwnID(t *testing.T) {
	var groups []v1alpha1.CodisGroup
	for _, g := range []*v1alpha1.CodisGroup{
		group("ns", "young", "d", 7, 1), group("ns", "old", "d", 7, 0), group("ns", "other", "d", 8, 1), group("ns", "third", "d", 7, 2),
	} {
		groups = append(groups, *g)
	}
	var names []string
	for _, g := range OfOwnID(groups) {
		names = append(names, g.Name)
	}
	if diff := cmp.Diff([]string{"old", "other"}, names); diff != "" {
		t.Error(diff)
	}
}

// Of any two groups with one id exactly one is told to give way.
func TestOfTwoGroupsWithOneIDOneGivesWay(t *testing.T) {
	for _, age := range []int{-1, 0, 1} {
		a, b := group("ns", "a", "d", 7, 0), group("ns", "b", "d", 7, age)
		c := builder(t, a, b).Build()
		first, err := GroupWithSameID(t.Context(), c, a)
		if err != nil {
			t.Fatal(err)
		}
		second, err := GroupWithSameID(t.Context(), c, b)
		if err != nil {
			t.Fatal(err)
		}
		if (first == "") == (second == "") {
			t.Errorf("age %d: a is told %q, b is told %q", age, first, second)
		}
	}
}

func TestTopologyGoes(t *testing.T) {
	deleted := func(object client.Object) client.Object {
		object.SetDeletionTimestamp(&metav1.Time{Time: epoch})
		object.SetFinalizers([]string{"test"})
		return object
	}
	cluster := func(uid types.UID) client.Object {
		c := &v1alpha1.CodisCluster{ObjectMeta: meta("ns", "c", 0)}
		c.UID = uid
		return c
	}
	tests := map[string]struct {
		objects   []client.Object
		ofCluster bool
		want      bool
	}{
		"the dashboard stays":                         {[]client.Object{dashboard("ns", "d", "")}, false, false},
		"the dashboard is gone":                       {nil, false, true},
		"the dashboard is being deleted":              {[]client.Object{deleted(dashboard("ns", "d", ""))}, false, true},
		"a dashboard of another namespace stays":      {[]client.Object{dashboard("else", "d", "")}, false, true},
		"dashboard and cluster stay":                  {[]client.Object{dashboard("ns", "d", ""), cluster("uid")}, true, false},
		"the cluster is being deleted":                {[]client.Object{dashboard("ns", "d", ""), deleted(cluster("uid"))}, true, true},
		"the cluster is gone and a namesake is there": {[]client.Object{dashboard("ns", "d", ""), cluster("other")}, true, true},
		"the cluster is gone":                         {[]client.Object{dashboard("ns", "d", "")}, true, true},
		"another cluster than its is of no weight":    {[]client.Object{dashboard("ns", "d", ""), deleted(cluster("uid"))}, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			object := group("ns", "g", "d", 1, 0)
			if tt.ofCluster {
				object.OwnerReferences = []metav1.OwnerReference{
					*metav1.NewControllerRef(cluster("uid"), v1alpha1.GroupVersion.WithKind("CodisCluster")),
				}
			}
			got, err := TopologyGoes(t.Context(), builder(t, tt.objects...).Build(), object, "d")
			if err != nil || got != tt.want {
				t.Errorf("got %t, %v", got, err)
			}
		})
	}
}

// Invariant 5: what cannot be asked is not gone.
func TestInvariant5TopologyThatCannotBeAskedForDoesNotGo(t *testing.T) {
	gone, err := TopologyGoes(t.Context(), down(t), group("ns", "g", "d", 1, 0), "d")
	if gone || !errors.Is(err, errDown) {
		t.Errorf("got %t, %v", gone, err)
	}
}

func TestBackOffIsShort(t *testing.T) {
	limiter := Options().RateLimiter
	var longest time.Duration
	for range 100 {
		longest = max(longest, limiter.When(reconcile.Request{}))
	}
	if longest != 15*time.Second {
		t.Errorf("the longest back-off is %s", longest)
	}
}
