// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
)

// batch is how many nodes are deleted in one request.
const batch = 128

type zooKeeper struct{ Store }

func (s zooKeeper) get(ctx context.Context, key string) (text []byte, err error) {
	err = s.session(ctx, func(conn *zk.Conn) error {
		var err error
		text, _, err = conn.Get(key)
		return err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return text, err
}

func (s zooKeeper) create(ctx context.Context, key string, value []byte) (bool, error) {
	err := s.session(ctx, func(conn *zk.Conn) error {
		for dir := range parents(key) {
			_, err := conn.Create(dir, nil, 0, zk.WorldACL(zk.PermAll))
			if err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
		_, err := conn.Create(key, value, 0, zk.WorldACL(zk.PermAll))
		return err
	})
	if errors.Is(err, zk.ErrNodeExists) {
		return false, nil
	}
	return err == nil, err
}

// parents yields "/a" and "/a/b" of "/a/b/c".
func parents(key string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := 1; i < len(key); i++ {
			if key[i] == '/' && !yield(key[:i]) {
				return
			}
		}
	}
}

func (s zooKeeper) remove(ctx context.Context, root string) error {
	return s.session(ctx, func(conn *zk.Conn) error {
		nodes, err := below(ctx, conn, root)
		if err != nil {
			return err
		}
		slices.Reverse(nodes) // Children before their parents.
		for part := range slices.Chunk(nodes, batch) {
			var deletions []any
			for _, node := range part {
				deletions = append(deletions, &zk.DeleteRequest{Path: node, Version: -1})
			}
			if _, err := conn.Multi(deletions...); err != nil { // All of them or none.
				return err
			}
		}
		return nil
	})
}

// below lists a node and all below it, parents first.
func below(ctx context.Context, conn *zk.Conn, root string) ([]string, error) {
	nodes := []string{root}
	for i := 0; i < len(nodes) && ctx.Err() == nil; i++ {
		children, _, err := conn.Children(nodes[i])
		switch {
		case errors.Is(err, zk.ErrNoNode) && i == 0:
			return nil, nil
		case err != nil && !errors.Is(err, zk.ErrNoNode):
			return nil, err
		}
		for _, child := range children {
			nodes = append(nodes, path.Join(nodes[i], child))
		}
	}
	return nodes, ctx.Err()
}

// session runs f with a connection. The library waits for a connection without
// an end, and only closing it makes a call return.
func (s zooKeeper) session(ctx context.Context, f func(*zk.Conn) error) error {
	conn, _, err := zk.Connect(strings.Split(s.Addr, ","), 2*Timeout, zk.WithLogger(silent{}))
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		var err error
		if s.Auth != "" {
			err = conn.AddAuth("digest", []byte(s.Auth))
		}
		if err == nil {
			err = f(conn)
		}
		done <- err
		conn.Close()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		go conn.Close()
		return ctx.Err()
	}
}

type silent struct{}

// Printf implements zk.Logger.
func (silent) Printf(string, ...any) {}
