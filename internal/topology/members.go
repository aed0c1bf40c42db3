// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// asking bounds one question to all members of a store, one after the other.
const asking = 3 * Timeout

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
