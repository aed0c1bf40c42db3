// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// decideFollowers tells who shall be pointed at the master now, and what holds
// others back. It is pure. A member with data never copies an empty master; and
// where there is data to copy, one member copies at a time.
func decideFollowers(w world, master member) (follows []member, held string) {
	if !master.redis.IsMaster() || master.redis.Loading {
		return nil, ""
	}
	syncing := len(w.where(func(m member) bool {
		return m.redis.Follows(master.addr) && !m.redis.LinkUp && !m.redis.WasInSync()
	})) > 0
	for _, m := range w.members {
		if m.addr == master.addr || !m.known() || m.leaving || m.redis.Follows(master.addr) {
			continue
		}
		if reason := w.heldBack(m, master); reason != "" {
			held = reason
			continue
		}
		if syncing && master.redis.HasData() {
			continue
		}
		follows = append(follows, m)
		syncing = true
	}
	if held != "" {
		return nil, held // Nobody copies what may turn out to be the wrong data.
	}
	return follows, ""
}

// heldBack says why a member must not copy a master, "" if it may.
func (w world) heldBack(m, master member) string {
	const wayOut = "annotate the group with " + v1alpha1.AnnotationAcceptDataLoss + "=<pod whose data is kept>"
	disputed, follower := w.disputed(m, master), w.mayFollow(m, master)
	switch {
	case disputed != "":
		return disputed
	case w.blind && !w.behind && m.redis.IsMaster():
		return m.name + " takes writes as well, and the dashboard, which may have made it master, cannot be asked"
	case !m.redis.HasData() && follower != nil && !w.trusted(master):
		return fmt.Sprintf("somebody made %s master, and %s, which cannot be asked (%s), may follow %s and would lose "+
			"its data with it: bring it back, or %s", master.name, follower.name, problem(*follower), m.name, wayOut)
	case !m.redis.HasData() || w.accepted == master.name:
		return ""
	case !master.redis.HasData():
		return fmt.Sprintf("%s has data and would lose it by copying %s, which is empty: %s", m.name, master.name, wayOut)
	case !w.trusted(master):
		return fmt.Sprintf("somebody made %s master, and %s would lose its data by copying it: %s",
			master.name, m.name, wayOut)
	}
	return ""
}

// mayFollow returns a third member that cannot be asked and may follow the given one: it
// copies whatever that one copies. A process that was started again follows nobody.
func (w world) mayFollow(m, master member) *member {
	return w.find(func(other *member) bool {
		return other.addr != m.addr && other.addr != master.addr && !other.redis.Reachable && !other.dead
	})
}
