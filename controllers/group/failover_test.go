// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// lostMaster is a group of three whose master g-0 has ended a moment ago.
func lostMaster() world {
	w := smallWorld([]situation{ended, cutOffData, cutOffData}, 0)
	w.inSync = map[string]bool{memberName(1): true, memberName(2): true}
	return w
}

// silentMaster is the same group with a master that hangs, and whose pod is
// being deleted.
func silentMaster() world {
	w := lostMaster()
	w.members[0].dead, w.members[0].silent, w.members[0].leaving = false, defaultSilence, true
	for i := range w.members[1:] {
		m := &w.members[i+1]
		m.redis.LinkUp, m.deaf = true, defaultSilence
	}
	return w
}

// switchedOver has the group switched over to g-2, which the dashboard cannot tell.
func switchedOver(w *world) {
	w.members[2].redis = masterData.observed("")
	w.members[2].redis.RunID, w.promotedRunID = "new", "new"
	w.promoted, w.switching, w.blind = memberName(2), true, true
	delete(w.inSync, memberName(2))
}

func TestFailover(t *testing.T) {
	waitsForMaster := waits(v1alpha1.ReasonMasterUnreachable)
	tests := map[string]struct {
		in      world
		change  func(w *world)
		want    outcome
		message string
	}{
		"dead":                               {lostMaster(), func(*world) {}, promotes(1), ""},
		"dead, who received most takes over": {lostMaster(), func(w *world) { w.members[2].redis.Offset++ }, promotes(2), ""},
		"dead, who was refused before and has more takes over": {lostMaster(), func(w *world) {
			w.members[2].redis.Offset, w.members[2].redis.Keys = 1, 8
		}, promotes(2), ""},
		"dead, who is new comes last": {lostMaster(), func(w *world) { w.members[1].young = true }, promotes(2), ""},
		"dead, who is not registered comes last": {
			lostMaster(), func(w *world) { w.order = []string{memberAddr(0), memberAddr(2)} }, promotes(2), "",
		},
		"dead, nobody else is registered": {
			lostMaster(), func(w *world) { w.order = []string{memberAddr(0)} }, promotes(1), "",
		},
		"dead, and somebody made another master": {
			lostMaster(), func(w *world) { w.members[2].redis = masterData.observed("") }, promotes(1), "",
		},
		"dead, and somebody made another master while nobody can ask the dashboard": {
			lostMaster(), func(w *world) { w.members[2].redis, w.blind = masterData.observed(""), true }, waitsForMaster, "",
		},
		"dead, who leaves does not take over": {lostMaster(), func(w *world) { w.members[1].leaving = true }, promotes(2), ""},
		"dead, who was started again does not": {
			lostMaster(), func(w *world) { w.members[1].redis = fencedData.observed("") }, promotes(2), "",
		},
		"dead, who is being copied to does not": {
			lostMaster(), func(w *world) { w.members[1].redis.Syncing = true }, promotes(2), "",
		},
		"dead, nobody was in sync": {
			lostMaster(), func(w *world) { w.inSync = nil }, waitsForMaster, "no member that was in sync",
		},
		"dead, the others do not answer": {
			lostMaster(), func(w *world) {
				w.members[1].redis, w.members[2].redis = redis.Observation{}, redis.Observation{}
			}, waitsForMaster, "no member that was in sync",
		},
		"dead, and so soon again": {lostMaster(), func(w *world) { w.sinceFailover = 0 }, promotes(1), ""},
		"refused, and a replica hears it": {
			lostMaster(), func(w *world) { w.members[2].redis.LinkUp = true }, waitsForMaster, "g-2 still hears it",
		},
		"dead, and one emptied copy": {
			lostMaster(), func(w *world) { w.members[1].redis.Keys = 0 }, promotes(2), "",
		},
		"dead, and never any data": {lostMaster(), func(w *world) {
			w.members[1].redis.Keys, w.members[2].redis.Keys = 0, 0
		}, promotes(1), ""},
		"silent, not long enough": {
			silentMaster(), func(w *world) { w.members[0].silent-- }, waitsForMaster, "waiting whether it does again",
		},
		"silent, and a replica hears it": {
			silentMaster(), func(w *world) { w.members[1].deaf-- }, waitsForMaster, "g-1 still hears it",
		},
		"silent, and so soon again": {
			silentMaster(), func(w *world) { w.sinceFailover = coolDown - 1 }, waitsForMaster, "a moment ago",
		},
		"silent, nobody can take over": {
			silentMaster(), func(w *world) { w.inSync = nil }, waitsForMaster, "no member that was in sync",
		},
		"silent, its pod is killed first": {
			silentMaster(), func(w *world) { w.members[0].leaving = false }, outcome{fence, memberName(0), v1alpha1.ReasonMasterUnreachable}, "its pod is deleted",
		},
		"silent, being killed": {silentMaster(), func(*world) {}, promotes(1), ""},
		"silent, and a proxy with it": {silentMaster(), func(w *world) {
			w.deafProxies = []string{"p-1"}
		}, waitsForMaster, "p-1 with it"},
		"dead, and a proxy does not answer": {lostMaster(), func(w *world) { w.deafProxies = []string{"p-1"} }, promotes(1), ""},
		"silent, then killed": {silentMaster(), func(w *world) {
			w.members[0].dead = true
			w.members[1].redis.LinkUp, w.members[2].redis.LinkUp = false, false
		}, promotes(1), ""},
		"dead after a switchover, of which proxies know": {lostMaster(), func(w *world) {
			switchedOver(w)
			w.routes.to = addrs(2)
		}, promotes(2), ""},
		"dead in a switchover, while proxies hold requests": {lostMaster(), func(w *world) {
			switchedOver(w)
			w.routes.held = true
		}, promotes(2), ""},
		"dead in a switchover that was given up": {lostMaster(), func(w *world) {
			switchedOver(w)
			w.routes.held, w.routes.to = true, addrs(0)
		}, promotes(1), ""},
		"nobody knows for how long": {
			silentMaster(), func(w *world) { w.members[0].silent = 0 }, waitsForMaster, "waiting whether it does again",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.change(&tt.in)
			situationCheck(t, tt.in, tt.want, tt.message)
		})
	}
}

// Each guard stops a failover that all the others let pass.
func TestEveryGuardIsNeeded(t *testing.T) {
	breaks := map[string]func(w *world){
		// Who has been silent for a moment only was not killed in that moment either.
		"Evidence":  func(w *world) { w.members[0].silent, w.members[0].dead = time.Millisecond, false },
		"Candidate": func(w *world) { w.inSync = nil },
		"Witness":   func(w *world) { w.members[2].deaf = 0 },
		"CoolDown":  func(w *world) { w.sinceFailover = 0 },
		"Fence":     func(w *world) { w.members[0].leaving = false },
		"Routes":    func(w *world) { w.deafProxies = []string{"p-1"} },
	}
	every := slices.Concat(guards, routeGuards)
	for _, g := range every {
		w := silentMaster()
		if d := decideMaster(w); d.verb != promote {
			t.Fatalf("nothing is broken and it is %s", d.text())
		}
		breaks[g.name](&w)
		var stopping []string
		f := failover{world: w, master: &w.members[0], candidate: w.candidate(&w.members[0])}
		for _, other := range every {
			if f.candidate == nil && other.name == "Routes" {
				continue // It is asked about promotions, and there is none.
			}
			if other.stops(f) != nil {
				stopping = append(stopping, other.name)
			}
		}
		if g.name == "Evidence" {
			stopping = slices.DeleteFunc(stopping, func(name string) bool { return name == "Fence" })
		}
		if diff := cmp.Diff([]string{g.name}, stopping); diff != "" {
			t.Errorf("%s: %s", g.name, diff)
		}
	}
}

func TestWhoMayBeCopied(t *testing.T) {
	tests := map[string]struct {
		change func(w *world)
		want   bool
	}{
		"made master by the operator": {func(w *world) { w.masterRunID = "run" }, true},
		"about to be made master":     {func(w *world) { w.masterRunID, w.promotedRunID = "before", "run" }, true},
		"never recorded":              {func(*world) {}, true},
		"made master by somebody":     {func(w *world) { w.masterRunID = "before" }, false},
		"made master by somebody, with more than the others when the last master is gone": {
			func(w *world) { w.masterRunID, w.members[0].redis.Keys = "before", 9 }, true,
		},
		"made master by somebody, with more than the others while the last master is there": {
			func(w *world) {
				w.masterRunID, w.members[0].redis.Keys, w.members[2].redis.RunID = "before", 9, "before"
			}, false,
		},
		"made master by somebody, with more than the others while one cannot be asked": {
			func(w *world) {
				w.masterRunID, w.members[0].redis.Keys, w.members[2].redis = "before", 9, redis.Observation{}
			}, false,
		},
		"made master by somebody when in sync": {func(w *world) { w.masterRunID, w.inSync = "before", map[string]bool{"g-0": true} }, true},
		"chosen by a person":                   {func(w *world) { w.masterRunID, w.accepted = "before", "g-0" }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, strayData, fencedEmpty}, 0)
			tt.change(&w)
			follows, held := decideFollowers(w, w.members[0])
			if got := held == ""; got != tt.want {
				t.Errorf("held %q", held)
			}
			if tt.want && (len(follows) != 1 || follows[0].name != memberName(1)) || !tt.want && len(follows) > 0 {
				t.Errorf("followers %v", follows)
			}
		})
	}
}

func TestWhatTheStatusRemembers(t *testing.T) {
	now := time.Unix(1000, 0)
	w := smallWorld([]situation{masterData, syncedData, fencedData}, 0)
	w.members[2].redis.RunID = "new"
	status := &v1alpha1.CodisGroupStatus{
		InSync:      []string{"g-1", "g-2", "g-3"},
		MasterRunID: "master",
		Promotion:   &v1alpha1.Promotion{RunID: "promoted"},
		Members:     []v1alpha1.MemberStatus{{Name: "g-1", RunID: "run"}, {Name: "g-2", RunID: "old"}},
	}
	w.recall(status, now)
	want := map[string]bool{"g-1": true, "g-2": false, "g-3": true}
	if diff := cmp.Diff(want, w.inSync); diff != "" {
		t.Errorf("a process that was started again is not in sync: %s", diff)
	}
	if w.masterRunID != "master" || w.promotedRunID != "promoted" || w.sinceFailover != coolDown {
		t.Errorf("recalled %q, %q, %s", w.masterRunID, w.promotedRunID, w.sinceFailover)
	}
	status.LastFailover = &v1alpha1.FailoverRecord{}
	status.LastFailover.Time.Time = now.Add(-time.Second)
	if w.recall(status, now); w.sinceFailover != time.Second {
		t.Errorf("since the last failover %s", w.sinceFailover)
	}
	status.LastFailover.Cause = v1alpha1.CauseSwitchover
	if w.recall(status, now); w.sinceFailover != coolDown {
		t.Errorf("a planned switchover says nothing of the network, yet %s since the last failover", w.sinceFailover)
	}
	status.LastFailover.Cause = v1alpha1.CauseMasterSilent
	status.LastFailover.Time.Time = now.Add(time.Hour) // By a clock that is ahead.
	if w.recall(status, now); w.sinceFailover != coolDown {
		t.Errorf("since a failover that is to come %s", w.sinceFailover)
	}
}

// The dashboard promoted g-1 instead of g-0, could not reach it, and went on: Codis only
// warns of that. Clients get READONLY, and the node of g-0 may be lost for good.
func TestWhoWasPromotedAndNotMadeMasterIs(t *testing.T) {
	tests := map[string]struct {
		change func(w *world)
		want   outcome
	}{
		"it was recorded as the master":      {func(*world) {}, lifts(1)},
		"it was about to be":                 {func(w *world) { w.masterRunID, w.promotedRunID = "old", "new" }, lifts(1)},
		"it hears its old master still":      {func(w *world) { w.members[1].redis.LinkUp = true }, lifts(1)},
		"with volumes":                       {func(w *world) { w.persistent, w.savedMaster = true, "g-0" }, lifts(1)},
		"it is another process":              {func(w *world) { w.members[1].redis.RunID = "started again" }, holds()},
		"it was started again":               {func(w *world) { w.members[1].redis.MasterAddr = redis.FenceAddr }, holds()},
		"it is being copied to":              {func(w *world) { w.members[1].redis.Syncing = true }, holds()},
		"it lost its data":                   {func(w *world) { w.members[1].redis.Keys = 0 }, holds()},
		"a switchover to it stopped midway":  {func(w *world) { w.masterRunID, w.promotedRunID, w.switching = "old", "new", true }, holds()},
		"the proxies may know another":       {func(w *world) { w.behind = true }, holds()},
		"nobody knows what the proxies know": {func(w *world) { w.blind = true }, holds()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{unreachable, cutOffData, cutOffData}, 0)
			w.order, w.lastMaster = addrs(1, 0, 2), "g-1"
			w.members[1].redis.RunID, w.masterRunID = "new", "new"
			w.members[0].silent = defaultSilence
			tt.change(&w)
			situationCheck(t, w, tt.want, "")
		})
	}
}

// g-1 and g-2 follow g-0, and the record says that they are in sync.
func TestWhoHeardTheMasterLongBeforeAnotherIsNotInSync(t *testing.T) {
	const window = defaultSilence
	tests := map[string]struct {
		change func(one, other *member)
		want   bool
	}{
		"both hear it":                           {func(_, _ *member) {}, true},
		"neither does":                           {func(one, other *member) { one.deaf, other.deaf = 2*window, 1 }, true},
		"the other one does":                     {func(one, _ *member) { one.deaf = 2 * window }, false},
		"the other one lost its link":            {func(one, other *member) { one.deaf, other.redis.LinkUp = 2*window+time.Second, false }, false},
		"the other one lost it at the same time": {func(one, other *member) { one.deaf, other.redis.LinkUp = 2*window, false }, true},
		"it lost its own link":                   {func(one, _ *member) { one.deaf, one.redis.LinkUp = 9*window, false }, true},
		"the other one was never in sync":        {func(one, other *member) { one.deaf, other.redis = 9*window, neverSynced.observed(memberAddr(0)) }, true},
		"the other one follows somebody else":    {func(one, other *member) { one.deaf, other.redis.MasterAddr = 9*window, strayAddr }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, syncedData, syncedData}, 0)
			w.window = window
			tt.change(&w.members[1], &w.members[2])
			status := &v1alpha1.CodisGroupStatus{InSync: []string{"g-1"}}
			if w.recall(status, now); w.inSync["g-1"] != tt.want {
				t.Errorf("in sync: %t", w.inSync["g-1"])
			}
		})
	}
}
