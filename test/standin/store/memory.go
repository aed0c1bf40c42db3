// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// Memory is a coordinator for tests in one process. The zero value is empty and ready. It outlives its clients, as a
// coordinator outlives dashboards.
type Memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

// Open returns a client, which one dashboard, proxy or front end may own.
func (m *Memory) Open() Client { return &memoryClient{memory: m} }

type memoryClient struct {
	memory *Memory
	closed bool
}

// locked runs do with the values, unless the client is closed.
func (c *memoryClient) locked(do func(values map[string][]byte) error) error {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.memory.values == nil {
		c.memory.values = map[string][]byte{}
	}
	return do(c.memory.values)
}

// Create implements Client.
func (c *memoryClient) Create(key string, value []byte) error {
	return c.locked(func(values map[string][]byte) error {
		if values[key] != nil {
			return errors.New("file already exists")
		}
		values[key] = bytes.Clone(value)
		return nil
	})
}

// Update implements Client.
func (c *memoryClient) Update(key string, value []byte) error {
	return c.locked(func(values map[string][]byte) error {
		values[key] = bytes.Clone(value)
		return nil
	})
}

// Delete implements Client.
func (c *memoryClient) Delete(key string) error {
	return c.locked(func(values map[string][]byte) error {
		maps.DeleteFunc(values, func(k string, _ []byte) bool { return k == key || strings.HasPrefix(k, key+"/") })
		return nil
	})
}

// Read implements Client.
func (c *memoryClient) Read(key string) (value []byte, err error) {
	err = c.locked(func(values map[string][]byte) error {
		value = bytes.Clone(values[key])
		return nil
	})
	return value, err
}

// List implements Client.
func (c *memoryClient) List(key string) (keys []string, err error) {
	err = c.locked(func(values map[string][]byte) error {
		for k := range values {
			if rest, ok := strings.CutPrefix(k, key+"/"); ok {
				name, _, _ := strings.Cut(rest, "/")
				keys = append(keys, path.Join(key, name))
			}
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		return nil
	})
	return keys, err
}

// Close implements Client.
func (c *memoryClient) Close() error {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	c.closed = true
	return nil
}
