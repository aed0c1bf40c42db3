// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
)

// server is all connections to one server: one per database and degree of parallelism, opened at once.
type server struct {
	addr  string
	host  string
	port  string
	conns [][]*backend
	users int
	pool  *pool
}

// pool shares servers between slots. The router's mutex guards it.
type pool struct {
	*backendContext
	parallel int
	servers  map[string]*server
}

func newPool(c *backendContext, parallel int) *pool {
	return &pool{backendContext: c, parallel: max(1, parallel), servers: map[string]*server{}}
}

func (p *pool) retain(addr string) *server {
	if addr == "" {
		return nil
	}
	s := p.servers[addr]
	if s == nil {
		s = p.open(addr)
		p.servers[addr] = s
	}
	s.users++
	return s
}

func (p *pool) open(addr string) *server {
	s := &server{addr: addr, pool: p}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		p.log.Printf("split host-port of %s failed: %v", addr, err)
	}
	s.host, s.port = host, port
	s.conns = make([][]*backend, p.settings.BackendNumberDatabases)
	for db := range s.conns {
		for range p.parallel {
			s.conns[db] = append(s.conns[db], newBackend(p.backendContext, addr, db))
		}
	}
	return s
}

func (p *pool) ping() {
	for _, s := range p.servers {
		s.each((*backend).ping)
	}
}

func (s *server) each(do func(b *backend)) {
	for _, parallel := range s.conns {
		for _, b := range parallel {
			do(b)
		}
	}
}

func (s *server) name() string {
	if s == nil {
		return ""
	}
	return s.addr
}

func (s *server) release() {
	if s == nil {
		return
	}
	if s.users--; s.users == 0 {
		s.each((*backend).close)
		delete(s.pool.servers, s.addr)
	}
}

// conn picks a connection, preferably one that works. Without must it returns nil if none does.
func (s *server) conn(db int, seed uint32, must bool) *backend {
	if s == nil {
		return nil
	}
	parallel := s.conns[db]
	n := uint32(len(parallel))
	for i := range n {
		if b := parallel[(seed+1+i)%n]; b.isConnected() {
			return b
		}
	}
	if !must {
		return nil
	}
	return parallel[0]
}
