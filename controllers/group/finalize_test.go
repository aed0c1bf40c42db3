// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

func TestInvariant3DeletionIsHeldWhileDataMayBeLost(t *testing.T) {
	owns := func(slots ...codis.SlotMapping) func(s *state) {
		return func(s *state) {
			for _, slot := range slots {
				s.stats.Slots[slot.ID] = slot
			}
		}
	}
	tests := map[string]struct {
		in      []situation
		prepare func(s *state)
		reason  string
		message string
	}{
		"an empty group goes": {in: []situation{masterEmpty, syncedEmpty}},
		"a group that never came up goes": {
			in: []situation{unreachable, unreachable}, prepare: func(s *state) { s.world.order = nil },
		},
		"a group whose pods are gone goes": {
			in:      []situation{unreachable, unreachable},
			prepare: func(s *state) { s.world.members[0].ip, s.world.members[1].ip = "", "" },
		},
		"a slot holds": {
			in: []situation{masterEmpty}, prepare: owns(codis.SlotMapping{ID: 5, GroupID: 1}),
			reason: v1alpha1.ReasonGroupOwnsSlots, message: "owns 1 slots",
		},
		"a slot on its way here holds": {
			in: []situation{masterEmpty}, reason: v1alpha1.ReasonGroupOwnsSlots, message: "owns 1 slots",
			prepare: owns(codis.SlotMapping{ID: 5, GroupID: 2, Action: codis.SlotAction{State: "pending", TargetID: 1}}),
		},
		"a slot that a dashboard without its store would get back holds": {
			in: []situation{masterEmpty}, reason: v1alpha1.ReasonGroupOwnsSlots, message: "owns 512 slots",
			prepare: func(s *state) {
				s.stats.Slots[0].GroupID = 0
				s.dashboard.Status.Layout = []v1alpha1.GroupSlots{{Group: 2, Slots: "512-1023"}, {Group: 1, Slots: "0-511"}}
			},
		},
		"a record of slots that cannot be read holds": {
			in: []situation{masterEmpty}, reason: v1alpha1.ReasonGroupOwnsSlots, message: "owns 1024 slots",
			prepare: func(s *state) {
				s.stats.Slots[0].GroupID = 0
				s.dashboard.Status.Layout = []v1alpha1.GroupSlots{{Group: 1, Slots: "spoiled"}}
			},
		},
		"an old record of slots does not hold": {
			in:      []situation{masterEmpty},
			prepare: func(s *state) { s.dashboard.Status.Layout = []v1alpha1.GroupSlots{{Group: 1, Slots: "0-511"}} },
		},
		"a silent member of a group that had a master holds": {
			in: []situation{unreachable, unreachable}, reason: v1alpha1.ReasonNotObserved, message: "g-0 may hold keys",
			prepare: func(s *state) { s.world.order, s.group.Status.Master = nil, "g-0" },
		},
		"a key on the master holds": {
			in: []situation{masterData, syncedEmpty}, reason: v1alpha1.ReasonGroupOwnsSlots, message: "g-0 still holds keys",
		},
		"a key on a replica holds": {
			in: []situation{masterEmpty, fencedData}, reason: v1alpha1.ReasonGroupOwnsSlots, message: "g-1 still holds keys",
		},
		"a member that is silent holds": {
			in: []situation{masterEmpty, unreachable}, reason: v1alpha1.ReasonNotObserved,
			message: "g-1 may hold keys and cannot be asked (no answer in time)",
		},
		"a member that reads its disk holds": {
			in: []situation{loading, masterEmpty}, reason: v1alpha1.ReasonNotObserved, message: "it is loading its data",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.dashboard.Spec.Rebalance = &v1alpha1.Rebalance{Policy: v1alpha1.RebalanceOff}
			if tt.prepare != nil {
				tt.prepare(s)
			}
			reason, message := deletionHeld(s)
			if strings.Contains(tt.message, "owns ") {
				s.dashboard.Spec.Rebalance = nil
				if reason, _ := deletionHeld(s); reason != v1alpha1.ReasonDraining {
					t.Errorf("with slots that move by themselves: %s", reason)
				}
			}
			if reason != tt.reason || (message == "") != (tt.message == "") || !strings.Contains(message, tt.message) {
				t.Errorf("got %s: %s; want %s: %s", reason, message, tt.reason, tt.message)
			}
		})
	}
}
