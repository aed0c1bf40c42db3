// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/codis-io/codis-operator/internal/redis"
)

// situation is what a member may be found in. The numbers are arbitrary; that
// there are some is what counts.
type situation int

const (
	unreachable situation = iota
	loading
	loadingKeys
	fencedEmpty
	fencedData
	syncedData    // follows the current master, link up, with keys
	syncedEmpty   // the same without keys
	cutOffData    // was in sync with the current master until the link broke
	syncingData   // is being copied to, and holds a part, or what it had before
	syncingEmpty  // is being copied to and holds nothing
	neverSynced   // was pointed at the current master and never reached it
	strayEmpty    // follows an address that is no member
	strayData     // the same with keys
	masterEmpty   // takes writes, without keys
	masterData    // takes writes, with keys
	masterLoading // is master and reads its disk
	ended         // its process is gone
	situations
)

var situationNames = [situations]string{
	"unreachable", "loading", "loading+keys", "fenced", "fenced+keys", "synced+keys", "synced", "cut-off+keys",
	"syncing+keys", "syncing", "never-synced+keys", "stray", "stray+keys", "master", "master+keys", "master-loading", "ended",
}

const strayAddr = "elsewhere:6379"

// observed returns what a member in this situation says of itself; master is
// the address that replicas follow.
func (s situation) observed(master string) redis.Observation {
	up := redis.Observation{Reachable: true, RunID: "run", Role: redis.RoleReplica, MasterAddr: master, Offset: 1}
	switch s {
	case loading, loadingKeys, fencedEmpty, fencedData:
		up.MasterAddr = redis.FenceAddr
	case strayEmpty, strayData:
		up.MasterAddr = strayAddr
	case masterEmpty, masterData, masterLoading:
		up.Role, up.MasterAddr = redis.RoleMaster, ""
	case syncedData, syncedEmpty:
		up.LinkUp, up.Offset = true, 200
	case cutOffData:
		up.Offset = 100
	case unreachable, ended:
		return redis.Observation{Problem: "no answer in time"}
	}
	up.Syncing = s == syncingData || s == syncingEmpty
	up.Loading = s == loading || s == loadingKeys || s == masterLoading
	if strings.HasSuffix(situationNames[s], "+keys") {
		up.Keys = 7
	}
	return up
}

func memberName(ordinal int) string { return fmt.Sprintf("g-%d", ordinal) }
func memberAddr(ordinal int) string { return memberName(ordinal) + ".g:6379" }

// smallWorld builds a world. current is the ordinal of the dashboard's master,
// or -1 where the dashboard does not know the group.
func smallWorld(in []situation, current int) world {
	w := world{window: defaultSilence, sinceFailover: coolDown}
	followed := max(current, 0)
	for ordinal, s := range in {
		m := member{
			name: memberName(ordinal), addr: memberAddr(ordinal), ip: fmt.Sprintf("10.0.0.%d", ordinal), dead: s == ended,
		}
		master := memberAddr(followed)
		if ordinal == followed { // Nobody follows himself.
			master = memberAddr((followed + 1) % len(in))
		}
		m.redis = s.observed(master)
		w.members = append(w.members, m)
	}
	if current >= 0 {
		w.order = []string{memberAddr(current)}
		for ordinal := range in {
			if ordinal != current {
				w.order = append(w.order, memberAddr(ordinal))
			}
		}
	}
	return w
}

// clone returns a world that can be changed without changing the original.
func (w world) clone() world {
	w.members, w.order = slices.Clone(w.members), slices.Clone(w.order)
	return w
}

// text describes a world for a message.
func (w world) text() string {
	var b strings.Builder
	for _, m := range w.members {
		fmt.Fprintf(&b, "%s{reachable=%t loading=%t role=%s of=%s up=%t syncing=%t offset=%d keys=%d} ", m.name,
			m.redis.Reachable, m.redis.Loading, m.redis.Role, m.redis.MasterAddr, m.redis.LinkUp, m.redis.Syncing,
			m.redis.Offset, m.redis.Keys)
	}
	fmt.Fprintf(&b, "order=%v last=%q accepted=%q persistent=%t", w.order, w.lastMaster, w.accepted, w.persistent)
	return b.String()
}

// eachWorld calls check with every world of 1 to 3 members, until one fails:
// one is enough to look at.
func eachWorld(check func(w world) (holds bool)) {
	for size := 1; size <= 3; size++ {
		in := make([]situation, size)
		for more := true; more; more = next(in) {
			holds := true
			for current := -1; current < size; current++ {
				eachVariant(smallWorld(in, current), func(w world) { holds = check(w) && holds })
			}
			if !holds {
				return
			}
		}
	}
}

// next counts in situations; it is false after the last.
func next(in []situation) bool {
	for i := range in {
		if in[i]++; in[i] < situations {
			return true
		}
		in[i] = 0
	}
	return false
}

// eachVariant calls check with what a person, the last pass and the spec may say.
func eachVariant(w world, check func(w world)) {
	names := []string{""}
	for _, m := range w.members {
		names = append(names, m.name)
	}
	everybody := map[string]bool{}
	for _, m := range w.members {
		everybody[m.name] = true
	}
	for _, w.accepted = range names {
		for _, w.persistent = range []bool{false, true} {
			if len(w.order) > 0 {
				w.lastMaster = names[1]
				check(w)
				w.inSync = everybody
				check(w)
				w.inSync = nil
				continue
			}
			for _, w.lastMaster = range names {
				check(w)
			}
		}
	}
}
