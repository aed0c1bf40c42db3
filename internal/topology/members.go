// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// asking bounds one question to all members of a store, as if they were asked one after the
// other.
const asking = 3 * Timeout

// headStart is how long a member may take for an answer to a question before the next one is
// asked it, too: one that lives answers within some milliseconds, one on a lost node never.
const headStart = 300 * time.Millisecond

// answered is who answered last, by the list of members. It is asked first the next
// time: a member that hangs must neither keep every question waiting nor be sent a
// change, which cannot be sent to another one once it may be carried out late. That it
// is out of date costs time, and nothing else.
var answered sync.Map

// members lists whom to ask, whoever answered last first.
func (p Product) members() []string {
	members := strings.Split(p.Addr, ",")
	if last, ok := answered.Load(p.Addr); ok {
		slices.SortStableFunc(members, func(a, b string) int {
			switch {
			case a == last && b != last:
				return -1
			case b == last && a != last:
				return 1
			}
			return 0
		})
	}
	return members
}

// answers remembers who answered.
func (p Product) answers(member string) {
	if last, _ := answered.Load(p.Addr); last != member {
		answered.Store(p.Addr, member)
	}
}

// share is how long each of some members may take for an answer that others can give, too.
func share(members int) time.Duration { return min(Timeout, asking/time.Duration(max(members, 1))) }

// reply is what came of asking a member.
type reply[T any] struct {
	member int
	value  T
	err    error
}

// race asks members what any of them can answer, the next one as soon as the one before has
// failed, or has said nothing for headStart. It returns the first answer, and has drop let go
// of those that come after it.
func race[T any](
	ctx context.Context, p Product, ask func(ctx context.Context, member string) (T, error), drop func(T),
) (T, error) {
	members := p.members()
	limit := share(len(members))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies, errs := make(chan reply[T], len(members)), make([]error, len(members))
	next := time.NewTimer(0)
	defer next.Stop()
	for asked, failed := 0, 0; ; {
		select {
		case <-next.C:
			go func(member int) {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				value, err := ask(ctx, members[member])
				replies <- reply[T]{member, value, err}
			}(asked)
			if asked++; asked < len(members) {
				next.Reset(headStart)
			}
		case r := <-replies:
			if r.err == nil {
				p.answers(members[r.member])
				go dropLate(replies, asked-failed-1, drop)
				return r.value, nil
			}
			errs[r.member] = &memberError{members[r.member], r.err}
			if failed++; failed == len(members) {
				return r.value, errors.Join(errs...)
			}
			if asked < len(members) {
				next.Reset(0)
			}
		}
	}
}

// dropLate lets go of answers that nobody waits for any more.
func dropLate[T any](replies <-chan reply[T], number int, drop func(T)) {
	for range number {
		if r := <-replies; r.err == nil {
			drop(r.value)
		}
	}
}
