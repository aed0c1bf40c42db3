// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import "github.com/codis-io/codis-operator/apis/v1alpha1"

// trigger is a fault that happens right after the nth step of the operator or
// of a promotion.
type trigger struct {
	step  int
	fault int
}

// simFault does something bad. hint is the member that a step was about, or -1.
type simFault struct {
	name   string
	weight int
	do     func(s *sim, hint int)
}

var simFaults []simFault

// Filled in here, since faults lead to steps, and steps to faults.
func init() {
	simFaults = []simFault{
		{"kill", 20, func(s *sim, hint int) { s.end(s.victim(hint), false, false) }},
		{"kill and lose the disk", 8, func(s *sim, hint int) { s.end(s.victim(hint), true, false) }},
		{"hang", 14, func(s *sim, hint int) { s.hang(s.victim(hint)) }},
		{"resume", 4, func(s *sim, _ int) { s.resumeAll() }},
		{"cut", 22, func(s *sim, _ int) { s.cutPair() }},
		{"cut off a member", 10, func(s *sim, hint int) { s.cutOff(hostMember + s.victim(hint)) }},
		{"heal", 4, func(s *sim, _ int) { s.healNetwork() }},
		{"lose a node", 8, func(s *sim, hint int) { s.loseNode(s.nodeOf[hostMember+s.victim(hint)]) }},
		{"end the dashboard", 8, func(s *sim, _ int) { s.dashCrash(s.between(300, 5000)) }},
		{"take the dashboard over", 5, func(s *sim, _ int) { s.dashTakeOver() }},
		{"kill a proxy", 6, func(s *sim, _ int) { s.killProxy(s.rng.IntN(simProxies), s.chance(50)) }},
		{"end the operator", 14, func(s *sim, _ int) { s.restartOperator() }},
		{"stop the operator", 6, func(s *sim, _ int) { s.pauseOperator() }},
		{"stale cache", 8, func(s *sim, _ int) { s.staleCache() }},
		{"second operator", 6, func(s *sim, _ int) { s.secondOperator() }},
		{"delete a pod", 8, func(s *sim, hint int) { s.deletePod(s.victim(hint), s.between(1000, 5000)) }},
		{"slow replication", 4, func(s *sim, hint int) { s.srv[s.victim(hint)].delay = s.between(50, 300) }},
		{"redis-cli", 1, func(s *sim, hint int) { s.rogueLift(s.victim(hint)) }},
		{"switchover", 10, func(s *sim, _ int) { s.annotate(v1alpha1.AnnotationSwitchOverTo, simNames[s.rng.IntN(s.count)]) }},
		{"migration", 3, func(s *sim, _ int) { s.migrate(s.between(100, 5000)) }},
		{"web page", 2, func(s *sim, hint int) { s.roguePromote(s.victim(hint)) }},
	}
	for _, f := range simFaults {
		simFaultWeight += f.weight
	}
}

var simFaultWeight int

func (s *sim) pickFault() int {
	n := s.rng.IntN(simFaultWeight)
	for i, f := range simFaults {
		if n -= f.weight; n < 0 {
			return i
		}
	}
	return 0
}

func (s *sim) strike(fault, hint int) {
	if s.healing {
		return
	}
	s.stats.faults++
	s.logf("fault: %s", simFaults[fault].name)
	simFaults[fault].do(s, hint)
}

// step is called after everything that the operator or a promotion did: crashes
// and faults of adversarial schedules come right then.
func (s *sim) step(name string, member int) {
	s.steps++
	for _, t := range s.triggers {
		if t.step == s.steps {
			s.logf("right after %s", name)
			s.strike(t.fault, member)
		}
	}
}

// victim is more often than not the master, or whom the last step was about.
func (s *sim) victim(hint int) int {
	switch {
	case hint >= 0 && s.chance(60):
		return hint
	case len(s.dash.order) > 0 && s.chance(55):
		return s.dash.order[0]
	}
	return s.rng.IntN(s.count)
}

func (s *sim) hang(i int) {
	if m := &s.srv[i]; m.proc == procUp {
		m.proc = procHung
		s.logf("g-%d hangs", i)
		if s.chance(70) {
			epoch := m.procEpoch
			s.after(s.between(100, 9000), func() {
				if m.procEpoch == epoch {
					s.resume(i)
				}
			})
		}
	}
}

func (s *sim) resume(i int) {
	if m := &s.srv[i]; m.proc == procHung {
		m.proc = procUp
		s.logf("g-%d goes on", i)
	}
}

func (s *sim) resumeAll() {
	for i := range s.count {
		s.resume(i)
	}
}

func (s *sim) setCut(a, b int, by int8) {
	s.cuts[a][b] += by
	s.cuts[b][a] += by
	if s.tracing {
		s.logf("cut %d-%d: %d", a, b, s.cuts[a][b])
	}
}

// cutFor cuts a pair and heals it after a while, half of the time a short one.
func (s *sim) cutFor(pairs [][2]int) {
	for _, p := range pairs {
		s.setCut(p[0], p[1], 1)
	}
	d := s.between(100, 1800)
	switch s.rng.IntN(4) {
	case 0:
		return // Until the end.
	case 1, 2:
		d = s.between(1500, 9000)
	}
	s.after(d, func() {
		for _, p := range pairs {
			if s.cuts[p[0]][p[1]] > 0 {
				s.setCut(p[0], p[1], -1)
			}
		}
	})
}

func (s *sim) cutPair() {
	a, b := s.rng.IntN(hostMember+s.count), hostMember+s.rng.IntN(s.count)
	if s.chance(25) {
		b = hostDashboard + s.rng.IntN(3)
	}
	if a != b {
		s.cutFor([][2]int{{a, b}})
	}
}

// cutOff cuts a host off from all others or from a part of them.
func (s *sim) cutOff(host int) {
	share := []int{100, 70, 50}[s.rng.IntN(3)]
	var pairs [][2]int
	for other := range hostMember + s.count {
		if other != host && s.chance(share) {
			pairs = append(pairs, [2]int{host, other})
		}
	}
	s.cutFor(pairs)
}

// loseNode cuts all that runs on a node off, its kubelet too; sometimes it has
// lost its power.
func (s *sim) loseNode(node int) {
	if s.nodeCut[node] > 0 {
		return
	}
	s.logf("node %d is lost", node)
	s.nodeCut[node]++
	var pairs [][2]int
	for a := range hostMember + s.count {
		for b := range a {
			if (s.nodeOf[a] == node) != (s.nodeOf[b] == node) {
				s.setCut(a, b, 1)
				pairs = append(pairs, [2]int{a, b})
			}
		}
	}
	if s.chance(30) {
		s.powerOff(node)
	}
	if s.chance(60) {
		s.after(s.between(500, 9000), func() { s.findNode(node, pairs) })
	}
}

func (s *sim) powerOff(node int) {
	for i := range s.count {
		if s.nodeOf[hostMember+i] == node {
			s.end(i, false, true)
		}
	}
	for i := range s.proxy {
		if s.nodeOf[hostProxy+i] == node {
			s.killProxy(i, false)
		}
	}
}

func (s *sim) findNode(node int, pairs [][2]int) {
	if s.nodeCut[node] == 0 {
		return
	}
	s.nodeCut[node] = 0
	s.logf("node %d is back", node)
	if s.nodeOf[hostDashboard] != node { // It may have come since.
		for host := range hostMember + s.count {
			if s.nodeOf[host] == node && s.cuts[hostDashboard][host] > 0 {
				s.setCut(hostDashboard, host, -s.cuts[hostDashboard][host])
			}
		}
	}
	for _, p := range pairs {
		if s.cuts[p[0]][p[1]] > 0 {
			s.setCut(p[0], p[1], -1)
		}
	}
}

func (s *sim) healNetwork() {
	s.cuts, s.nodeCut = [simHosts][simHosts]int8{}, [simNodes]int{}
	s.logf("the network heals")
}

func (s *sim) restartOperator() {
	o := s.ops[s.rng.IntN(simOperators)]
	if !o.alive {
		o = s.ops[0]
	}
	if !o.alive {
		return
	}
	o.crash()
	s.lead()
}

// pauseOperator stops the process of an operator for a while. What was not
// answered meanwhile was not asked.
func (s *sim) pauseOperator() {
	s.pause(s.ops[0], s.between(100, 6000))
}

func (s *sim) pause(o *simOperator, d tick) {
	if !o.alive || o.paused > s.now {
		return
	}
	o.paused = s.now + d
	s.logf("operator %d stops until %d", o.id, o.paused)
	s.after(o.paused-s.now, func() {
		for i := range o.members {
			if p := &o.members[i]; p.code == codeSilent {
				p.since, p.wasSilent = s.now, false
				o.wakeWhenSilent(i)
			}
		}
	})
}

func (s *sim) staleCache() {
	o := s.ops[0]
	o.staleUntil = s.now + s.between(500, 6000)
	lag := s.between(100, 5000)
	if s.chance(60) {
		o.podLag = lag
	}
	if s.chance(60) {
		o.groupLag = lag
	}
	s.logf("operator 0 sees pods of %d and groups of %d ms ago", o.podLag, o.groupLag)
}

// leaseMargin is how soon another operator leads when the first is stopped: its lease
// lasts 6 s, and it ends by itself when it could not renew it for 4 s.
const leaseMargin tick = 2000

// secondOperator stops the one that leads until another does. When it goes on it
// finds that out within a moment, and ends; until then it is as good as ever.
func (s *sim) secondOperator() {
	first, second := s.ops[0], s.ops[1]
	if !first.alive || second.alive || first.paused > s.now {
		return
	}
	stopped := s.between(leaseMargin, 8000)
	s.pause(first, stopped)
	s.after(s.between(leaseMargin, stopped), func() {
		if !s.healing && !second.alive {
			second.begin()
		}
	})
	s.after(stopped+s.between(1, 20), func() {
		if second.alive && first.alive {
			first.crash()
		}
	})
	s.after(stopped+s.between(1000, 8000), func() {
		if second.alive {
			second.crash()
			s.lead()
		}
	})
}

// lead starts an operator in a while, if none leads by then.
func (s *sim) lead() {
	s.after(s.between(50, 3000), func() {
		if o := s.ops[0]; !o.alive && !s.ops[1].alive {
			o.begin()
		}
	})
}

func (s *sim) rogueLift(i int) {
	if s.srv[i].proc == procUp && !s.srv[i].master {
		s.rogue = true
		s.makeMaster(i, byRogue)
	}
}

// roguePromote is a click in the web page: members are fenced, stale or whole.
func (s *sim) roguePromote(i int) {
	if s.dash.up && !s.dash.busy && s.dash.promoting == idle && !s.dash.moving && len(s.dash.order) > 0 && s.dash.order[0] != i &&
		!s.starves() {
		s.rogue = true
		s.logf("somebody promotes g-%d", i)
		s.promoteCall(s.dash, i, choice{}, func(bool) {})
	}
}

// migrate has a slot on its way for a while: the dashboard refuses to promote.
func (s *sim) migrate(d tick) {
	s.dash.moving = true
	s.after(d, func() { s.dash.moving = false })
}

// healAll ends all faults.
func (s *sim) healAll() {
	s.logf("everything heals")
	s.healing = true
	s.healNetwork()
	s.resumeAll()
	if s.ops[1].alive {
		s.ops[1].crash()
	}
	if s.ghost != nil {
		s.ghost.end()
	}
	o := s.ops[0]
	o.paused, o.staleUntil = min(o.paused, s.now), s.now
	if !o.alive {
		o.begin()
	}
}

// accept is a person who annotates the group with the member that has most.
func (s *sim) accept() {
	best := 0
	for i := range s.count {
		if s.keys(s.srv[i].data) > s.keys(s.srv[best].data) {
			best = i
		}
	}
	if s.dash.promoting != idle {
		best = s.dash.order[s.dash.index] // The only one that a promotion left half-done can end with.
	}
	for i := range s.count {
		s.lacks(s.srv[best].data, s.srv[i].data, s.excuse)
	}
	s.logf("a person accepts g-%d", best)
	s.accepted = true
	s.annotate(v1alpha1.AnnotationAcceptDataLoss, simNames[best])
}
