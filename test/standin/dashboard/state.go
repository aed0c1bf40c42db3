// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"net"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// cache is the dashboard's copy of the store. Whoever is about to change an entry marks it, and it is read again
// before the next use, so that the store always wins, whether the change went through or not. All of it runs with the
// mutex held.
type cache struct {
	filled   bool
	slots    []*models.SlotMapping
	groups   map[int]*models.Group
	proxies  map[string]*models.Proxy
	sentinel *models.Sentinel

	staleSlots   map[int]bool
	staleGroups  map[int]bool
	staleProxies map[string]bool
}

func (d *Dashboard) staleSlot(id int)    { d.cache.staleSlots[id] = true }
func (d *Dashboard) staleGroup(id int)   { d.cache.staleGroups[id] = true }
func (d *Dashboard) staleProxy(t string) { d.cache.staleProxies[t] = true }
func (d *Dashboard) staleSentinel()      { d.cache.sentinel = nil }
func (d *Dashboard) storeFailed(err error, what string, args ...any) error {
	e := rpc.Errorf("store: "+what+" failed", args...)
	d.log.Printf("%v: %v", e, err)
	return e
}

// view is one consistent look at the topology, valid while the mutex is held.
type view struct {
	slots    []*models.SlotMapping
	groups   map[int]*models.Group
	proxies  map[string]*models.Proxy
	sentinel *models.Sentinel
	method   int
	lookup   func(addr string) net.IP
}

// locked runs an operation on an online dashboard with the mutex held, calls to proxies and servers included.
func (d *Dashboard) locked(do func(v *view) error) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		if x := recover(); x != nil {
			err = d.perish(x)
		}
	}()
	v, err := d.view()
	if err != nil {
		return err
	}
	return do(v)
}

// perish ends a dashboard that met a state it does not know, as suddenly as Kill does. Any other panic goes on.
func (d *Dashboard) perish(x any) error {
	f, ok := x.(fatal)
	if !ok {
		panic(x)
	}
	d.log.Printf("dashboard exits: %v", f.error)
	d.failure = f.error
	_ = d.server.Close()
	d.end()
	close(d.gone)
	return f.error
}

func (d *Dashboard) view() (*view, error) {
	if d.closed {
		return nil, ErrClosed
	}
	if !d.online {
		return nil, ErrNotOnline
	}
	if err := d.refill(); err != nil {
		return nil, err
	}
	c := &d.cache
	return &view{
		slots: c.slots, groups: c.groups, proxies: c.proxies, sentinel: c.sentinel,
		method: d.cfg.forwardMethod(), lookup: d.lookup(),
	}, nil
}

func (d *Dashboard) refill() error {
	c := &d.cache
	if !c.filled {
		*c = cache{
			staleSlots: map[int]bool{}, staleGroups: map[int]bool{}, staleProxies: map[string]bool{},
			slots: make([]*models.SlotMapping, models.MaxSlotNum),
		}
		for id := range c.slots {
			c.staleSlots[id] = true
		}
	}
	if err := d.refillSlots(); err != nil {
		return d.storeFailed(err, "load slots")
	}
	if err := d.refillGroups(); err != nil {
		return d.storeFailed(err, "load group")
	}
	if err := d.refillProxies(); err != nil {
		return d.storeFailed(err, "load proxy")
	}
	if err := d.refillSentinel(); err != nil {
		return d.storeFailed(err, "load sentinel")
	}
	c.filled = true
	return nil
}

func (d *Dashboard) refillSlots() error {
	for id := range d.cache.staleSlots {
		m, err := d.store.Slot(id)
		if err != nil {
			return err
		}
		if m == nil {
			m = &models.SlotMapping{ID: id}
		}
		d.cache.slots[id] = m
		delete(d.cache.staleSlots, id)
	}
	return nil
}

func (d *Dashboard) refillGroups() error {
	if d.cache.groups == nil {
		groups, err := d.store.Groups()
		if err != nil {
			return err
		}
		d.cache.groups = groups
	}
	for id := range d.cache.staleGroups {
		g, err := d.store.Group(id)
		if err != nil {
			return err
		}
		if d.cache.groups[id] = g; g == nil {
			delete(d.cache.groups, id)
		}
		delete(d.cache.staleGroups, id)
	}
	return nil
}

func (d *Dashboard) refillProxies() error {
	if d.cache.proxies == nil {
		proxies, err := d.store.Proxies()
		if err != nil {
			return err
		}
		d.cache.proxies = proxies
	}
	for token := range d.cache.staleProxies {
		p, err := d.store.Proxy(token)
		if err != nil {
			return err
		}
		if d.cache.proxies[token] = p; p == nil {
			delete(d.cache.proxies, token)
		}
		delete(d.cache.staleProxies, token)
	}
	return nil
}

func (d *Dashboard) refillSentinel() error {
	if d.cache.sentinel != nil {
		return nil
	}
	s, err := d.store.Sentinel()
	if err != nil {
		return err
	}
	if s == nil {
		s = &models.Sentinel{}
	}
	d.cache.sentinel = s
	return nil
}

// Reload drops the cache.
func (d *Dashboard) Reload() error {
	return d.locked(func(*view) error {
		d.cache.filled = false
		return nil
	})
}

func (d *Dashboard) saveSlot(m *models.SlotMapping) error {
	d.staleSlot(m.ID)
	if err := d.store.SaveSlot(m); err != nil {
		return d.storeFailed(err, "update slot-[%d]", m.ID)
	}
	return nil
}

func (d *Dashboard) saveGroup(g *models.Group) error {
	verb := saveVerb(d.cache.groups[g.ID] != nil)
	d.staleGroup(g.ID)
	if err := d.store.SaveGroup(g); err != nil {
		return d.storeFailed(err, verb+" group-[%d]", g.ID)
	}
	return nil
}

func (d *Dashboard) saveProxy(p *models.Proxy) error {
	verb := saveVerb(d.cache.proxies[p.Token] != nil)
	d.staleProxy(p.Token)
	if err := d.store.SaveProxy(p); err != nil {
		return d.storeFailed(err, verb+" proxy-[%s]", p.Token)
	}
	return nil
}

func (d *Dashboard) saveSentinel(s *models.Sentinel) error {
	d.staleSentinel()
	if err := d.store.SaveSentinel(s); err != nil {
		return d.storeFailed(err, "update sentinel")
	}
	return nil
}

func saveVerb(known bool) string {
	if known {
		return "update"
	}
	return "create"
}

const lookupTimeout = 50 * time.Millisecond

// lookup resolves addresses for the order of replicas, once each per operation.
func (d *Dashboard) lookup() func(string) net.IP {
	resolve := d.cfg.Resolve
	if resolve == nil {
		resolve = net.ResolveTCPAddr
	}
	known := map[string]net.IP{}
	return func(addr string) net.IP {
		if ip, ok := known[addr]; ok {
			return ip
		}
		found := make(chan net.IP, 1)
		go func() {
			if a, err := resolve("tcp", addr); err == nil {
				found <- a.IP
			}
		}()
		select {
		case ip := <-found:
			known[addr] = ip
		case <-time.After(lookupTimeout):
			known[addr] = nil
		}
		return known[addr]
	}
}
