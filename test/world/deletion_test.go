// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// A cluster that is deleted goes whole, in whatever order its parts go, and a
// namesake made afterwards is empty and healthy.
func TestDeletionOfAClusterInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range few(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := sample(t, nil)
			w.random = rand.New(rand.NewPCG(seed, 4))
			w.cluster.Shuffle = w.random.Shuffle
			w.delete(example(t, "sample-1.yml")[0])
			w.rest()
			w.mustBeEmpty()
			w.apply(example(t, "sample-1.yml")...)
			w.rest()
			w.mustBeReady()
			w.mustHold("sample-1", "sample-1-0", noData)
		})
	}
}

// Parts deleted one by one, in any order and with rounds in between, all go
// once the whole lot is deleted.
func TestDeletionOfTheComponentsInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range few(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 5))
			w := parts(t, nil)
			w.server("parts-1-0").Set(someData)
			files := []string{"1-coordinator.yml", "2-dashboard.yml", "3-groups.yml", "4-proxy.yml"}
			random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			for _, file := range files {
				for _, object := range example(t, "components/"+file) {
					w.delete(object)
					w.rounds(random.IntN(4))
				}
			}
			w.rest()
			w.mustBeEmpty()
		})
	}
}

func TestInvariant6VolumesAreKeptUnlessThePolicySaysOtherwise(t *testing.T) {
	t.Parallel()
	for policy, want := range map[v1alpha1.ReclaimPolicy]int{v1alpha1.ReclaimRetain: 2, v1alpha1.ReclaimDelete: 0} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cluster := smallCluster()
			cluster.Spec.Groups.Storage = &v1alpha1.Storage{Size: resource.MustParse("1Gi"), ReclaimPolicy: policy}
			again := cluster.DeepCopy()
			w.apply(cluster)
			w.rest()
			w.server("small-1-0").Set(someData)
			w.delete(cluster)
			w.rest()
			claims := &corev1.PersistentVolumeClaimList{}
			if err := w.user.List(t.Context(), claims); err != nil {
				t.Fatal(err)
			}
			if len(claims.Items) != want {
				t.Errorf("%d claims are left, want %d", len(claims.Items), want)
			}
			w.apply(again)
			w.rest()
			w.mustBeReady()
			data := noData
			if policy == v1alpha1.ReclaimRetain {
				data = someData
			}
			w.mustHold("small-1", "small-1-0", data)
		})
	}
}

func TestInvariant3AGroupThatOwnsSlotsIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	w.settings("parts", func(d *v1alpha1.CodisDashboardTemplate) {
		d.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceOff}
	})
	w.server("parts-1-0").Set(someData)
	w.rest()
	want := w.topology()
	w.delete(&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "parts-1"}})
	w.rest()
	g := w.group("parts-1")
	ready := readyOf(g.Status.Conditions)
	if ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ReasonGroupOwnsSlots {
		t.Errorf("the group says %+v", ready)
	}
	if !strings.Contains(ready.Message, "512 slots") || !strings.Contains(ready.Message, "delete the whole cluster") {
		t.Errorf("the message does not name the way out: %s", ready.Message)
	}
	if got := w.topology(); got != want {
		t.Errorf("the world is\n%s\nwant\n%s", got, want)
	}
	w.rounds(5)
	if got := w.topology(); got != want {
		t.Errorf("later the world is\n%s\nwant\n%s", got, want)
	}
}

func readyOf(list []metav1.Condition) metav1.Condition {
	for _, c := range list {
		if c.Type == v1alpha1.ConditionReady {
			return c
		}
	}
	return metav1.Condition{}
}

// A group without slots and keys goes, and leaves nothing in the dashboard.
func TestDeletionOfAGroupWithoutSlots(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	before := w.objects()
	w.apply(&v1alpha1.CodisGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "spare"},
		Spec:       v1alpha1.CodisGroupSpec{DashboardRef: v1alpha1.LocalReference{Name: "parts"}, ID: 9},
	})
	w.rest()
	w.mustBeReady()
	w.delete(&v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "spare"}})
	w.rest()
	w.mustBeReady()
	if topology := w.topology(); strings.Contains(topology, "group 9") || strings.Contains(topology, "spare") {
		t.Errorf("the dashboard still knows the group:\n%s", topology)
	}
	if after := w.objects(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("objects are\n%q\nwant\n%q", after, before)
	}
}

func TestDeletionOfProxiesTakesTheirEntries(t *testing.T) {
	t.Parallel()
	w := parts(t, nil)
	if !strings.Contains(w.topology(), "2 proxies") {
		t.Fatal("there are no entries to begin with")
	}
	w.delete(&v1alpha1.CodisProxy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "parts"}})
	w.rest()
	if topology := w.topology(); !strings.Contains(topology, " 0 proxies") {
		t.Errorf("entries are left:\n%s", topology)
	}
	if pods := w.podsOf(naming.ComponentProxy); len(pods) > 0 {
		t.Errorf("%d pods are left", len(pods))
	}
}
