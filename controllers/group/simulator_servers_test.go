// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"time"

	"github.com/codis-io/codis-operator/internal/redis"
)

// The simulated network and codis-servers, which replicate as 3.2 does.

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

type simServer struct {
	proc    process
	run     int
	master  bool
	rogue   bool // made master by somebody
	byHand  bool // with redis-cli
	loading bool
	guarded bool
	data    dataset
	// disk is what a start finds; savedFrom is when the data of memory began to
	// be there after a copy, and before it, the data it replaced.
	disk      dataset
	savedFrom tick
	before    dataset

	follows   int // member, -1 for nobody
	link      linkState
	linkEpoch int
	dropped   bool // by its master
	sourceRun int
	offset    int64 // while the link is not up
	downSince tick  // never if it was not up since it was told whom to follow
	delay     tick
	streaming bool
	streamed  tick // since when it streams
	heard     tick
	streamEnd tick // until when it streamed
	// acked is when a replica last told this master how far it is, and by which one.
	acked   tick
	ackedBy int
	pings   tick

	procEpoch int
	pod       simPod
}

func (s *sim) cut(a, b int) bool { return s.cuts[a][b] > 0 }

func (s *sim) streams(i int) bool {
	m := &s.srv[i]
	if m.proc != procUp || m.link != lnUp || m.follows < 0 || m.dropped {
		return false
	}
	source := &s.srv[m.follows]
	return source.proc == procUp && source.run == m.sourceRun && !s.cut(hostMember+i, hostMember+m.follows)
}

// streamOffset is how far a stream is: a master pings its replicas once a second.
func streamOffset(d dataset, pings tick) int64 { return 100 + int64(d.n)*100 + int64(pings) }

// offsetOf is what INFO shows of a replica.
func (s *sim) offsetOf(i int) int64 {
	m := &s.srv[i]
	if m.link != lnUp {
		return m.offset
	}
	return streamOffset(m.data, m.pings)
}

func (s *sim) start(i int) {
	m := &s.srv[i]
	s.runs++
	*m = simServer{
		proc: procUp, downSince: never, run: s.runs, data: m.disk, disk: m.disk, follows: -1, offset: 1, delay: m.delay,
		procEpoch: m.procEpoch + 1, linkEpoch: m.linkEpoch + 1, pod: m.pod, savedFrom: m.savedFrom, before: m.before,
	}
	m.pod.crashLoop = false
	s.logf("g-%d starts as r%d with %d keys", i, m.run, s.keys(m.data))
	if s.without.startFence {
		m.master, m.data = true, s.fork(m.data)
	}
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
		s.goBack(i)
	}
	m.master, m.follows, m.offset = false, master, 1
	s.linkDown(i)
	m.sourceRun, m.downSince = 0, never
}

// goBack has the failure of the old master count again where a switchover to a member
// is taken back: proxies lead to that one, which never stopped to be master.
func (s *sim) goBack(from int) {
	if from != s.legit {
		return
	}
	for i := range s.proxy {
		to := s.proxy[i].route
		if to >= 0 && to != from && s.proxy[i].registered && s.srv[to].master && !s.srv[to].rogue {
			s.legit, s.legitRun, s.failedAt = to, s.srv[to].run, s.impaired[to]
			return
		}
	}
}

func (s *sim) dropReplicas(i int) {
	for j := range s.count {
		if r := &s.srv[j]; j != i && r.follows == i && r.proc != procDown && (r.link == lnUp || r.link == lnSync || r.link == lnLoad) {
			r.dropped = true // It notices when it can (noticeEnd).
			s.noticeEnd(j)
		}
	}
}

func (s *sim) linkDown(i int) {
	m := &s.srv[i]
	switch m.link {
	case lnUp:
		m.offset, m.downSince = s.offsetOf(i), s.now
	case lnSync:
		m.offset = 1
	}
	m.link, m.streaming, m.dropped = lnDown, false, false
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
func (s *sim) makeMaster(i int, by maker) {
	m := &s.srv[i]
	if m.master {
		return
	}
	s.logf("g-%d r%d becomes master with %d keys by %s", i, m.run, s.keys(m.data), by.name)
	s.checkNewMaster(i, by)
	s.dropReplicas(i)
	m.master, m.follows, m.link, m.offset, m.streaming = true, -1, lnDown, 0, false
	m.linkEpoch++
	m.data, m.rogue, m.byHand = s.fork(m.data), by == byRogue || s.raced(i, by), by == byRogue
	if by != byRogue {
		s.legit, s.legitRun, s.failedAt, s.fencedAt = i, m.run, never, never
	}
}

// refresh brings everything in line that follows from a change: what flows,
// which ends are noticed, what probers see; and checks what must always hold.
func (s *sim) refresh() {
	for i := range s.count {
		s.noticeEnd(i)
		s.noticeLeft(i)
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
	for i := range s.count {
		switch m := &s.srv[i]; {
		case m.proc == procUp && m.master && !s.operatorsCut(i):
			s.impaired[i] = never
		case s.impaired[i] == never:
			s.impaired[i] = s.now
		}
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

// operatorsCut tells whether an operator cannot reach a member.
func (s *sim) operatorsCut(i int) bool {
	return slices.ContainsFunc(s.ops, func(o *simOperator) bool { return o.alive && s.cut(o.host, hostMember+i) })
}

// noticeEnd breaks the link of a replica whose master has ended, unless the
// network keeps that from it.
func (s *sim) noticeEnd(i int) {
	m := &s.srv[i]
	if m.proc != procUp || m.follows < 0 || m.link != lnUp && m.link != lnSync {
		return
	}
	source := &s.srv[m.follows]
	if (m.dropped || source.proc == procDown || source.run != m.sourceRun) && !s.cut(hostMember+i, hostMember+m.follows) {
		s.logf("g-%d loses its link to g-%d", i, m.follows)
		s.linkDown(i)
	}
}

// observation is what a server says of itself.
func (s *sim) observation(i int) redis.Observation {
	m := &s.srv[i]
	o := redis.Observation{
		Reachable: true, RunID: simRunIDs[m.run], Role: redis.RoleReplica, MasterAddr: redis.FenceAddr,
		LinkUp: m.link == lnUp, Syncing: m.link == lnSync || m.link == lnLoad, Loading: m.loading || m.link == lnLoad,
		Offset: s.offsetOf(i), Keys: int64(s.keys(m.data)), WritesGuarded: m.guarded,
		Saving: s.persistent && (m.link == lnLoad || s.now < m.savedFrom),
	}
	switch {
	case m.link == lnUp:
	case m.downSince == never:
		o.LinkDown = 50 * 365 * 24 * time.Hour // Since 1970.
	default:
		o.LinkDown = time.Duration((s.now-m.downSince)/1000) * time.Second
	}
	if m.follows >= 0 {
		o.MasterAddr = simAddrs[m.follows]
	}
	if m.master {
		o.Role, o.MasterAddr, o.LinkUp, o.LinkDown, o.Offset = redis.RoleMaster, "", false, 0, streamOffset(m.data, s.now/1000)
	}
	return o
}

// noticeLeft has a master forget a replica that has left it, unless they are cut off from
// each other: then it goes by when that one last told how far it is.
func (s *sim) noticeLeft(master int) {
	m := &s.srv[master]
	r := &s.srv[m.ackedBy]
	if m.acked > 0 && (!r.streaming || r.follows != master) && !s.cut(hostMember+master, hostMember+m.ackedBy) {
		m.acked = 0
	}
}
