// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
)

const wrongArity = "ERR wrong number of arguments for '%s' command"

// handle answers a request or sends it on its way. An error becomes an error reply.
func (s *session) handle(r *request) error {
	op, flag, err := classify(r.words)
	if err != nil {
		return err
	}
	r.op, r.flag = op, flag
	if flag&opBanned != 0 {
		return fmt.Errorf("command '%s' is not allowed", op)
	}
	switch op {
	case "QUIT":
		s.quit = true
		r.reply = resp.Simple("OK")
		return nil
	case "AUTH":
		r.reply = s.auth(r)
		return nil
	}
	if !s.authorized && s.proxy.cfg.SessionAuth != "" {
		r.reply = resp.Errorf("NOAUTH Authentication required")
		return nil
	}
	return s.handleAuthorized(r)
}

func (s *session) handleAuthorized(r *request) error {
	switch r.op {
	case "SELECT":
		r.reply = s.selectDB(r)
		return nil
	case "PING", "INFO":
		return s.toAnyOrAddr(r)
	case "MGET":
		return s.mget(r)
	case "MSET":
		return s.mset(r)
	case "DEL", "EXISTS":
		return s.count(r)
	case "SLOTSINFO":
		if len(r.words) != 2 {
			r.reply = resp.Errorf(wrongArity, r.op)
			return nil
		}
		return s.toAnyOrAddr(r)
	case "SLOTSSCAN":
		return s.slotsScan(r)
	case "SLOTSMAPPING":
		r.reply = s.slotsMapping(r)
		return nil
	}
	return s.proxy.router.dispatch(r)
}

func (s *session) auth(r *request) resp.Reply {
	want := s.proxy.cfg.SessionAuth
	switch {
	case len(r.words) != 2:
		return resp.Errorf(wrongArity, r.op)
	case want == "":
		return resp.Errorf("ERR Client sent AUTH, but no password is set")
	case want != string(r.words[1]):
		s.authorized = false
		return resp.Errorf("ERR invalid password")
	}
	s.authorized = true
	return resp.Simple("OK")
}

func (s *session) selectDB(r *request) resp.Reply {
	if len(r.words) != 2 {
		return resp.Errorf(wrongArity, r.op)
	}
	limit := s.proxy.cfg.BackendNumberDatabases
	db, err := strconv.Atoi(string(r.words[1]))
	switch {
	case err != nil:
		return resp.Errorf("ERR invalid DB index")
	case db < 0 || db >= limit:
		return resp.Errorf("ERR invalid DB index, only accept DB [0,%d)", limit)
	}
	s.db = db
	return resp.Simple("OK")
}

// toAnyOrAddr sends a command without words to the server of any slot; a word is the address of a server.
func (s *session) toAnyOrAddr(r *request) error {
	if len(r.words) == 1 {
		return s.proxy.router.dispatchSlot(r, rand.IntN(models.MaxSlotNum))
	}
	addr := string(r.words[1])
	r.words = append(r.words[:1:1], r.words[2:]...)
	if !s.proxy.router.dispatchAddr(r, addr) {
		r.reply = resp.Errorf("ERR backend server '%s' not found", addr)
	}
	return nil
}

// spread sends each part to the slot of its own key. What was sent before an error is not taken back.
func (s *session) spread(r *request, n int, words func(i int) [][]byte) ([]request, error) {
	parts := r.split(n, words)
	for i := range parts {
		if err := s.proxy.router.dispatch(&parts[i]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func collect(parts []request, each func(p resp.Reply) error) error {
	for i := range parts {
		switch p := &parts[i]; {
		case p.err != nil:
			return p.err
		case p.reply == nil:
			return errRespRequired
		default:
			if err := each(p.reply); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) mget(r *request) error {
	keys := r.words[1:]
	switch len(keys) {
	case 0:
		r.reply = resp.Errorf(wrongArity, r.op)
		return nil
	case 1:
		return s.proxy.router.dispatch(r)
	}
	parts, err := s.spread(r, len(keys), func(i int) [][]byte { return [][]byte{r.words[0], keys[i]} })
	if err != nil {
		return err
	}
	r.merge = func() (resp.Reply, error) {
		out := resp.AppendArray(nil, len(parts))
		err := collect(parts, func(p resp.Reply) error {
			if p.Kind() != resp.Array || string(p.Line()) != "1" {
				return fmt.Errorf("bad mget resp: %q", p.Line())
			}
			out = append(out, p[len("*1\r\n"):]...)
			return nil
		})
		return out, err
	}
	return nil
}

func (s *session) mset(r *request) error {
	pairs := r.words[1:]
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		r.reply = resp.Errorf(wrongArity, r.op)
		return nil
	case len(pairs) == 2:
		return s.proxy.router.dispatch(r)
	}
	parts, err := s.spread(r, len(pairs)/2, func(i int) [][]byte {
		return [][]byte{r.words[0], pairs[2*i], pairs[2*i+1]}
	})
	if err != nil {
		return err
	}
	r.merge = func() (last resp.Reply, err error) {
		err = collect(parts, func(p resp.Reply) error {
			if p.Kind() != resp.String {
				return fmt.Errorf("bad mset resp: %q", p.Line())
			}
			last = p
			return nil
		})
		return last, err
	}
	return nil
}

// count splits a command whose reply is a number of keys.
func (s *session) count(r *request) error {
	keys := r.words[1:]
	switch len(keys) {
	case 0:
		r.reply = resp.Errorf(wrongArity, r.op)
		return nil
	case 1:
		return s.proxy.router.dispatch(r)
	}
	parts, err := s.spread(r, len(keys), func(i int) [][]byte { return [][]byte{r.words[0], keys[i]} })
	if err != nil {
		return err
	}
	r.merge = func() (resp.Reply, error) {
		total := 0
		err := collect(parts, func(p resp.Reply) error {
			n, err := strconv.Atoi(string(p.Line()))
			if p.Kind() != resp.Int || err != nil {
				return fmt.Errorf("bad %s resp: %q", r.op, p.Line())
			}
			total += n
			return nil
		})
		return resp.Integer(total), err
	}
	return nil
}

func slotNumber(word []byte) (int, resp.Reply) {
	id, err := strconv.ParseInt(string(word), 10, 64)
	switch {
	case err != nil:
		return 0, resp.Errorf("ERR parse slotnum '%s' failed, %s", word, err)
	case id < 0 || id >= models.MaxSlotNum:
		return 0, resp.Errorf("ERR parse slotnum '%s' failed, out of range", word)
	}
	return int(id), nil
}

func (s *session) slotsScan(r *request) error {
	if len(r.words) <= 2 {
		r.reply = resp.Errorf(wrongArity, r.op)
		return nil
	}
	id, bad := slotNumber(r.words[1])
	if bad != nil {
		r.reply = bad
		return nil
	}
	return s.proxy.router.dispatchSlot(r, id)
}

func (s *session) slotsMapping(r *request) resp.Reply {
	if len(r.words) > 2 {
		return resp.Errorf(wrongArity, r.op)
	}
	slots := s.proxy.router.snapshot()
	if len(r.words) == 2 {
		id, bad := slotNumber(r.words[1])
		if bad != nil {
			return bad
		}
		return appendMapping(nil, slots[id])
	}
	out := resp.AppendArray(nil, len(slots))
	for _, m := range slots {
		out = appendMapping(out, m)
	}
	return out
}

func appendMapping(out []byte, m *models.Slot) []byte {
	out = resp.AppendArray(out, 4)
	for _, text := range []string{strconv.Itoa(m.ID), m.BackendAddr, m.MigrateFrom} {
		out = append(out, resp.Simple(text)...)
	}
	if len(m.ReplicaGroups) == 0 {
		// No replicas are a null array, not an empty one.
		return resp.AppendArray(out, -1)
	}
	out = resp.AppendArray(out, len(m.ReplicaGroups))
	for _, group := range m.ReplicaGroups {
		out = resp.AppendArray(out, len(group))
		for _, addr := range group {
			out = append(out, resp.Simple(addr)...)
		}
	}
	return out
}
