// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"

	"github.com/codis-io/codis-operator/internal/codis"
)

// The simulated proxies.

type simProxy struct {
	up, online, registered, locked bool
	life                           int // of its pod
	entry                          codis.Proxy
	route                          int
	next, period                   tick // of writes
	stuck                          tick // since when requests hang, never if they do not
	epoch                          int
	filling                        bool // with routes
	starved                        tick // until when it takes long to begin with a request
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
		s.whenFilled(i, func(up bool) {
			if !up {
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

// whenFilled goes on once a proxy is given no route any more: it does nothing else with
// its routes meanwhile, and tells nobody of them. It is not up if it has ended by then.
func (s *sim) whenFilled(i int, do func(up bool)) {
	p := &s.proxy[i]
	if epoch := p.epoch; p.filling {
		s.after(3, func() {
			if p.epoch != epoch {
				do(false)
				return
			}
			s.whenFilled(i, do)
		})
		return
	}
	do(p.up)
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
