// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package sentinel

import (
	"context"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

const runIDLimit = 100 * time.Millisecond

// Servers tells addresses of the same server from addresses of different ones. It asks each address once, quickly,
// and remembers that it got no answer.
type Servers struct {
	product *Product
	ctx     context.Context
	known   map[string]string
}

// Servers returns an empty memory, which ends with ctx.
func (p *Product) Servers(ctx context.Context) *Servers {
	return &Servers{product: p, ctx: ctx, known: map[string]string{}}
}

// RunID returns the id of the server that listens on an address, or "" if it does not say.
func (s *Servers) RunID(addr string) string {
	id, ok := s.known[addr]
	if !ok {
		id = s.ask(addr)
		s.known[addr] = id
	}
	return id
}

func (s *Servers) ask(addr string) string {
	c, err := resp.Dial(s.ctx, s.product.Dial, addr, s.product.Auth, runIDLimit)
	if err != nil {
		return ""
	}
	defer c.Close()
	info, err := c.Info()
	if err != nil {
		return ""
	}
	return info["run_id"]
}

// Same says whether two addresses are known to lead to the same server. Servers that do not answer are different.
func (s *Servers) Same(a, b string) bool {
	if a == b {
		return true
	}
	id := s.RunID(a)
	return id != "" && id == s.RunID(b)
}
