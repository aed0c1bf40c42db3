// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// server speaks just enough of the protocol of Redis to be probed.
type server struct {
	addr string

	mu       sync.Mutex
	listener net.Listener
	running  sync.WaitGroup
	open     map[net.Conn]bool
	accepted int
	// info is the answer to INFO.
	info string
	// reply, if not empty, is sent instead, as it is; then nothing more is said.
	reply string
	// stalled servers take questions and say nothing, dropping ones hang up.
	stalled, dropping bool
	password          string
	// asked are the questions that were received.
	asked []string
	// onAsk, if there is one, is called before a question is answered.
	onAsk func(nth int)
}

const masterInfo = "role:master\r\nrun_id:one\r\nmaster_repl_offset:1\r\n"

func newServer(tb testing.TB, info string) *server {
	tb.Helper()
	s := &server{addr: "127.0.0.1:0", info: info, open: map[net.Conn]bool{}}
	s.listen(tb)
	tb.Cleanup(s.kill)
	return s
}

// listen starts the process, on the port that it had before.
func (s *server) listen(tb testing.TB) {
	tb.Helper()
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		tb.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.addr = listener, listener.Addr().String()
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.accepted++
			s.open[conn] = true
			s.mu.Unlock()
			s.running.Go(func() { s.serve(conn) })
		}
	})
}

// kill ends the process: the listener first, as the kernel does.
func (s *server) kill() {
	s.mu.Lock()
	s.listener.Close()
	s.mu.Unlock()
	s.dropAll()
	s.running.Wait()
	s.dropAll() // One may have been accepted meanwhile.
}

// dropAll closes all connections, and goes on listening.
func (s *server) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		conn.Close()
	}
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// counts returns how many connections were accepted and are open, and how many
// questions were asked.
func (s *server) counts() (accepted, open, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted, len(s.open), len(s.asked)
}

func (s *server) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		s.set(func() { delete(s.open, conn) })
	}()
	reader, authorized := bufio.NewReader(conn), false
	for {
		words, err := readCommand(reader)
		if err != nil {
			return
		}
		reply, ok := s.answer(words, &authorized)
		if !ok {
			return
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

func (s *server) answer(words []string, authorized *bool) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch command := strings.ToLower(words[0]); {
	case command == "auth":
		if words[1] != s.password {
			return "-ERR invalid password\r\n", true
		}
		*authorized = true
		return "+OK\r\n", true
	case command != "info":
		return "-ERR unknown command\r\n", true
	}
	s.asked = append(s.asked, strings.ToLower(strings.Join(words, " ")))
	if s.onAsk != nil {
		s.onAsk(len(s.asked))
	}
	switch {
	case s.dropping:
		return "", false
	case s.password != "" && !*authorized:
		return "-NOAUTH Authentication required.\r\n", true
	case s.stalled:
		return "", true
	case s.reply != "":
		return s.reply, true
	default:
		return fmt.Sprintf("$%d\r\n%s\r\n", len(s.info), s.info), true
	}
}

// readCommand reads an array of bulk strings.
func readCommand(r *bufio.Reader) ([]string, error) {
	number := func() (int, error) {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	count, err := number()
	if err != nil {
		return nil, err
	}
	var words []string
	for range count {
		size, err := number()
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	return slices.Clip(words), nil
}
