// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// stingy is a client whose API server refuses patches, or other reads, with an error.
type stingy struct {
	client.Client

	patch, get error
	patches    int
	gets       int
}

func (c *stingy) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	c.patches++
	if c.patch != nil {
		return c.patch
	}
	return c.Client.Patch(ctx, o, p, opts...)
}

func (c *stingy) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, isClass := o.(*storagev1.StorageClass); isClass {
		if c.gets++; c.get != nil {
			return c.get
		}
	}
	return c.Client.Get(ctx, key, o, opts...)
}

func storageClass(name string, grows bool) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "p", AllowVolumeExpansion: &grows}
}

// claimOf is a bound claim of a member; has is what its volume has.
func claimOf(ordinal int, class, asked, has string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: claimName(memberName(ordinal))}}
	if class != "" {
		c.Spec.StorageClassName = &class
	}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(asked)}
	c.Status.Phase = corev1.ClaimBound
	c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(has)}
	return c
}

// withClaims is a pass over a converged group of two whose members have claims, and whose
// spec asks for 2Gi.
func (l *lab) withClaims(c *stingy, claims ...*corev1.PersistentVolumeClaim) *state {
	l.t.Helper()
	l.r.Client, l.r.Reader = c, c
	s := stateOfWorld(masterData, syncedData)
	s.group.Spec.Storage = &v1alpha1.Storage{Size: resource.MustParse("2Gi")}
	for _, claim := range claims {
		if err := c.Create(l.t.Context(), claim); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.r.observeClaims(l.t.Context(), s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// volumesSaid is what a pass reports of volumes.
func volumesSaid(s *state) string {
	report(s, now)
	for _, c := range s.group.Status.Conditions {
		if c.Type == v1alpha1.ConditionVolumesReady {
			return string(c.Status) + " " + c.Reason + ": " + c.Message
		}
	}
	return "nothing"
}

func TestResizeVolumes(t *testing.T) {
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "data-g-0", errors.New("exceeded quota"))
	tests := map[string]struct {
		claims     []*corev1.PersistentVolumeClaim
		classes    []*storagev1.StorageClass
		patch, get error
		asked      []string // What the claims ask for afterwards.
		said       []string
		ready      string
		state      string
		after      time.Duration
		failed     bool
	}{
		"volumes have the size": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "2Gi", "2Gi"), claimOf(1, "ssd", "2Gi", "2Gi")},
			asked:  []string{"2Gi", "2Gi"}, said: []string{"True Ready: every member has a volume of 2Gi or more"},
			ready: "True Ready", state: stateStable,
		},
		"a member has none yet": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "2Gi", "2Gi")},
			asked:  []string{"2Gi"}, said: []string{"False Progressing: the volume of g-1 is being made"}, ready: "False Progressing",
			state: stateHealing,
		},
		"the class lets them grow": {
			claims:  []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "1Gi", "1Gi")},
			classes: []*storagev1.StorageClass{storageClass("ssd", true)}, asked: []string{"2Gi", "2Gi"},
			said:  []string{"False VolumeGrowing: data-g-0 grows from 1Gi to 2Gi: its driver has not begun"},
			ready: "False VolumeGrowing", state: stateProgressing,
		},
		"the class does not": {
			claims:  []*corev1.PersistentVolumeClaim{claimOf(0, "hdd", "1Gi", "1Gi"), claimOf(1, "hdd", "1Gi", "1Gi")},
			classes: []*storagev1.StorageClass{storageClass("hdd", false)}, asked: []string{"1Gi", "1Gi"},
			said: []string{
				`False VolumeNotExpandable: data-g-0 cannot go from 1Gi to 2Gi: its StorageClass "hdd" does not allow it (allowVolumeExpansion)`,
				"set storage.size to what it was",
			},
			ready: "False VolumeNotExpandable", state: stateHeld, after: reconcile.Steady,
		},
		"the class of one does": {
			claims:  []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "hdd", "1Gi", "1Gi")},
			classes: []*storagev1.StorageClass{storageClass("ssd", true), storageClass("hdd", false)}, asked: []string{"2Gi", "1Gi"},
			said: []string{"False VolumeNotExpandable: data-g-1 "}, ready: "False VolumeNotExpandable", state: stateHeld, after: reconcile.Steady,
		},
		"the class is gone": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "gone", "1Gi", "1Gi"), claimOf(1, "gone", "2Gi", "2Gi")},
			asked:  []string{"1Gi", "2Gi"}, said: []string{`False VolumeNotExpandable: `, `"gone" does not exist`},
			ready: "False VolumeNotExpandable", state: stateHeld, after: reconcile.Steady,
		},
		"they have no class": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "", "1Gi", "1Gi"), claimOf(1, "", "2Gi", "2Gi")},
			asked:  []string{"1Gi", "2Gi"}, said: []string{`False VolumeNotExpandable: `, "no StorageClass made it"},
			ready: "False VolumeNotExpandable", state: stateHeld, after: reconcile.Steady,
		},
		"the class may not be read: the API server decides": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "2Gi", "2Gi")},
			get:    apierrors.NewForbidden(schema.GroupResource{}, "ssd", nil), asked: []string{"2Gi", "2Gi"},
			said: []string{"False VolumeGrowing: "}, ready: "False VolumeGrowing", state: stateProgressing,
		},
		"the class cannot be read": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "2Gi", "2Gi")},
			get:    errors.New("timeout"), asked: []string{"1Gi", "2Gi"}, failed: true,
			said: []string{"False VolumeGrowing: data-g-0 is to go from 1Gi to 2Gi"}, ready: "False VolumeGrowing", state: stateProgressing,
		},
		"a quota is in the way": {
			claims:  []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "2Gi", "2Gi")},
			classes: []*storagev1.StorageClass{storageClass("ssd", true)}, patch: quota, asked: []string{"1Gi", "2Gi"},
			said:  []string{"False VolumeResizeFailed: data-g-0 cannot go from 1Gi to 2Gi: the API server refused: ", "exceeded quota"},
			ready: "False VolumeResizeFailed", state: stateHeld, after: reconcile.Steady,
		},
		"the claim changed since": {
			claims:  []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "2Gi", "2Gi")},
			classes: []*storagev1.StorageClass{storageClass("ssd", true)}, failed: true, asked: []string{"1Gi", "2Gi"},
			patch: apierrors.NewConflict(schema.GroupResource{}, "data-g-0", errors.New("modified")),
			said:  []string{"False VolumeGrowing: "}, ready: "False VolumeGrowing", state: stateProgressing,
		},
		"a volume is larger": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "ssd", "2Gi", "2Gi"), claimOf(1, "ssd", "3Gi", "3Gi")},
			asked:  []string{"2Gi", "3Gi"},
			said:   []string{"False VolumeShrinkRefused: storage.size is 2Gi, and data-g-1 asks for 3Gi: volumes cannot shrink; set storage.size to 3Gi"},
			ready:  "False VolumeShrinkRefused", state: stateHeld,
		},
		"a growth that never was is taken back": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "hdd", "9Ti", "1Gi"), claimOf(1, "hdd", "2Gi", "2Gi")},
			asked:  []string{"2Gi", "2Gi"}, said: []string{"False VolumeGrowing: data-g-0 grows from 1Gi to 2Gi"},
			ready: "False VolumeGrowing", state: stateProgressing,
		},
		"a growth that never was is taken back too far": {
			claims: []*corev1.PersistentVolumeClaim{claimOf(0, "hdd", "9Ti", "2Gi"), claimOf(1, "hdd", "2Gi", "2Gi")},
			asked:  []string{"9Ti", "2Gi"},
			said:   []string{"False VolumeShrinkRefused: storage.size is 2Gi, and data-g-0 has 2Gi and asks for 9Ti: ", "a little more than 2Gi"},
			ready:  "False VolumeShrinkRefused", state: stateHeld,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 0)
			c := &stingy{Client: l.api.Client(nil, nil), patch: tt.patch, get: tt.get}
			for _, class := range tt.classes {
				if err := c.Create(t.Context(), class); err != nil {
					t.Fatal(err)
				}
			}
			s := l.withClaims(c, tt.claims...)
			after, err := l.r.resizeVolumes(t.Context(), s)
			if (err != nil) != tt.failed || after != tt.after {
				t.Errorf("again after %v, %v", after, err)
			}
			text := volumesSaid(s)
			for _, part := range tt.said {
				if !strings.Contains(text, part) {
					t.Errorf("it says %q and not %q", text, part)
				}
			}
			if got := conditionsOf(s.group.Status.Conditions)[v1alpha1.ConditionReady]; got != tt.ready || s.group.Status.State != tt.state {
				t.Errorf("ready is %q and the state %q", got, s.group.Status.State)
			}
			changed := 0
			for i, want := range tt.asked {
				claim := &corev1.PersistentVolumeClaim{}
				if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(tt.claims[i]), claim); err != nil {
					t.Fatal(err)
				}
				if got := claim.Spec.Resources.Requests.Storage().String(); got != want {
					t.Errorf("%s asks for %s, want %s", claim.Name, got, want)
				} else if tt.claims[i].Spec.Resources.Requests.Storage().String() != got {
					changed++
				}
			}
			if len(l.events) != changed {
				t.Errorf("%d claims changed, and it says %q", changed, l.events)
			}
		})
	}
}

// A person has to act, and nothing tells the operator when: it asks again, and not all
// the time.
func TestARefusedSizeIsAskedForAgain(t *testing.T) {
	tests := map[string]struct {
		prepare func(c *stingy)
		asked   func(c *stingy) int
		mend    func(t *testing.T, c *stingy)
	}{
		"of a class that does not allow it": {
			prepare: func(*stingy) {}, asked: func(c *stingy) int { return c.gets },
			mend: func(t *testing.T, c *stingy) {
				t.Helper()
				class := &storagev1.StorageClass{}
				if err := c.Client.Get(t.Context(), client.ObjectKey{Name: "ssd"}, class); err != nil {
					t.Fatal(err)
				}
				class.AllowVolumeExpansion = new(true)
				if err := c.Update(t.Context(), class); err != nil {
					t.Fatal(err)
				}
			},
		},
		"of an API server that refuses": {
			prepare: func(c *stingy) {
				c.get, c.patch = apierrors.NewForbidden(schema.GroupResource{}, "ssd", nil), apierrors.NewForbidden(schema.GroupResource{}, "c", nil)
			},
			asked: func(c *stingy) int { return c.patches },
			mend:  func(_ *testing.T, c *stingy) { c.patch = nil },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 0)
			c := &stingy{Client: l.api.Client(nil, nil)}
			tt.prepare(c)
			if err := c.Create(t.Context(), storageClass("ssd", false)); err != nil {
				t.Fatal(err)
			}
			s := l.withClaims(c, claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "2Gi", "2Gi"))
			pass := func() string {
				if err := l.r.observeClaims(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				if _, err := l.r.resizeVolumes(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				return volumesSaid(s)
			}
			first := pass()
			for range 5 {
				l.clock.Step(2 * time.Second)
				if again := pass(); again != first || !strings.HasPrefix(again, "False Volume") || tt.asked(c) != 1 {
					t.Fatalf("first %q, then %q; asked %d times", first, again, tt.asked(c))
				}
			}
			tt.mend(t, c)
			l.clock.Step(askAgain)
			if said := pass(); !strings.HasPrefix(said, "False VolumeGrowing: data-g-0 grows from 1Gi to 2Gi") {
				t.Errorf("mended, it says %q", said)
			}
		})
	}
}

func TestAnInvalidGroupDoesNotGrow(t *testing.T) {
	l := newLab(t, 0)
	c := &stingy{Client: l.api.Client(nil, nil)}
	if err := c.Create(t.Context(), storageClass("ssd", true)); err != nil {
		t.Fatal(err)
	}
	s := l.withClaims(c, claimOf(0, "ssd", "1Gi", "1Gi"), claimOf(1, "ssd", "1Gi", "1Gi"))
	s.invalid = &product.Problem{Reason: v1alpha1.ReasonGroupIDTaken, Message: "choose another"}
	if _, err := l.r.resizeVolumes(t.Context(), s); err != nil || c.patches != 0 {
		t.Errorf("%d claims were changed, %v", c.patches, err)
	}
}

// The claim templates of a StatefulSet that is there stay as they are: another one
// would be refused, with all other changes.
func TestClaimTemplatesStay(t *testing.T) {
	g := stateOfWorld(masterData).group
	g.Spec.Storage = &v1alpha1.Storage{Size: resource.MustParse("2Gi"), StorageClassName: new("ssd")}
	build := func(live *appsv1.StatefulSet) string {
		set, err := statefulSet(g, "auth", 1, podtemplate.Images{Codis: "codis:1", ConfigWriter: "operator:1"}, live)
		if err != nil {
			t.Fatal(err)
		}
		return set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String()
	}
	if got := build(nil); got != "2Gi" {
		t.Errorf("a new StatefulSet asks for %s", got)
	}
	live := &appsv1.StatefulSet{}
	live.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{*claimOf(0, "ssd", "1Gi", "1Gi")}
	if got := build(live); got != "1Gi" {
		t.Errorf("one that asked for 1Gi asks for %s", got)
	}
	if g.Spec.Storage.Size.String() != "2Gi" {
		t.Error("the spec was changed")
	}
}
