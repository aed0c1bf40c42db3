// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/codis-io/codis-operator/test/standin/models"
)

// The errors of a router.
var (
	errClosedRouter  = errors.New("use of closed router")
	errInvalidSlot   = errors.New("use of invalid slot id")
	errInvalidMethod = errors.New("use of invalid forwarder method")
	errSlotNotReady  = errors.New("slot is not ready, may be offline")
)

// router knows where each slot goes. Its mutex guards changes of routes; requests only take their slot's lock.
type router struct {
	settings *Settings

	mu      sync.RWMutex
	primary *pool
	replica *pool
	slots   [models.MaxSlotNum]slot
	online  atomic.Bool
	closed  atomic.Bool
}

// slot is the route of one slot. Whoever locks it keeps clients waiting, without a limit.
type slot struct {
	id   int
	lock sync.RWMutex
	held bool
	// inFlight counts requests that were sent on the present route.
	inFlight sync.WaitGroup

	backend, migrate           *server
	backendGroup, migrateGroup int
	replicas                   [][]*server
	method                     int
	// switched says that sentinels made the route what it is.
	switched bool
}

func newRouter(c *backendContext) *router {
	s := &router{
		settings: c.settings,
		primary:  newPool(c, c.settings.BackendPrimaryParallel),
		replica:  newPool(c, c.settings.BackendReplicaParallel),
	}
	for i := range s.slots {
		s.slots[i].id = i
	}
	return s
}

func (s *router) isOnline() bool { return s.online.Load() && !s.closed.Load() }

// fill changes the route of a slot. It waits until every request sent on the old route is answered: a backend that
// hangs holds it up for as long as the receive timeout.
func (s *router) fill(m *models.Slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return errClosedRouter
	case m.ID < 0 || m.ID >= len(s.slots):
		return errInvalidSlot
	case m.ForwardMethod != models.ForwardSync && m.ForwardMethod != models.ForwardSemiAsync:
		return errInvalidMethod
	}
	s.replace(m, false)
	return nil
}

// replace runs with the mutex held.
func (s *router) replace(m *models.Slot, switched bool) {
	x := &s.slots[m.ID]
	x.block()
	x.method, x.switched = m.ForwardMethod, switched
	old := append([]*server{x.backend, x.migrate}, flatten(x.replicas)...)
	x.backend, x.backendGroup = s.primary.retain(m.BackendAddr), m.BackendAddrGroupID
	x.migrate, x.migrateGroup = s.primary.retain(m.MigrateFrom), m.MigrateFromGroupID
	if x.backend == nil {
		x.backendGroup = 0
	}
	if x.migrate == nil {
		x.migrateGroup = 0
	}
	x.replicas = nil
	if !s.settings.BackendPrimaryOnly {
		x.replicas = s.retainReplicas(m.ReplicaGroups)
	}
	for _, server := range old {
		server.release()
	}
	if !m.Locked {
		x.unblock()
	}
}

func flatten(groups [][]*server) []*server {
	var all []*server
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func (s *router) retainReplicas(groups [][]string) [][]*server {
	var out [][]*server
	for _, addrs := range groups {
		var group []*server
		for _, addr := range addrs {
			if x := s.replica.retain(addr); x != nil {
				group = append(group, x)
			}
		}
		if len(group) != 0 {
			out = append(out, group)
		}
	}
	return out
}

// block lets no new request in and waits for those that are under way.
func (x *slot) block() {
	if !x.held {
		x.held = true
		x.lock.Lock()
	}
	x.inFlight.Wait()
}

func (x *slot) unblock() {
	if x.held {
		x.held = false
		x.lock.Unlock()
	}
}

// close drops all routes, waiting for requests under way, and lets go of clients that wait for a locked slot.
func (s *router) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return
	}
	for id := range s.slots {
		s.replace(&models.Slot{ID: id, ForwardMethod: s.slots[id].method}, false)
	}
}

func (s *router) snapshot() []*models.Slot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	slots := make([]*models.Slot, len(s.slots))
	for i := range s.slots {
		slots[i] = s.slots[i].model()
	}
	return slots
}

func (x *slot) model() *models.Slot {
	m := &models.Slot{
		ID: x.id, Locked: x.held,
		BackendAddr: x.backend.name(), BackendAddrGroupID: x.backendGroup,
		MigrateFrom: x.migrate.name(), MigrateFromGroupID: x.migrateGroup,
		ForwardMethod: x.method,
	}
	for _, group := range x.replicas {
		var addrs []string
		for _, server := range group {
			addrs = append(addrs, server.addr)
		}
		m.ReplicaGroups = append(m.ReplicaGroups, addrs)
	}
	return m
}

func (s *router) ping() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.primary.ping()
	s.replica.ping()
}

// dispatch sends a request to the slot of its key.
func (s *router) dispatch(r *request) error {
	key := hashKey(r.words, r.op)
	return s.slots[SlotOf(key)].forward(r, key)
}

// dispatchSlot sends a request without a key to a slot.
func (s *router) dispatchSlot(r *request, id int) error { return s.slots[id].forward(r, nil) }

// dispatchAddr sends a request to a server that some slot uses.
func (s *router) dispatchAddr(r *request, addr string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range []*pool{s.primary, s.replica} {
		if b := p.servers[addr].conn(r.db, r.seed(), false); b != nil {
			b.push(r)
			return true
		}
	}
	return false
}
