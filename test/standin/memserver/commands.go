// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package memserver

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/test/standin/proxy"
	"github.com/codis-io/codis-operator/test/standin/resp"
)

const migrateTimeout = 5 * time.Second

type command struct {
	words int
	write bool
	slots bool
	run   func(s *Server, c *client, args []string) resp.Reply
}

// table is filled at start: the wrapper calls back into it.
func table() map[string]command {
	return map[string]command{
		"PING":    {words: 1, run: func(*Server, *client, []string) resp.Reply { return resp.Simple("PONG") }},
		"INFO":    {words: 1, run: func(s *Server, _ *client, _ []string) resp.Reply { return s.infoText() }},
		"SELECT":  {words: 2, run: selectDB},
		"GET":     {words: 2, run: get},
		"MGET":    {words: 2, run: mget},
		"SET":     {words: 3, write: true, run: set},
		"MSET":    {words: 3, write: true, run: set},
		"DEL":     {words: 2, write: true, run: del},
		"EXISTS":  {words: 2, run: exists},
		"CONFIG":  {words: 2, run: config},
		"SLAVEOF": {words: 3, run: slaveOf},
		"CLIENT":  {words: 2, run: func(*Server, *client, []string) resp.Reply { return resp.Integer(0) }},

		"SLOTSINFO":              {words: 1, slots: true, run: slotsInfo},
		"SLOTSMGRTTAGONE":        {words: 5, slots: true, run: moveOne},
		"SLOTSMGRTTAGSLOT":       {words: 5, slots: true, run: moveSlot},
		"SLOTSMGRTTAGSLOT-ASYNC": {words: 8, slots: true, run: moveSlotAsync},
		"SLOTSMGRT-EXEC-WRAPPER": {words: 3, slots: true, run: wrapper},
	}
}

func (s *Server) run(c *client, args []string) resp.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runLocked(c, args)
}

func (s *Server) runLocked(c *client, args []string) resp.Reply {
	name := strings.ToUpper(args[0])
	cmd, known := table()[name]
	switch {
	case !known || cmd.slots && s.cfg.Vanilla:
		return resp.Errorf("ERR unknown command '%s', with args beginning with: ", args[0])
	case len(args) < cmd.words:
		return resp.Errorf("ERR wrong number of arguments for '%s' command", strings.ToLower(name))
	case cmd.write && s.master != "":
		return resp.Errorf("READONLY You can't write against a read only replica.")
	}
	return cmd.run(s, c, args)
}

func (s *Server) keys(c *client) map[string]string {
	if s.dbs[c.db] == nil {
		s.dbs[c.db] = map[string]string{}
	}
	return s.dbs[c.db]
}

func selectDB(_ *Server, c *client, args []string) resp.Reply {
	db, err := strconv.Atoi(args[1])
	if err != nil || db < 0 {
		return resp.Errorf("ERR invalid DB index")
	}
	c.db = db
	return resp.Simple("OK")
}

func value(out []byte, keys map[string]string, key string) []byte {
	if v, ok := keys[key]; ok {
		return resp.AppendBulk(out, []byte(v))
	}
	return append(out, "$-1\r\n"...)
}

func get(s *Server, c *client, args []string) resp.Reply { return value(nil, s.keys(c), args[1]) }

func mget(s *Server, c *client, args []string) resp.Reply {
	out := resp.AppendArray(nil, len(args)-1)
	for _, key := range args[1:] {
		out = value(out, s.keys(c), key)
	}
	return out
}

func set(s *Server, c *client, args []string) resp.Reply {
	for pair := range slices.Chunk(args[1:], 2) {
		if len(pair) == 2 {
			s.keys(c)[pair[0]] = pair[1]
		}
	}
	return resp.Simple("OK")
}

func del(s *Server, c *client, args []string) resp.Reply {
	n := 0
	for _, key := range args[1:] {
		if _, ok := s.keys(c)[key]; ok {
			delete(s.keys(c), key)
			n++
		}
	}
	return resp.Integer(n)
}

func exists(s *Server, c *client, args []string) resp.Reply {
	n := 0
	for _, key := range args[1:] {
		if _, ok := s.keys(c)[key]; ok {
			n++
		}
	}
	return resp.Integer(n)
}

func config(s *Server, _ *client, args []string) resp.Reply {
	switch strings.ToUpper(args[1]) {
	case "GET":
		out := resp.AppendArray(nil, 2)
		out = resp.AppendBulk(out, []byte(args[2]))
		return resp.AppendBulk(out, []byte("0"))
	case "REWRITE":
		if s.cfg.ReadOnlyConfig {
			return resp.Errorf("ERR Rewriting config file: Read-only file system")
		}
	}
	return resp.Simple("OK")
}

func slaveOf(s *Server, _ *client, args []string) resp.Reply {
	s.master = ""
	if !strings.EqualFold(args[1], "NO") {
		s.master = net.JoinHostPort(args[1], args[2])
	}
	return resp.Simple("OK")
}

func (s *Server) inSlot(c *client, slot int) []string {
	var keys []string
	for key := range s.keys(c) {
		if proxy.SlotOf([]byte(key)) == slot {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func slotsInfo(s *Server, c *client, _ []string) resp.Reply {
	sizes := map[int]int{}
	for key := range s.keys(c) {
		sizes[proxy.SlotOf([]byte(key))]++
	}
	out := resp.AppendArray(nil, len(sizes))
	for slot, n := range sizes {
		out = resp.AppendArray(out, 2)
		out = append(append(out, resp.Integer(slot)...), resp.Integer(n)...)
	}
	return out
}

// move copies keys to another server before it deletes them here.
func (s *Server) move(c *client, host, port string, keys []string) error {
	target, err := resp.Dial(context.Background(), s.cfg.Dial, net.JoinHostPort(host, port), s.cfg.Auth, migrateTimeout)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := target.Select(c.db); err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := target.Do("SET", key, s.keys(c)[key]); err != nil {
			return err
		}
		delete(s.keys(c), key)
	}
	return nil
}

func (s *Server) moveSome(c *client, args []string, slotArg, limit string) resp.Reply {
	slot, err := strconv.Atoi(slotArg)
	if err != nil {
		return resp.Errorf("ERR invalid slot")
	}
	n, err := strconv.Atoi(limit)
	if err != nil {
		return resp.Errorf("ERR invalid number")
	}
	keys := s.inSlot(c, slot)
	some := keys[:min(n, len(keys))]
	if err := s.move(c, args[1], args[2], some); err != nil {
		return resp.Errorf("IOERR %v", err)
	}
	out := resp.AppendArray(nil, 2)
	return append(append(out, resp.Integer(len(some))...), resp.Integer(len(keys)-len(some))...)
}

func moveSlot(s *Server, c *client, args []string) resp.Reply {
	return s.moveSome(c, args, args[4], "1")
}

func moveSlotAsync(s *Server, c *client, args []string) resp.Reply {
	return s.moveSome(c, args, args[6], args[7])
}

func moveOne(s *Server, c *client, args []string) resp.Reply {
	if _, ok := s.keys(c)[args[4]]; !ok {
		return resp.Integer(0)
	}
	if err := s.move(c, args[1], args[2], args[4:5]); err != nil {
		return resp.Errorf("IOERR %v", err)
	}
	return resp.Integer(1)
}

func wrapper(s *Server, c *client, args []string) resp.Reply {
	out := resp.AppendArray(nil, 2)
	if _, ok := s.keys(c)[args[1]]; !ok {
		out = append(out, resp.Integer(0)...)
		return append(out, resp.Errorf("ERR the specified key doesn't exist")...)
	}
	out = append(out, resp.Integer(2)...)
	return append(out, s.runLocked(c, args[2:])...)
}
