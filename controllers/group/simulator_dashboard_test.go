// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/codis-io/codis-operator/internal/codis"
)

// The simulated dashboard.

// simDashboard is a dashboard: what it has stored, and what it is doing.
type simDashboard struct {
	up    bool
	epoch int
	// severed tells that it cannot store anything any more: it was cut off, and another
	// one takes over, or has. Who it still reaches is what it reached then.
	severed bool
	reaches [simHosts]bool
	// forgot tells that a write failed, after which a dashboard knows nothing of the
	// group any more, since it reads that anew (reference 2.3).
	forgot bool
	order  []int
	// promoting is how far a promotion is; index is whose.
	promoting promotingState
	index     int
	chosen    choice // when promote was called last
	moving    bool   // a slot is on its way
	busy      bool
	seen      [simProxies]bool
	open      []*simCall
}

// promotingState is how far a promotion is (reference 6.2).
type promotingState string

const (
	idle      promotingState = ""
	preparing promotingState = "preparing"
	prepared  promotingState = "prepared"
	finished  promotingState = "finished"
)

func (s *sim) dashCrash(back tick) {
	d := s.dash
	if !d.up {
		return
	}
	s.logf("the dashboard ends, promoting %q", d.promoting)
	d.end()
	s.after(back, func() {
		if s.dash == d {
			s.dashStart()
		}
	})
}

// end ends the process of a dashboard.
func (d *simDashboard) end() {
	d.up, d.busy, d.seen = false, false, [simProxies]bool{}
	d.epoch++
	for _, c := range d.open {
		c.after(1, func() { c.answer(errSimRefused) })
	}
	d.open = nil
}

func (s *sim) dashStart() {
	d := s.dash
	d.up = true
	s.logf("the dashboard starts")
	s.dashLater(d, s.between(100, 1000), func() { s.dashLook(d) })
}

func (s *sim) dashLater(d *simDashboard, in tick, do func()) {
	epoch := d.epoch
	s.after(in, func() {
		if d.epoch == epoch {
			do()
		}
	})
}

// away tells whether a dashboard and a host do not reach each other.
func (s *sim) away(d *simDashboard, host int) bool {
	if d.severed {
		return !d.reaches[host]
	}
	return s.cut(hostDashboard, host)
}

// stores tells whether a dashboard can store what it is about to.
func (d *simDashboard) stores() bool {
	d.forgot = d.forgot || d.severed
	return !d.forgot
}

// dashLook refreshes what the dashboard knows of proxies, and brings those
// online that are not, which it stores first.
func (s *sim) dashLook(d *simDashboard) {
	for i := range s.proxy {
		p := &s.proxy[i]
		answers := p.up && !s.away(d, hostProxy+i)
		d.seen[i] = answers
		if answers && !p.online && len(d.order) > 0 && !d.busy && d.stores() {
			p.online, p.registered = true, true
			p.next = max(p.next, s.now+s.between(50, 300)) // Kubernetes calls it ready, and clients come.
			p.route, p.locked = d.order[0], d.promoting == prepared
			p.entry = p.model(i)
			s.logf("proxy %d is online with route to g-%d", i, p.route)
		}
	}
	s.dashLater(d, 1000, func() { s.dashLook(d) })
}

// topology is what the dashboard tells: the group owns the only slot.
func (s *sim) topology(d *simDashboard) *codis.Stats {
	stats := &codis.Stats{}
	stats.Slots = []codis.SlotMapping{{GroupID: 1}}
	if d.moving {
		stats.Slots[0].Action = codis.SlotAction{State: "migrating", TargetID: 2}
	}
	if len(d.order) > 0 {
		group := codis.Group{ID: 1}
		group.Promoting.State, group.Promoting.Index = string(d.promoting), d.index
		if s.without.finishHeld && d.promoting != idle {
			group.Promoting.State = string(finished)
		}
		for _, i := range d.order {
			group.Servers = append(group.Servers, codis.GroupServer{Addr: simAddrs[i]})
		}
		stats.Group.Models = []codis.Group{group}
	}
	stats.Proxy.Stats = map[string]codis.ProxyStats{}
	for i := range s.proxy {
		if p := &s.proxy[i]; p.registered {
			stats.Proxy.Models = append(stats.Proxy.Models, p.entry)
			if d.seen[i] {
				stats.Proxy.Stats[p.entry.Token] = codis.ProxyStats{Stats: &codis.ProxyState{}}
			}
		}
	}
	return stats
}

// promoteCall is the request to promote a member; done is called with whether
// it succeeded, unless the dashboard ends meanwhile.
func (s *sim) promoteCall(d *simDashboard, member int, chosen choice, done func(ok bool)) {
	index := -1
	for i, m := range d.order {
		if m == member {
			index = i
		}
	}
	switch {
	case d.forgot, index < 0, d.moving, d.promoting == idle && index == 0, d.promoting != idle && index != d.index:
		done(false)
		return
	case d.promoting == idle:
		if !d.stores() {
			done(false)
			return
		}
		d.promoting, d.index = preparing, index
	}
	d.busy, d.chosen = true, chosen
	s.dashLater(d, s.between(1, 4), func() {
		s.promoteStep(d, func(ok bool) {
			d.busy = false
			s.logf("promote g-%d: %t", member, ok)
			done(ok)
		})
	})
}

// promoteStep goes on from what is stored.
func (s *sim) promoteStep(d *simDashboard, end func(ok bool)) {
	s.step("dashboard", -1)
	if !d.up {
		return
	}
	switch d.promoting {
	case preparing:
		s.push(d, true, func(ok bool) {
			if !ok {
				s.push(d, false, func(bool) { end(false) })
				return
			}
			if !d.stores() {
				end(false)
				return
			}
			d.promoting = prepared
			s.dashLater(d, s.between(1, 3), func() { s.promoteStep(d, end) })
		})
	case prepared:
		if !d.stores() {
			end(false)
			return
		}
		s.reorder(d, func() { s.promoteStep(d, end) })
	case finished:
		s.push(d, false, func(ok bool) {
			if ok = ok && d.stores(); ok {
				d.promoting = idle
				s.checkPromoted()
			}
			end(ok)
		})
	case idle:
		end(false)
	}
}

func (s *sim) reorder(d *simDashboard, next func()) {
	chosen, old := d.order[d.index], d.order[0]
	order := []int{chosen}
	for _, m := range d.order {
		if m != chosen && m != old {
			order = append(order, m)
		}
	}
	if old != chosen {
		order = append(order, old)
	}
	s.checkRoute(old, chosen)
	d.order, d.promoting, d.index = order, finished, 0
	s.logf("the dashboard's order is %v", order)
	s.dashLater(d, s.between(1, 3), func() {
		if s.srv[chosen].proc == procUp && !s.away(d, hostMember+chosen) {
			s.makeMaster(chosen, byDashboard(d.chosen))
			s.dashLater(d, 1, next)
			return
		}
		s.dashLater(d, 1000, next) // Only a warning.
	})
}

// push gives every registered proxy the route of the group, locked or not.
func (s *sim) push(d *simDashboard, locked bool, done func(ok bool)) {
	left, all := 0, true
	one := func(ok bool) {
		left--
		all = all && ok
		if left == 0 {
			done(all)
		}
	}
	for i := range s.proxy {
		if s.proxy[i].registered {
			left++
		}
	}
	if left == 0 {
		left = 1
		one(true)
		return
	}
	for i := range s.proxy {
		if s.proxy[i].registered {
			s.pushTo(d, i, locked, one)
		}
	}
}

func (s *sim) pushTo(d *simDashboard, i int, locked bool, done func(ok bool)) {
	route, epoch := d.order[0], d.epoch
	s.dashLater(d, s.between(1, 6), func() {
		if s.away(d, hostProxy+i) {
			s.dashLater(d, 1000, func() { done(false) })
			return
		}
		s.fill(i, route, locked, func(ok bool) {
			if d.epoch == epoch {
				done(ok)
			}
		})
	})
}

// resync pushes the route that the dashboard has, and then stores that it did.
func (s *sim) resync(d *simDashboard, done func(ok bool)) {
	if d.forgot || len(d.order) == 0 {
		done(false)
		return
	}
	d.busy = true
	s.push(d, d.promoting == prepared, func(ok bool) {
		d.busy = false
		done(ok && d.stores())
	})
}
