// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"testing"
)

// Two dashboards at once. One that is cut off from its coordinator goes on serving
// whom it reaches from memory, and with what it has begun; it can store nothing, since
// a dashboard that takes over reads the same etcd or ZooKeeper (reference 2.3). What it
// tells proxies before it would store is told all the same.

// dashTakeOver cuts the dashboard off from its coordinator, sometimes from others too,
// and starts another one elsewhere, with what was stored. Operators whose cache is
// behind go on asking the old one, until its pod is seen to be gone.
func (s *sim) dashTakeOver() {
	old := s.dash
	if !old.up || s.ghost != nil {
		return
	}
	s.logf("the dashboard is cut off from its store, promoting %q", old.promoting)
	for host := range old.reaches {
		old.reaches[host] = !s.cut(hostDashboard, host) && s.chance(80)
	}
	old.severed = true
	s.stats.takeovers++
	if old.promoting != idle {
		s.stats.midPromotion++
	}
	if old.moving {
		s.stats.midMove++
	}
	s.ghost, s.replaced = old, s.now+s.between(100, 5000)
	s.dash = &simDashboard{
		order: slices.Clone(old.order), promoting: old.promoting, index: old.index, moving: old.moving,
	}
	s.after(s.replaced-s.now, func() {
		s.moveDashboard()
		s.dashStart()
	})
	s.after(s.replaced-s.now+s.between(500, 8000), func() {
		s.logf("the old dashboard ends")
		old.end()
		s.ghost = nil
	})
}

// moveDashboard puts the dashboard on a node that is there, if there is one.
func (s *sim) moveDashboard() {
	first := s.rng.IntN(simNodes)
	for i := range simNodes {
		if node := (first + i) % simNodes; s.nodeCut[node] == 0 {
			s.nodeOf[hostDashboard] = node
			break
		}
	}
	for host := range hostMember + s.count {
		s.cuts[hostDashboard][host], s.cuts[host][hostDashboard] = 0, 0
		if node := s.nodeOf[host]; node != s.nodeOf[hostDashboard] && s.nodeCut[node] > 0 {
			s.setCut(hostDashboard, host, 1)
		}
	}
}

// dashSeen is the dashboard that an operator asks: that of the pod in its cache.
func (s *sim) dashSeen(o *simOperator) *simDashboard {
	if s.ghost != nil && s.now-o.podLag < s.replaced {
		return s.ghost
	}
	return s.dash
}

// Schedules take dashboards over at the moments that matter.
func TestSimulationTakesDashboardsOver(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		for seed := range uint64(4000) {
			s.simulate(seed, ablation{}, false)
		}
		if n := s.stats; n.midPromotion == 0 || n.midMove == 0 || n.takeovers < 200 {
			t.Errorf("%d dashboards were taken over, %d in the middle of a promotion and %d of a move",
				n.takeovers, n.midPromotion, n.midMove)
		}
	})
}
