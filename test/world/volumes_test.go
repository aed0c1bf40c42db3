// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// storedCluster is a small cluster with data on volumes of 1Gi; its class may let
// volumes grow.
func storedCluster(w *world, grows bool) {
	w.t.Helper()
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "ssd"}, AllowVolumeExpansion: &grows}
	if err := w.user.Create(w.t.Context(), class); err != nil {
		w.t.Fatal(err)
	}
	w.cluster.GrowVolumes = true
	storedAgain(w)
}

// storedAgain makes the cluster anew, on new volumes.
func storedAgain(w *world) {
	w.t.Helper()
	c := &v1alpha1.CodisCluster{}
	if err := w.user.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "small"}, c); err == nil {
		w.delete(c)
		w.rest()
	}
	c = smallCluster()
	c.Spec.Groups.Storage = &v1alpha1.Storage{
		Size: resource.MustParse("1Gi"), StorageClassName: new("ssd"), ReclaimPolicy: v1alpha1.ReclaimDelete,
	}
	w.apply(c)
	w.rest()
	w.mustBeReady()
	if !w.server("small-1-0").Set(someData) {
		w.t.Fatal("the master takes no writes")
	}
	w.rest()
}

// volumeSize changes how large the volumes shall be.
func (w *world) volumeSize(size string) {
	w.t.Helper()
	c := &v1alpha1.CodisCluster{}
	w.get("small", c)
	c.Spec.Groups.Storage.Size = resource.MustParse(size)
	if err := w.user.Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// volumes lists what claims ask for and have.
func (w *world) volumes() []string {
	w.t.Helper()
	claims := &corev1.PersistentVolumeClaimList{}
	if err := w.user.List(w.t.Context(), claims); err != nil {
		w.t.Fatal(err)
	}
	var found []string
	for i := range claims.Items {
		c := &claims.Items[i]
		found = append(found, fmt.Sprintf("%s %s/%s", c.Name, c.Status.Capacity.Storage(), c.Spec.Resources.Requests.Storage()))
	}
	return found
}

// growth is a story: volumes grow, and those of a member that comes later do, too.
func growth() story {
	return story{
		before: func(w *world) { storedCluster(w, true) },
		chapters: []func(*world){
			func(w *world) { w.volumeSize("2Gi") },
			func(w *world) {
				w.mustHaveVolumes("data-small-1-0 2Gi/2Gi", "data-small-1-1 2Gi/2Gi")
				w.scale("small", 3)
			},
		},
		after: func(w *world) {
			w.mustBeReady()
			w.mustHold("small-1", "small-1-0", someData)
			w.mustHaveVolumes("data-small-1-0 2Gi/2Gi", "data-small-1-1 2Gi/2Gi", "data-small-1-2 2Gi/2Gi")
		},
		again: storedAgain,
		// Each telling begins with a new cluster.
		stride: 3,
	}
}

func (w *world) mustHaveVolumes(want ...string) {
	w.t.Helper()
	if got := w.volumes(); !slices.Equal(got, want) {
		w.t.Errorf("volumes are %q, want %q (crashed at %q)\n%s", got, want, w.crashed, w.dump())
	}
}

func TestVolumesGrowUnderRunningPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	storedCluster(w, true)
	before := uids(w.podsOf(naming.ComponentServer))
	w.volumeSize("2Gi")
	w.rest()
	w.mustBeReady()
	w.mustHaveVolumes("data-small-1-0 2Gi/2Gi", "data-small-1-1 2Gi/2Gi")
	if after := uids(w.podsOf(naming.ComponentServer)); !slices.Equal(before, after) {
		t.Errorf("pods were %q and are %q", before, after)
	}
	if !w.recorder.said(v1alpha1.ReasonVolumeResizeAsked) {
		t.Errorf("no event tells of it: %q", w.recorder.list())
	}
	w.stays(8)
}

func uids(pods []corev1.Pod) []string {
	var found []string
	for i := range pods {
		found = append(found, string(pods[i].UID))
	}
	return found
}

// The class does not allow it: all goes on, a failover included, and the way back is open.
func TestVolumesThatMayNotGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	storedCluster(w, false)
	w.volumeSize("2Gi")
	w.rest()
	w.mustSay("small-1", v1alpha1.ConditionReady, "False VolumeNotExpandable: data-small-1-0 cannot go from 1Gi to 2Gi")
	w.mustHaveVolumes("data-small-1-0 1Gi/1Gi", "data-small-1-1 1Gi/1Gi")
	w.stays(8)
	w.kill("small-1-0")
	w.rest()
	w.mustTakeWrites("small-1-1")
	w.volumeSize("1Gi")
	w.rest()
	w.mustBeReady()
	w.mustHaveVolumes("data-small-1-0 1Gi/1Gi", "data-small-1-1 1Gi/1Gi")
}
