// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/volume"
)

// askAgain is how long an answer stands that no event takes back: what a
// StorageClass allows, and why the API server refused another size.
const askAgain = 15 * time.Second

// answer is what was found out last, and when.
type answer struct {
	text string
	at   time.Time
}

// refusal is why the claim of a member was not asked for the size of the spec.
type refusal struct{ reason, why string }

// claimName is the claim that a StatefulSet makes for a member.
func claimName(pod string) string { return dataVolume + "-" + pod }

// firstStorage is the storage that a StatefulSet asks for. Its claim templates cannot
// be changed, so they keep the size that it was made with (decision 14): what grows
// are the claims.
func firstStorage(storage *v1alpha1.Storage, live *appsv1.StatefulSet) *v1alpha1.Storage {
	if storage == nil || live == nil || len(live.Spec.VolumeClaimTemplates) == 0 {
		return storage
	}
	first := storage.DeepCopy()
	first.Size = live.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests[corev1.ResourceStorage]
	return first
}

// observeClaims reads the claims of the members that are wanted.
func (r *Reconciler) observeClaims(ctx context.Context, s *state) error {
	if s.group.Spec.Storage == nil {
		return nil
	}
	s.claims = make([]*corev1.PersistentVolumeClaim, s.wanted())
	for ordinal := range s.claims {
		claim := &corev1.PersistentVolumeClaim{}
		name := claimName(naming.Member(s.group.Name, ordinal))
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: s.group.Namespace, Name: name}, claim)
		switch {
		case err == nil:
			s.claims[ordinal] = claim
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("get claim: %w", err)
		}
	}
	return nil
}

// resizeVolumes asks for the size of the spec where a claim asks for another one. The
// claims are the record of it: after a crash the next pass finds those that are left.
func (r *Reconciler) resizeVolumes(ctx context.Context, s *state) (time.Duration, error) {
	if s.invalid.Present() || s.group.Spec.Storage == nil {
		return 0, nil
	}
	s.refusals = make([]refusal, len(s.claims))
	after := time.Duration(0)
	for ordinal, claim := range s.claims {
		if volume.SizingOf(claim, s.group.Spec.Storage.Size) != volume.Resizable {
			continue
		}
		refused, err := r.resizeVolume(ctx, s, ordinal)
		if err != nil {
			return 0, err
		}
		if s.refusals[ordinal] = refused; refused.why != "" {
			after = reconcile.Steady
		}
	}
	return after, nil
}

// resizeVolume asks for another size of the volume of a member, or tells why not.
func (r *Reconciler) resizeVolume(ctx context.Context, s *state, ordinal int) (refusal, error) {
	claim, size := s.claims[ordinal], s.group.Spec.Storage.Size
	asked := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if asked.Cmp(size) < 0 {
		why, err := r.fixedSize(ctx, volume.ClassOf(claim))
		if err != nil || why != "" {
			return refusal{v1alpha1.ReasonVolumeNotExpandable, why}, err
		}
	}
	wish := string(claim.UID) + " " + size.String()
	if why, young := r.answered(&r.refusedSizes, wish); young {
		return refusal{v1alpha1.ReasonVolumeResizeFailed, why}, nil
	}
	grown := claim.DeepCopy()
	grown.Spec.Resources.Requests[corev1.ResourceStorage] = size
	err := r.Client.Patch(ctx, grown, client.MergeFromWithOptions(claim, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsNotFound(err):
		return refusal{}, nil
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		why := "the API server refused: " + err.Error()
		r.refusedSizes.Store(wish, answer{why, r.Clock.Now()})
		return refusal{v1alpha1.ReasonVolumeResizeFailed, why}, nil
	case err != nil:
		return refusal{}, fmt.Errorf("resize %s: %w", claim.Name, err)
	}
	r.refusedSizes.Delete(wish)
	s.claims[ordinal] = grown
	r.Recorder.Eventf(s.group, grown, corev1.EventTypeNormal, v1alpha1.ReasonVolumeResizeAsked, "ResizeVolume",
		"Asked for %s instead of %s in %s", size.String(), asked.String(), claim.Name)
	return refusal{}, nil
}

// fixedSize tells why volumes of a class cannot grow; empty if they can. A class that
// may not be read is left to the API server, which looks at it, too.
func (r *Reconciler) fixedSize(ctx context.Context, name string) (string, error) {
	if name == "" {
		return volume.Fixed(name, nil), nil
	}
	if why, young := r.answered(&r.classes, name); young {
		return why, nil
	}
	class := &storagev1.StorageClass{}
	err := r.Reader.Get(ctx, types.NamespacedName{Name: name}, class)
	var why string
	switch {
	case err == nil:
		why = volume.Fixed(name, class)
	case apierrors.IsNotFound(err):
		why = volume.Fixed(name, nil)
	case !apierrors.IsForbidden(err):
		return "", fmt.Errorf("get storage class: %w", err)
	}
	r.classes.Store(name, answer{why, r.Clock.Now()})
	return why, nil
}

// answered returns the answer to a question if it is young.
func (r *Reconciler) answered(answers *sync.Map, question string) (text string, young bool) {
	stored, _ := answers.Load(question)
	last, found := stored.(answer)
	if !found || r.Clock.Since(last.at) >= askAgain {
		return "", false
	}
	return last.text, true
}

// volumesCondition tells whether every member has a volume of the size that the spec
// asks for. What a person has to do comes first.
func volumesCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionVolumesReady
	if s.group.Spec.Storage == nil {
		return conditions.True(t, v1alpha1.ReasonDisabled, "the members have no volumes")
	}
	size := s.group.Spec.Storage.Size
	for _, sizing := range []volume.Sizing{
		volume.TooLarge, volume.Stuck, volume.Resizable, volume.Growing, volume.Absent,
	} {
		for ordinal, claim := range s.claims {
			if volume.SizingOf(claim, size) == sizing {
				reason, message := wordVolume(s, ordinal, sizing)
				return conditions.False(t, reason, message)
			}
		}
	}
	return conditions.True(t, v1alpha1.ReasonReady,
		fmt.Sprintf("every member has a volume of %s or more", size.String()))
}

// wordVolume says what is with the volume of a member that does not fit.
func wordVolume(s *state, ordinal int, sizing volume.Sizing) (reason, message string) {
	claim, pod := s.claims[ordinal], naming.Member(s.group.Name, ordinal)
	if sizing == volume.Absent {
		return v1alpha1.ReasonProgressing, "the volume of " + pod + " is being made"
	}
	size, has := s.group.Spec.Storage.Size.String(), claim.Status.Capacity.Storage().String()
	resize := fmt.Sprintf("from %s to %s", has, size)
	switch sizing {
	case volume.TooLarge:
		return v1alpha1.ReasonVolumeShrinkRefused, wordTooLarge(claim, size)
	case volume.Stuck:
		return v1alpha1.ReasonVolumeResizeFailed, fmt.Sprintf("%s cannot grow %s: %s; mend what it names, "+
			"or set storage.size to less, but more than %s", claim.Name, resize, volume.Problem(claim), has)
	case volume.Resizable:
		if ordinal >= len(s.refusals) || s.refusals[ordinal].why == "" {
			break
		}
		refused := s.refusals[ordinal]
		return refused.reason, fmt.Sprintf("%s cannot go %s: %s; mend that, or set storage.size to what it was, "+
			"or add groups instead", claim.Name, resize, refused.why)
	case volume.Growing:
		return v1alpha1.ReasonVolumeGrowing,
			fmt.Sprintf("%s grows %s: %s", claim.Name, resize, volume.Progress(claim, pod))
	case volume.Absent, volume.Fits:
	}
	return v1alpha1.ReasonVolumeGrowing, fmt.Sprintf("%s is to go %s", claim.Name, resize)
}

// wordTooLarge tells the way out of a size that is less than what there is.
func wordTooLarge(claim *corev1.PersistentVolumeClaim, size string) string {
	asked, has := claim.Spec.Resources.Requests.Storage(), claim.Status.Capacity.Storage()
	if asked.Cmp(*has) > 0 && !has.IsZero() {
		return fmt.Sprintf("storage.size is %s, and %s has %s and asks for %s: a growth can be taken back "+
			"to more than what the volume has only; set storage.size to a little more than %s",
			size, claim.Name, has, asked, has)
	}
	return fmt.Sprintf("storage.size is %s, and %s asks for %s: volumes cannot shrink; set storage.size to %s, "+
		"or move the slots to groups with smaller volumes and delete this one", size, claim.Name, asked, asked)
}
