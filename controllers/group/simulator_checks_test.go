// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// What must hold, by the numbers of the invariants: (1) one member takes the writes
// of registered proxies, (2) no empty member replaces one with data, (4) writes are
// lost only within the replication lag, and none by a switchover, (5) silence alone
// moves nothing, (8) whatever ended midway, the group becomes whole.

// maker is who makes a member master.
type maker struct {
	name string
	choice
}

// choice is what is known to whoever has the dashboard promote a member when it is called.
// A call may wait in the dashboard for seconds, and Codis has no way to take it back.
type choice struct {
	run     string           // the process that is chosen
	unasked [simMembers]bool // whom no operator reaches
}

var (
	byOperator = maker{name: "the operator"}
	byRogue    = maker{name: "somebody"}
)

func byDashboard(c choice) maker { return maker{"the dashboard", c} }

// Bounds of what a failover may lose: what was acknowledged so long before the
// old master was hit. A disk that is behind may lose a second.
const (
	lagBound     tick = 700
	diskLagBound tick = 1300
	// noticeBound is how long a replica may hear nothing before a pass must know: twice
	// the window, and the time between questions and pings.
	noticeBound tick = 3600
	// meddling is how many writes may go where somebody changes roles by hand: those
	// of some seconds, in which the operator does not see it, and goes on as recorded.
	meddling = 400
)

// checkAlways is invariant 1: at no time do registered proxies send writes to
// two members that take them. One that a person made master with redis-cli is that
// person's doing: a dashboard that is behind gives its own route to a proxy that was
// started again, and asks nobody.
func (s *sim) checkAlways() {
	if s.accepted {
		return
	}
	a, b := s.accepts(&s.proxy[0], s.now), s.accepts(&s.proxy[1], s.now)
	if a < 0 || b < 0 || a == b || !s.proxy[0].registered || !s.proxy[1].registered {
		return
	}
	if !s.srv[a].byHand && !s.srv[b].byHand {
		s.violate("1: proxies write to g-%d and g-%d", a, b)
	}
}

// checkPromoted is invariant 1 at the end of a promotion.
func (s *sim) checkPromoted() {
	s.stats.promotions++
	for i := range s.proxy {
		p := &s.proxy[i]
		if p.registered && p.up && p.online && !s.cut(hostDashboard, hostProxy+i) && p.route != s.dash.order[0] {
			s.violate("1: promoted g-%d, and proxy %d goes to g-%d", s.dash.order[0], i, p.route)
		}
	}
}

// checkNewMaster is invariants 2 and 4 for a member that becomes master.
func (s *sim) checkNewMaster(i int, by maker) {
	m := &s.srv[i]
	if s.accepted {
		return
	}
	if s.raced(i, by) {
		s.rogue = true
		s.stats.raced++
	}
	asked := by == byRogue || by != byOperator && s.rogue // Whoever clicks in the web page is not stopped.
	if !asked && (s.keys(m.data) == 0 || m.loading || m.link == lnLoad) {
		for j := range s.count {
			if other := &s.srv[j]; j != i && other.proc == procUp && s.keys(other.data) > 0 && s.reached(j) && !by.unasked[j] {
				s.violate("2: g-%d becomes master with %d keys, loading=%t, while g-%d has %d",
					i, s.keys(m.data), m.loading, j, s.keys(other.data))
			}
		}
	}
	s.checkLosses(i, s.hit(i), asked)
}

// checkSwitchover is invariant 4 where nothing is wrong with the old master.
func (s *sim) checkSwitchover(old, to int) {
	p := s.stored().Status.Promotion
	if p == nil || p.Cause != v1alpha1.CauseSwitchover || p.Member != simNames[to] || s.rogue || s.impaired[old] != never {
		return
	}
	s.lacks(s.srv[to].data, s.srv[old].data, func(b, n int32) {
		s.violate("4: a switchover from g-%d to g-%d loses a write of %d", old, to, s.branches[b].times[n])
	})
}

// checkRoute is invariant 4 for a member that is master already, and whom proxies are
// told instead of an old one: that one may have gone on until then.
func (s *sim) checkRoute(old, to int) {
	if old < 0 || old == to || s.accepted || !s.srv[to].master {
		return
	}
	s.checkSwitchover(old, to)
	s.checkLosses(to, min(s.impaired[old], s.fencedAt, s.now), s.rogue)
}

// checkLosses is invariant 4 where a member takes the place of one that was hit.
func (s *sim) checkLosses(i int, hit tick, asked bool) {
	m, bound := &s.srv[i], lagBound
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
// Switchovers do not count.
func (s *sim) checkCoolDown(p *simPass) {
	last := s.stored().Status.LastFailover
	if p.st.decision.verb != fence || last == nil || last.Cause == v1alpha1.CauseSwitchover {
		return
	}
	at := tick(last.Time.Sub(s.base).Milliseconds())
	if at < p.looked-p.o.groupLag-100 && p.looked-at < 9000 {
		s.violate("5: silence moves the master %d ms after it moved", p.looked-at)
	}
}

// hit is when it began what made a member master: the old master was hit, or
// before that the member stopped to hear it and no pass could know yet.
func (s *sim) hit(i int) tick {
	hit, m := min(s.failedAt, s.fencedAt, s.now), &s.srv[i]
	if m.streamEnd > 0 && s.lastKeep-max(m.streamEnd, s.ops[0].started, s.ops[1].started) <= noticeBound {
		return min(hit, m.streamEnd)
	}
	return hit
}

// raced tells that a call of promote makes another process master than the one that
// was chosen: it waited in the dashboard until that one had ended.
func (s *sim) raced(i int, by maker) bool {
	return by.run != "" && by.run != simRunIDs[s.srv[i].run]
}

// chosenRun is the process that an operator means when it calls the dashboard to promote a
// member.
func (p *simPass) chosenRun(member int) string {
	if member >= len(p.st.world.members) {
		return ""
	}
	return p.st.world.members[member].redis.RunID
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
	if d.verb != fence && d.cause != v1alpha1.CauseMasterDead && d.cause != v1alpha1.CauseMasterSilent || len(p.st.world.order) == 0 {
		return
	}
	old := memberOf(p.st.world.order[0])
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
	d, status := s.dash, &s.stored().Status
	if !d.up || d.promoting != idle || d.busy || len(d.order) != s.count {
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
		return fmt.Sprintf("the record is not done: %v, %s, %s", status.InSync, intentText(status.Promotion), s.ops[0].life.current.st.world.brief())
	case status.MasterRunID != simRunIDs[s.srv[master].run]:
		return "the record names another master"
	case status.Requests != "":
		return "the record says that requests are held"
	}
	return ""
}

// holds tells whether the operator waits for a person.
func (s *sim) holds() bool {
	o := s.ops[0]
	return o.last.verb == hold || o.lastHeld != "" || o.last.verb == wait
}

// checkHold says whether a person is rightly asked: data really is ambiguous.
func (s *sim) checkHold() {
	s.stats.held++
	if s.rogue || s.dash.promoting != idle {
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
