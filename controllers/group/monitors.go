// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"github.com/codis-io/codis-operator/internal/sentinel"
)

// monitors is what the sentinels are told about a group. Indexes are those of
// lookouts.all.
type monitors struct {
	// forget are those that shall watch the group no more, before any is told anew:
	// one that goes on would tell the others of its election.
	forget []int
	// watch are those that shall watch the master.
	watch []int
	// tune are those that watch it with other settings, or maybe with another password.
	tune []int
	// corrected is the address that was watched and is not the master's; "" for none.
	corrected string
	// held says why nothing is told, "" if it need not or may be.
	held string
}

// done tells that nothing is to be told.
func (m monitors) done() bool { return len(m.forget)+len(m.watch)+len(m.tune) == 0 }

// planMonitors compares what the sentinels watch with the master of a group, which
// takes writes and is what the dashboard calls master. It is pure. What sentinels have
// decided is never taken back: an address of another member is corrected only if that
// member is a replica, and one that is no member's always.
func planMonitors(w world, master member, want sentinel.Settings, mine func(id string) bool) monitors {
	plan := monitors{}
	for _, o := range w.lookouts.all {
		switch at := w.byServer(o.Addr); {
		case o.FailingOver:
			return monitors{held: "a sentinel is replacing the master"}
		case !o.Watches || o.Addr == redisAddr(master):
		case at != nil && (at.redis.IsMaster() || !at.redis.Reachable):
			return monitors{held: at.name + " is what a sentinel calls master, and it takes writes, or cannot be asked"}
		default:
			plan.corrected = o.Addr
		}
	}
	for i, o := range w.lookouts.all {
		switch {
		case !o.Answers:
		case !o.Watches:
			plan.watch = append(plan.watch, i)
		case plan.corrected != "" || w.outdated(o, mine) || w.lockedOut(o):
			plan.forget = append(plan.forget, i)
			plan.watch = append(plan.watch, i)
		case o.Settings != want || o.untold:
			plan.tune = append(plan.tune, i)
		}
	}
	return plan
}

// outdated tells whether a sentinel counts what is not there any more: it would make a
// replica of whoever has the address of a replica by now, within seconds; and it would
// wait for the votes of sentinels that are gone. Sentinels never forget by themselves.
func (w world) outdated(o lookout, mine func(id string) bool) bool {
	for _, addr := range o.Replicas {
		if w.byServer(addr) == nil {
			return true
		}
	}
	return !w.lookouts.foreign && slices.ContainsFunc(o.Lost, func(id string) bool { return !mine(id) })
}

// lockedOut tells whether a member that answers the operator answers a sentinel nothing
// but errors: the password was changed, and the sentinel logged in with the old one. It
// finds that member down, and the password alone helps later than to be told anew. A
// server may answer errors for another reason, for which it is to be replaced: that is done
// once in a while only.
func (w world) lockedOut(o lookout) bool {
	return !o.toldAnew && slices.ContainsFunc(o.Refused, func(addr string) bool {
		m := w.byServer(addr)
		return m != nil && m.redis.Reachable
	})
}

// planWithoutMaster tells what to do about the sentinels of a group that has no master
// which answers. It is pure. They replace it; but what another pod has the address of
// by now misleads them, and some can do nothing. Where all of them are told to watch
// nothing, the operator replaces the master.
func planWithoutMaster(w world, taken func(addr string) bool) monitors {
	plan := planMisled(w, taken)
	if plan.corrected == "" && w.helpless() {
		plan.forget = w.lookouts.watching()
	}
	return plan
}

// planMisled has sentinels forget a group if what they take for its master, or for a
// replica, is a server of somebody else by now. It is pure. It is right at any time:
// whoever watches somebody else's server does not help this group.
func planMisled(w world, taken func(addr string) bool) monitors {
	plan := monitors{}
	strange := func(addr string) bool { return w.byServer(addr) == nil && taken(addr) }
	for i, o := range w.lookouts.all {
		switch {
		case o.Watches && strange(o.Addr):
			plan.corrected = o.Addr
		case o.Watches && slices.ContainsFunc(o.Replicas, strange):
			plan.forget = append(plan.forget, i)
		}
	}
	if plan.corrected != "" {
		plan.forget = w.lookouts.watching()
	}
	return plan
}

// watching are the sentinels that watch the group.
func (l lookouts) watching() []int {
	var indexes []int
	for i, o := range l.all {
		if o.Watches {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// helpless tells whether it is certain that the sentinels cannot replace the master:
// each answers, or has never run; and too few of them watch the group for a majority, or
// for the quorum that any of them was told, or all that do find the master down and know
// nobody to take its place.
func (w world) helpless() bool {
	l := w.lookouts
	if l.count(lookout.unknown) > 0 || l.failingOver() {
		return false
	}
	watch := l.count(func(o lookout) bool { return o.Watches })
	few := watch < l.majority() || l.count(func(o lookout) bool { return o.Watches && o.Settings.Quorum <= watch }) == 0
	return few || l.count(func(o lookout) bool { return o.Watches && (!o.Down || w.knowsHeir(o)) }) == 0
}

// knowsHeir tells whether a sentinel knows a member that it may make master: one that
// was started again and waits for a role has been without a master for ever to it.
func (w world) knowsHeir(o lookout) bool {
	return slices.ContainsFunc(o.Replicas, func(addr string) bool {
		m := w.byServer(addr)
		return m != nil && m.redis.Reachable && !m.redis.Fenced()
	})
}
