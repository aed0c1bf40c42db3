// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// ErrClosedPool is the answer of a closed pool.
var ErrClosedPool = errors.New("use of closed redis pool")

// Pool keeps idle connections by address.
type Pool struct {
	ctx     context.Context
	dial    rpc.DialFunc
	auth    string
	timeout time.Duration

	mu     sync.Mutex
	idle   map[string][]idleClient
	closed bool
}

type idleClient struct {
	*Client
	since time.Time
}

// NewPool returns a pool whose connections end with ctx.
func NewPool(ctx context.Context, dial rpc.DialFunc, auth string, timeout time.Duration) *Pool {
	return &Pool{ctx: ctx, dial: dial, auth: auth, timeout: timeout, idle: map[string][]idleClient{}}
}

// Get returns an idle or a new connection.
func (p *Pool) Get(addr string) (*Client, error) {
	c, err := p.takeIdle(addr)
	if c != nil || err != nil {
		return c, err
	}
	return Dial(p.ctx, p.dial, addr, p.auth, p.timeout)
}

func (p *Pool) takeIdle(addr string) (*Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosedPool
	}
	for list := p.idle[addr]; len(list) > 0; list = p.idle[addr] {
		last := list[len(list)-1]
		p.idle[addr] = list[:len(list)-1]
		if time.Since(last.since) < p.timeout {
			return last.Client, nil
		}
		last.Close()
	}
	return nil, nil
}

// Put gives a connection back.
func (p *Pool) Put(addr string, c *Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Broken() {
		return
	}
	if p.closed {
		c.Close()
		return
	}
	p.idle[addr] = append(p.idle[addr], idleClient{Client: c, since: time.Now()})
}

// Close closes the idle connections; those in use are closed when they come back.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for addr, list := range p.idle {
		for _, c := range list {
			c.Close()
		}
		delete(p.idle, addr)
	}
}
