// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"

	"github.com/codis-io/codis-operator/internal/codis"
)

// The simulated proxies and dashboard.

type simProxy struct {
	up, online, registered, locked bool
	life                           int // of its pod
	entry                          codis.Proxy
	route                          int
	next, period                   tick // of writes
	stuck                          tick // since when requests hang, never if they do not
	epoch                          int
	filling                        bool // with routes
}

func (s *sim) killProxy(i int, withPod bool) {
	p := &s.proxy[i]
	if !p.up {
		return
	}
	s.logf("proxy %d ends, pod=%t", i, withPod)
	p.up, p.online, p.locked, p.filling, p.route = false, false, false, false, -1
	p.epoch++
	epoch := p.epoch
	if withPod {
		p.life++
		s.after(s.between(100, 1500), func() { p.registered = false })
	}
	s.after(s.between(1500, 4000), func() {
		if p.epoch == epoch {
			p.up = true
		}
	})
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

// recvTimeout is backend_recv_timeout, after which requests that hang are freed.
const recvTimeout = 2500

// fill gives a proxy a route, and calls done when no request hangs in it any more:
// their server ends, or is there again, or backend_recv_timeout is over.
func (s *sim) fill(i, route int, locked bool, done func(ok bool)) {
	p := &s.proxy[i]
	if !p.up {
		done(false)
		return
	}
	epoch := p.epoch
	if p.filling { // One at a time.
		s.after(3, func() {
			if p.epoch != epoch {
				done(false)
				return
			}
			s.fill(i, route, locked, done)
		})
		return
	}
	p.filling, p.locked = true, true
	until := s.now + recvTimeout
	var wait func()
	wait = func() {
		switch {
		case p.epoch != epoch:
			done(false)
		case p.stuck == never || s.now >= until:
			p.route, p.locked, p.stuck, p.filling = route, locked, never, false
			done(true)
		default:
			s.after(20, wait)
		}
	}
	wait()
}

// simDashboard is the dashboard: what it stores, and what it is doing.
type simDashboard struct {
	up    bool
	epoch int
	order []int
	// promoting is how far a promotion is; index is whose.
	promoting promotingState
	index     int
	moving    bool // a slot is on its way
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
	d := &s.dash
	if !d.up {
		return
	}
	s.logf("the dashboard ends, promoting %q", d.promoting)
	d.up, d.busy, d.seen = false, false, [simProxies]bool{}
	d.epoch++
	for _, c := range d.open {
		c.after(1, func() { c.answer(errSimRefused) })
	}
	d.open = nil
	s.after(back, func() {
		d.up = true
		s.logf("the dashboard starts")
		s.dashLater(s.between(100, 1000), s.dashLook)
	})
}

func (s *sim) dashLater(d tick, do func()) {
	epoch := s.dash.epoch
	s.after(d, func() {
		if s.dash.epoch == epoch {
			do()
		}
	})
}

// dashLook refreshes what the dashboard knows of proxies, and brings those
// online that are not.
func (s *sim) dashLook() {
	d := &s.dash
	for i := range s.proxy {
		p := &s.proxy[i]
		answers := p.up && !s.cut(hostDashboard, hostProxy+i)
		d.seen[i] = answers
		if answers && !p.online && len(d.order) > 0 && !d.busy {
			p.online, p.registered = true, true
			p.route, p.locked = d.order[0], d.promoting == prepared
			p.entry = p.model(i)
			s.logf("proxy %d is online with route to g-%d", i, p.route)
		}
	}
	s.dashLater(1000, s.dashLook)
}

// Names and addresses of proxies.
var (
	simProxyNames = [simProxies]string{"proxy-0", "proxy-1"}
	simProxyIPs   = [simProxies]string{"10.1.0.0", "10.1.0.1"}
	simProxyAddrs = [simProxies]string{"10.1.0.0:11080", "10.1.0.1:11080"}
)

// model is what a proxy says of itself. Another pod has another token.
func (p *simProxy) model(i int) codis.Proxy {
	return codis.Proxy{
		Token: fmt.Sprintf("t%d-%d", i, p.life), AdminAddr: simProxyAddrs[i], Hostname: simProxyNames[i], Product: simProduct,
	}
}

// topology is what the dashboard tells: the group owns the only slot.
func (s *sim) topology() *codis.Stats {
	d, stats := &s.dash, &codis.Stats{}
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
func (s *sim) promoteCall(member int, done func(ok bool)) {
	d := &s.dash
	index := -1
	for i, m := range d.order {
		if m == member {
			index = i
		}
	}
	switch {
	case index < 0, d.moving, d.promoting == idle && index == 0, d.promoting != idle && index != d.index:
		done(false)
		return
	case d.promoting == idle:
		d.promoting, d.index = preparing, index
	}
	d.busy = true
	s.dashLater(s.between(1, 4), func() {
		s.promoteStep(func(ok bool) {
			d.busy = false
			s.logf("promote g-%d: %t", member, ok)
			done(ok)
		})
	})
}

// promoteStep goes on from what is stored.
func (s *sim) promoteStep(end func(ok bool)) {
	d := &s.dash
	s.step("dashboard", -1)
	if !d.up {
		return
	}
	switch d.promoting {
	case preparing:
		s.push(true, func(ok bool) {
			if !ok {
				s.push(false, func(bool) { end(false) })
				return
			}
			d.promoting = prepared
			s.dashLater(s.between(1, 3), func() { s.promoteStep(end) })
		})
	case prepared:
		s.reorder(func() { s.promoteStep(end) })
	case finished:
		s.push(false, func(ok bool) {
			if ok {
				d.promoting = idle
				s.checkPromoted()
			}
			end(ok)
		})
	case idle:
		end(false)
	}
}

func (s *sim) reorder(next func()) {
	d := &s.dash
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
	d.order, d.promoting, d.index = order, finished, 0
	s.logf("the dashboard's order is %v", order)
	s.dashLater(s.between(1, 3), func() {
		if s.srv[chosen].proc == procUp && !s.cut(hostDashboard, hostMember+chosen) {
			s.makeMaster(chosen, byDashboard)
			s.dashLater(1, next)
			return
		}
		s.dashLater(1000, next) // Only a warning.
	})
}

// push gives every registered proxy the route of the group, locked or not.
func (s *sim) push(locked bool, done func(ok bool)) {
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
			s.pushTo(i, locked, one)
		}
	}
}

func (s *sim) pushTo(i int, locked bool, done func(ok bool)) {
	route, epoch := s.dash.order[0], s.dash.epoch
	s.dashLater(s.between(1, 6), func() {
		if s.cut(hostDashboard, hostProxy+i) {
			s.dashLater(1000, func() { done(false) })
			return
		}
		s.fill(i, route, locked, func(ok bool) {
			if s.dash.epoch == epoch {
				done(ok)
			}
		})
	})
}

// resync pushes the route that the dashboard has.
func (s *sim) resync(done func(ok bool)) {
	s.dash.busy = true
	s.push(s.dash.promoting == prepared, func(ok bool) {
		s.dash.busy = false
		done(ok)
	})
}
