// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// resyncingDashboard counts how often it was asked to tell the proxies.
type resyncingDashboard struct {
	dashboard

	asked int
	err   error
}

func (d *resyncingDashboard) ResyncGroup(context.Context, int) error {
	d.asked++
	return d.err
}

// The dashboard that carried out a promotion may be another one than that which is asked now.
func TestProxiesAreToldAgainOfAPromotionThatNobodyHeardOf(t *testing.T) {
	promotion := func(p *v1alpha1.Promotion) func(s *state) {
		return func(s *state) { s.group.Status.Promotion = p }
	}
	of0 := &v1alpha1.Promotion{Member: "g-0", From: "g-1", Cause: v1alpha1.CauseMasterDead}
	also := func(change func(s *state)) func(s *state) {
		return func(s *state) { s.group.Status.Promotion = of0; change(s) }
	}
	tests := map[string]struct {
		change func(s *state)
		fails  bool
		asked  int
	}{
		"it is recorded still":               {change: promotion(of0), asked: 1},
		"a proxy does not answer":            {change: promotion(of0), fails: true, asked: 1},
		"none is recorded":                   {change: promotion(nil)},
		"the first master told nobody":       {change: promotion(&v1alpha1.Promotion{Member: "g-0"})},
		"another one is recorded":            {change: promotion(&v1alpha1.Promotion{Member: "g-1", From: "g-0", Cause: v1alpha1.CauseMasterDead})},
		"a follower is held back":            {change: also(func(s *state) { s.world.members[1].redis, s.world.masterRunID = strayData.observed(""), "other" })},
		"the dashboard cannot be asked":      {change: also(func(s *state) { s.stats = nil })},
		"the dashboard has another master":   {change: also(func(s *state) { s.world.order = addrs(1, 0) })},
		"the dashboard has another one left": {change: also(func(s *state) { s.halfDone = true })},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			r, _ := writer(t, s)
			dashboard := &resyncingDashboard{}
			if tt.fails {
				dashboard.err = errors.New("no answer")
			}
			s.api, s.servers = dashboard, toldServers{follow: map[string]string{}}
			tt.change(s)
			if _, err := r.settle(t.Context(), s); redis.Unexpected(err) != nil {
				t.Fatal(err)
			}
			if dashboard.asked != tt.asked {
				t.Errorf("asked %d times", dashboard.asked)
			}
			if behind := s.group.Status.Dashboard == v1alpha1.DashboardBehind; behind != tt.fails {
				t.Errorf("tried again: %t", behind)
			}
		})
	}
}
