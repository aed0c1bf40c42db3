// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/volume"
)

// sizes judges changes of the size of volumes.
type sizes struct {
	claims, classes client.Reader
}

// ofGroup compares the volumes of a group before and after a change.
func (v sizes) ofGroup(ctx context.Context, before, after *v1alpha1.CodisGroup) (admission.Warnings, errs, error) {
	at := field.NewPath("spec", "storage", "size")
	return v.compare(ctx, before.Spec.Storage, after.Spec.Storage, at, after.Namespace, []string{after.Name})
}

// ofCluster compares the volumes of all groups of a cluster before and after a change.
func (v sizes) ofCluster(ctx context.Context, before, after *v1alpha1.CodisCluster) (admission.Warnings, errs, error) {
	var groups []string
	for id := int32(1); id <= max(groupCount(before), groupCount(after)); id++ {
		groups = append(groups, naming.ClusterGroup(after.Name, id))
	}
	at := field.NewPath("spec", "groups", "storage", "size")
	return v.compare(ctx, before.Spec.Groups.Storage, after.Spec.Groups.Storage, at, after.Namespace, groups)
}

func groupCount(c *v1alpha1.CodisCluster) int32 {
	if c.Spec.Groups.Count == nil {
		return 1
	}
	return *c.Spec.Groups.Count
}

// compare refuses a size that a volume cannot be brought to, and warns of one that it
// may not: whether it may is for who owns the StorageClass, and can change.
func (v sizes) compare(
	ctx context.Context, before, after *v1alpha1.Storage, at *field.Path, namespace string, groups []string,
) (admission.Warnings, errs, error) {
	if before == nil || after == nil || before.Size.Cmp(after.Size) == 0 {
		return nil, nil, nil
	}
	claims, err := v.claimsOf(ctx, namespace, groups)
	if err != nil {
		return nil, nil, err
	}
	if after.Size.Cmp(before.Size) < 0 {
		return nil, shrinks(claims, before, after, at), nil
	}
	return v.warn(ctx, claims, after, at), nil, nil
}

// shrinks refuses a smaller size, unless no volume ever got larger than that: then a
// growth is taken back. It is pure.
func shrinks(claims []corev1.PersistentVolumeClaim, before, after *v1alpha1.Storage, at *field.Path) errs {
	const wayOut = "volumes cannot shrink: move the slots to groups with smaller volumes instead, and delete these"
	for i := range claims {
		if volume.SizingOf(&claims[i], after.Size) == volume.TooLarge {
			return errs{field.Invalid(at, after.Size.String(), fmt.Sprintf("%s asks for %s already and has %s; %s",
				claims[i].Name, claims[i].Spec.Resources.Requests.Storage(), claims[i].Status.Capacity.Storage(), wayOut))}
		}
	}
	if len(claims) == 0 {
		return errs{field.Invalid(at, after.Size.String(), fmt.Sprintf("it was %s; %s", before.Size.String(), wayOut))}
	}
	return nil
}

// warn tells of classes whose volumes stay as they are. A class that cannot be read is
// no reason to refuse a change, or to warn of it.
func (v sizes) warn(
	ctx context.Context, claims []corev1.PersistentVolumeClaim, after *v1alpha1.Storage, at *field.Path,
) admission.Warnings {
	names := map[string]bool{}
	for i := range claims {
		if volume.SizingOf(&claims[i], after.Size) == volume.Resizable {
			names[volume.ClassOf(&claims[i])] = true
		}
	}
	var warnings admission.Warnings
	for _, name := range slices.Sorted(maps.Keys(names)) {
		class, err := v.class(ctx, name)
		if why := volume.Fixed(name, class); err == nil && why != "" {
			warnings = append(warnings, fmt.Sprintf(
				"%s: volumes that are there stay as large as they are: %s; the condition VolumesReady tells more", at, why))
		}
	}
	return warnings
}

// class returns a StorageClass, nil where there is none of that name.
func (v sizes) class(ctx context.Context, name string) (*storagev1.StorageClass, error) {
	if name == "" {
		return nil, nil
	}
	class := &storagev1.StorageClass{}
	err := v.classes.Get(ctx, client.ObjectKey{Name: name}, class)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return class, err
}

// claimsOf lists the volumes of groups, by group and name: a cache has no order, and the
// same mistake shall get the same answer.
func (v sizes) claimsOf(
	ctx context.Context, namespace string, groups []string,
) ([]corev1.PersistentVolumeClaim, error) {
	var found []corev1.PersistentVolumeClaim
	for _, group := range groups {
		list := &corev1.PersistentVolumeClaimList{}
		selector := client.MatchingLabels(naming.Selector(naming.ComponentServer, group))
		if err := v.claims.List(ctx, list, client.InNamespace(namespace), selector); err != nil {
			return nil, fmt.Errorf("list claims: %w", err)
		}
		slices.SortFunc(list.Items, func(a, b corev1.PersistentVolumeClaim) int { return cmp.Compare(a.Name, b.Name) })
		found = append(found, list.Items...)
	}
	return found, nil
}
