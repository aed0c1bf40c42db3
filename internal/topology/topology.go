// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package topology looks at what a dashboard keeps of a product in a store that
// others reach, an etcd by the v2 API that Codis speaks, or a ZooKeeper, and removes
// it. It refuses to know whose a product is: whoever calls does.
//
// A product that is to be removed has its lock pinned first: a node below the lock,
// the tombstone. Neither store lets a dashboard delete a lock that has something below
// it, nor make one where it is, whatever flags it was started with. So nobody starts
// on what is half removed, and a dashboard that ends does not let go of the lock.
package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Timeout bounds each question to a member of a store, and each change there.
const Timeout = 3 * time.Second

// removal bounds one try to remove a product of a thousand keys.
const removal = 20 * time.Second

// Product is what a dashboard keeps under one name.
type Product struct {
	// Kind is etcd or zookeeper, Addr its members as a comma list, and Auth its
	// login as user:password; empty for none.
	Kind, Addr, Auth string
	// Name of the product.
	Name string
}

// Found is what is there of a product.
type Found struct {
	// Exists tells whether anything is.
	Exists bool
	// Lock is what the lock says; nil where there is none.
	Lock []byte
	// Pinned tells that the lock can neither be taken nor let go of.
	Pinned bool
	// Tombstone says what for; nil where there is none.
	Tombstone []byte

	version uint64
}

// Root is where everything of a product is (reference of Codis 3.2, models/store.go).
func Root(product string) string { return "/codis3/" + product }

// lockKey has the lock, tombstoneKey the tombstone.
func (p Product) lockKey() string      { return Root(p.Name) + "/topom" }
func (p Product) tombstoneKey() string { return p.lockKey() + "/removing" }

// ErrChanged says that the tombstone is not the one that was expected, or that
// somebody writes what is being removed.
var ErrChanged = errors.New("somebody else changes it")

// ErrUnfinished says that a product has become less, and that time was short.
var ErrUnfinished = errors.New("some of it is left to be removed")

// keeper is what each kind of store can do.
type keeper interface {
	look(ctx context.Context) (Found, error)
	pin(ctx context.Context, found Found, tombstone []byte) (bool, error)
	unpin(ctx context.Context, tombstone, lock []byte) error
	sweep(ctx context.Context) error
	remove(ctx context.Context, tombstone []byte) error
}

func (p Product) keeper() keeper {
	if p.Kind == "zookeeper" {
		return zooKeeper{p}
	}
	return etcd{p}
}

// Look reads it. An error says that the store did not answer.
func (p Product) Look(ctx context.Context) (Found, error) { return p.keeper().look(ctx) }

// Pin puts a tombstone into the lock, if the lock is as it was found, and tells
// whether it did. After an error it may have: look again.
func (p Product) Pin(ctx context.Context, found Found, tombstone []byte) (bool, error) {
	return p.keeper().pin(ctx, found, tombstone)
}

// Unpin takes a tombstone away, and puts the lock back that was there before.
func (p Product) Unpin(ctx context.Context, tombstone, lock []byte) error {
	return p.keeper().unpin(ctx, tombstone, lock)
}

// Sweep removes the place of a product that has nothing in it.
func (p Product) Sweep(ctx context.Context) error { return p.keeper().sweep(ctx) }

// Remove removes all there is of a product while it has the tombstone, which goes
// last. A request that is carried out late removes nothing that was made since. After
// an error some of it may be gone: try again.
func (p Product) Remove(ctx context.Context, tombstone []byte) error {
	ctx, cancel := context.WithTimeout(ctx, removal)
	defer cancel()
	return p.keeper().remove(ctx, tombstone)
}

// memberError is what is wrong with a member of a store. Its text is the same each
// time: the port of a connection that broke would make conditions change.
type memberError struct {
	member string
	err    error
}

// Error implements error.
func (e *memberError) Error() string {
	var network net.Error
	dns, noName := errors.AsType[*net.DNSError](e.err)
	switch {
	case noName:
		return fmt.Sprintf("%s: %s cannot be resolved", e.member, dns.Name)
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return e.member + " refuses connections"
	case errors.Is(e.err, context.DeadlineExceeded), errors.As(e.err, &network) && network.Timeout():
		return e.member + " does not answer in time"
	case errors.As(e.err, &network):
		return e.member + " broke the connection"
	}
	return fmt.Sprintf("%s: %v", e.member, e.err)
}

// Unwrap returns the cause.
func (e *memberError) Unwrap() error { return e.err }
