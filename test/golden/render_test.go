// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/controllers/cluster"
	"github.com/codis-io/codis-operator/controllers/coordinator"
	"github.com/codis-io/codis-operator/controllers/dashboard"
	"github.com/codis-io/codis-operator/controllers/group"
	"github.com/codis-io/codis-operator/controllers/proxy"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/zookeeper"
)

const (
	namespace = "default"
	domain    = naming.Domain("cluster.local")
)

var images = podtemplate.Images{
	Codis: "codis:installed", Etcd: "etcd:installed", ZooKeeper: "zookeeper:installed", ConfigWriter: "codis-operator:installed",
}

// reconciler is one of the real ones.
type reconciler interface {
	Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error)
}

// render returns everything that is there once the objects of the files were
// looked at once by their reconcilers.
func render(t *testing.T, files []string) []byte {
	t.Helper()
	c := apiServer(t)
	for _, file := range files {
		create(t, c, file)
	}
	recorder := events.NewFakeRecorder(1000)
	reconcilers := []struct {
		kind string
		reconciler
	}{
		{"CodisCluster", &cluster.Reconciler{Client: c, Reader: c, Recorder: recorder}},
		{"CodisCoordinator", serving{c, &coordinator.Reconciler{
			Client: c, Reader: c, Recorder: recorder, Images: images, Domain: domain,
		}}},
		{"CodisDashboard", &dashboard.Reconciler{
			Client: c, Reader: c, Recorder: recorder, Images: images, Domain: domain, Clock: clock.RealClock{},
		}},
		{"CodisGroup", &group.Reconciler{
			Client: c, Reader: c, Recorder: recorder, Images: images, Domain: domain, Clock: clock.RealClock{},
		}},
		{"CodisProxy", &proxy.Reconciler{
			Client: c, Reader: c, Recorder: recorder, Images: images, Domain: domain, Clock: clock.RealClock{},
		}},
	}
	for _, r := range reconcilers {
		for _, object := range list(t, c, v1alpha1.GroupVersion.WithKind(r.kind)) {
			key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
				t.Fatalf("%s %s: %v", r.kind, key.Name, err)
			}
		}
	}
	return dump(t, c)
}

// serving looks at a coordinator, and then has it as if its members had answered.
type serving struct {
	client.Client

	reconciler
}

// Reconcile implements reconciler.
func (s serving) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	result, err := s.reconciler.Reconcile(ctx, req)
	if err != nil {
		return result, err
	}
	c := &v1alpha1.CodisCoordinator{}
	if err := s.Get(ctx, req.NamespacedName, c); err != nil || c.Spec.Replicas == nil {
		return result, err
	}
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionAvailable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
	})
	port := naming.PortEtcd
	if c.Spec.Type == v1alpha1.CoordinatorZooKeeper {
		port = zookeeper.PortClient
	}
	for ordinal := range *c.Spec.Replicas {
		c.Status.Endpoints = append(c.Status.Endpoints, domain.CoordinatorAddr(c.Namespace, c.Name, int(ordinal), port))
	}
	return result, s.Status().Update(ctx, c)
}

func apiServer(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithTypeConverters(
		// The one built from schemas stumbles over NetworkPolicies.
		managedfields.NewDeducedTypeConverter(),
	).WithStatusSubresource(
		&v1alpha1.CodisCluster{}, &v1alpha1.CodisCoordinator{}, &v1alpha1.CodisDashboard{}, &v1alpha1.CodisGroup{}, &v1alpha1.CodisProxy{},
	).Build()
}

// create makes the objects of a file as kubectl would. A field that a kind does
// not have fails the test.
func create(t *testing.T, c client.Client, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		meta := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, meta); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		made, err := c.Scheme().New(meta.GroupVersionKind())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		object := made.(client.Object)
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		object.SetNamespace(namespace)
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

func list(t *testing.T, c client.Client, kind schema.GroupVersionKind) []unstructured.Unstructured {
	t.Helper()
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := c.List(t.Context(), found); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	slices.SortFunc(found.Items, func(a, b unstructured.Unstructured) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return found.Items
}

// kinds in the order in which they are written.
var kinds = []schema.GroupVersionKind{
	v1alpha1.GroupVersion.WithKind("CodisCluster"),
	v1alpha1.GroupVersion.WithKind("CodisCoordinator"),
	v1alpha1.GroupVersion.WithKind("CodisDashboard"),
	v1alpha1.GroupVersion.WithKind("CodisGroup"),
	v1alpha1.GroupVersion.WithKind("CodisProxy"),
	appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
	appsv1.SchemeGroupVersion.WithKind("Deployment"),
	corev1.SchemeGroupVersion.WithKind("Service"),
	corev1.SchemeGroupVersion.WithKind("ConfigMap"),
	corev1.SchemeGroupVersion.WithKind("Secret"),
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
	policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
}

// dump writes every object, without what differs from run to run.
func dump(t *testing.T, c client.Client) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, kind := range kinds {
		for _, object := range list(t, c, kind) {
			for _, field := range []string{"resourceVersion", "uid", "creationTimestamp", "managedFields", "generation", "ownerReferences"} {
				unstructured.RemoveNestedField(object.Object, "metadata", field)
			}
			unstructured.RemoveNestedField(object.Object, "status")
			if kind.Kind == "Secret" { // A random password.
				unstructured.RemoveNestedField(object.Object, "data")
			}
			text, err := yaml.Marshal(object.Object)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "---\n%s", text)
		}
	}
	return out.Bytes()
}
