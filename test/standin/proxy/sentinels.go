// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
)

// watch is the part of a proxy that listens to sentinels. The proxy's mutex guards it.
type watch struct {
	product *sentinel.Product
	servers []string
	// masters is what the sentinels told last, by group. It is nil until they did.
	masters map[int]string
	cancel  context.CancelFunc
}

func (w *watch) stop() {
	if w.cancel != nil {
		w.cancel()
		w.cancel, w.masters = nil, nil
	}
}

// SetSentinels listens to other sentinels than before. Routes stay where the former have put them.
func (p *Proxy) SetSentinels(servers []string) error {
	return p.whileOpen(func() error {
		p.watch.servers = servers
		p.rewatch()
		return nil
	})
}

// RewatchSentinels listens to the same sentinels anew.
func (p *Proxy) RewatchSentinels() error {
	return p.whileOpen(func() error {
		p.rewatch()
		return nil
	})
}

func (p *Proxy) rewatch() {
	p.watch.stop()
	servers := p.watch.servers
	if len(servers) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.watch.cancel = cancel
	p.running.Go(func() { p.watch.product.Watch(ctx, servers, p.cfg.WatchPause, p.switchMasters) })
}

func (p *Proxy) switchMasters(masters map[int]string) {
	_ = p.whileOpen(func() error {
		p.watch.masters = masters
		if len(masters) != 0 {
			p.router.switchMasters(masters, p.watch.product.Servers(p.ctx))
		}
		return nil
	})
}

func (p *Proxy) sentinelStats() models.ProxySentinels {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := models.ProxySentinels{Switched: p.router.hasSwitched()}
	if !p.closed {
		s.Servers, s.Masters = p.watch.servers, sentinel.ByGroup(p.watch.masters)
	}
	return s
}

// switchMasters changes every route whose group has another master now, by its address and by the id of the server
// behind it. A locked slot stays locked.
func (s *router) switchMasters(masters map[int]string, known *sentinel.Servers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return
	}
	for i := range s.slots {
		m := s.slots[i].model()
		switched := false
		follow := func(addr *string, gid int) {
			if master := masters[gid]; master != "" && !known.Same(master, *addr) {
				*addr, switched = master, true
			}
		}
		follow(&m.BackendAddr, m.BackendAddrGroupID)
		follow(&m.MigrateFrom, m.MigrateFromGroupID)
		if switched {
			s.replace(m, true)
		}
	}
}

// hasSwitched says whether a route is as sentinels made it, and not as it was last pushed.
func (s *router) hasSwitched() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.slots {
		if s.slots[i].switched {
			return true
		}
	}
	return false
}
