// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package memsentinel is a redis-sentinel in memory, for tests in one process: it keeps what it is told to monitor,
// and tells of a switch when the test says so. It looks at no server, and talks to no other sentinel.
package memsentinel

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

// Sentinel is one sentinel. The zero value monitors nothing and is ready.
type Sentinel struct {
	mu       sync.Mutex
	monitors map[string]map[string]string
	open     map[interface{ Close() error }]bool
	// listeners are the connections that subscribed.
	listeners map[net.Conn]bool
	dead      bool
	hung      *sync.Cond
	hangs     bool
	running   sync.WaitGroup
}

// Serve serves clients until the sentinel is killed.
func (s *Sentinel) Serve(l net.Listener) error {
	if !s.keep(l) {
		return net.ErrClosed
	}
	defer s.drop(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if !s.keep(conn) {
			return net.ErrClosed
		}
		go func() {
			defer s.drop(conn)
			s.serve(conn)
		}()
	}
}

func (s *Sentinel) keep(c interface{ Close() error }) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		_ = c.Close()
		return false
	}
	if s.open == nil {
		s.open, s.listeners = map[interface{ Close() error }]bool{}, map[net.Conn]bool{}
	}
	s.open[c] = true
	s.running.Add(1)
	return true
}

func (s *Sentinel) drop(c interface{ Close() error }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = c.Close()
	delete(s.open, c)
	if conn, ok := c.(net.Conn); ok {
		delete(s.listeners, conn)
	}
	s.running.Done()
}

// Kill ends the sentinel and its connections, hung ones included. What it monitored is still there to be looked at.
func (s *Sentinel) Kill() {
	s.mu.Lock()
	s.dead, s.hangs = true, false
	for c := range s.open {
		_ = c.Close()
	}
	s.cond().Broadcast()
	s.mu.Unlock()
	s.running.Wait()
}

// Hang stops answering, or answers what has piled up.
func (s *Sentinel) Hang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs = on
	s.cond().Broadcast()
}

func (s *Sentinel) cond() *sync.Cond {
	if s.hung == nil {
		s.hung = sync.NewCond(&s.mu)
	}
	return s.hung
}

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
	r := bufio.NewReader(conn)
	for {
		words, err := resp.ReadCommand(r)
		if err != nil {
			return
		}
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = string(w)
		}
		if len(args) == 0 {
			continue
		}
		if !s.answer(conn, args) {
			return
		}
	}
}

func (s *Sentinel) answer(conn net.Conn, args []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.hangs {
		s.cond().Wait()
	}
	if s.dead {
		return false
	}
	_, err := conn.Write(s.run(conn, args))
	return err == nil
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
