// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// A deterministic simulation of one group with everything around it. The seed
// decides all: what is broken when, and how long everything takes. See
// docs/simulator.md.
//
//	go test ./controllers/group -run 'TestSimulation$' -sim.count=1000000
//	go test ./controllers/group -run 'TestSimulation$' -sim.seed=N
var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this schedule and tell what happens")
	simFirst = flag.Uint64("sim.first", 1, "seed of the first schedule")
	simCount = flag.Int("sim.count", simDefault, "number of schedules")
	simSiege = flag.Bool("sim.siege", false, "schedules in which requests are held for a failover that waits")
	simAll   = flag.Bool("sim.all", false, "do not stop at the first violation; count them by kind")
)

// begin puts a group together that is whole, or one that is new.
func (s *sim) begin(seed uint64, without ablation, tracing bool) {
	gate := s.gate
	if gate == nil {
		gate = &simGate{called: make(chan struct{}, 1)}
	}
	*s = sim{
		rng: rand.New(rand.NewPCG(seed, 7)), base: time.Now(), without: without, tracing: tracing, failedAt: never, fencedAt: never, gate: gate,
		queue: s.queue[:0], branches: s.branches[:0], versions: s.versions[:0], stats: s.stats,
		besieged: s.besieged,
	}
	s.stats.schedules++
	s.impaired = [simMembers]tick{never, never, never}
	s.count = 2 + s.rng.IntN(2)
	s.persistent = s.chance(40)
	s.fresh, s.refusal = s.chance(5), s.between(1000, 3900)
	protections := []v1alpha1.Protection{v1alpha1.ProtectionAuto, v1alpha1.ProtectionAuto, v1alpha1.ProtectionEnabled, v1alpha1.ProtectionDisabled}
	for host := range s.nodeOf {
		s.nodeOf[host] = s.rng.IntN(simNodes)
	}
	for i := range simMembers {
		s.nodeOf[hostMember+i] = i
	}
	s.store(newSimGroup(s.count, s.persistent, protections[s.rng.IntN(len(protections))]))
	s.ops = []*simOperator{newSimOperator(s, 0), newSimOperator(s, 1)}
	s.dash = &simDashboard{up: true}
	if s.besieged {
		s.prepareSiege()
	}
	s.beginMembers()
	s.dashLater(s.dash, 1, func() { s.dashLook(s.dash) })
	for i := range s.proxy {
		s.proxy[i] = simProxy{up: true, route: -1, period: s.between(20, 60), next: s.between(1, 60), stuck: never}
	}
	s.ops[0].begin()
}

func (s *sim) beginMembers() {
	data := noData
	if s.chance(85) {
		data = s.fork(noData)
		for range 100 {
			s.branches[0].times = append(s.branches[0].times, -1)
		}
		data.n = 100
	}
	for i := range s.count {
		s.uids++
		m := &s.srv[i]
		m.disk, m.delay = data, s.between(1, 30)
		m.pod.podView = podView{exists: true, uid: s.uids, ip: s.uids, born: -3600 * 1000}
		m.pod.views, m.pod.viewAt = append(m.pod.views, m.pod.object(s)), append(m.pod.viewAt, 0)
		s.start(i)
		m.loading = false
	}
	if s.fresh {
		return
	}
	s.makeMaster(0, byOperator)
	for i := range s.count {
		s.dash.order = append(s.dash.order, i)
		if i > 0 {
			m := &s.srv[i]
			m.data = s.srv[0].data
			m.follows, m.link, m.sourceRun = 0, lnUp, s.srv[0].run
		}
	}
}

// schedule plans faults: in time, and right after steps.
func (s *sim) schedule() (end tick) {
	at := s.between(1500, 3000)
	s.after(1400, func() { s.oldest = len(s.versions) - 1 })
	if s.besieged {
		at = s.besiege(at)
	}
	if s.fresh {
		at = s.between(1, 1000)
	}
	for range s.rng.IntN(6) {
		fault := s.pickFault()
		s.after(at, func() { s.strike(fault, -1) })
		switch s.rng.IntN(4) {
		case 0:
			at += s.between(0, 50)
		case 1:
			at += s.between(50, 800)
		default:
			at += s.between(500, 4000)
		}
	}
	// The first steps after the beginning are those of making the record.
	for range s.rng.IntN(4) {
		s.triggers = append(s.triggers, trigger{step: 2 + s.rng.IntN(20), fault: s.pickFault()})
	}
	return at + s.between(0, 6000)
}

// run lets one schedule happen, heal and come to rest.
func (s *sim) run() {
	s.runUntil(s.schedule())
	if s.violation != "" {
		return
	}
	s.healAll()
	const patience = 60000
	held, quiet, limit := 0, 0, s.now+patience
	for s.violation == "" && s.now < limit {
		s.runUntil(s.now + 250)
		if quiet++; s.unrest() != "" {
			quiet = 0
		} else if quiet > 2 {
			break
		}
		if s.now > limit-patience+18000 && !s.accepted && s.holds() {
			if held++; held > 8 {
				s.checkHold()
				s.accept()
			}
		}
	}
	s.stats.seconds += int64(s.now) / 1000
	if s.violation == "" {
		s.checkEnd()
	}
}

// simulate runs one schedule and returns what it broke.
func (s *sim) simulate(seed uint64, without ablation, tracing bool) string {
	s.begin(seed, without, tracing)
	s.run()
	for _, o := range s.ops {
		o.stop()
	}
	return s.violation
}

// bubble runs schedules where the clock is theirs.
func bubble(t *testing.T, schedules func(t *testing.T, s *sim)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // They take turns anyway.
	defer debug.SetGCPercent(debug.SetGCPercent(3000))
	synctest.Test(t, func(t *testing.T) {
		schedules(t, &sim{besieged: *simSiege})
	})
}

// story runs a schedule again and returns the end of what happened.
func (s *sim) story(seed uint64, without ablation, lines int) string {
	s.simulate(seed, without, true)
	return strings.Join(s.trace[max(0, len(s.trace)-lines):], "\n")
}

func TestSimulation(t *testing.T) {
	began := time.Now()
	bubble(t, func(t *testing.T, s *sim) {
		if *simSeed != 0 {
			t.Logf("%s\n%d members, persistent=%t", s.story(*simSeed, ablation{}, 2000), s.count, s.persistent)
			if s.violation != "" {
				t.Error(s.violation)
			}
			return
		}
		s.explore(t)
		t.Logf("%+v", s.stats)
	})
	t.Logf("in %s", time.Since(began))
}

// explore runs many schedules and fails with the first that breaks something.
func (s *sim) explore(t *testing.T) {
	t.Helper()
	kinds := map[string][]uint64{}
	for seed := *simFirst; seed < *simFirst+uint64(*simCount); seed++ {
		broken := s.simulate(seed, ablation{}, false)
		if broken == "" {
			continue
		}
		if kind := simKind(broken); *simAll {
			kinds[kind] = append(kinds[kind], seed)
			continue
		}
		t.Errorf("after %d schedules: %s\nreplay with -sim.seed=%d\n%s", s.stats.schedules, broken, seed, s.story(seed, ablation{}, 40))
		return
	}
	for kind, seeds := range kinds {
		t.Errorf("%d x %s: seeds %v", len(seeds), kind, seeds[:min(len(seeds), 8)])
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// simKind is a violation without its numbers.
func simKind(broken string) string {
	return broken[:1] + numbers.ReplaceAllString(broken[1:], "#")
}

// The seed decides everything.
func TestSimulationIsTheSameTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		for seed := uint64(1); seed < 100; seed++ {
			first, second := s.story(seed, ablation{}, 10000), s.story(seed, ablation{}, 10000)
			if first != second {
				t.Fatalf("seed %d:\n%s\n\n%s", seed, first, second)
			}
		}
	})
}
