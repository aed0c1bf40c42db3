// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package topology reads, writes and removes single keys of what a dashboard keeps
// in a store that others reach: an etcd, by the v2 API that Codis speaks, or a
// ZooKeeper. It refuses to know what they mean.
package topology

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Timeout bounds each question to a member of a store, and each change.
const Timeout = 3 * time.Second

// removal bounds the removal of a product: a ZooKeeper takes its thousand slots
// one by one.
const removal = 15 * time.Second

// Store is where a dashboard keeps its topology.
type Store struct {
	// Kind is etcd or zookeeper, Addr its members as a comma list, and Auth its
	// login as user:password; empty for none.
	Kind, Addr, Auth string
}

// Root is where everything of a product is (reference of Codis 3.2, models/store.go).
func Root(product string) string { return "/codis3/" + product }

// keeper is what each kind of store can do.
type keeper interface {
	get(ctx context.Context, key string) ([]byte, error)
	create(ctx context.Context, key string, value []byte) (bool, error)
	remove(ctx context.Context, root string) error
}

func (s Store) keeper() keeper {
	if s.Kind == "zookeeper" {
		return zooKeeper{s}
	}
	return etcd{s}
}

// Get returns what is under a key; nil if nothing is. An error says that the
// store did not answer.
func (s Store) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	text, err := s.keeper().get(ctx, key)
	return text, wrap("read", key, err)
}

// Create puts a value under a key and tells whether it did: if there is one
// already, that one stays.
func (s Store) Create(ctx context.Context, key string, value []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	created, err := s.keeper().create(ctx, key, value)
	return created, wrap("create", key, err)
}

// Remove removes a key with everything below it. That it is not there is no error.
func (s Store) Remove(ctx context.Context, root string) error {
	ctx, cancel := context.WithTimeout(ctx, removal)
	defer cancel()
	return wrap("remove", root, s.keeper().remove(ctx, root))
}

func wrap(what, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, key, err)
}

// errNoMember says that a store has no addresses.
var errNoMember = errors.New("no member is known")
