// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package sentinel is what dashboards and proxies do with redis-sentinels: register the groups of a product, and
// follow where sentinels say that masters are. It is wrong where the original is wrong: everything registered is
// removed before anything is known to be registrable again, one sentinel that hangs fails the whole and takes all the
// time there is, a subscription that a restarted sentinel dropped is not renewed while a majority is left, and what
// sentinels say is believed, whatever it is. What to do with a master that moved is up to the caller.
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// grace is what a reply gets beyond the limit of the whole, so that the limit decides.
const grace = 5 * time.Second

// Product is one product on sentinels that it may share with others.
type Product struct {
	// Name is the product's name; the monitor of group 1 is NAME-1.
	Name string
	// Auth is the password of the product's servers; sentinels themselves are asked without one.
	Auth string
	// Dial opens connections; nil means the network.
	Dial rpc.DialFunc
	// Resolve looks up the addresses of masters; nil means the network's resolver.
	Resolve rpc.ResolveFunc
	// Log receives log lines.
	Log *log.Logger
}

// New returns a product; whatever may be nil may be nil.
func New(p Product) *Product {
	if p.Resolve == nil {
		p.Resolve = net.ResolveTCPAddr
	}
	if p.Log == nil {
		p.Log = log.New(io.Discard, "", 0)
	}
	return &p
}

// monitor is the name of a group on sentinels.
func (p *Product) monitor(gid int) string { return fmt.Sprintf("%s-%d", p.Name, gid) }

// group is the inverse: which group of the product a name stands for. Every integer counts as one, with its sign and
// leading zeros, although they are lost on the way back.
func (p *Product) group(monitor string) (gid int, ok bool) {
	number, ok := strings.CutPrefix(monitor, p.Name+"-")
	if !ok {
		return 0, false
	}
	gid, err := strconv.Atoi(number)
	return gid, err == nil
}

// ByGroup is a set of masters as stats show it; that of nil is empty.
func ByGroup(masters map[int]string) map[string]string {
	out := make(map[string]string, len(masters))
	for gid, addr := range masters {
		out[strconv.Itoa(gid)] = addr
	}
	return out
}

// with runs do on a connection to one sentinel. Replies have timeout to arrive; if ctx ends first, its error is the
// answer.
func (p *Product) with(ctx context.Context, addr string, timeout time.Duration, do func(c *resp.Client) error) error {
	c, err := resp.Dial(ctx, p.Dial, addr, "", timeout)
	if err == nil {
		err = do(c)
		c.Close()
	}
	if err != nil && ctx.Err() != nil {
		return rpc.Trace(ctx.Err())
	}
	return err
}

// all runs do on all sentinels at once, within timeout. Of several failures it returns the last.
func (p *Product) all(
	ctx context.Context, what string, servers []string, timeout time.Duration, do func(c *resp.Client) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make(chan error, len(servers))
	for _, addr := range servers {
		go func() {
			err := p.with(ctx, addr, timeout+grace, do)
			if err != nil {
				p.Log.Printf("sentinel-[%s] %s failed: %v", addr, what, err)
			}
			results <- err
		}()
	}
	var last error
	for range servers {
		select {
		case err := <-results:
			if err != nil {
				last = err
			}
		case <-ctx.Done():
			if last == nil {
				last = rpc.Trace(ctx.Err())
			}
			return last
		}
	}
	return last
}

// send sends commands in one go. All of them are carried out, and the first failure is the answer.
func send(c *resp.Client, commands [][]string) ([]resp.Reply, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	replies, err := c.Pipeline(commands...)
	if err != nil {
		return nil, err
	}
	for _, r := range replies {
		if r.Kind() == resp.Error {
			return nil, rpc.Trace(errors.New(r.Text()))
		}
	}
	return replies, nil
}

// FlushConfig makes sure that a sentinel is one and answers.
func (p *Product) FlushConfig(ctx context.Context, addr string, timeout time.Duration) error {
	return p.with(ctx, addr, timeout, func(c *resp.Client) error {
		_, err := c.Do("SENTINEL", "flushconfig")
		return err
	})
}
