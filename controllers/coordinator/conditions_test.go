// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

func TestReadyConditionSaysWhereTheTopologyIs(t *testing.T) {
	inPod, onVolume := &v1alpha1.CodisCoordinator{}, &v1alpha1.CodisCoordinator{}
	onVolume.Spec.Storage = &v1alpha1.Storage{Size: resource.MustParse("1Gi")}
	tests := map[string]struct {
		coordinator *v1alpha1.CodisCoordinator
		status      metav1.ConditionStatus
		message     string
	}{
		"in the pod":  {inPod, metav1.ConditionTrue, "put back from its status"},
		"on a volume": {onVolume, metav1.ConditionTrue, "on the dashboard's volume"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := filesystemCondition(tt.coordinator)
			if got.Type != v1alpha1.ConditionReady || got.Status != tt.status || !strings.Contains(got.Message, tt.message) {
				t.Errorf("%+v", got)
			}
		})
	}
}
