// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package memsentinel is a redis-sentinel in memory, for tests in one process: it keeps what it is told to monitor,
// and tells of a switch when the test says so. It looks at no server, and talks to no other sentinel.
package memsentinel

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/codis-io/codis-operator/test/standin/memproc"
	"github.com/codis-io/codis-operator/test/standin/resp"
)

// Sentinel is one sentinel. The zero value monitors nothing and is ready.
type Sentinel struct {
	memproc.Process

	mu       sync.Mutex
	monitors map[string]map[string]string
	// listeners are the connections that subscribed.
	listeners map[net.Conn]bool
}

// Serve serves clients until the sentinel is killed. What it monitored is still there to be looked at then.
func (s *Sentinel) Serve(l net.Listener) error { return s.Accept(l, s.serve) }

// Names lists what is monitored, sorted.
func (s *Sentinel) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.monitors))
}

// Monitor returns the fields of one monitor, as SENTINEL MASTERS does, and "auth-pass". It is nil if there is none.
func (s *Sentinel) Monitor(name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.monitors[name])
}

// Forget is what a restart without the file does, but for the connections.
func (s *Sentinel) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.monitors = nil
}

// Switch moves the master of a monitor to host:port and tells all who subscribed. The config-epoch grows by one.
func (s *Sentinel) Switch(name, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.monitors[name]
	if m == nil {
		return fmt.Errorf("no monitor %s", name)
	}
	epoch, err := strconv.Atoi(m["config-epoch"])
	if err != nil {
		return err
	}
	message := resp.AppendArray(nil, 3)
	text := fmt.Sprintf("%s %s %s %s %s", name, m["ip"], m["port"], host, port)
	for _, word := range []string{"message", "+switch-master", text} {
		message = resp.AppendBulk(message, []byte(word))
	}
	m["ip"], m["port"], m["config-epoch"] = host, port, strconv.Itoa(epoch+1)
	for conn := range s.listeners {
		_, _ = conn.Write(message)
	}
	return nil
}

func (s *Sentinel) serve(conn net.Conn) {
	defer s.unsubscribe(conn)
	memproc.Commands(conn, func(args []string) bool {
		if !s.Answers() {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_, err := conn.Write(s.run(conn, args))
		return err == nil
	})
}

func (s *Sentinel) unsubscribe(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, conn)
}

// run carries one command out with the mutex held.
func (s *Sentinel) run(conn net.Conn, args []string) resp.Reply {
	switch strings.ToUpper(args[0]) {
	case "PING":
		return resp.Simple("PONG")
	case "INFO":
		text := fmt.Sprintf("redis_mode:sentinel\r\nsentinel_masters:%d\r\n", len(s.monitors))
		return resp.AppendBulk(nil, []byte(text))
	case "SUBSCRIBE":
		if s.listeners == nil {
			s.listeners = map[net.Conn]bool{}
		}
		s.listeners[conn] = true
		out := resp.AppendArray(nil, 3)
		out = resp.AppendBulk(resp.AppendBulk(out, []byte("subscribe")), []byte(args[1]))
		return append(out, resp.Integer(1)...)
	case "SENTINEL":
		if len(args) > 1 {
			return s.sentinel(strings.ToLower(args[1]), args[2:])
		}
	}
	return resp.Errorf("ERR unknown command '%s'", args[0])
}
