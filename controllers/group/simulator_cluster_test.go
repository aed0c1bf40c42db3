// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

// simPod is a pod as the API server knows it, and the views that a cache may
// still show.
type simPod struct {
	podView

	epoch  int
	views  []podView
	viewAt []tick
}

// podView is what the operator reads of a pod.
type podView struct {
	exists, leaving, crashLoop, terminated bool
	uid, ip                                int // 0 for none
}

// dead is podtemplate.Dead.
func (v podView) dead() bool { return v.crashLoop || v.terminated && v.leaving }

// podChanged records a version of a pod for caches, and wakes the operators.
func (s *sim) podChanged(i int) {
	pod := &s.srv[i].pod
	pod.views, pod.viewAt = append(pod.views, pod.podView), append(pod.viewAt, s.now)
	for _, o := range s.ops {
		o.wake(s.between(1, 15))
	}
}

// viewOf is what a cache that is behind by lag shows.
func (s *sim) viewOf(i int, lag tick) podView {
	pod := &s.srv[i].pod
	for k := len(pod.views) - 1; k > 0; k-- {
		if pod.viewAt[k] <= s.now-lag {
			return pod.views[k]
		}
	}
	return pod.views[0]
}

func (s *sim) kubeletWorks(i int) bool { return s.nodeCut[s.nodeOf[hostMember+i]] == 0 }

// podLater does something of kubelet with a pod, as soon as its node is there.
func (s *sim) podLater(i int, d tick, do func()) {
	pod := &s.srv[i].pod
	epoch := pod.epoch
	s.after(d, func() {
		switch {
		case pod.epoch != epoch:
		case !s.kubeletWorks(i):
			s.podLater(i, 100, do)
		default:
			do()
		}
	})
}

// podProcessEnded is called when the process of a pod has ended.
func (s *sim) podProcessEnded(i int) {
	pod := &s.srv[i].pod
	pod.epoch++
	if pod.leaving {
		s.podLater(i, s.between(5, 80), func() {
			pod.terminated = true
			s.podChanged(i)
			s.podGoes(i)
		})
		return
	}
	backOff := s.between(200, 1000)
	switch s.rng.IntN(6) {
	case 0:
		backOff = s.between(5000, 10000)
		s.podLater(i, s.between(20, 200), func() {
			pod.crashLoop = true
			s.podChanged(i)
		})
	case 1:
		backOff = s.between(1000, 3000)
	}
	s.podLater(i, backOff, func() {
		s.start(i)
		s.podChanged(i)
	})
}

// podGoes removes the object of a pod whose process has ended; a new one follows.
func (s *sim) podGoes(i int) {
	pod := &s.srv[i].pod
	s.podLater(i, s.between(20, 400), func() {
		pod.podView = podView{}
		s.podChanged(i)
		pod.epoch++
		s.podLater(i, s.between(10, 300), func() {
			s.uids++
			pod.podView = podView{exists: true, uid: s.uids}
			s.podChanged(i)
			s.podLater(i, s.between(200, 1200), func() {
				pod.ip = s.uids
				s.start(i)
				s.podChanged(i)
			})
		})
	})
}

// deletePod is what the API server does when somebody deletes a pod.
func (s *sim) deletePod(i int, grace tick) {
	m := &s.srv[i]
	pod := &m.pod
	if !pod.exists || pod.leaving {
		return
	}
	s.logf("pod g-%d is deleted", i)
	pod.leaving = true
	pod.epoch++
	s.podChanged(i)
	s.podLater(i, s.between(2, 50), func() { s.terminate(i, grace) })
}

// terminate is what kubelet does with a pod that is being deleted.
func (s *sim) terminate(i int, grace tick) {
	m := &s.srv[i]
	switch m.proc {
	case procUp:
		grace = s.between(5, 100)
	case procDown:
		m.pod.terminated = true
		s.podGoes(i)
		return
	}
	s.podLater(i, grace, func() {
		if m.proc == procDown {
			s.podProcessEnded(i)
			return
		}
		s.end(i, false, false)
	})
}

// Proxies.

func (s *sim) killProxy(i int, withPod bool) {
	p := &s.proxy[i]
	if !p.up {
		return
	}
	s.logf("proxy %d ends, pod=%t", i, withPod)
	p.up, p.online, p.locked, p.route = false, false, false, -1
	p.epoch++
	epoch := p.epoch
	if withPod {
		s.after(s.between(100, 1500), func() { p.registered = false })
	}
	s.after(s.between(1500, 4000), func() {
		if p.epoch == epoch {
			p.up = true
		}
	})
}

// simDashboard is the dashboard: what it stores, and what it is doing.
type simDashboard struct {
	up    bool
	epoch int
	order []int
	// promoting is 0, or how far a promotion is; index is whose.
	promoting, index int
	busy             bool
	seen             [simProxies]bool
}

// Steps of a promotion (reference 6.2).
const (
	preparing = iota + 1
	prepared
	finished
)

func (s *sim) dashCrash(back tick) {
	d := &s.dash
	if !d.up {
		return
	}
	s.logf("the dashboard ends, promoting %d", d.promoting)
	d.up, d.busy, d.seen = false, false, [simProxies]bool{}
	d.epoch++
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
			s.logf("proxy %d is online with route to g-%d", i, p.route)
		}
	}
	s.dashLater(1000, s.dashLook)
}

func (s *sim) deafProxies() []string {
	var deaf []string
	for i := range s.proxy {
		if s.proxy[i].registered && !s.dash.seen[i] {
			deaf = append(deaf, simProxyNames[i])
		}
	}
	return deaf
}

var simProxyNames = [simProxies]string{"proxy-0", "proxy-1"}

// promoteCall is the request to promote a member; done is called with whether
// it succeeded, unless the dashboard ends meanwhile.
func (s *sim) promoteCall(member int, done func(ok bool)) {
	d := &s.dash
	if d.busy {
		s.dashLater(20, func() { s.promoteCall(member, done) })
		return
	}
	index := -1
	for i, m := range d.order {
		if m == member {
			index = i
		}
	}
	switch {
	case index < 0, d.promoting == 0 && index == 0, d.promoting != 0 && index != d.index:
		done(false)
		return
	case d.promoting == 0:
		d.promoting, d.index = preparing, index
	}
	d.busy = true
	end := func(ok bool) {
		d.busy = false
		s.logf("promote g-%d: %t", member, ok)
		done(ok)
	}
	s.dashLater(s.between(1, 4), func() { s.promoteStep(end) })
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
				d.promoting = 0
				s.checkPromoted()
			}
			end(ok)
		})
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

// push gives every registered proxy the route of the group, locked or not. A
// proxy answers when no request hangs in it any more.
func (s *sim) push(locked bool, done func(ok bool)) {
	left, ok := 0, true
	one := func(answered bool) {
		left--
		ok = ok && answered
		if left == 0 {
			done(ok)
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
	p := &s.proxy[i]
	s.dashLater(s.between(1, 6), func() {
		switch {
		case s.cut(hostDashboard, hostProxy+i):
			s.dashLater(1000, func() { done(false) })
		case !p.up:
			done(false)
		default:
			p.locked = true // Until no request is under way any more.
			s.pushWaits(i, p.epoch, s.now+5000, locked, done)
		}
	})
}

// pushWaits ends when requests that hang are freed: their server ends, or is
// there again, or backend_recv_timeout is over.
func (s *sim) pushWaits(i, epoch int, until tick, locked bool, done func(ok bool)) {
	p := &s.proxy[i]
	switch {
	case p.epoch != epoch:
		done(false)
	case p.stuck == never || s.now >= until:
		p.route, p.locked, p.stuck = s.dash.order[0], locked, never
		done(true)
	default:
		s.dashLater(50, func() { s.pushWaits(i, epoch, until, locked, done) })
	}
}
