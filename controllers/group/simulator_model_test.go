// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// The simulated world: time, network, codis-servers with their data, and
// clients. The dashboard, kubelet and the operator are in the files beside.

// tick is a millisecond since the start of a schedule.
type tick = int32

const never tick = 1 << 30

type simEvent struct {
	at, seq tick
	do      func()
}

// Hosts of the network. Member i is at hostMember+i, proxy i at hostProxy+i.
const (
	hostOperator  = 0 // and 1
	hostDashboard = 2
	hostProxy     = 3 // and 4
	hostMember    = 5 // to 7
	simHosts      = 8
	simMembers    = 3
	simProxies    = 2
	simOperators  = 2
	simNodes      = 4
)

type process int8

const (
	procDown process = iota
	procHung
	procUp
)

type linkState int8

const (
	lnDown linkState = iota
	lnSync           // the copy is on its way, the old data is still there
	lnLoad           // the copy is being read
	lnUp
)

// branch is what one master wrote, from the moment when it became one. The nth
// write of it is known by branch and number.
type branch struct {
	parent, fork int32 // where the data comes from, and how much of that
	base         int32 // keys before the first write
	times        []tick
	excused      []span // writes that may be lost
}

type span struct{ from, to int32 }

// dataset is the first n writes of a branch, and all that it was forked from.
type dataset struct{ branch, n int32 }

var noData = dataset{-1, 0}

type simServer struct {
	proc    process
	run     int
	master  bool
	rogue   bool // made master by somebody
	loading bool
	data    dataset
	// disk is what a start finds; savedFrom is when the data of memory began to
	// be there after a copy, and before it, the data it replaced.
	disk      dataset
	savedFrom tick
	before    dataset

	follows   int // member, -1 for nobody
	link      linkState
	linkEpoch int
	sourceRun int
	offset    int64 // while the link is not up
	delay     tick
	streaming bool
	streamed  tick // since when it streams
	heard     tick
	streamEnd tick // until when it streamed
	pings     tick

	procEpoch int
	pod       simPod
}

type simProxy struct {
	up, online, registered, locked bool
	route                          int
	next, period                   tick // of writes
	stuck                          tick // since when requests hang, never if they do not
	epoch                          int
}

type sim struct {
	rng     *rand.Rand
	seed    uint64
	now     tick
	seq     tick
	queue   []simEvent
	without ablation

	count      int
	persistent bool
	srv        [simMembers]simServer
	proxy      [simProxies]simProxy
	dash       simDashboard
	ops        []*simOperator
	versions   []simVersion
	oldest     int // version that a cache may still show
	cuts       [simHosts][simHosts]int8
	nodeOf     [simHosts]int
	nodeCut    [simNodes]int
	branches   []branch
	runs, uids int

	// legit is the process that is rightly master; failedAt when it was hit.
	legit, legitRun int
	failedAt        tick
	lastKeep        tick // when the last pass looked that found a master
	rogue           bool // somebody changed roles behind the operator's back
	healing         bool
	fresh           bool
	accepted        bool
	stats           simStats

	triggers  []trigger
	steps     int
	tracing   bool
	trace     []string
	violation string
}

// simStats counts what happened, so that a run shows that it tested something.
type simStats struct {
	schedules, promotions, lifts, fences, held, acceptedHolds, crashes, passes, writes, lost, lostLate, raced, faults int
	seconds                                                                                                           int64
}

func (s *sim) logf(format string, args ...any) {
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%6d ", s.now)+fmt.Sprintf(format, args...))
	}
}

// violate keeps the first broken invariant.
func (s *sim) violate(format string, args ...any) {
	if s.violation == "" {
		s.violation = fmt.Sprintf(format, args...)
		s.logf("VIOLATION: %s", s.violation)
	}
}

// between returns a number in [low, high].
func (s *sim) between(low, high tick) tick { return low + tick(s.rng.IntN(int(high-low+1))) }
func (s *sim) chance(percent int) bool     { return s.rng.IntN(100) < percent }

func (s *sim) after(d tick, do func()) {
	s.seq++
	s.queue = append(s.queue, simEvent{s.now + d, s.seq, do})
	i := len(s.queue) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !s.queue[i].sooner(&s.queue[up]) {
			break
		}
		s.queue[i], s.queue[up] = s.queue[up], s.queue[i]
		i = up
	}
}

func (e *simEvent) sooner(f *simEvent) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

func (s *sim) pop() simEvent {
	top, last := s.queue[0], len(s.queue)-1
	s.queue[0] = s.queue[last]
	s.queue[last].do = nil
	s.queue = s.queue[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if s.queue[c].sooner(&s.queue[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		s.queue[i], s.queue[least] = s.queue[least], s.queue[i]
		i = least
	}
}

// runUntil lets events happen until a time, or until the first violation.
func (s *sim) runUntil(end tick) {
	for s.violation == "" && len(s.queue) > 0 && s.queue[0].at <= end {
		e := s.pop()
		s.advance(e.at)
		e.do()
		s.refresh()
	}
	if s.violation == "" {
		s.advance(end)
	}
}

func (s *sim) cut(a, b int) bool { return s.cuts[a][b] > 0 }

// advance lets clients write and replicas receive until a time: in between
// nothing else changes.
func (s *sim) advance(to tick) {
	if to == s.now {
		return
	}
	for {
		p := &s.proxy[0]
		if s.proxy[1].next < p.next {
			p = &s.proxy[1]
		}
		if p.next > to {
			break
		}
		at := p.next
		p.next += p.period
		if t := s.accepts(p); t >= 0 {
			d := &s.srv[t].data
			b := &s.branches[d.branch]
			b.times = append(b.times, at)
			d.n++
			s.stats.writes++
		}
	}
	for i := range s.count {
		s.receive(i, to, 0)
	}
	s.now = to
}

// accepts returns the member that takes the writes of a proxy, -1 if nobody does.
func (s *sim) accepts(p *simProxy) int {
	if !p.up || !p.online || p.locked || p.route < 0 {
		return -1
	}
	m := &s.srv[p.route]
	if m.proc != procUp || !m.master || m.loading || s.cut(s.hostOfProxy(p), hostMember+p.route) {
		return -1
	}
	return p.route
}

func (s *sim) hostOfProxy(p *simProxy) int {
	if p == &s.proxy[0] {
		return hostProxy
	}
	return hostProxy + 1
}

func (s *sim) streams(i int) bool {
	m := &s.srv[i]
	if m.proc != procUp || m.link != lnUp || m.follows < 0 {
		return false
	}
	source := &s.srv[m.follows]
	return source.proc == procUp && source.run == m.sourceRun && !s.cut(hostMember+i, hostMember+m.follows)
}

// receive brings a replica to what has reached it by a time.
func (s *sim) receive(i int, to tick, depth int) {
	m := &s.srv[i]
	if !m.streaming || depth > simMembers {
		return
	}
	source := &s.srv[m.follows]
	m.streamEnd = to
	if !source.master {
		s.receive(m.follows, to, depth+1)
	}
	if source.data.branch != m.data.branch {
		return
	}
	times, limit := s.branches[m.data.branch].times, to-m.delay
	n := m.data.n
	for n < source.data.n && times[n] <= limit {
		n++
	}
	if n > m.data.n {
		m.data.n = n
		m.heard = max(m.heard, m.streamed, times[n-1]+m.delay)
	}
	if pings := limit / 1000; pings > m.pings {
		m.pings = pings
		m.heard = max(m.heard, m.streamed, pings*1000+m.delay)
	}
}

func (s *sim) keys(d dataset) int32 {
	if d.branch < 0 {
		return 0
	}
	return s.branches[d.branch].base + d.n
}

// offsetOf is what INFO shows of a replica.
func (s *sim) offsetOf(i int) int64 {
	m := &s.srv[i]
	if m.link != lnUp {
		return m.offset
	}
	return 100 + int64(m.data.n)*100 + int64(m.pings)
}

// fork begins a branch with the data of a server that becomes master.
func (s *sim) fork(d dataset) dataset {
	if len(s.branches) < cap(s.branches) {
		s.branches = s.branches[:len(s.branches)+1]
	} else {
		s.branches = append(s.branches, branch{})
	}
	b := &s.branches[len(s.branches)-1]
	b.parent, b.fork, b.base = d.branch, d.n, s.keys(d)
	b.times, b.excused = b.times[:0], b.excused[:0]
	return dataset{int32(len(s.branches) - 1), 0}
}

// prefix is how much of a branch a dataset holds.
func (s *sim) prefix(d dataset, of int32) int32 {
	for d.branch >= 0 {
		if d.branch == of {
			return d.n
		}
		d = dataset{s.branches[d.branch].parent, s.branches[d.branch].fork}
	}
	return 0
}

// lacks calls found with what y holds and x does not and what may not be lost.
func (s *sim) lacks(x, y dataset, found func(b, n int32)) {
	for y.branch >= 0 {
		for n := s.prefix(x, y.branch); n < y.n; n++ {
			if !s.isExcused(y.branch, n) {
				found(y.branch, n)
			}
		}
		y = dataset{s.branches[y.branch].parent, s.branches[y.branch].fork}
	}
}

func (s *sim) isExcused(b, n int32) bool {
	return slices.ContainsFunc(s.branches[b].excused, func(e span) bool { return e.from <= n && n < e.to })
}

func (s *sim) excuse(b, n int32) {
	e := &s.branches[b].excused
	if last := len(*e) - 1; last >= 0 && (*e)[last].to == n {
		(*e)[last].to++
		return
	}
	*e = append(*e, span{n, n + 1})
}

// copies calls found with every dataset that still exists, but for that of one
// server: what processes hold, and what starts of ended ones would find.
func (s *sim) copies(except int, found func(i int, d dataset)) {
	for i := range s.count {
		if i == except {
			continue
		}
		if s.srv[i].proc != procDown {
			found(i, s.srv[i].data)
		} else {
			found(i, s.srv[i].disk)
		}
	}
}

// What follows changes servers.

func (s *sim) start(i int) {
	m := &s.srv[i]
	s.runs++
	*m = simServer{
		proc: procUp, run: s.runs, data: m.disk, disk: m.disk, follows: -1, offset: 1, delay: m.delay,
		procEpoch: m.procEpoch + 1, linkEpoch: m.linkEpoch + 1, pod: m.pod, savedFrom: m.savedFrom, before: m.before,
	}
	m.pod.crashLoop = false
	s.logf("g-%d starts as r%d with %d keys", i, m.run, s.keys(m.data))
	if s.keys(m.data) > 0 {
		m.loading = true
		epoch := m.procEpoch
		s.after(s.between(10, 600), func() {
			if m.procEpoch == epoch {
				m.loading = false
			}
		})
	}
}

// end ends a process. What only it held is lost, which is nobody's fault.
func (s *sim) end(i int, loseDisk, power bool) {
	m := &s.srv[i]
	if m.proc == procDown {
		return
	}
	m.disk = s.diskOf(m, power)
	if loseDisk || !s.persistent {
		m.disk = noData
	}
	var best [simMembers]dataset
	n := 0
	s.copies(i, func(_ int, d dataset) { best[n] = d; n++ })
	s.lacks(m.disk, m.data, func(b, k int32) {
		for _, d := range best[:n] {
			if s.prefix(d, b) > k {
				return
			}
		}
		s.excuse(b, k)
	})
	m.proc, m.loading, m.streaming = procDown, false, false
	m.procEpoch++
	m.linkEpoch++
	s.logf("g-%d ends with %d keys, %d on disk", i, s.keys(m.data), s.keys(m.disk))
	s.podProcessEnded(i)
}

// diskOf is what is on the disk of a process that ends: all of it, or all but
// the last second.
func (s *sim) diskOf(m *simServer, power bool) dataset {
	if m.loading {
		return m.disk
	}
	if m.link == lnLoad || s.now < m.savedFrom {
		return m.before
	}
	if d := m.data; d.branch >= 0 && (power || s.chance(30)) {
		times, limit := s.branches[d.branch].times, s.now-s.between(0, 1000)
		for d.n > 0 && times[d.n-1] > limit {
			d.n--
		}
		return d
	}
	return m.data
}

// follow is SLAVEOF.
func (s *sim) follow(i, master int) {
	m := &s.srv[i]
	s.logf("g-%d r%d follows g-%d", i, m.run, master)
	if m.master {
		s.dropReplicas(i)
	}
	m.master, m.follows, m.offset = false, master, 1
	s.linkDown(i)
	m.sourceRun = 0
}

func (s *sim) dropReplicas(i int) {
	for j := range s.count {
		if r := &s.srv[j]; j != i && r.follows == i && r.proc == procUp && (r.link == lnUp || r.link == lnSync) &&
			!s.cut(hostMember+i, hostMember+j) {
			s.linkDown(j)
		}
	}
}

func (s *sim) linkDown(i int) {
	m := &s.srv[i]
	switch m.link {
	case lnUp:
		m.offset = s.offsetOf(i)
	case lnSync:
		m.offset = 1
	}
	m.link, m.streaming = lnDown, false
	s.connectAfter(i, s.between(1, 1000))
}

func (s *sim) connectAfter(i int, d tick) {
	m := &s.srv[i]
	m.linkEpoch++
	epoch := m.linkEpoch
	s.after(d, func() {
		if m.linkEpoch == epoch {
			s.connect(i)
		}
	})
}

// connect is what a replica without a link does once a second.
func (s *sim) connect(i int) {
	m := &s.srv[i]
	if m.proc == procDown || m.follows < 0 || m.link != lnDown {
		return
	}
	source := &s.srv[m.follows]
	switch {
	case m.proc == procHung, source.proc != procUp, source.loading, s.cut(hostMember+i, hostMember+m.follows):
	case m.follows == i || !source.master && source.link != lnUp:
		m.offset = 1 // Refused, and how far it was is forgotten.
	case m.sourceRun == source.run && m.data.branch == source.data.branch && m.offset > 1:
		m.link, m.heard, m.pings = lnUp, s.now, s.now/1000
		return
	default:
		m.link, m.sourceRun, m.offset = lnSync, source.run, 1
		snapshot := source.data
		s.logf("g-%d begins to copy g-%d r%d", i, m.follows, source.run)
		epoch := m.linkEpoch
		s.after(s.between(20, 600), func() {
			if m.linkEpoch == epoch {
				s.copied(i, snapshot)
			}
		})
		return
	}
	s.connectAfter(i, 1000)
}

// copied replaces the data of a replica with what it received.
func (s *sim) copied(i int, snapshot dataset) {
	m := &s.srv[i]
	epoch := m.linkEpoch
	if m.proc == procHung || s.srv[m.follows].proc == procHung || s.cut(hostMember+i, hostMember+m.follows) {
		s.after(100, func() {
			if m.linkEpoch == epoch {
				s.copied(i, snapshot)
			}
		})
		return
	}
	s.checkOverwrite(i, snapshot)
	s.dropReplicas(i)
	m.before, m.data, m.link = m.data, snapshot, lnLoad
	m.savedFrom = s.now + 1000
	s.after(s.between(2, 60), func() {
		if m.linkEpoch != epoch {
			return
		}
		m.link, m.savedFrom, m.heard, m.pings = lnUp, s.now+300, s.now, s.now/1000
		s.logf("g-%d r%d is in sync with g-%d, %d keys", i, m.run, m.follows, s.keys(m.data))
	})
}

// makeMaster is SLAVEOF NO ONE.
func (s *sim) makeMaster(i int, by string) {
	m := &s.srv[i]
	if m.master {
		return
	}
	s.logf("g-%d r%d becomes master with %d keys by %s", i, m.run, s.keys(m.data), by)
	s.checkNewMaster(i, by)
	s.dropReplicas(i)
	m.master, m.follows, m.link, m.offset, m.streaming = true, -1, lnDown, 0, false
	m.linkEpoch++
	m.data, m.rogue = s.fork(m.data), by == byRogue
	if by != byRogue {
		s.legit, s.legitRun, s.failedAt = i, m.run, never
	}
}

// refresh brings everything in line that follows from a change: what flows,
// which ends are noticed, what probers see; and checks what must always hold.
func (s *sim) refresh() {
	for i := range s.count {
		s.noticeEnd(i)
		m := &s.srv[i]
		if flows := s.streams(i); flows != m.streaming {
			m.streaming = flows
			if flows {
				m.streamed = s.now
			}
		}
	}
	for p := range s.proxy {
		s.refreshProxy(p)
	}
	impaired := s.srv[s.legit].proc != procUp || s.srv[s.legit].run != s.legitRun
	for _, o := range s.ops {
		if o.alive {
			o.refresh()
			impaired = impaired || s.cut(o.host, hostMember+s.legit)
		}
	}
	if !impaired {
		s.failedAt = never
	} else if s.failedAt == never {
		s.failedAt = s.now
	}
	s.checkAlways()
}

// noticeEnd breaks the link of a replica whose master has ended, unless the
// network keeps that from it.
func (s *sim) noticeEnd(i int) {
	m := &s.srv[i]
	if m.proc != procUp || m.follows < 0 || m.link != lnUp && m.link != lnSync {
		return
	}
	source := &s.srv[m.follows]
	if (source.proc == procDown || source.run != m.sourceRun) && !s.cut(hostMember+i, hostMember+m.follows) {
		s.logf("g-%d loses its link to g-%d", i, m.follows)
		s.linkDown(i)
	}
}

// refreshProxy finds out whether requests hang in a proxy.
func (s *sim) refreshProxy(i int) {
	p := &s.proxy[i]
	hangs := p.up && p.route >= 0 && (s.srv[p.route].proc == procHung || s.cut(hostProxy+i, hostMember+p.route))
	switch {
	case !hangs:
		p.stuck = never
	case p.stuck == never && !p.locked:
		p.stuck = s.now
	}
}
