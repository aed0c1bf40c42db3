// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// claim asks for one size and has another; has is empty while it is not bound.
func claim(asked, has string, change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-g-0"}}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(asked)}
	if has != "" {
		c.Status.Phase = corev1.ClaimBound
		c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(has)}
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func says(kind corev1.PersistentVolumeClaimConditionType, status corev1.ConditionStatus) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		c.Status.Conditions = append(c.Status.Conditions,
			corev1.PersistentVolumeClaimCondition{Type: kind, Status: status, Message: "no room"})
	}
}

func allocated(status corev1.ClaimResourceStatus) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		c.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: status}
	}
}

func TestSizingOf(t *testing.T) {
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  Sizing
	}{
		"there is no claim": {nil, Absent},
		"the claim is going": {
			claim("2Gi", "2Gi", func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &metav1.Time{} }), Absent,
		},
		"the claim has no volume yet":                      {claim("2Gi", ""), Absent},
		"a small claim has no volume yet":                  {claim("1Gi", ""), Absent},
		"it has what it asks for":                          {claim("2Gi", "2Gi"), Fits},
		"it asks for the same in other words":              {claim("2048Mi", "2Gi"), Fits},
		"it was rounded up":                                {claim("2Gi", "4Gi"), Fits},
		"it asks for less":                                 {claim("1Gi", "1Gi"), Resizable},
		"it asks for less and was rounded up":              {claim("1Gi", "4Gi"), Resizable},
		"it asks for more":                                 {claim("3Gi", "3Gi"), TooLarge},
		"it asks for more and has no volume":               {claim("3Gi", ""), TooLarge},
		"it asked for more and never got it":               {claim("3Gi", "1Gi"), Resizable},
		"it asked for more and has just what it shall":     {claim("3Gi", "2Gi"), TooLarge},
		"it waits for its driver":                          {claim("2Gi", "1Gi"), Growing},
		"its driver is at it":                              {claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimResizing, yes)), Growing},
		"its driver fails":                                 {claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimControllerResizeError, yes)), Stuck},
		"its driver failed once":                           {claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimControllerResizeError, no)), Growing},
		"its node fails":                                   {claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimNodeResizeError, yes)), Stuck},
		"its driver cannot do it":                          {claim("2Gi", "1Gi", allocated(corev1.PersistentVolumeClaimControllerResizeInfeasible)), Stuck},
		"its node cannot do it":                            {claim("2Gi", "1Gi", allocated(corev1.PersistentVolumeClaimNodeResizeInfeasible)), Stuck},
		"its node is about to do it":                       {claim("2Gi", "1Gi", allocated(corev1.PersistentVolumeClaimNodeResizePending)), Growing},
		"its driver failed before it got what it asks for": {claim("2Gi", "2Gi", says(corev1.PersistentVolumeClaimNodeResizeError, yes)), Fits},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := SizingOf(tt.claim, resource.MustParse("2Gi")); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  string
	}{
		"nobody has begun": {claim("2Gi", "1Gi"), "kubectl describe pvc data-g-0"},
		"the driver is at it": {
			claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimResizing, yes)), "its driver makes it larger",
		},
		"the driver is not at it any more": {
			claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimResizing, no)), "has not begun",
		},
		"the node is left to do it": {
			claim("2Gi", "1Gi", says(corev1.PersistentVolumeClaimFileSystemResizePending, yes), says(corev1.PersistentVolumeClaimResizing, no)),
			"kubectl delete pod g-0",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Progress(tt.claim, "g-0"); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFixed(t *testing.T) {
	tests := map[string]struct {
		name  string
		class *storagev1.StorageClass
		want  string
	}{
		"it may grow":             {"ssd", &storagev1.StorageClass{AllowVolumeExpansion: new(true)}, ""},
		"it may not":              {"ssd", &storagev1.StorageClass{AllowVolumeExpansion: new(false)}, `"ssd" does not allow it`},
		"nobody says that it may": {"ssd", &storagev1.StorageClass{}, `"ssd" does not allow it`},
		"its class is gone":       {"ssd", nil, `"ssd" does not exist`},
		"it has no class":         {"", nil, "no StorageClass made it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Fixed(tt.name, tt.class)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClassOf(t *testing.T) {
	c := claim("1Gi", "")
	if got := ClassOf(c); got != "" {
		t.Errorf("a claim without a class has %q", got)
	}
	if c.Spec.StorageClassName = new("ssd"); ClassOf(c) != "ssd" {
		t.Errorf("got %q", ClassOf(c))
	}
}
