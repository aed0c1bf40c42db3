// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package memserver is a codis-server in memory, for tests in one process: strings, slots, migration, and the
// commands a dashboard sends. It can hang and die on request. It does not replicate: a replica only says that it is
// one, and what it says of its link is up to the test.
package memserver

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/codis-io/codis-operator/test/standin/memproc"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// Config is what a server is made of.
type Config struct {
	// Auth is the password; empty means none.
	Auth string
	// Vanilla makes it a plain Redis, which knows no slots.
	Vanilla bool
	// ReadOnlyConfig makes CONFIG REWRITE fail.
	ReadOnlyConfig bool
	// Dial opens connections to the target of a migration.
	Dial rpc.DialFunc
}

// Server is one server.
type Server struct {
	memproc.Process

	cfg Config

	mu     sync.Mutex
	dbs    map[int]map[string]string
	master string
	info   map[string]string
	calls  []string
}

// New returns an empty master.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, dbs: map[int]map[string]string{}, info: map[string]string{}}
}

// Serve serves clients until the server is killed.
func (s *Server) Serve(l net.Listener) error { return s.Accept(l, s.serve) }

// SetInfo sets a field of INFO, say master_link_status.
func (s *Server) SetInfo(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info[key] = value
}

// Master returns host:port of the master, or "".
func (s *Server) Master() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.master
}

// Get returns a value of database 0, or "".
func (s *Server) Get(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dbs[0][key]
}

// Len returns the number of keys in database 0.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dbs[0])
}

func (s *Server) note(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, strings.ToUpper(name))
}

// Calls lists the names of all commands received so far, also of those that a hung server has not run.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// client is the state of one connection.
type client struct {
	authorized bool
	db         int
	queued     [][]string
	multi      bool
}

func (s *Server) serve(conn net.Conn) {
	c := &client{authorized: s.cfg.Auth == ""}
	memproc.Commands(conn, func(args []string) bool {
		s.note(args[0])
		if !s.Answers() {
			return false
		}
		_, err := conn.Write(s.answer(c, args))
		return err == nil
	})
}

func (s *Server) answer(c *client, args []string) resp.Reply {
	name := strings.ToUpper(args[0])
	switch {
	case name == "AUTH":
		return s.auth(c, args)
	case !c.authorized:
		return resp.Errorf("NOAUTH Authentication required.")
	case name == "MULTI":
		c.multi, c.queued = true, nil
		return resp.Simple("OK")
	case name == "EXEC":
		c.multi = false
		out := resp.AppendArray(nil, len(c.queued))
		for _, q := range c.queued {
			out = append(out, s.run(c, q)...)
		}
		return out
	case c.multi:
		c.queued = append(c.queued, args)
		return resp.Simple("QUEUED")
	}
	return s.run(c, args)
}

func (s *Server) auth(c *client, args []string) resp.Reply {
	switch {
	case s.cfg.Auth == "":
		return resp.Errorf("ERR Client sent AUTH, but no password is set")
	case len(args) != 2 || args[1] != s.cfg.Auth:
		return resp.Errorf("ERR invalid password")
	}
	c.authorized = true
	return resp.Simple("OK")
}

func (s *Server) infoText() resp.Reply {
	info := map[string]string{"run_id": fmt.Sprintf("%p", s), "loading": "0", "role": "master"}
	if s.master != "" {
		host, port, err := net.SplitHostPort(s.master)
		if err != nil {
			return resp.Errorf("ERR %v", err)
		}
		info["role"], info["master_host"], info["master_port"] = "slave", host, port
		info["master_link_status"] = "up"
	}
	maps.Copy(info, s.info)
	for db, keys := range s.dbs {
		if len(keys) != 0 {
			info[fmt.Sprintf("db%d", db)] = fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", len(keys))
		}
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(info)) {
		fmt.Fprintf(&b, "%s:%s\r\n", key, info[key])
	}
	return resp.AppendBulk(nil, []byte(b.String()))
}
