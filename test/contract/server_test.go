// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"path/filepath"
	"strings"
)

// server is one codis-server, or the vanilla Redis if vanilla is set.
type server struct {
	w       *world
	n       int
	addr    string
	dir     string
	vanilla bool
	conf    []string
	proc    *process
}

// server starts codis-server number n with these lines added to its configuration file.
func (w *world) server(n int, conf ...string) *server {
	w.t.Helper()
	s := w.newServer(n, conf...)
	s.writeConfig()
	s.start()
	return s
}

func (w *world) newServer(n int, conf ...string) *server {
	return &server{
		w: w, n: n, addr: w.at(portServer + n), conf: conf,
		dir: filepath.Join(w.dir, fmt.Sprintf("server-%d", n)),
	}
}

func (s *server) configPath() string { return filepath.Join(s.dir, "redis.conf") }

// writeConfig writes the file that CONFIG REWRITE will overwrite.
func (s *server) writeConfig() {
	s.w.t.Helper()
	lines := []string{
		"bind " + s.w.ip,
		fmt.Sprintf("port %d", portServer+s.n),
		"dir " + s.dir,
		"daemonize no",
		"protected-mode no",
		`save ""`,
		"repl-diskless-sync no",
	}
	if s.w.productAuth != "" {
		lines = append(lines, "requirepass "+s.w.productAuth, "masterauth "+s.w.productAuth)
	}
	lines = append(lines, s.conf...)
	writeFile(s.w.t, s.configPath(), strings.Join(lines, "\n")+"\n")
}

// start starts the process with its configuration file as it is now.
func (s *server) start(args ...string) {
	s.w.t.Helper()
	s.launch(append([]string{s.configPath()}, args...)...)
}

// launch starts the process with nothing but these arguments and waits until it answers.
func (s *server) launch(args ...string) {
	s.w.t.Helper()
	path := binary("codis-server")
	if s.vanilla {
		path = release.vanilla
	}
	s.proc = startProcess(s.w.t, s.w.dir, fmt.Sprintf("server-%d", s.n), path, args...)
	eventually(s.w.t, patience, "the server answers", func() bool {
		got := s.text("PING")
		return s.proc.exited() || got == "PONG" || strings.HasPrefix(got, "NOAUTH")
	})
	if s.proc.exited() {
		s.w.t.Fatalf("server %d left with code %d", s.n, s.proc.exitCode(patience))
	}
}

func (s *server) do(args ...any) (any, error) {
	c, err := tryDial(s.addr)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	if s.w.productAuth != "" {
		if _, err := c.do("AUTH", s.w.productAuth); err != nil {
			return nil, err
		}
	}
	return c.do(args...)
}

// text is the reply, or the error, as a string.
func (s *server) text(args ...any) string {
	v, err := s.do(args...)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}

func (s *server) must(args ...any) string {
	s.w.t.Helper()
	v, err := s.do(args...)
	if err != nil {
		s.w.t.Fatalf("%v on %s: %v", args, s.addr, err)
	}
	return fmt.Sprint(v)
}

// info is the replication section of INFO.
func (s *server) info() map[string]string {
	fields := map[string]string{}
	text, err := s.do("INFO", "replication")
	if err != nil {
		return fields
	}
	for line := range strings.Lines(fmt.Sprint(text)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields
}

func (s *server) role() string { return s.info()["role"] }

func (s *server) replicaOf(master *server) bool {
	i := s.info()
	return i["role"] == "slave" && i["master_host"]+":"+i["master_port"] == master.addr
}

func (s *server) inSyncWith(master *server) bool {
	return s.replicaOf(master) && s.info()["master_link_status"] == "up"
}

// follow makes the server a replica of master and waits until it is in sync.
func (s *server) follow(master *server) {
	s.w.t.Helper()
	s.must("SLAVEOF", s.w.ip, portServer+master.n)
	eventually(s.w.t, patience, "the replica is in sync", func() bool { return s.inSyncWith(master) })
}

// vanillaServer starts a Redis that has never heard of slots.
func (w *world) vanillaServer(n int) *server {
	w.t.Helper()
	s := w.newServer(n)
	s.vanilla = true
	s.writeConfig()
	s.start()
	return s
}
