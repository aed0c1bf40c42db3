// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"path"

	"github.com/go-zookeeper/zk"
)

// maxRequest is how many bytes of paths fit into one request: a server takes 1 MiB,
// with some 20 bytes for each path besides. A product of 1024 slots takes a fifth of it.
const maxRequest = 512 << 10

// overhead is what a path takes in a request besides its letters.
const overhead = 20

// tree is what it takes to remove a product.
type tree interface {
	Children(path string) ([]string, *zk.Stat, error)
	Multi(ops ...any) ([]zk.MultiResponse, error)
}

// uprooting removes a product from a tree, children before their parents: in one
// request, or in several where it is too much for one. Each fails as a whole if the
// tombstone is not there any more, and the last one takes it with the lock, so that
// nobody can start on what is left in between. Whoever dies there is followed by
// somebody who lists what is left.
type uprooting struct {
	Product
	tree    tree
	pending []any
	bytes   int
	removed int
}

func (u *uprooting) remove(ctx context.Context) error {
	err := u.all(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if len(u.pending) > 0 { // What was listed so far is less to do for the next try.
		err = errors.Join(err, u.flush())
	}
	if u.removed > 0 {
		return ErrUnfinished
	}
	return err
}

func (u *uprooting) all(ctx context.Context) error {
	if err := u.below(ctx, Root(u.Name)); err != nil {
		return err
	}
	last := []string{u.tombstoneKey(), u.lockKey(), Root(u.Name)}
	if !u.fits(last...) {
		if err := u.flush(); err != nil {
			return err
		}
	}
	u.add(last...)
	return u.flush()
}

// below removes all that is below a node, but the lock and the tombstone.
func (u *uprooting) below(ctx context.Context, node string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	children, _, err := u.tree.Children(node)
	if err != nil {
		return err
	}
	for _, name := range children {
		child := path.Join(node, name)
		if child == u.tombstoneKey() {
			continue
		}
		if err := u.below(ctx, child); err != nil {
			return err
		}
		if child == u.lockKey() {
			continue
		}
		if !u.fits(child) {
			if err := u.flush(); err != nil {
				return err
			}
		}
		u.add(child)
	}
	return nil
}

func (u *uprooting) fits(paths ...string) bool { return u.bytes+size(paths) <= maxRequest }

func size(paths []string) int {
	total := 0
	for _, p := range paths {
		total += len(p) + overhead
	}
	return total
}

func (u *uprooting) add(paths ...string) {
	if len(u.pending) == 0 {
		u.pending = []any{&zk.CheckVersionRequest{Path: u.tombstoneKey(), Version: -1}}
	}
	for _, p := range paths {
		u.pending = append(u.pending, &zk.DeleteRequest{Path: p, Version: -1})
	}
	u.bytes += size(paths)
}

// flush sends what is pending as one request.
func (u *uprooting) flush() error {
	results, err := u.tree.Multi(u.pending...)
	for _, result := range results {
		err = errors.Join(err, result.Error)
	}
	if err == nil {
		u.removed += len(u.pending)
	}
	u.pending, u.bytes = nil, 0
	return err
}
