// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
)

// steady is how long a converged cluster is watched.
const steady = 6 * time.Second

// The life of the first example: it becomes ready, nobody writes to it any
// more, what others change is put back, and deleted it goes without a trace.
func TestLifeOfTheFirstExample(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	create(t, file(t, namespace, "examples/sample-1.yml")...)
	key := client.ObjectKey{Namespace: namespace, Name: "sample"}
	ready := func() bool {
		c := &v1alpha1.CodisCluster{}
		err := user.Get(t.Context(), key, c)
		return err == nil && meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady)
	}
	state := func() string { return describe(t, namespace) }
	eventually(t, "the cluster never is ready", ready, state)
	t.Run("Invariant 7: a converged cluster gets no write and no event", func(t *testing.T) { staysAsItIs(t, namespace) })
	t.Run("the operator owns what it applied", func(t *testing.T) { ownsItsFields(t, namespace) })
	t.Run("what others change is put back", func(t *testing.T) { putsBack(t, namespace) })
	t.Run("what is deleted is made again", func(t *testing.T) { makesAgain(t, namespace) })
	eventually(t, "the cluster is not ready again", ready, state)
	t.Run("a key that is written is counted", func(t *testing.T) {
		server := pods.Server(namespace, "sample-1-0")
		if server == nil || !server.Set(fixture.Dataset{"a": "1"}) {
			t.Fatal("the master of group 1 takes no writes")
		}
	})
	t.Run("deleted, it goes without a trace", func(t *testing.T) { goesWithoutATrace(t, key) })
}

// staysAsItIs waits until nothing changes any more, and then holds it to that. Where
// the status of a pod changed, time starts again: kubelet writes it, as when a server has
// no time to answer its probe, and the operator has to tell of it. A pod that is another
// one, or has another spec, is a change like all others.
func staysAsItIs(t *testing.T, namespace string) {
	t.Helper()
	var changed []string
	eventually(t, "objects go on changing", func() bool {
		before := versions(t, namespace)
		quiet(t, time.Second)
		now, pods := versions(t, namespace), podsOf(t, namespace)
		if len(difference(before, now)) > 0 {
			return false
		}
		quiet(t, steady)
		after, podsAfter := versions(t, namespace), podsOf(t, namespace)
		changed = append(difference(now, after), difference(pods.identities, podsAfter.identities)...)
		return len(difference(pods.statuses, podsAfter.statuses)) == 0 ||
			len(difference(pods.identities, podsAfter.identities)) > 0
	}, func() string { return describe(t, namespace) })
	for _, change := range changed {
		t.Errorf("a converged cluster sees a write: %s", change)
	}
}

// somePods are pods by name: who they are and what they shall run, and what kubelet says.
type somePods struct{ identities, statuses map[string]string }

func podsOf(t *testing.T, namespace string) somePods {
	t.Helper()
	list := &corev1.PodList{}
	if err := user.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	found := somePods{map[string]string{}, map[string]string{}}
	for i := range list.Items {
		pod := &list.Items[i]
		found.identities[pod.Name] = fmt.Sprintf("%s, generation %d, labels %v, annotations %v",
			pod.UID, pod.Generation, pod.Labels, pod.Annotations)
		found.statuses[pod.Name] = pod.Status.String()
	}
	return found
}

// quiet lets time pass: that nothing happens in it is what is tested.
func quiet(t *testing.T, span time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	<-ctx.Done()
}

func ownsItsFields(t *testing.T, namespace string) {
	t.Helper()
	for _, object := range []client.Object{
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "sample-1"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "sample-proxy"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "sample-proxy"}},
		&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Name: "sample-1"}},
	} {
		key := client.ObjectKey{Namespace: namespace, Name: object.GetName()}
		if err := user.Get(t.Context(), key, object); err != nil {
			t.Fatal(err)
		}
		applied := slices.ContainsFunc(object.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager == naming.Operator && f.Operation == metav1.ManagedFieldsOperationApply
		})
		if !applied {
			t.Errorf("%T %s is not applied by %s: %v", object, key.Name, naming.Operator, object.GetManagedFields())
		}
	}
}

func putsBack(t *testing.T, namespace string) {
	t.Helper()
	key := client.ObjectKey{Namespace: namespace, Name: "sample-proxy"}
	d := &appsv1.Deployment{}
	if err := user.Get(t.Context(), key, d); err != nil {
		t.Fatal(err)
	}
	before := d.DeepCopy()
	d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Command = new(int32(3)), []string{"sleep"}
	if err := user.Patch(t.Context(), d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change stays", func() bool {
		err := user.Get(t.Context(), key, d)
		return err == nil && *d.Spec.Replicas == 2 && d.Spec.Template.Spec.Containers[0].Command[0] == "codis-proxy"
	}, func() string { return d.String() })
}

func makesAgain(t *testing.T, namespace string) {
	t.Helper()
	key := client.ObjectKey{Namespace: namespace, Name: "sample-1"}
	s := &corev1.Service{}
	if err := user.Get(t.Context(), key, s); err != nil {
		t.Fatal(err)
	}
	uid := s.UID
	if err := user.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Service is not made again", func() bool {
		s = &corev1.Service{}
		return user.Get(t.Context(), key, s) == nil && s.UID != uid
	}, func() string { return describe(t, namespace) })
}

func goesWithoutATrace(t *testing.T, key client.ObjectKey) {
	t.Helper()
	cluster := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := user.Delete(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	left := func() []string {
		var names []string
		for _, list := range fixture.Kinds() {
			if err := user.List(t.Context(), list, client.InNamespace(key.Namespace)); err != nil {
				t.Fatal(err)
			}
			for _, object := range fixture.Items(list) {
				names = append(names, object.GetName())
			}
		}
		return names
	}
	eventually(t, "objects are left", func() bool { return len(left()) == 0 }, func() string { return describe(t, key.Namespace) })
}
