// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"sync"
)

// connections are what has to be closed in the end.
type connections struct {
	mu     sync.Mutex
	open   map[io.Closer]bool
	closed bool
	// users counts what was added and not removed.
	users sync.WaitGroup
}

func (c *connections) add(x io.Closer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = x.Close()
		return false
	}
	c.open[x] = true
	c.users.Add(1)
	return true
}

func (c *connections) remove(x io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, x)
	_ = x.Close()
	c.users.Done()
}

func (c *connections) closeListeners() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for x := range c.open {
		if _, ok := x.(net.Listener); ok {
			_ = x.Close()
		}
	}
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for x := range c.open {
		_ = x.Close()
	}
}
