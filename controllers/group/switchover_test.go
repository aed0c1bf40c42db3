// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

func TestSwitchoverWaitsUntilAllIsInOrder(t *testing.T) {
	const id = 7
	tests := map[string]struct {
		change func(w *world, stats *codis.Stats)
		to     string
		held   string
	}{
		"all is in order":        {func(*world, *codis.Stats) {}, "g-1", ""},
		"is the master already":  {func(*world, *codis.Stats) {}, "g-0", ""},
		"is no member":           {func(*world, *codis.Stats) {}, "h-1", "no such member"},
		"is not registered":      {func(w *world, _ *codis.Stats) { w.order = w.order[:1] }, "g-1", "does not know"},
		"its link is down":       {func(w *world, _ *codis.Stats) { w.members[1].redis.LinkUp = false }, "g-1", "not in sync"},
		"is being copied to":     {func(w *world, _ *codis.Stats) { w.members[1].redis.Syncing = true }, "g-1", "not in sync"},
		"follows somebody else":  {func(w *world, _ *codis.Stats) { w.members[1].redis.MasterAddr = strayAddr }, "g-1", "not in sync"},
		"is new":                 {func(w *world, _ *codis.Stats) { w.members[1].young = true }, "g-1", "less than 35 s"},
		"is leaving":             {func(w *world, _ *codis.Stats) { w.members[1].leaving = true }, "g-1", "not in sync"},
		"a proxy is deaf":        {func(w *world, _ *codis.Stats) { w.deafProxies = []string{"p-1"} }, "g-1", "p-1"},
		"a slot leaves":          {func(_ *world, s *codis.Stats) { s.Slots[0].Action.State = "pending" }, "g-1", "on their way"},
		"a slot of others moves": {func(_ *world, s *codis.Stats) { s.Slots[1].Action.State = "pending" }, "g-1", ""},
		"a slot comes": {func(_ *world, s *codis.Stats) {
			s.Slots[1].Action = codis.SlotAction{State: "migrating", TargetID: id}
		}, "g-1", "on their way"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, syncedData}, 0)
			stats := &codis.Stats{Slots: []codis.SlotMapping{{ID: 0, GroupID: id}, {ID: 1, GroupID: id + 1}}}
			tt.change(&w, stats)
			got := switchoverHeld(w, stats, id, &w.members[0], w.byName(tt.to))
			if (got == "") != (tt.held == "") || !strings.Contains(got, tt.held) {
				t.Errorf("held %q, want %q", got, tt.held)
			}
		})
	}
}

func TestInterruptedSwitchoverIsFound(t *testing.T) {
	promotion := func(member string, cause v1alpha1.FailoverCause) *v1alpha1.Promotion {
		return &v1alpha1.Promotion{Member: member, Cause: cause}
	}
	tests := map[string]struct {
		promotion *v1alpha1.Promotion
		want      bool
	}{
		"none":                        {nil, false},
		"before the dashboard was":    {promotion("g-1", v1alpha1.CauseSwitchover), true},
		"after the dashboard was":     {promotion("g-0", v1alpha1.CauseSwitchover), false},
		"a failover locks no slots":   {promotion("g-1", v1alpha1.CauseMasterSilent), false},
		"nor does who becomes master": {promotion("g-0", ""), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			s.group.Status.Promotion = tt.promotion
			if got := s.interrupted(); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
