// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
)

// What clients wrote, and which servers hold what of it.

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

func (s *sim) keys(d dataset) int32 {
	if d.branch < 0 {
		return 0
	}
	return s.branches[d.branch].base + d.n
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
		if t := s.accepts(p, at); t >= 0 {
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
func (s *sim) accepts(p *simProxy, at tick) int {
	if !p.up || !p.online || p.locked || p.route < 0 {
		return -1
	}
	m := &s.srv[p.route]
	if m.proc != procUp || !m.master || m.loading || s.refuses(p.route, at) || s.cut(s.hostOfProxy(p), hostMember+p.route) {
		return -1
	}
	return p.route
}

// refuses tells whether a master takes no writes, since no replica keeps up with it.
func (s *sim) refuses(master int, at tick) bool {
	if !s.srv[master].guarded || s.without.refusal {
		return false
	}
	for i := range s.count {
		if r := &s.srv[i]; r.streaming && r.follows == master {
			return false
		}
	}
	m := &s.srv[master]
	return m.acked == 0 || at-m.acked > s.refusal
}

func (s *sim) hostOfProxy(p *simProxy) int {
	if p == &s.proxy[0] {
		return hostProxy
	}
	return hostProxy + 1
}

// receive brings a replica to what has reached it by a time.
func (s *sim) receive(i int, to tick, depth int) {
	m := &s.srv[i]
	if !m.streaming || depth > simMembers {
		return
	}
	source := &s.srv[m.follows]
	m.streamEnd, source.acked, source.ackedBy = to, to, i
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
