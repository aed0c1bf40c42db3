// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// sessionTimeout is that of dashboards and front ends. Nothing they store depends on their session.
const sessionTimeout = time.Minute

// ZooKeeper is the ZooKeeper coordinator. Any trouble beyond a missing or an existing node makes it connect anew, at
// most once a second.
type ZooKeeper struct {
	servers []string
	auth    string

	mu     sync.Mutex
	conn   *zk.Conn
	since  time.Time
	closed bool
}

// NewZooKeeper returns a client for a comma list of addresses; auth is empty or user:password.
func NewZooKeeper(addrs, auth string) (*ZooKeeper, error) {
	z := &ZooKeeper{servers: strings.Split(addrs, ","), auth: auth}
	return z, z.connect()
}

func (z *ZooKeeper) connect() error {
	quiet := zk.WithLogger(silent{})
	conn, _, err := zk.Connect(z.servers, sessionTimeout, quiet)
	if err != nil {
		return err
	}
	if z.conn != nil {
		z.conn.Close()
	}
	z.conn, z.since = conn, time.Now()
	if z.auth == "" {
		return nil
	}
	return conn.AddAuth("digest", []byte(z.auth))
}

type silent struct{}

// Printf implements zk.Logger.
func (silent) Printf(string, ...any) {}

// do runs an operation, and connects anew for the next one if that was in trouble.
func (z *ZooKeeper) do(operation func(*zk.Conn) error) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed {
		return errors.New("use of closed zk client")
	}
	err := operation(z.conn)
	for _, harmless := range []error{nil, zk.ErrNoNode, zk.ErrNodeExists, zk.ErrNotEmpty} {
		if errors.Is(err, harmless) {
			return err
		}
	}
	if time.Since(z.since) > time.Second {
		err = errors.Join(err, z.connect())
	}
	return err
}

// leaves is who may do what with a value.
func leaves() []zk.ACL { return zk.WorldACL(zk.PermAdmin | zk.PermRead | zk.PermWrite) }

// create makes a node and whatever is missing above it.
func create(c *zk.Conn, key string, value []byte) error {
	for i := 1; i < len(key); i++ {
		if key[i] != '/' {
			continue
		}
		_, err := c.Create(key[:i], nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	_, err := c.Create(key, value, 0, leaves())
	return err
}

// Create implements Client.
func (z *ZooKeeper) Create(key string, value []byte) error {
	return z.do(func(c *zk.Conn) error { return create(c, key, value) })
}

// Update implements Client.
func (z *ZooKeeper) Update(key string, value []byte) error {
	return z.do(func(c *zk.Conn) error {
		_, err := c.Set(key, value, -1)
		if errors.Is(err, zk.ErrNoNode) {
			return create(c, key, value)
		}
		return err
	})
}

// Delete implements Client.
func (z *ZooKeeper) Delete(key string) error {
	return z.do(func(c *zk.Conn) error {
		if err := c.Delete(key, -1); !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		return nil
	})
}

// Read implements Client.
func (z *ZooKeeper) Read(key string) (value []byte, err error) {
	err = z.do(func(c *zk.Conn) error {
		var err error
		value, _, err = c.Get(key)
		if errors.Is(err, zk.ErrNoNode) {
			value, err = nil, nil
		}
		return err
	})
	return value, err
}

// List implements Client.
func (z *ZooKeeper) List(key string) (keys []string, err error) {
	err = z.do(func(c *zk.Conn) error {
		names, _, err := c.Children(key)
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		for _, name := range names {
			keys = append(keys, path.Join(key, name))
		}
		slices.Sort(keys)
		return err
	})
	return keys, err
}

// Close implements Client.
func (z *ZooKeeper) Close() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.closed {
		z.closed = true
		z.conn.Close()
	}
	return nil
}
