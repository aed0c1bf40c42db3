// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"testing"

	"github.com/codis-io/codis-operator/internal/redis"
)

// A rule holds in every world, and says how it is broken.
type rule func(w world, d decision) (broken string)

func (d decision) text() string {
	if d.master == nil {
		return fmt.Sprintf("%s (%s: %s)", d.verb, d.reason, d.message)
	}
	return fmt.Sprintf("%s %s", d.verb, d.master.name)
}

// moves tells whether a decision makes a member master that is not yet.
func (d decision) moves() bool { return d.verb == lift || d.verb == promote }

// chosenByPerson tells whether the decision is what a person asked for.
func chosenByPerson(w world, d decision) bool { return d.master != nil && d.master.name == w.accepted }

func emptyMemberNeverMaster(w world, d decision) string {
	if !d.moves() || chosenByPerson(w, d) {
		return ""
	}
	if d.master.redis.HasData() && !d.master.redis.Syncing && !d.master.redis.Loading {
		return ""
	}
	for _, m := range w.members {
		switch {
		case m.name == d.master.name:
		case m.redis.HasData():
			return d.master.name + " has no whole dataset while " + m.name + " has keys"
		case !m.known():
			return d.master.name + " has no whole dataset while nobody knows what " + m.name + " has"
		}
	}
	return ""
}

func unknownMemberNeverMaster(_ world, d decision) string {
	if d.moves() && !d.master.known() {
		return "nobody knows what " + d.master.name + " has"
	}
	return ""
}

func keepIsForMasters(_ world, d decision) string {
	if d.verb == keep && !d.master.redis.IsMaster() {
		return d.master.name + " is no master"
	}
	return ""
}

func silenceMovesNobody(w world, d decision) string {
	if len(w.order) == 0 || !d.moves() || chosenByPerson(w, d) {
		return ""
	}
	if current := w.byAddr(w.order[0]); !current.redis.Reachable {
		return current.name + " only does not answer"
	}
	return ""
}

// A group that the dashboard does not know may hold data in any member.
func firstMasterWaitsForEverybody(w world, d decision) string {
	if len(w.order) > 0 || d.master == nil || chosenByPerson(w, d) {
		return ""
	}
	if unknown := w.firstUnknown(nil); unknown != nil {
		return unknown.name + " was not heard"
	}
	return ""
}

func personIsObeyed(w world, d decision) string {
	if chosen := w.byName(w.accepted); chosen != nil && chosen.known() && !chosenByPerson(w, d) {
		return "a person chose " + chosen.name
	}
	return ""
}

// Only the dashboard tells the proxies who the master is.
func masterIsTheDashboards(w world, d decision) string {
	switch {
	case d.master == nil || len(w.order) == 0:
		return ""
	case d.verb == promote && d.master.addr == w.order[0]:
		return d.master.name + " is the dashboard's master already"
	case d.verb != promote && d.master.addr != w.order[0]:
		return "the dashboard calls another the master"
	}
	return ""
}

func decisionIsWhole(w world, d decision) string {
	switch d.verb {
	case keep, lift, promote:
		inWorld := slices.ContainsFunc(w.members, func(m member) bool { return d.master != nil && m.name == d.master.name })
		if !inWorld || d.reason != "" || d.message != "" {
			return "a master of this world, and no more, is wanted"
		}
	case wait, hold:
		if d.master != nil || d.reason == "" || d.message == "" {
			return "a reason and a message, and no more, are wanted"
		}
	default:
		return "no verb"
	}
	return ""
}

func decisionIsTheSameTwice(w world, d decision) string {
	if again := decideMaster(w.clone()); again.text() != d.text() {
		return "the second time it is " + again.text()
	}
	return ""
}

func checkRule(t *testing.T, holds rule) {
	t.Helper()
	eachWorld(t, func(t *testing.T, w world) {
		d := decideMaster(w)
		if broken := holds(w, d); broken != "" {
			t.Errorf("%s: %s\n%s", d.text(), broken, w.text())
		}
	})
}

func TestInvariant2EmptyMemberNeverMaster(t *testing.T)   { checkRule(t, emptyMemberNeverMaster) }
func TestInvariant5UnknownMemberNeverMaster(t *testing.T) { checkRule(t, unknownMemberNeverMaster) }
func TestInvariant5SilenceMovesNobody(t *testing.T)       { checkRule(t, silenceMovesNobody) }
func TestInvariant5FirstMasterWaitsForAll(t *testing.T)   { checkRule(t, firstMasterWaitsForEverybody) }
func TestInvariant1MasterIsTheDashboards(t *testing.T)    { checkRule(t, masterIsTheDashboards) }
func TestKeepIsForMasters(t *testing.T)                   { checkRule(t, keepIsForMasters) }
func TestAcceptedDataLossIsObeyed(t *testing.T)           { checkRule(t, personIsObeyed) }
func TestDecisionNamesAMasterOrSaysWhyNot(t *testing.T)   { checkRule(t, decisionIsWhole) }
func TestDecisionIsTheSameTwice(t *testing.T)             { checkRule(t, decisionIsTheSameTwice) }

// brokenFollowers says what is wrong with who is pointed at a master.
func brokenFollowers(w world, master member) string {
	follows, held := decideFollowers(w, master)
	if len(follows) > 0 && (!master.redis.IsMaster() || master.redis.Loading) {
		return "followers of a member that is no master"
	}
	if len(follows) > 1 && master.redis.HasData() {
		return "more than one copy at a time"
	}
	for _, m := range follows {
		switch {
		case m.name == master.name:
			return "the master follows itself"
		case !m.known():
			return m.name + " is unknown and is given a role"
		case m.redis.Follows(master.addr):
			return m.name + " is told what it knows"
		case m.redis.HasData() && !master.redis.HasData() && w.accepted != master.name:
			return m.name + " loses its data"
		case held != "" && m.redis.HasData():
			return m.name + " is not held back"
		}
	}
	return ""
}

func TestInvariant2EmptiedMasterNeverOverwritesReplica(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		for _, master := range w.members {
			if broken := brokenFollowers(w, master); broken != "" {
				t.Errorf("%s: %s\n%s", master.name, broken, w.text())
			}
		}
	})
}

// pass carries one decision out as the reconciler, the dashboard and the
// servers would, and tells whether anything is left to do by itself.
func pass(w *world) (d decision, moving bool) {
	d = decideMaster(*w)
	switch d.verb {
	case promote:
		w.order = append([]string{d.master.addr}, slices.DeleteFunc(w.order, func(a string) bool { return a == d.master.addr })...)
		fallthrough
	case lift:
		d.master.redis.Role, d.master.redis.MasterAddr = redis.RoleMaster, ""
		d.master.redis.Syncing, d.master.redis.LinkUp = false, false
		return d, true
	case keep:
		if len(w.order) == 0 {
			w.order = []string{d.master.addr}
		}
		return d, follow(w, d.master)
	case wait:
		return d, endCopies(w)
	}
	return d, false
}

// follow points members at the master, and lets those that follow it copy.
func follow(w *world, master *member) (moving bool) {
	follows, _ := decideFollowers(*w, *master)
	for i := range w.members {
		m := &w.members[i]
		told := slices.ContainsFunc(follows, func(f member) bool { return f.name == m.name })
		if told {
			m.redis.Role, m.redis.MasterAddr = redis.RoleReplica, master.addr
		}
		if told || m.redis.Follows(master.addr) && !m.redis.LinkUp {
			m.redis.LinkUp, m.redis.Syncing, m.redis.Keys, m.redis.Offset = true, false, master.redis.Keys, master.redis.Offset+100
			moving = true
		}
	}
	return moving
}

// endCopies lets loading and copying end: both do, one way or the other.
func endCopies(w *world) (moving bool) {
	for i := range w.members {
		o := &w.members[i].redis
		moving = moving || o.Syncing || o.Loading
		o.Syncing, o.Loading = false, false
	}
	return moving
}

// settled tells whether a world has exactly one master that all others follow.
func settled(w world, master *member) bool {
	return !slices.ContainsFunc(w.members, func(m member) bool {
		return m.addr != master.addr && (!m.redis.Follows(master.addr) || !m.redis.LinkUp)
	})
}

// Whatever a group is found in, repeated passes lead to one master that all
// follow, or hold; and data that somebody had is still there.
func TestInvariant8EveryWorldComesToRestWithItsData(t *testing.T) {
	eachWorld(t, func(t *testing.T, start world) {
		if w := start; w.firstUnknown(nil) != nil && slices.ContainsFunc(w.members, func(m member) bool { return !m.redis.Reachable }) {
			return // What never answers is waited for.
		}
		w := start.clone()
		d, moving := pass(&w)
		passes := 1
		for ; moving && passes < 12; passes++ {
			d, moving = pass(&w)
		}
		if moving {
			t.Fatalf("still at %s after %d passes\n%s\n%s", d.text(), passes, start.text(), w.text())
		}
		if d.verb == wait {
			t.Fatalf("waits for nothing: %s\n%s", d.text(), start.text())
		}
		if d.verb == keep && settled(w, d.master) && !d.master.redis.HasData() && hadData(start) && w.accepted == "" {
			t.Fatalf("all data is gone\n%s\n%s", start.text(), w.text())
		}
	})
}

// hadData tells whether a world has data that nobody was about to lose: a member
// that already follows an empty master copies it whatever the operator does.
func hadData(w world) bool {
	return slices.ContainsFunc(w.members, func(m member) bool {
		master := w.byAddr(m.redis.MasterAddr)
		return m.redis.HasData() && (master == nil || !master.redis.IsMaster() || master.redis.HasData())
	})
}

// FuzzRoles checks every rule in worlds that are not small: up to 9 members
// with any numbers.
func FuzzRoles(f *testing.F) {
	f.Add([]byte{0, 0, 1, byte(fencedEmpty), 0, 0, byte(syncedData), 9, 9})
	f.Add([]byte{255, 1, 0, byte(fencedData), 1, 1, byte(masterEmpty), 0, 0, byte(unreachable), 0, 0})
	f.Add([]byte{1, 2, 3, byte(loading), 1, 0, byte(syncingData), 5, 0, byte(masterData), 1, 1, byte(strayData), 2, 2})
	rules := []rule{
		emptyMemberNeverMaster, unknownMemberNeverMaster, keepIsForMasters, silenceMovesNobody,
		firstMasterWaitsForEverybody, personIsObeyed, masterIsTheDashboards, decisionIsWhole, decisionIsTheSameTwice,
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := worldFrom(raw)
		if len(w.members) == 0 {
			return
		}
		d := decideMaster(w)
		for i, holds := range rules {
			if broken := holds(w, d); broken != "" {
				t.Errorf("rule %d: %s: %s\n%s", i, d.text(), broken, w.text())
			}
		}
		for _, master := range w.members {
			if broken := brokenFollowers(w, master); broken != "" {
				t.Errorf("%s: %s\n%s", master.name, broken, w.text())
			}
		}
	})
}

// worldFrom reads a world from bytes: three for the world, three for each member.
func worldFrom(raw []byte) world {
	if len(raw) < 6 {
		return world{}
	}
	head, rest := raw[:3], raw[3:]
	var in []situation
	for i := 0; i+2 < len(rest) && len(in) < 9; i += 3 {
		in = append(in, situation(rest[i])%situations)
	}
	w := smallWorld(in, int(int8(head[0]))%len(in))
	for i := range w.members {
		o := &w.members[i].redis
		if o.Keys > 0 {
			o.Keys = int64(rest[3*i+1]) + 1
		}
		if o.Offset > 1 {
			o.Offset = int64(rest[3*i+2]) + 2
		}
	}
	pick := func(b byte) string {
		if int(b) < len(in) {
			return memberName(int(b))
		}
		return ""
	}
	w.lastMaster, w.accepted, w.persistent = pick(head[1]/2), pick(head[2]), head[1]%2 == 1
	return w
}
