// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

func storage(size string) *v1alpha1.Storage {
	if size == "" {
		return nil
	}
	return &v1alpha1.Storage{Size: resource.MustParse(size)}
}

// claim of a member of a group, which asks for one size and has another.
func claim(group, class, asked, has string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "data-" + group + "-0", Labels: naming.Selector(naming.ComponentServer, group),
	}}
	if class != "" {
		c.Spec.StorageClassName = &class
	}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(asked)}
	c.Status.Phase = corev1.ClaimBound
	c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(has)}
	return c
}

func class(name string, grows bool) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, AllowVolumeExpansion: &grows}
}

func TestChangesOfSizes(t *testing.T) {
	const note = `spec.storage.size: volumes that are there stay as large as they are: `
	tests := map[string]struct {
		before, after string
		objects       []client.Object
		down          bool
		refused       string
		warned        []string
		err           error
	}{
		"no volumes":                {},
		"volumes are added":         {after: "1Gi"}, // For the schema to refuse.
		"volumes are removed":       {before: "1Gi"},
		"the same in other words":   {before: "1Gi", after: "1024Mi", down: true},
		"larger, and none is there": {before: "1Gi", after: "2Gi"},
		"larger, and they may grow": {
			before: "1Gi", after: "2Gi", objects: []client.Object{claim("g", "ssd", "1Gi", "1Gi"), class("ssd", true)},
		},
		"larger, and they may not": {
			before: "1Gi", after: "2Gi", objects: []client.Object{claim("g", "hdd", "1Gi", "1Gi"), class("hdd", false)},
			warned: []string{note + `its StorageClass "hdd" does not allow it (allowVolumeExpansion); the condition VolumesReady tells more`},
		},
		"larger, and they have it already": {
			before: "1Gi", after: "2Gi", objects: []client.Object{claim("g", "hdd", "2Gi", "2Gi"), class("hdd", false)},
		},
		"larger, without a class": {
			before: "1Gi", after: "2Gi", objects: []client.Object{claim("g", "", "1Gi", "1Gi")},
			warned: []string{note + `no StorageClass made it; the condition VolumesReady tells more`},
		},
		"larger, and nobody knows": {before: "1Gi", after: "2Gi", down: true, err: errDown},
		"smaller": {
			before: "2Gi", after: "1Gi", objects: []client.Object{claim("g", "ssd", "2Gi", "2Gi"), class("ssd", true)},
			refused: "spec.storage.size: Invalid value: \"1Gi\": data-g-0 asks for 2Gi already and has 2Gi; volumes cannot shrink: ",
		},
		"smaller, and none is there": {
			before: "2Gi", after: "1Gi", refused: "spec.storage.size: Invalid value: \"1Gi\": it was 2Gi; volumes cannot shrink: ",
		},
		"smaller, and others are larger": {
			before: "2Gi", after: "1Gi", refused: "it was 2Gi; volumes cannot shrink",
			objects: []client.Object{claim("other", "ssd", "2Gi", "2Gi")},
		},
		"a growth is taken back that was never asked for": {
			before: "2Gi", after: "1Gi", objects: []client.Object{claim("g", "hdd", "1Gi", "1Gi"), class("hdd", false)},
		},
		"a growth is taken back that was never carried out": {
			before: "9Ti", after: "2Gi", objects: []client.Object{claim("g", "ssd", "9Ti", "1Gi"), class("ssd", true)},
		},
		"a growth is taken back too far": {
			before: "9Ti", after: "1Gi", objects: []client.Object{claim("g", "ssd", "9Ti", "1Gi"), class("ssd", true)},
			refused: "data-g-0 asks for 9Ti already and has 1Gi",
		},
		"smaller, and nobody knows": {before: "2Gi", after: "1Gi", down: true, err: errDown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := reader(t, tt.down, tt.objects...)
			v := sizes{claims: r, classes: r}
			before, after := group("ns", "g", "d", 1), group("ns", "g", "d", 1)
			before.Spec.Storage, after.Spec.Storage = storage(tt.before), storage(tt.after)
			warned, list, err := v.ofGroup(t.Context(), before, after)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(tt.warned, []string(warned)); diff != "" {
				t.Error(diff)
			}
			text := ""
			if len(list) > 0 {
				text = list.ToAggregate().Error()
			}
			if (text == "") != (tt.refused == "") || !strings.Contains(text, tt.refused) {
				t.Errorf("got %q, want %q", text, tt.refused)
			}
		})
	}
}

// Where classes cannot be read, claims can: nothing is warned of, and nothing refused.
func TestAClassThatCannotBeReadIsNoReason(t *testing.T) {
	v := sizes{claims: reader(t, false, claim("g", "hdd", "1Gi", "1Gi")), classes: reader(t, true)}
	before, after := group("ns", "g", "d", 1), group("ns", "g", "d", 1)
	before.Spec.Storage, after.Spec.Storage = storage("1Gi"), storage("2Gi")
	if warned, list, err := v.ofGroup(t.Context(), before, after); len(warned)+len(list) > 0 || err != nil {
		t.Errorf("%v, %v, %v", warned, list, err)
	}
}

// A cluster speaks for all groups that it has or had, and for no others.
func TestChangesOfSizesOfAllGroups(t *testing.T) {
	objects := []client.Object{
		claim("c-1", "ssd", "1Gi", "1Gi"), claim("c-2", "hdd", "1Gi", "1Gi"), claim("c-10", "", "5Gi", "5Gi"),
		class("ssd", true), class("hdd", false),
	}
	tests := map[string]struct {
		was, is       *int32
		before, after string
		warned        int
		refused       bool
	}{
		"one of two may not grow":           {new(int32(2)), new(int32(2)), "1Gi", "2Gi", 1, false},
		"the one that stays may":            {nil, new(int32(1)), "1Gi", "2Gi", 0, false},
		"the one that goes may not":         {new(int32(2)), new(int32(1)), "1Gi", "2Gi", 1, false},
		"none ever was larger":              {new(int32(2)), new(int32(2)), "2Gi", "1Gi", 0, false},
		"the tenth is larger":               {new(int32(2)), new(int32(10)), "5Gi", "1Gi", 0, true},
		"the tenth is of somebody else now": {new(int32(2)), new(int32(9)), "5Gi", "1Gi", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := reader(t, false, objects...)
			cluster := func(count *int32, size string) *v1alpha1.CodisCluster {
				c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
				c.Spec.Groups.Count, c.Spec.Groups.Storage = count, storage(size)
				return c
			}
			warned, list, err := sizes{claims: r, classes: r}.ofCluster(t.Context(), cluster(tt.was, tt.before), cluster(tt.is, tt.after))
			if err != nil || len(warned) != tt.warned || (len(list) > 0) != tt.refused {
				t.Errorf("%v, %v, %v", warned, list, err)
			}
		})
	}
}

// What a change is refused or warned for comes from both rules of an update.
func TestUpdatesAreCompared(t *testing.T) {
	r := reader(t, false, claim("g", "hdd", "1Gi", "1Gi"), class("hdd", false), group("ns", "other", "d", 1))
	v := validator[*v1alpha1.CodisGroup]{
		validate: func(context.Context, *v1alpha1.CodisGroup) (errs, error) { return nil, nil },
		compare:  sizes{claims: r, classes: r}.ofGroup,
	}
	small, large := group("ns", "g", "d", 1), group("ns", "g", "d", 1)
	small.Spec.Storage, large.Spec.Storage = storage("500Mi"), storage("2Gi")
	if warned, err := v.ValidateUpdate(t.Context(), small, large); len(warned) != 1 || err != nil {
		t.Errorf("%v, %v", warned, err)
	}
	if _, err := v.ValidateUpdate(t.Context(), large, small); err == nil {
		t.Error("volumes may shrink")
	}
	if warned, err := v.ValidateCreate(t.Context(), small); len(warned) != 0 || err != nil {
		t.Errorf("%v, %v", warned, err)
	}
}

// shuffled answers lists in another order each time, as a cache may.
type shuffled struct{ client.Reader }

func (s shuffled) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	err := s.Reader.List(ctx, list, options...)
	if claims, ok := list.(*corev1.PersistentVolumeClaimList); ok {
		rand.Shuffle(len(claims.Items), func(i, j int) {
			claims.Items[i], claims.Items[j] = claims.Items[j], claims.Items[i]
		})
	}
	return err
}

func TestTheSameMistakeGetsTheSameAnswer(t *testing.T) {
	var objects []client.Object
	for ordinal := range 5 {
		c := claim("g", "ssd", "2Gi", "2Gi")
		c.Name = fmt.Sprintf("data-g-%d", ordinal)
		objects = append(objects, c)
	}
	v := sizes{claims: shuffled{reader(t, false, objects...)}, classes: reader(t, true)}
	before, after := group("ns", "g", "d", 1), group("ns", "g", "d", 1)
	before.Spec.Storage, after.Spec.Storage = storage("2Gi"), storage("1Gi")
	for range 20 {
		_, list, err := v.ofGroup(t.Context(), before, after)
		if err != nil || len(list) != 1 || !strings.Contains(list[0].Error(), "data-g-0 asks for 2Gi") {
			t.Fatalf("%v, %v", list, err)
		}
	}
}
