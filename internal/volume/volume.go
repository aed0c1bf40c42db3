// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package volume compares the volumes of members with the size that they shall have.
// It refuses to change any.
package volume

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Sizing is what becomes of the size of a volume.
type Sizing int

// Sizings.
const (
	// Fits: the volume is as large as it shall be.
	Fits Sizing = iota
	// Absent: there is no claim, or no volume for it yet.
	Absent
	// Resizable: the claim can be asked for the size.
	Resizable
	// Growing: the claim asks for the size, and the volume does not have it yet.
	Growing
	// Stuck: the driver of the volume, or kubelet, says that it cannot be made larger.
	Stuck
	// TooLarge: the claim asks for more, and that cannot be taken back.
	TooLarge
)

// SizingOf compares a claim with the size that it shall have; claim may be nil. A
// claim that asks for more than its volume ever got may be lowered to anything that
// is more than the volume has: so is a growth taken back that cannot be carried out.
// A volume never shrinks.
func SizingOf(claim *corev1.PersistentVolumeClaim, size resource.Quantity) Sizing {
	if claim == nil || claim.DeletionTimestamp != nil {
		return Absent
	}
	asked, has := claim.Spec.Resources.Requests.Storage(), claim.Status.Capacity.Storage()
	bound := claim.Status.Phase == corev1.ClaimBound
	switch {
	case asked.Cmp(size) > 0 && bound && has.Cmp(size) < 0:
		return Resizable
	case asked.Cmp(size) > 0:
		return TooLarge
	case !bound:
		return Absent
	case asked.Cmp(size) < 0:
		return Resizable
	case has.Cmp(size) >= 0:
		return Fits
	case Problem(claim) != "":
		return Stuck
	}
	return Growing
}

// Problem is what the driver of a volume, or kubelet, says of a growth that it cannot
// carry out; empty if neither complains.
func Problem(claim *corev1.PersistentVolumeClaim) string {
	for _, c := range claim.Status.Conditions {
		failed := c.Type == corev1.PersistentVolumeClaimControllerResizeError ||
			c.Type == corev1.PersistentVolumeClaimNodeResizeError
		if failed && c.Status == corev1.ConditionTrue {
			return fmt.Sprintf("%s: %s", c.Type, c.Message)
		}
	}
	switch status := claim.Status.AllocatedResourceStatuses[corev1.ResourceStorage]; status {
	case corev1.PersistentVolumeClaimControllerResizeInfeasible, corev1.PersistentVolumeClaimNodeResizeInfeasible:
		return string(status)
	case corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimNodeResizePending,
		corev1.PersistentVolumeClaimNodeResizeInProgress:
	}
	return ""
}

// Progress tells who is at work on a growth, and what to do if that takes long. The
// claim is mounted by the pod.
func Progress(claim *corev1.PersistentVolumeClaim, pod string) string {
	progress := "its driver has not begun: kubectl describe pvc " + claim.Name + " tells more"
	for _, c := range claim.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case corev1.PersistentVolumeClaimResizing:
			progress = "its driver makes it larger"
		case corev1.PersistentVolumeClaimFileSystemResizePending:
			return "its node makes the file system larger; a driver that cannot do so while the volume is in use " +
				"does it when the pod starts again: kubectl delete pod " + pod
		default: // Others say nothing of progress.
		}
	}
	return progress
}

// Fixed tells why volumes of a class cannot grow; empty if they can. The class is nil
// where none of that name exists.
func Fixed(name string, class *storagev1.StorageClass) string {
	switch {
	case name == "":
		return "no StorageClass made it"
	case class == nil:
		return fmt.Sprintf("its StorageClass %q does not exist", name)
	case class.AllowVolumeExpansion == nil || !*class.AllowVolumeExpansion:
		return fmt.Sprintf("its StorageClass %q does not allow it (allowVolumeExpansion)", name)
	}
	return ""
}

// ClassOf names the StorageClass of a claim; empty if it has none.
func ClassOf(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}
