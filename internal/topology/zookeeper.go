// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/go-zookeeper/zk"
)

// zooKeeper keeps a lock as a node. Pinned, it has the tombstone as its child.
type zooKeeper struct{ Product }

func (s zooKeeper) look(ctx context.Context) (Found, error) {
	return session(ctx, s, Timeout, func(_ context.Context, conn *zk.Conn) (Found, error) { return s.lookBy(conn) })
}

// lookBy looks by a session.
func (s zooKeeper) lookBy(conn *zk.Conn) (Found, error) {
	lock, _, err := conn.Get(s.lockKey())
	if errors.Is(err, zk.ErrNoNode) {
		exists, stat, err := conn.Exists(Root(s.Name))
		return Found{Exists: exists && err == nil && stat.NumChildren > 0}, err
	}
	if err != nil {
		return Found{}, err
	}
	tombstone, _, err := conn.Get(s.tombstoneKey())
	if errors.Is(err, zk.ErrNoNode) {
		return Found{Exists: true, Lock: lock}, nil
	}
	return Found{Exists: true, Lock: lock, Pinned: true, Tombstone: tombstone}, err
}

// pin looks at the lock once more when it can no longer change: its version begins
// anew when it is made anew.
func (s zooKeeper) pin(ctx context.Context, found Found, tombstone []byte) (bool, error) {
	pinned, err := session(ctx, s, Timeout, func(_ context.Context, conn *zk.Conn) (bool, error) {
		acl, err := openACL(conn, s.lockKey())
		if err != nil {
			return false, err
		}
		if _, err := conn.Create(s.tombstoneKey(), tombstone, 0, acl); err != nil {
			return false, err
		}
		now, _, err := conn.Get(s.lockKey())
		if err == nil && !bytes.Equal(now, found.Lock) {
			return false, conn.Delete(s.tombstoneKey(), -1)
		}
		return err == nil, err
	})
	if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNodeExists) {
		return false, nil
	}
	return pinned, err
}

// openACL lets whoever may read the lock make something below it: Codis leaves no
// permission for that.
func openACL(conn *zk.Conn, key string) ([]zk.ACL, error) {
	acl, stat, err := conn.GetACL(key)
	if err != nil {
		return nil, err
	}
	for i := range acl {
		acl[i].Perms = zk.PermAll
	}
	_, err = conn.SetACL(key, acl, stat.Aversion)
	return acl, err
}

func (s zooKeeper) unpin(ctx context.Context, tombstone, _ []byte) error {
	return s.do(ctx, Timeout, func(_ context.Context, conn *zk.Conn) error {
		now, stat, err := conn.Get(s.tombstoneKey())
		if err != nil {
			return err
		}
		if !bytes.Equal(now, tombstone) {
			return ErrChanged
		}
		return conn.Delete(s.tombstoneKey(), stat.Version)
	})
}

// sweep has nothing to do: the last request takes the directory, too.
func (zooKeeper) sweep(context.Context) error { return nil }

// remove deletes everything while the tombstone is there. It stops by itself before its
// time is over: what it has done by then counts.
func (s zooKeeper) remove(ctx context.Context, tombstone []byte) error {
	return s.do(ctx, removal, func(ctx context.Context, conn *zk.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, removal-2*Timeout)
		defer cancel()
		now, _, err := conn.Get(s.tombstoneKey())
		switch {
		case err != nil && !errors.Is(err, zk.ErrNoNode):
			return err
		case err != nil, !bytes.Equal(now, tombstone):
			return ErrChanged
		}
		return (&uprooting{Product: s.Product, tree: conn}).remove(ctx)
	})
}

// do is session for what has no result.
func (s zooKeeper) do(ctx context.Context, limit time.Duration, f func(context.Context, *zk.Conn) error) error {
	_, err := session(ctx, s, limit, func(ctx context.Context, conn *zk.Conn) (struct{}, error) {
		return struct{}{}, f(ctx, conn)
	})
	return err
}

// session runs f on the first member that takes a session, whoever did so last first.
// Once f has begun, no other member is asked: what it did may have been carried out.
func session[T any](
	ctx context.Context, s zooKeeper, limit time.Duration, f func(context.Context, *zk.Conn) (T, error),
) (result T, err error) {
	held, err := s.connect(ctx)
	if err != nil {
		return result, err
	}
	defer func() { go held.Close() }()
	result, err = run(ctx, limit, func(ctx context.Context) (T, error) {
		if err := s.logIn(held.Conn); err != nil {
			return result, err
		}
		return f(ctx, held.Conn)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = &memberError{held.member, err}
	}
	return result, err
}

// logIn shows a session the login, if there is one.
func (s zooKeeper) logIn(conn *zk.Conn) error {
	if s.Auth == "" {
		return nil
	}
	return conn.AddAuth("digest", []byte(s.Auth))
}

// taken is a session that a member has taken.
type taken struct {
	*zk.Conn
	member string
}

// connect waits for a session with any member.
func (s zooKeeper) connect(ctx context.Context) (taken, error) {
	return race(ctx, s.Product, func(ctx context.Context, member string) (taken, error) {
		conn, err := connect(ctx, member)
		return taken{conn, member}, err
	}, func(late taken) { late.Close() })
}

// run gives f its time. The library waits for an answer without an end, and only
// closing the session makes a call return: whoever calls does that.
func run[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := f(ctx)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		var nothing T
		return nothing, ctx.Err()
	}
}

// connect waits for a session with a member. Its name is looked up first: the library
// would do that without an end.
func connect(ctx context.Context, member string) (*zk.Conn, error) {
	host, port, err := net.SplitHostPort(member)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = net.JoinHostPort(addrs[i], port)
	}
	conn, events, err := zk.Connect(addrs, 2*Timeout, zk.WithLogger(silent{}))
	if err != nil {
		return nil, err
	}
	if err := connected(ctx, events); err != nil {
		go conn.Close()
		return nil, err
	}
	return conn, nil
}

// connected waits for a session.
func connected(ctx context.Context, events <-chan zk.Event) error {
	for {
		select {
		case event := <-events:
			if event.State == zk.StateHasSession {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type silent struct{}

// Printf implements zk.Logger.
func (silent) Printf(string, ...any) {}
