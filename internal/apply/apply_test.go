// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// world is a fake API server that counts the applies it gets.
type world struct {
	client.Client
	applies int
	// refuse makes the API server refuse to apply.
	refuse error
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	count := func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
		w.applies++
		if w.refuse != nil {
			return w.refuse
		}
		return c.Apply(ctx, o, opts...)
	}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithInterceptorFuncs(interceptor.Funcs{Apply: count}).Build()
	return w
}

func (w *world) apply(t *testing.T, objects ...client.Object) error {
	t.Helper()
	return Applier{Client: w.Client, Reader: w.Client}.Objects(t.Context(), owner("owner"), objects...)
}

func (w *world) mustApply(t *testing.T, objects ...client.Object) {
	t.Helper()
	if err := w.apply(t, objects...); err != nil {
		t.Fatal(err)
	}
}

// read fills an object in with what is stored under its name.
func read[T client.Object](t *testing.T, w *world, object T) T {
	t.Helper()
	key := types.NamespacedName{Namespace: "ns", Name: object.GetName()}
	if err := w.Get(t.Context(), key, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func (w *world) update(t *testing.T, object client.Object) {
	t.Helper()
	if err := w.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func owner(name string) *v1alpha1.CodisGroup {
	return &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": name}}
}

func configMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: meta("config"), Data: data}
}

func statefulSet(replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{ObjectMeta: meta("set"), Spec: appsv1.StatefulSetSpec{
		Replicas:    new(replicas),
		ServiceName: "set",
		Selector:    &metav1.LabelSelector{MatchLabels: map[string]string{"app": "set"}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "set"}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "server", Image: "codis",
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
					TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(6379)},
				}, PeriodSeconds: 2},
			}}},
		},
	}}
}

func service() *corev1.Service {
	return &corev1.Service{ObjectMeta: meta("service"), Spec: corev1.ServiceSpec{
		Type:  corev1.ServiceTypeLoadBalancer,
		Ports: []corev1.ServicePort{{Name: "redis", Port: 19000, TargetPort: intstr.FromString("redis")}},
	}}
}

func TestObjectsAreCreatedWithOwnerAndHash(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, configMap(map[string]string{"k": "v"}), statefulSet(2))

	live := read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")})
	if diff := cmp.Diff(map[string]string{"k": "v"}, live.Data); diff != "" {
		t.Error(diff)
	}
	if !metav1.IsControlledBy(live, owner("owner")) {
		t.Errorf("owners are %v", live.OwnerReferences)
	}
	if live.Annotations[v1alpha1.AnnotationApplied] == "" {
		t.Error("the hash is missing")
	}
	if got := *read(t, w, &appsv1.StatefulSet{ObjectMeta: meta("set")}).Spec.Replicas; got != 2 {
		t.Errorf("got %d replicas", got)
	}
}

func TestSecondApplyWritesNothing(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.mustApply(t, configMap(map[string]string{"k": "v"}), statefulSet(2), service())
	}
	if w.applies != 3 {
		t.Errorf("wrote %d times, want once for each of 3 objects", w.applies)
	}
}

// The API server and other controllers fill in what nobody asked for.
func TestWhatOthersFillInIsNoDrift(t *testing.T) {
	tests := map[string]struct {
		object client.Object
		fill   func(t *testing.T, w *world)
	}{
		"status of a StatefulSet": {statefulSet(2), func(t *testing.T, w *world) {
			live := read(t, w, &appsv1.StatefulSet{ObjectMeta: meta("set")})
			live.Status = appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 2, ReadyReplicas: 2, UpdateRevision: "set-1"}
			w.update(t, live)
		}},
		"defaults of a probe and of a container": {statefulSet(2), func(t *testing.T, w *world) {
			live := read(t, w, &appsv1.StatefulSet{ObjectMeta: meta("set")})
			live.Spec.Template.Spec.Containers[0].ReadinessProbe.SuccessThreshold = 1
			live.Spec.Template.Spec.Containers[0].ReadinessProbe.FailureThreshold = 3
			live.Spec.Template.Spec.Containers[0].TerminationMessagePath = "/dev/termination-log"
			live.Spec.Template.Spec.DNSPolicy = corev1.DNSClusterFirst
			live.Spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
			w.update(t, live)
		}},
		"node port and cluster IP of a Service": {service(), func(t *testing.T, w *world) {
			live := read(t, w, &corev1.Service{ObjectMeta: meta("service")})
			live.Spec.Ports[0].NodePort = 30123
			live.Spec.Ports[0].Protocol = corev1.ProtocolTCP
			live.Spec.ClusterIP = "10.0.0.7"
			live.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
			w.update(t, live)
		}},
		"label and annotation of somebody else": {configMap(map[string]string{"k": "v"}), func(t *testing.T, w *world) {
			live := read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")})
			live.Labels["team"], live.Annotations["team"] = "storage", "storage"
			w.update(t, live)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustApply(t, tt.object.DeepCopyObject().(client.Object))
			tt.fill(t, w)
			w.mustApply(t, tt.object.DeepCopyObject().(client.Object))
			if w.applies != 1 {
				t.Errorf("wrote %d times, want 1", w.applies)
			}
		})
	}
}

func TestDriftIsRepaired(t *testing.T) {
	tests := map[string]struct {
		object client.Object
		spoil  func(t *testing.T, w *world)
		mended func(t *testing.T, w *world) bool
	}{
		"a value changed": {
			configMap(map[string]string{"k": "v"}),
			func(t *testing.T, w *world) {
				live := read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")})
				live.Data["k"] = "spoiled"
				w.update(t, live)
			},
			func(t *testing.T, w *world) bool {
				return read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")}).Data["k"] == "v"
			},
		},
		"a label removed": {
			configMap(map[string]string{"k": "v"}),
			func(t *testing.T, w *world) {
				live := read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")})
				live.Labels = nil
				w.update(t, live)
			},
			func(t *testing.T, w *world) bool {
				return read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")}).Labels["app"] == "config"
			},
		},
		"replicas raised from none": {
			statefulSet(0),
			func(t *testing.T, w *world) {
				live := read(t, w, &appsv1.StatefulSet{ObjectMeta: meta("set")})
				live.Spec.Replicas = new(int32(5))
				w.update(t, live)
			},
			func(t *testing.T, w *world) bool {
				return *read(t, w, &appsv1.StatefulSet{ObjectMeta: meta("set")}).Spec.Replicas == 0
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustApply(t, tt.object.DeepCopyObject().(client.Object))
			tt.spoil(t, w)
			w.mustApply(t, tt.object.DeepCopyObject().(client.Object))
			if !tt.mended(t, w) {
				t.Error("the drift is still there")
			}
		})
	}
}

func TestWhatIsNoLongerWantedIsRemoved(t *testing.T) {
	w := newWorld(t)
	object := configMap(map[string]string{"k": "v", "old": "x"})
	object.Annotations = map[string]string{"load-balancer": "internal"}
	w.mustApply(t, object)
	w.mustApply(t, configMap(map[string]string{"k": "v"}))

	live := read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")})
	if _, there := live.Annotations["load-balancer"]; there {
		t.Error("the annotation is still there")
	}
	if diff := cmp.Diff(map[string]string{"k": "v"}, live.Data); diff != "" {
		t.Error(diff)
	}
}

func TestCollisionIsRefused(t *testing.T) {
	ours := owner("somebody-else")
	foreign := configMap(map[string]string{"k": "theirs"})
	owned := configMap(map[string]string{"k": "theirs"})
	owned.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(ours, v1alpha1.GroupVersion.WithKind("CodisGroup"))}
	tests := map[string]*corev1.ConfigMap{
		"with an object of nobody":        foreign,
		"with an object of another owner": owned,
	}
	for name, live := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, live)
			err := w.apply(t, configMap(map[string]string{"k": "ours"}), statefulSet(1))
			if !errors.Is(err, ErrCollision) {
				t.Errorf("got %v, want a collision", err)
			}
			if got := read(t, w, &corev1.ConfigMap{ObjectMeta: meta("config")}).Data["k"]; got != "theirs" {
				t.Errorf("the object was written: %q", got)
			}
			// The others are applied all the same.
			read(t, w, &appsv1.StatefulSet{ObjectMeta: meta("set")})
		})
	}
}

// The cache is filtered by label: what it does not show may exist.
func TestWhatTheCacheDoesNotShowIsAskedForBeforeItIsMade(t *testing.T) {
	server := newWorld(t, configMap(map[string]string{"k": "theirs"}))
	emptyCache := newWorld(t)
	a := Applier{Client: emptyCache.Client, Reader: server.Client}
	err := a.Objects(t.Context(), owner("owner"), configMap(map[string]string{"k": "ours"}))
	if !errors.Is(err, ErrCollision) {
		t.Errorf("got %v, want a collision", err)
	}
	if emptyCache.applies != 0 {
		t.Error("the object was written")
	}
}

func TestErrorOfTheAPIServerNamesTheObject(t *testing.T) {
	w := newWorld(t)
	w.refuse = errors.New("quota exceeded")
	err := w.apply(t, configMap(nil))
	if !errors.Is(err, w.refuse) {
		t.Fatalf("got %v, want it to wrap %v", err, w.refuse)
	}
	if want := "apply ConfigMap config: quota exceeded"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestHash(t *testing.T) {
	of := func(value any) string {
		hash, err := Hash(value)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	if of(map[string]string{"a": "1", "b": "2"}) != of(map[string]string{"b": "2", "a": "1"}) {
		t.Error("the order of a map changes the hash")
	}
	if of("a") == of("b") {
		t.Error("different values have the same hash")
	}
	// Live objects carry it: DO NOT CHANGE.
	if got, want := of("codis"), "48f51db5afc5b6d3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := Hash(func() {}); err == nil {
		t.Error("a function has no JSON form, but a hash")
	}
}
