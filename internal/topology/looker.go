// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"

	"github.com/go-zookeeper/zk"
)

// Looker looks at one product again and again, for one caller at a time. With a ZooKeeper
// it keeps its session from one look to the next: all members write down when one begins,
// and when it ends.
type Looker struct {
	Product Product
	held    *taken
}

// Look reads the product. An error says that the store did not answer; the next look
// begins anew, with any member.
func (l *Looker) Look(ctx context.Context) (Found, error) {
	if l.Product.Kind != "zookeeper" {
		return l.Product.Look(ctx)
	}
	s := zooKeeper{l.Product}
	begun := l.held == nil
	if begun {
		held, err := s.connect(ctx)
		if err != nil {
			return Found{}, err
		}
		l.held = &held
	}
	conn, member := l.held.Conn, l.held.member
	found, err := run(ctx, Timeout, func(context.Context) (Found, error) { return s.lookAgain(conn, begun) })
	if err != nil {
		l.Close()
		return found, &memberError{member, err}
	}
	return found, nil
}

// lookAgain looks by a session that may be an old one. The member asks its leader first
// for all that it has missed, which writes nothing: a new session would show that it is not
// cut off, an old one does not.
func (s zooKeeper) lookAgain(conn *zk.Conn, begun bool) (Found, error) {
	if begun {
		if err := s.logIn(conn); err != nil {
			return Found{}, err
		}
	}
	if _, err := conn.Sync(s.lockKey()); err != nil {
		return Found{}, err
	}
	return s.lookBy(conn)
}

// Close gives the session back, if there is one.
func (l *Looker) Close() {
	if l.held != nil {
		go l.held.Close()
		l.held = nil
	}
}
