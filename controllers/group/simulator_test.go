// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// A deterministic simulation of one group with everything around it. The seed
// decides all: what is broken when, and how long everything takes.
//
//	go test ./controllers/group -run 'TestSimulation$' -sim.count=1000000
//	go test ./controllers/group -run 'TestSimulation$' -sim.seed=N
var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this schedule and tell what happens")
	simFirst = flag.Uint64("sim.first", 1, "seed of the first schedule")
	simCount = flag.Int("sim.count", 0, "number of schedules; 0 for the default")
	simNeed  = flag.Int("sim.need", 60000, "number of schedules in which a missing guard must show")
	simLocks = flag.Bool("sim.locks", false, "pretend that the report fails where the status changed since it was read")
	simAll   = flag.Bool("sim.all", false, "do not stop at the first violation; count them by kind")
)

const (
	byOperator  = "the operator"
	byDashboard = "the dashboard"
	byRogue     = "somebody"
)

// Bounds of what a failover may lose: what was acknowledged so long before the
// old master was hit. A disk that is behind may lose a second.
const (
	lagBound     tick = 700
	diskLagBound tick = 1300
	// noticeBound is how long a replica may hear nothing before a pass must know.
	noticeBound tick = 2100
	// meddling is how many writes may go where somebody changes roles by hand.
	meddling = 40
)

// checkAlways is invariant 1: at no time do registered proxies send writes to
// two members that take them.
func (s *sim) checkAlways() {
	a, b := s.accepts(&s.proxy[0]), s.accepts(&s.proxy[1])
	if a >= 0 && b >= 0 && a != b && s.proxy[0].registered && s.proxy[1].registered {
		s.violate("1: proxies write to g-%d and g-%d", a, b)
	}
}

// checkPromoted is invariant 1 at the end of a promotion.
func (s *sim) checkPromoted() {
	for i := range s.proxy {
		p := &s.proxy[i]
		if p.registered && p.up && p.online && !s.cut(hostDashboard, hostProxy+i) && p.route != s.dash.order[0] {
			s.violate("1: promoted g-%d, and proxy %d goes to g-%d", s.dash.order[0], i, p.route)
		}
	}
}

// checkNewMaster is invariants 2 and 4 for a member that becomes master.
func (s *sim) checkNewMaster(i int, by string) {
	m := &s.srv[i]
	if s.accepted {
		return
	}
	if by == byDashboard && s.raced(i) {
		s.rogue = true
		s.stats.raced++
	}
	asked := by == byRogue || by == byDashboard && s.rogue // Whoever clicks in the web page is not stopped.
	if !asked && (s.keys(m.data) == 0 || m.loading || m.link == lnLoad) {
		for j := range s.count {
			if other := &s.srv[j]; j != i && other.proc == procUp && s.keys(other.data) > 0 && s.reached(j) {
				s.violate("2: g-%d becomes master with %d keys, loading=%t, while g-%d has %d",
					i, s.keys(m.data), m.loading, j, s.keys(other.data))
			}
		}
	}
	hit, bound := s.hit(i), lagBound
	if s.persistent {
		bound = diskLagBound
	}
	s.copies(i, func(j int, d dataset) {
		x := s.missing(m.data, d)
		s.lacks(m.data, d, func(b, n int32) {
			at := s.branches[b].times[n]
			switch {
			case at < hit-bound && asked:
				return
			case at < hit-bound && s.meddled(x):
				return
			case at < hit-bound:
				s.violate("4: g-%d becomes master without a write of %d that g-%d has; the last master was hit at %d",
					i, at, j, hit)
			}
			s.excuse(b, n)
			s.stats.lost++
			if s.branches[b].times[n] >= hit {
				s.stats.lostLate++
			}
		})
	})
}

// meddled tells that a loss is too small to be blamed on anybody, where somebody
// changes roles behind the operator's back, and writes are under way meanwhile.
func (s *sim) meddled(writes int) bool { return s.rogue && writes <= meddling }

func (s *sim) missing(x, y dataset) (writes int) {
	s.lacks(x, y, func(int32, int32) { writes++ })
	return writes
}

// checkCoolDown is the rule that silence moves the master once in a while only.
func (s *sim) checkCoolDown(p *simPass) {
	last := s.stored().Status.LastFailover
	if p.st.decision.verb != fence || last == nil {
		return
	}
	at := tick(last.Time.Sub(simEpoch).Milliseconds())
	if at < p.looked-p.o.groupLag-100 && p.looked-at < 9000 {
		s.violate("5: silence moves the master %d ms after it moved", p.looked-at)
	}
}

// hit is when it began what made a member master: the old master was hit, or
// before that the member stopped to hear it and no pass could know yet.
func (s *sim) hit(i int) tick {
	hit, m := min(s.failedAt, s.now), &s.srv[i]
	if m.streamEnd > 0 && s.lastKeep-max(m.streamEnd, s.ops[0].started, s.ops[1].started) <= noticeBound {
		return min(hit, m.streamEnd)
	}
	return hit
}

// raced tells that a call of promote, which may wait for proxies for seconds,
// makes another process master than the one that was chosen: nobody can take
// the call back.
func (s *sim) raced(i int) bool {
	p := s.stored().Status.Promotion
	return p != nil && p.Member == simNames[i] && p.RunID != simRunIDs[s.srv[i].run]
}

// reached tells whether an operator can ask a member.
func (s *sim) reached(i int) bool {
	return slices.ContainsFunc(s.ops, func(o *simOperator) bool { return o.alive && !s.cut(o.host, hostMember+i) })
}

// checkOverwrite is invariant 2 for a member that is about to copy.
func (s *sim) checkOverwrite(i int, snapshot dataset) {
	m := &s.srv[i]
	if s.accepted || s.keys(m.data) == 0 {
		return
	}
	if s.srv[m.follows].rogue { // It followed that one already, and nobody could be faster.
		s.lacks(snapshot, m.data, s.excuse)
		return
	}
	if s.keys(snapshot) == 0 {
		s.violate("2: g-%d has %d keys and copies g-%d, which is empty", i, s.keys(m.data), m.follows)
	}
	x := s.missing(snapshot, m.data)
	s.lacks(snapshot, m.data, func(b, n int32) {
		for j := range s.count {
			if j != i && s.srv[j].proc != procDown && s.prefix(s.srv[j].data, b) > n {
				return // Somebody else has it.
			}
		}
		if s.meddled(x) {
			s.excuse(b, n)
			return
		}
		s.violate("4: g-%d copies g-%d, and the only copy of a write of %d is gone", i, m.follows, s.branches[b].times[n])
	})
}

// checkReplaced is invariant 5: a master that was silent for a moment is not
// fenced; and a master that lives and that a member hears,
// which the operator can ask, is neither fenced nor replaced for its silence.
func (s *sim) checkReplaced(p *simPass, to int) {
	d := p.st.decision
	if d.verb != fence && d.cause != v1alpha1.CauseMasterDead && d.cause != v1alpha1.CauseMasterSilent || len(p.order) == 0 {
		return
	}
	old := p.order[0]
	if d.verb == fence && p.silent[old] < 1200 {
		s.violate("5: g-%d is fenced, which was silent for %d ms", old, p.silent[old])
	}
	if m := &s.srv[old]; m.proc != procUp || !m.master || old == to {
		return
	}
	for i := range s.count {
		m := &s.srv[i]
		hears := m.streaming && m.follows == old && m.streamed < p.looked-300 && m.heard > p.looked-1400
		if hears && p.st.world.members[i].redis.Reachable {
			s.violate("5: g-%d is to replace g-%d, which lives and which g-%d hears", to, old, i)
		}
	}
}

// checkEnd is invariants 1, 4 and 8 once everything has healed: one master, all
// others follow it, the proxies lead to it, and what must not be lost is there.
func (s *sim) checkEnd() {
	if whole := s.unrest(); whole != "" {
		s.violate("8: %s (%s)", whole, s.ops[0].last.text())
		return
	}
	if s.accepted || s.rogue {
		return
	}
	final := s.srv[s.dash.order[0]].data
	for b := range s.branches {
		for n := s.prefix(final, int32(b)); n < int32(len(s.branches[b].times)); n++ {
			if !s.isExcused(int32(b), n) {
				s.violate("4: a write of %d is lost", s.branches[b].times[n])
				return
			}
		}
	}
}

// unrest says why the group is not whole, "" if it is.
func (s *sim) unrest() string {
	d, status := &s.dash, &s.stored().Status
	if !d.up || d.promoting != 0 || d.busy || len(d.order) != s.count {
		return "the dashboard is not done"
	}
	master := d.order[0]
	for i := range s.count {
		m := &s.srv[i]
		switch {
		case m.proc != procUp || m.pod.leaving || m.loading:
			return "a member does not run"
		case i == master && !m.master:
			return fmt.Sprintf("g-%d is the dashboard's master and takes no writes", i)
		case i != master && (m.master || m.follows != master || m.link != lnUp):
			return fmt.Sprintf("g-%d does not follow g-%d", i, master)
		}
	}
	for i := range s.proxy {
		if p := &s.proxy[i]; !p.online || p.locked || p.route != master {
			return fmt.Sprintf("proxy %d does not lead to g-%d", i, master)
		}
	}
	switch {
	case status.Promotion != nil, len(status.InSync) != s.count-1:
		return "the record is not done"
	case status.MasterRunID != simRunIDs[s.srv[master].run]:
		return "the record names another master"
	}
	return ""
}

// begin puts a group together that is whole, or one that is new.
func (s *sim) begin(seed uint64, without ablation, tracing bool) {
	*s = sim{
		rng: rand.New(rand.NewPCG(seed, 7)), seed: seed, without: without, tracing: tracing, failedAt: never,
		queue: s.queue[:0], branches: s.branches[:0], versions: s.versions[:0], stats: s.stats,
	}
	s.stats.schedules++
	s.count = 2 + s.rng.IntN(2)
	s.persistent = s.chance(40)
	s.fresh = s.chance(5)
	for host := range s.nodeOf {
		s.nodeOf[host] = s.rng.IntN(simNodes)
	}
	for i := range simMembers {
		s.nodeOf[hostMember+i] = i
	}
	s.store(newSimGroup(s.count))
	s.ops = []*simOperator{newSimOperator(s, 0), newSimOperator(s, 1)}
	s.beginMembers()
	s.dash.up = true
	s.dashLater(1, s.dashLook)
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
		m.pod.podView = podView{exists: true, uid: s.uids, ip: s.uids}
		m.pod.views, m.pod.viewAt = append(m.pod.views, m.pod.podView), append(m.pod.viewAt, 0)
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
				s.stats.acceptedHolds++
				s.accept()
			}
		}
	}
	s.stats.seconds += int64(s.now) / 1000
	if s.violation == "" {
		s.checkEnd()
	}
}

// holds tells whether the operator waits for a person.
func (s *sim) holds() bool {
	o := s.ops[0]
	return o.last.verb == hold || o.lastHeld != "" || o.last.verb == wait
}

// checkHold says whether a person is rightly asked: data really is ambiguous.
func (s *sim) checkHold() {
	s.stats.held++
	if s.rogue || s.dash.promoting != 0 {
		return // A promotion cannot be taken back: Codis has no way to.
	}
	for i := range s.count {
		contains := true
		for j := range s.count {
			s.lacks(s.srv[i].data, s.srv[j].data, func(int32, int32) { contains = false })
		}
		if contains {
			s.violate("8: holds though g-%d has all data: %s %s", i, s.ops[0].last.text(), s.ops[0].lastHeld)
			return
		}
	}
}

func (s *sim) brief(w *world) string {
	if !s.tracing {
		return ""
	}
	var b strings.Builder
	for i := range w.members {
		m := &w.members[i]
		fmt.Fprintf(&b, "%s{dead=%t silent=%s deaf=%s leaving=%t %s %s of %s up=%t sync=%t off=%d keys=%d insync=%t} ", m.name, m.dead,
			m.silent, m.deaf, m.leaving, m.redis.RunID, m.redis.Role, m.redis.MasterAddr, m.redis.LinkUp, m.redis.Syncing,
			m.redis.Offset, m.redis.Keys, w.inSync[m.name])
	}
	fmt.Fprintf(&b, "order=%v masterRun=%s promoted=%s", w.order, w.masterRunID, w.promotedRunID)
	return b.String()
}

// simulate runs one schedule and returns what it broke.
func (s *sim) simulate(seed uint64, without ablation, tracing bool) string {
	s.begin(seed, without, tracing)
	s.run()
	return s.violation
}

// simTrace runs a schedule again and returns the end of its story.
func simTrace(seed uint64, without ablation, lines int) string {
	s := &sim{}
	s.simulate(seed, without, true)
	trace := s.trace
	if len(trace) > lines {
		trace = trace[len(trace)-lines:]
	}
	return strings.Join(trace, "\n")
}

func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		s := &sim{}
		broken := s.simulate(*simSeed, ablation{staleReport: *simLocks}, false)
		t.Logf("%d members, persistent=%t\n%s", s.count, s.persistent, simTrace(*simSeed, ablation{staleReport: *simLocks}, 1000))
		if broken != "" {
			t.Error(broken)
		}
		return
	}
	count := *simCount
	if count == 0 {
		count = 20000
		if testing.Short() {
			count = 2000
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	s := &sim{}
	kinds := map[string][]uint64{}
	began := time.Now()
	for seed := *simFirst; seed < *simFirst+uint64(count); seed++ {
		broken := s.simulate(seed, ablation{staleReport: *simLocks}, false)
		if broken == "" {
			continue
		}
		if !*simAll {
			t.Fatalf("%s\nreplay with -sim.seed=%d\n%s", broken, seed, simTrace(seed, ablation{staleReport: *simLocks}, 40))
		}
		kind := simKind(broken)
		kinds[kind] = append(kinds[kind], seed)
	}
	t.Logf("%+v in %s", s.stats, time.Since(began))
	for kind, seeds := range kinds {
		t.Errorf("%d x %s: seeds %v", len(seeds), kind, seeds[:min(len(seeds), 8)])
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// simNeeds compares schedules with something taken away to the same schedules
// with everything in place. By chance some break in one and not in the other;
// what is needed breaks many more.
type simNeeds struct {
	whole []bool // by seed, whether it breaks with everything in place
	sim   sim
}

func (n *simNeeds) breaksWhole(seed int) bool {
	for len(n.whole) <= seed {
		n.whole = append(n.whole, n.sim.simulate(uint64(len(n.whole)), ablation{}, false) != "")
	}
	return n.whole[seed]
}

// show runs schedules until enough of them break. It returns how many broke that
// do not with everything in place, how many the other way round, and an example.
func (n *simNeeds) show(without ablation, remove string, limit int) (more, fewer int, example string) {
	all := guards
	defer func() { guards = all }()
	less := slices.DeleteFunc(slices.Clone(all), func(g guard) bool { return g.name == remove })
	for seed := 1; seed <= limit && (more < 6 || more < 4*fewer); seed++ {
		guards = all
		whole := n.breaksWhole(seed)
		guards = less
		broken := n.sim.simulate(uint64(seed), without, false)
		switch {
		case broken != "" && !whole:
			more++
			example = fmt.Sprintf("seed %d: %s", seed, broken)
		case broken == "" && whole:
			fewer++
		}
	}
	return more, fewer, example
}

// Without any one protection, schedules break that do not break with it.
func TestSimulationNeedsEveryGuard(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	without := map[string]ablation{
		"trust of a master": {trust: true}, "run ids of who is in sync": {inSyncRunID: true}, "the intent": {intent: true},
		"finishHeld": {finishHeld: true},
	}
	for _, g := range guards {
		without[g.name] = ablation{}
	}
	n := &simNeeds{}
	for _, name := range slices.Sorted(maps.Keys(without)) {
		t.Run(name, func(t *testing.T) {
			more, fewer, example := n.show(without[name], name, *simNeed)
			if more < 6 || more < 4*fewer {
				t.Errorf("of %d schedules, %d break without it alone and %d with it alone: %s", *simNeed, more, fewer, example)
			}
			t.Logf("%d against %d, %s", more, fewer, example)
		})
	}
}

// simKind is a violation without its numbers.
func simKind(broken string) string {
	return broken[:1] + numbers.ReplaceAllString(broken[1:], "#")
}
