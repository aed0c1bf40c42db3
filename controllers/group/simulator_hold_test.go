// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Requests that proxies hold for a failover that waits (docs/decisions/0022). Schedules
// seldom come to that by themselves: those here begin with a guarded master of three that
// is lost with the dashboard or a proxy, and everything else happens on top.

// prepareSiege makes a guarded group of three, with the dashboard or a proxy at its master.
func (s *sim) prepareSiege() {
	s.count, s.fresh = 3, false
	s.versions = s.versions[:0]
	s.store(newSimGroup(s.count, s.persistent, v1alpha1.ProtectionEnabled))
	s.nodeOf[hostDashboard+s.rng.IntN(1+simProxies)] = s.nodeOf[hostMember]
}

// besiege plans the loss of the master and of what would have all proxies leave it.
func (s *sim) besiege(at tick) (next tick) {
	meanwhile := func(d tick, do func()) {
		s.after(d, func() {
			if !s.healing {
				do()
			}
		})
	}
	meanwhile(at, func() {
		master := s.dash.order[0]
		switch s.rng.IntN(6) {
		case 0:
			s.hang(master)
		case 1:
			s.cutOff(hostMember + master)
		case 2: // Only the operators and its replicas do not reach it.
			pairs := [][2]int{{hostOperator, hostMember + master}, {hostOperator + 1, hostMember + master}}
			for i := range s.count {
				if i != master {
					pairs = append(pairs, [2]int{hostMember + master, hostMember + i})
				}
			}
			s.cutFor(pairs)
		default:
			s.loseNode(s.nodeOf[hostMember+master])
		}
	})
	meanwhile(at+s.between(0, 2000), func() {
		switch proxy := s.rng.IntN(simProxies); s.rng.IntN(6) {
		case 0:
			s.dashCrash(s.between(300, 8000))
		case 1:
			s.dashTakeOver()
		case 2:
			s.killProxy(proxy, s.chance(50))
		case 3:
			s.cutFor([][2]int{{hostOperator, hostProxy + proxy}})
		case 4:
			s.cutFor([][2]int{{hostDashboard, hostProxy + proxy}, {hostOperator, hostDashboard}})
		}
	})
	for proxy := range s.proxy {
		if from := at + s.between(0, 3000); s.chance(50) {
			meanwhile(from, func() { s.proxy[proxy].starved = s.now + s.between(1000, 6000) })
		}
	}
	return at + s.between(500, 5000)
}

// starves tells whether it takes a proxy long to begin with requests. What a person does in
// the web page meanwhile is what docs/simulator.md lists as open: seconds instead of
// milliseconds lie between the promotions of the dashboard and of the operator.
func (s *sim) starves() bool { return s.now < max(s.proxy[0].starved, s.proxy[1].starved) }

// arrival is how long a request to a proxy takes until the proxy begins with it.
func (s *sim) arrival(proxy int) tick {
	if s.now < s.proxy[proxy].starved && !s.healing && s.chance(40) {
		return s.between(1, 1500)
	}
	return s.between(1, 6)
}

// checkHeld counts what proxies are told of requests that are held, and is invariant 5 for
// them: clients do not wait for a master that was silent for a moment.
func (s *sim) checkHeld(p *simPass, proxy *simProxy, told simRoute, meant meaning) {
	switch old := meant.old; {
	case old < 0:
	case told.Locked && meant.holds:
		s.stats.holds++
		if p.silent[old] < 1200 {
			s.violate("5: requests to g-%d are held, which was silent for %d ms", old, p.silent[old])
		}
	case !told.Locked && proxy.locked && proxy.route >= 0 && told.Master == simAddrs[proxy.route] && meant.holding:
		s.stats.releases++
	}
}

// meaning is what a pass tells proxies routes for.
type meaning struct {
	old            int  // master of the dashboard, or -1
	holds, holding bool // requests for a failover; or they are
}

func (p *simPass) meaning() meaning {
	m, d := meaning{old: -1, holding: p.st.world.holding}, p.st.decision
	if m.holds = d.locks || d.verb == fence; len(p.st.world.order) > 0 {
		m.old = memberOf(p.st.world.order[0])
	}
	return m
}

// sieges runs schedules until one breaks that does not otherwise, and returns its number
// and how.
func sieges(s *sim, without ablation, limit uint64) (seed uint64, broken string) {
	s.besieged = true
	for seed = 1; seed <= limit; seed++ {
		if broken = s.simulate(seed, without, false); broken != "" && s.simulate(seed, ablation{}, false) == "" {
			return seed, broken
		}
	}
	return seed, ""
}

// Requests are held and released in all kinds of schedules, and none stays held.
func TestSimulationHoldsRequests(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		s.besieged = true
		const from = 1000 // Schedule 119 is an open one of docs/simulator.md.
		for seed := uint64(from + 1); seed <= from+800; seed++ {
			if broken := s.simulate(seed, ablation{}, false); broken != "" {
				t.Fatalf("seed %d of -sim.siege: %s\n%s", seed, broken, s.story(seed, ablation{}, 60))
			}
		}
		if s.stats.holds < 200 || s.stats.releases < 20 {
			t.Errorf("proxies were told %d times to hold requests, and %d times to let them go on", s.stats.holds, s.stats.releases)
		}
		t.Logf("%+v", s.stats)
	})
}

// What an operator records of held requests is what the next one lets them go on by; and
// a lock may be on its way when they are.
func TestSimulationNeedsRequestsToBeReleased(t *testing.T) {
	for name, without := range map[string]ablation{
		"the record of held requests":    {holdRecord: true},
		"locks that may be on their way": {lateLocks: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *sim) {
				seed, broken := sieges(s, without, 4000)
				if broken == "" {
					t.Errorf("of %d schedules, none breaks without it", seed-1)
				}
				t.Logf("seed %d: %s", seed, broken)
			})
		})
	}
}
