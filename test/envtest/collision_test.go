// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// An object that somebody else made is not adopted, whether the operator's
// cache, which is filtered by label, shows it or not.
func TestNameCollision(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]string{
		"an object without our labels":                  nil,
		"an object with our labels":                     naming.Labels(naming.ComponentServer, "taken", "taken"),
		"an object of another application with a label": {v1alpha1.LabelManagedBy: "Helm"},
	}
	for name, labels := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			foreign := []client.Object{
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "taken"}, Data: map[string]string{"theirs": "yes"}},
				foreignSet(),
			}
			before := map[string]string{}
			for _, object := range foreign {
				object.SetNamespace(namespace)
				object.SetLabels(labels)
				if err := user.Create(t.Context(), object); err != nil {
					t.Fatal(err)
				}
			}
			maps.Copy(before, theirs(t, namespace))
			create(t, parse(t, namespace, takenGroup)...)
			g := &v1alpha1.CodisGroup{}
			said := func() *metav1.Condition {
				if err := user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "taken"}, g); err != nil {
					return nil
				}
				c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionWorkloadReady)
				if c == nil || c.Reason != v1alpha1.ReasonNameCollision {
					return nil
				}
				return c
			}
			eventually(t, "no condition tells of the collision", func() bool { return said() != nil },
				func() string { return describe(t, namespace) })
			for _, part := range []string{"ConfigMap taken", "StatefulSet taken", "does not belong to taken", "delete or rename"} {
				if message := said().Message; !strings.Contains(message, part) {
					t.Errorf("the message lacks %q: %s", part, message)
				}
			}
			if changed := difference(before, theirs(t, namespace)); len(changed) > 0 {
				t.Errorf("what is not ours was touched: %q", changed)
			}
		})
	}
}

const takenGroup = `
apiVersion: codis.io/v1alpha1
kind: CodisCoordinator
metadata: {name: taken}
---
apiVersion: codis.io/v1alpha1
kind: CodisDashboard
metadata: {name: taken}
spec: {coordinatorRef: {name: taken}}
---
apiVersion: codis.io/v1alpha1
kind: CodisGroup
metadata: {name: taken}
spec: {dashboardRef: {name: taken}, id: 1}
`

func foreignSet() *appsv1.StatefulSet {
	match := map[string]string{"app": "theirs"}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "taken"}}
	set.Spec.Replicas = new(int32(0))
	set.Spec.Selector = &metav1.LabelSelector{MatchLabels: match}
	set.Spec.Template.Labels = match
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "theirs", Image: "their:image"}}
	return set
}

// theirs are the foreign objects as they are, but for the status of the set,
// which its controller writes.
func theirs(t *testing.T, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, object := range []client.Object{&corev1.ConfigMap{}, &appsv1.StatefulSet{}} {
		if err := user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "taken"}, object); err != nil {
			t.Fatal(err)
		}
		if set, ok := object.(*appsv1.StatefulSet); ok {
			set.Status = appsv1.StatefulSetStatus{}
			set.ResourceVersion, set.ManagedFields = "", nil
		}
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		found[fmt.Sprintf("%T", object)] = string(text)
	}
	return found
}
