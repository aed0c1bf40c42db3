// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
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
		case !m.known() && d.cause == v1alpha1.CauseMasterDead && w.inSync[d.master.name]:
			// What the master had, the member has: it was in sync until the end.
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
	if current := w.byAddr(w.order[0]); !current.redis.Reachable && !current.dead {
		return current.name + " only does not answer"
	}
	return ""
}

// A master that has ended is replaced by a member that certainly has its data.
func deadMasterIsReplacedByItsCopy(w world, d decision) string {
	if d.cause != v1alpha1.CauseMasterDead && d.cause != v1alpha1.CauseMasterSilent {
		return ""
	}
	current := w.byAddr(w.order[0])
	switch {
	case current.redis.Reachable || !current.dead:
		return current.name + " lives"
	case !w.inSync[d.master.name]:
		return d.master.name + " was not in sync"
	case !d.master.redis.Follows(current.addr) && !d.master.redis.IsMaster() || d.master.redis.Syncing:
		return d.master.name + " is no copy of " + current.name
	}
	for _, m := range w.members {
		if m.redis.Follows(current.addr) && m.redis.LinkUp {
			return m.name + " hears the master"
		}
	}
	return ""
}

// A group that the dashboard does not know may hold data in any member.
func firstMasterWaitsForEverybody(w world, d decision) string {
	if len(w.order) > 0 || d.master == nil || chosenByPerson(w, d) {
		return ""
	}
	if d.verb == keep && d.master.name == w.lastMaster && d.master.redis.HasData() {
		return "" // It serves and nobody is given a role; the dashboard forgot it.
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

// rules by what they say.
var rules = map[string]rule{
	"an empty member never becomes master":      emptyMemberNeverMaster,
	"an unknown member never becomes master":    unknownMemberNeverMaster,
	"silence moves nobody":                      silenceMovesNobody,
	"a dead master is replaced by its copy":     deadMasterIsReplacedByItsCopy,
	"the first master waits for everybody":      firstMasterWaitsForEverybody,
	"the master is the dashboard's":             masterIsTheDashboards,
	"only a master is kept":                     keepIsForMasters,
	"a person is obeyed":                        personIsObeyed,
	"a decision names a master or says why not": decisionIsWhole,
	"a decision is the same twice":              decisionIsTheSameTwice,
}

// brokenRules says in which world a rule is broken first. All rules look at
// each world once: there are hundreds of thousands.
var brokenRules = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	eachWorld(func(w world) bool {
		d := decideMaster(w)
		for name, holds := range rules {
			if broken := holds(w, d); broken != "" && found[name] == "" {
				found[name] = fmt.Sprintf("%s: %s\n%s", d.text(), broken, w.text())
			}
		}
		return len(found) < len(rules)
	})
	return found
})

func checkRule(t *testing.T, name string) {
	t.Helper()
	if rules[name] == nil {
		t.Fatalf("no rule %q", name)
	}
	if broken := brokenRules()[name]; broken != "" {
		t.Error(broken)
	}
}

func TestInvariant1MasterIsTheDashboards(t *testing.T) {
	checkRule(t, "the master is the dashboard's")
}

func TestInvariant2EmptyMemberNeverMaster(t *testing.T) {
	checkRule(t, "an empty member never becomes master")
}

func TestInvariant5UnknownMemberNeverMaster(t *testing.T) {
	checkRule(t, "an unknown member never becomes master")
}

func TestInvariant5SilenceMovesNobody(t *testing.T) { checkRule(t, "silence moves nobody") }

func TestInvariant4DeadMasterIsReplacedByItsCopy(t *testing.T) {
	checkRule(t, "a dead master is replaced by its copy")
}

func TestInvariant5FirstMasterWaitsForEverybody(t *testing.T) {
	checkRule(t, "the first master waits for everybody")
}

func TestOnlyAMasterIsKept(t *testing.T)        { checkRule(t, "only a master is kept") }
func TestAcceptedDataLossIsObeyed(t *testing.T) { checkRule(t, "a person is obeyed") }

func TestDecisionNamesAMasterOrSaysWhyNot(t *testing.T) {
	checkRule(t, "a decision names a master or says why not")
}

func TestDecisionIsTheSameTwice(t *testing.T) { checkRule(t, "a decision is the same twice") }

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
	eachWorld(func(w world) bool {
		for _, master := range w.members {
			if broken := brokenFollowers(w, master); broken != "" {
				t.Errorf("%s: %s\n%s", master.name, broken, w.text())
			}
		}
		return !t.Failed()
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
	eachWorld(func(start world) bool {
		if slices.ContainsFunc(start.members, func(m member) bool { return !m.redis.Reachable }) {
			return true // What never answers is waited for.
		}
		if broken := unrest(start); broken != "" {
			t.Error(broken)
		}
		return !t.Failed()
	})
}

// unrest says what goes wrong when passes are repeated from a world.
func unrest(start world) string {
	const enough = 12
	w := start.clone()
	d, moving := pass(&w)
	for passes := 1; moving && passes < enough; passes++ {
		d, moving = pass(&w)
	}
	switch {
	case moving:
		return fmt.Sprintf("still at %s after %d passes\n%s\n%s", d.text(), enough, start.text(), w.text())
	case d.verb == wait:
		return fmt.Sprintf("waits for nothing: %s\n%s", d.text(), start.text())
	case d.verb == keep && settled(w, d.master) && !d.master.redis.HasData() && hadData(start) && w.accepted == "":
		return fmt.Sprintf("all data is gone\n%s\n%s", start.text(), w.text())
	}
	return ""
}

// The server is made master first, and the dashboard told second: whoever comes
// back in between must choose the same member again.
func TestInvariant8PromotionThatStoppedMidwayGoesOn(t *testing.T) {
	promotions := 0
	eachWorld(func(w world) bool {
		d := decideMaster(w)
		if d.verb != promote || d.master.redis.IsMaster() || w.masters() > 0 {
			return true
		}
		if !w.inSync[d.master.name] && w.byAddr(w.order[0]).hasWholeData() {
			return true // Nobody knows whose data is newer: the choice may change.
		}
		promotions++
		midway := w.clone()
		m := midway.byName(d.master.name)
		midway.promotedRunID = m.redis.RunID
		m.redis.Role, m.redis.MasterAddr, m.redis.LinkUp, m.redis.Syncing = redis.RoleMaster, "", false, false
		if again := decideMaster(midway); again.text() != d.text() {
			t.Errorf("%s became %s\n%s", d.text(), again.text(), w.text())
		}
		return !t.Failed()
	})
	if promotions == 0 && !t.Failed() {
		t.Error("no world leads to a promotion: this test shows nothing")
	}
}

// hadData tells whether a world has data that nobody was about to lose: a member
// that already follows an empty master copies it whatever the operator does.
func hadData(w world) bool {
	return slices.ContainsFunc(w.members, func(m member) bool {
		master := w.byAddr(m.redis.MasterAddr)
		return m.redis.HasData() && (master == nil || !master.redis.IsMaster() || master.redis.HasData())
	})
}
