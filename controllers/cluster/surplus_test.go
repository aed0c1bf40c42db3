// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Only a group that was told to drain, said so, and has no slot by any account is deleted.
func TestDrained(t *testing.T) {
	tests := map[string]struct {
		prepare func(s *state, g *v1alpha1.CodisGroup)
		want    bool
	}{
		"nobody knows of a slot that it has": {func(*state, *v1alpha1.CodisGroup) {}, true},
		"slots of its id are another group's": {
			func(_ *state, g *v1alpha1.CodisGroup) { g.Spec.ID, g.Status.Conditions = 2, broken("GroupIDTaken") }, true,
		},
		"it was not told yet": {
			func(_ *state, g *v1alpha1.CodisGroup) { g.Spec.SlotPolicy = v1alpha1.SlotsShare }, false,
		},
		"it has not seen it yet":            {func(_ *state, g *v1alpha1.CodisGroup) { g.Generation++ }, false},
		"it says that it has slots":         {func(_ *state, g *v1alpha1.CodisGroup) { g.Status.Slots = 1 }, false},
		"the dashboard says so":             {func(_ *state, g *v1alpha1.CodisGroup) { g.Spec.ID = 2 }, false},
		"the dashboard does not say a word": {func(s *state, _ *v1alpha1.CodisGroup) { s.dashboard.Status.Layout = nil }, false},
		"the dashboard is not there":        {func(s *state, _ *v1alpha1.CodisGroup) { s.dashboard = nil }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, g := converged(), surplus(3)
			tt.prepare(s, g)
			if got := drained(s, g); got != tt.want {
				t.Errorf("drained is %v", got)
			}
		})
	}
}

func TestSurplusGroupsAreKeptAndDrained(t *testing.T) {
	going := surplus(4)
	going.DeletionTimestamp = &metav1.Time{}
	policies := map[string]v1alpha1.SlotPolicy{}
	for _, object := range children(example(2), []*v1alpha1.CodisGroup{surplus(3), going}) {
		if g, ok := object.(*v1alpha1.CodisGroup); ok {
			policies[g.Name] = g.Spec.SlotPolicy
			if g.Spec.SlotPolicy == v1alpha1.SlotsDrain {
				share := group(example(2), 3)
				share.Spec.SlotPolicy = v1alpha1.SlotsDrain
				if g.Spec.ID != 3 || len(g.Labels) != len(share.Labels) {
					t.Errorf("the group that is drained is %+v", g)
				}
			}
		}
	}
	if len(policies) != 3 || policies["c-1"] != v1alpha1.SlotsShare || policies["c-3"] != v1alpha1.SlotsDrain {
		t.Errorf("groups are %v", policies)
	}
}
