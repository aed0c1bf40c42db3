// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

func example(groups int32) *v1alpha1.CodisCluster {
	c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", Generation: 6}}
	c.Spec.Groups.Count = &groups
	return c
}

// child returns the only child of a kind and name.
func childOf[T client.Object](t *testing.T, c *v1alpha1.CodisCluster, name string) T {
	t.Helper()
	for _, object := range children(c, nil) {
		if found, ok := object.(T); ok && found.GetName() == name {
			return found
		}
	}
	t.Fatalf("no %T %s", *new(T), name)
	return *new(T)
}

func TestChildrenOfACluster(t *testing.T) {
	var got []string
	for _, object := range children(example(3), nil) {
		got = append(got, fmt.Sprintf("%T %s/%s", object, object.GetNamespace(), object.GetName()))
		want := map[string]string{
			"app.kubernetes.io/name": "codis", "app.kubernetes.io/managed-by": "codis-operator", "codis.io/cluster": "c",
		}
		if diff := cmp.Diff(want, object.GetLabels()); diff != "" {
			t.Error(diff)
		}
	}
	want := []string{
		"*v1alpha1.CodisCoordinator ns/c", "*v1alpha1.CodisDashboard ns/c",
		"*v1alpha1.CodisGroup ns/c-1", "*v1alpha1.CodisGroup ns/c-2", "*v1alpha1.CodisGroup ns/c-3",
		"*v1alpha1.CodisProxy ns/c",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChildrenReferToEachOther(t *testing.T) {
	c := example(2)
	d := childOf[*v1alpha1.CodisDashboard](t, c, "c")
	if d.Spec.CoordinatorRef.Name != "c" {
		t.Errorf("the dashboard refers to %q", d.Spec.CoordinatorRef.Name)
	}
	if diff := cmp.Diff([]int32{1, 2}, d.Spec.InitialGroups); diff != "" {
		t.Error(diff)
	}
	for id, name := range map[int32]string{1: "c-1", 2: "c-2"} {
		g := childOf[*v1alpha1.CodisGroup](t, c, name)
		if g.Spec.ID != id || g.Spec.DashboardRef.Name != "c" {
			t.Errorf("%s has id %d and refers to %q", name, g.Spec.ID, g.Spec.DashboardRef.Name)
		}
	}
	if p := childOf[*v1alpha1.CodisProxy](t, c, "c"); p.Spec.DashboardRef.Name != "c" {
		t.Errorf("the proxies refer to %q", p.Spec.DashboardRef.Name)
	}
}

func TestClusterWithoutCountHasOneGroup(t *testing.T) {
	c := example(1)
	c.Spec.Groups.Count = nil
	if got := len(children(c, nil)); got != 4 {
		t.Errorf("%d children", got)
	}
}

func TestChildrenGetTheTemplatesOfTheCluster(t *testing.T) {
	c := example(1)
	c.Spec.Coordinator.Type = v1alpha1.CoordinatorFilesystem
	c.Spec.Dashboard.ProductName = "product"
	c.Spec.Groups.Replicas = new(int32(3))
	c.Spec.Groups.Config = map[string]v1alpha1.RedisValue{"maxmemory-policy": "allkeys-lru"}
	c.Spec.Proxy.Replicas = new(int32(5))
	if diff := cmp.Diff(c.Spec.Coordinator, childOf[*v1alpha1.CodisCoordinator](t, c, "c").Spec.CodisCoordinatorTemplate); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.Spec.Dashboard, childOf[*v1alpha1.CodisDashboard](t, c, "c").Spec.CodisDashboardTemplate); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.Spec.Groups.CodisGroupTemplate, childOf[*v1alpha1.CodisGroup](t, c, "c-1").Spec.CodisGroupTemplate); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.Spec.Proxy, childOf[*v1alpha1.CodisProxy](t, c, "c").Spec.CodisProxyTemplate); diff != "" {
		t.Error(diff)
	}
}

func TestImageOfTheClusterIsForThoseWithoutOne(t *testing.T) {
	c := example(1)
	c.Spec.Image, c.Spec.ImagePullPolicy = "cluster:1", corev1.PullAlways
	c.Spec.Proxy.Image, c.Spec.Proxy.ImagePullPolicy = "proxy:1", corev1.PullNever
	c.Spec.Dashboard.FE = &v1alpha1.FESettings{}
	before := c.DeepCopy()
	image := func(component v1alpha1.Component) string {
		return component.Image + " " + string(component.ImagePullPolicy)
	}
	d := childOf[*v1alpha1.CodisDashboard](t, c, "c")
	got := map[string]string{
		"dashboard": image(d.Spec.Component), "fe": image(d.Spec.FE.Component),
		"group": image(childOf[*v1alpha1.CodisGroup](t, c, "c-1").Spec.Component),
		"proxy": image(childOf[*v1alpha1.CodisProxy](t, c, "c").Spec.Component),
	}
	want := map[string]string{
		"dashboard": "cluster:1 Always", "fe": "cluster:1 Always", "group": "cluster:1 Always", "proxy": "proxy:1 Never",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, c); diff != "" {
		t.Errorf("the cluster was changed: %s", diff)
	}
}
