// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// outcome is a decision in a form that can be compared.
type outcome struct {
	Verb           verb
	Master, Reason string
}

func outcomeOf(d decision) outcome {
	o := outcome{Verb: d.verb, Reason: d.reason}
	if d.master != nil {
		o.Master = d.master.name
	}
	return o
}

// change is what makes a world of a test special.
type change func(w *world)

func keys(ordinal int, keys int64) change {
	return func(w *world) { w.members[ordinal].redis.Keys = keys }
}

func offset(ordinal int, offset int64) change {
	return func(w *world) { w.members[ordinal].redis.Offset = offset }
}

func saved(ordinal int) change { return func(w *world) { w.savedMaster = memberName(ordinal) } }

func leaving(ordinal int) change { return func(w *world) { w.members[ordinal].leaving = true } }
func noPod(ordinal int) change   { return func(w *world) { w.members[ordinal].ip = "" } }
func lastMaster(ordinal int) change {
	return func(w *world) { w.lastMaster = memberName(ordinal) }
}
func accepted(ordinal int) change { return func(w *world) { w.accepted = memberName(ordinal) } }
func persistent(w *world)         { w.persistent = true }
func wasInSync(ordinal int) change {
	return func(w *world) { w.inSync = map[string]bool{memberName(ordinal): true} }
}

func knownMaster(ordinal int) change {
	return func(w *world) { w.members[ordinal].redis.RunID, w.masterRunID = "known", "known" }
}

func promoted(ordinal int) change       { return func(w *world) { w.promoted = memberName(ordinal) } }
func registeredOnly(ordinal int) change { return func(w *world) { w.order = addrs(ordinal) } }
func foreignMaster(w *world)            { w.order = append([]string{strayAddr}, w.order...) }

func (w world) with(changes []change) world {
	for _, c := range changes {
		c(&w)
	}
	return w
}

type situationTest struct {
	in      []situation
	changes []change
	want    outcome
	// message is part of the message of a wait or hold.
	message string
}

func (tt situationTest) run(t *testing.T, current int) {
	t.Helper()
	situationCheck(t, smallWorld(tt.in, current).with(tt.changes), tt.want, tt.message)
}

// situationCheck compares what is decided in a world.
func situationCheck(t *testing.T, w world, want outcome, message string) {
	t.Helper()
	d := decideMaster(w)
	if diff := cmp.Diff(want, outcomeOf(d)); diff != "" {
		t.Errorf("%s\n%s", diff, d.message)
	}
	if !strings.Contains(d.message, message) {
		t.Errorf("message %q lacks %q", d.message, message)
	}
}

func waits(reason string) outcome { return outcome{Verb: wait, Reason: reason} }
func holds() outcome              { return outcome{Verb: hold, Reason: v1alpha1.ReasonPromotionHeld} }
func keeps(ordinal int) outcome   { return outcome{Verb: keep, Master: memberName(ordinal)} }
func lifts(ordinal int) outcome   { return outcome{Verb: lift, Master: memberName(ordinal)} }
func promotes(ordinal int) outcome {
	return outcome{Verb: promote, Master: memberName(ordinal)}
}

// The dashboard calls g-0 the master.
func TestDecideMaster(t *testing.T) {
	tests := map[string]situationTest{
		"keeps a master that takes writes":       {in: []situation{masterData, syncedData}, want: keeps(0)},
		"keeps an empty master":                  {in: []situation{masterEmpty, fencedData}, want: keeps(0)},
		"keeps a master whose replica is silent": {in: []situation{masterData, unreachable}, want: keeps(0)},
		"waits for a master that is silent": {
			in: []situation{unreachable, syncedData}, want: waits(v1alpha1.ReasonMasterUnreachable),
			message: "master g-0 does not answer (no answer in time)",
		},
		"waits for a master without pod": {
			in: []situation{unreachable, cutOffData}, changes: []change{noPod(0)},
			want: waits(v1alpha1.ReasonMasterUnreachable), message: "does not answer (its pod does not run)",
		},
		"waits for a master that reads its disk": {
			in: []situation{loadingKeys, cutOffData}, want: waits(v1alpha1.ReasonMasterUnreachable),
			message: "g-0 is loading",
		},
		"holds where the dashboard's master is no member": {
			in: []situation{masterData, syncedData}, changes: []change{foreignMaster}, want: holds(),
			message: strayAddr,
		},
		"promotes whom a person names": {
			in: []situation{masterData, fencedEmpty}, changes: []change{accepted(1)}, want: promotes(1),
		},
		"promotes whom a person names though the master is silent": {
			in: []situation{unreachable, cutOffData}, changes: []change{accepted(1)}, want: promotes(1),
		},
		"lifts the master itself if a person names it": {
			in: []situation{fencedEmpty, unreachable}, changes: []change{accepted(0)}, want: lifts(0),
		},
		"keeps the master if a person names it": {
			in: []situation{masterEmpty, fencedData}, changes: []change{accepted(0)}, want: keeps(0),
		},
		"does not promote a loading member that a person names": {
			in: []situation{masterData, loading}, changes: []change{accepted(1)}, want: keeps(0),
		},
		"does not promote a silent member that a person names": {
			in: []situation{masterData, unreachable}, changes: []change{accepted(1)}, want: keeps(0),
		},
		"ignores a name that is no member's": {
			in: []situation{masterData, syncedData}, changes: []change{func(w *world) { w.accepted = "other-1" }}, want: keeps(0),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.run(t, 0) })
	}
}

// The dashboard calls g-0 master, and g-1 was found to have taken over before
// the dashboard was told.
func TestWhoTookOverCounts(t *testing.T) {
	both := func(s situation) []situation { return []situation{masterData, s} }
	tests := map[string]situationTest{
		"waits for one that is silent":      {in: both(unreachable), want: waits(v1alpha1.ReasonMasterUnreachable), message: "g-1"},
		"goes on without one that ended":    {in: both(ended), want: keeps(0)},
		"goes on without one that is empty": {in: both(fencedEmpty), want: keeps(0)},
		"waits for the volume of one that ended": {
			in: both(ended), changes: []change{persistent}, want: waits(v1alpha1.ReasonMasterUnreachable), message: "g-1",
		},
		"goes on with its volume if that has most": {
			in: both(fencedData), changes: []change{persistent, keys(1, 9)}, want: lifts(1),
		},
		"promotes the old master if its volume has less": {
			in: both(fencedData), changes: []change{persistent, keys(0, 9)}, want: promotes(0),
		},
		"goes on with its volume though the old master was started again, too": {
			in: []situation{fencedData, fencedData}, changes: []change{persistent, saved(0), keys(1, 9)}, want: lifts(1),
		},
		"goes on with it while it takes writes": {in: both(masterData), changes: []change{meantMaster(1)}, want: promotes(1)},
		"keeps the master if it was a failover": {
			in: both(unreachable), changes: []change{func(w *world) { w.found = false }}, want: keeps(0),
		},
		"keeps the master if proxies know no more than the dashboard": {
			in: both(unreachable), changes: []change{func(w *world) { w.behind = false }}, want: keeps(0),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tookOver := func(w *world) { w.behind, w.found, w.promoted = true, true, memberName(1) }
			tt.changes = append([]change{tookOver}, tt.changes...)
			tt.run(t, 0)
		})
	}
}

// The dashboard has promoted it before the operator knew that, and g-2 was in sync with g-0.
func TestWhoTookOverCountsThoughTheDashboardKnows(t *testing.T) {
	tests := map[string]situationTest{
		"goes on with its volume if that has most": {
			in: []situation{fencedData, fencedData, cutOffData}, want: lifts(1),
			changes: []change{persistent, keys(1, 9), wasInSync(2)},
		},
		"passes it over where it has no volume": {
			in: []situation{fencedEmpty, fencedEmpty, cutOffData}, want: promotes(2), changes: []change{wasInSync(2)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tookOver := func(w *world) {
				w.behind, w.found, w.promoted, w.lastMaster = true, true, memberName(1), memberName(0)
				w.members[2].redis.MasterAddr = memberAddr(0)
			}
			tt.changes = append(tt.changes, tookOver)
			tt.run(t, 1)
		})
	}
}

// The dashboard does not know the group.
func TestDecideFirstMaster(t *testing.T) {
	tests := map[string]situationTest{
		"lifts the first of a new group": {in: []situation{fencedEmpty, fencedEmpty}, want: lifts(0)},
		"waits until every member has answered": {
			in: []situation{fencedData, unreachable}, want: waits(v1alpha1.ReasonProgressing),
			message: "waiting for g-1 to answer (no answer in time)",
		},
		"waits until every member has read its disk": {
			in: []situation{fencedData, loading}, want: waits(v1alpha1.ReasonProgressing), message: "it is loading its data",
		},
		"waits until every pod runs": {
			in: []situation{fencedData, unreachable}, changes: []change{noPod(1)},
			want: waits(v1alpha1.ReasonProgressing), message: "its pod does not run",
		},
		"lifts the member with most keys": {
			in: []situation{fencedEmpty, fencedData, fencedData}, changes: []change{keys(2, 8)}, want: lifts(2),
		},
		"lifts the first of those with equal keys": {in: []situation{fencedEmpty, fencedData, fencedData}, want: lifts(1)},
		"keeps the last master that serves, though another is silent": {
			in: []situation{masterData, unreachable}, changes: []change{lastMaster(0)}, want: keeps(0),
		},
		"waits for who is silent where the last master has nothing": {
			in: []situation{masterEmpty, unreachable}, changes: []change{lastMaster(0)}, want: waits(v1alpha1.ReasonProgressing),
		},
		"prefers who was in sync with the last master, over its disk": {
			in: []situation{fencedData, cutOffData}, changes: []change{keys(0, 100), lastMaster(0), wasInSync(1)}, want: lifts(1),
		},
		"prefers the last master with data": {
			in: []situation{fencedData, fencedData}, changes: []change{keys(0, 100), lastMaster(1)}, want: lifts(1),
		},
		"prefers the last master whose volume is complete": {
			in: []situation{fencedData, fencedData}, want: lifts(1),
			changes: []change{persistent, keys(0, 100), lastMaster(1), func(w *world) { w.savedMaster = memberName(1) }},
		},
		"prefers who has most to one whose volume is not": {
			in: []situation{fencedData, fencedData}, changes: []change{persistent, keys(0, 100), lastMaster(1)}, want: lifts(0),
		},
		"prefers who has most where another was about to take over": {
			in: []situation{fencedData, fencedData}, want: lifts(0),
			changes: []change{persistent, keys(0, 100), lastMaster(1), func(w *world) {
				w.savedMaster, w.promoted, w.promotedRunID = memberName(1), memberName(0), "before its end"
			}},
		},
		"prefers the last master where nobody has data": {
			in: []situation{fencedEmpty, fencedEmpty}, changes: []change{lastMaster(1)}, want: lifts(1),
		},
		"does not lift the last master without data": {
			in: []situation{fencedData, fencedEmpty}, changes: []change{lastMaster(1)}, want: lifts(0),
		},
		"does not lift the last master while it is copied to": {
			in: []situation{fencedData, syncingData}, changes: []change{lastMaster(1)}, want: lifts(0),
		},
		"keeps the only master with data":         {in: []situation{syncedData, masterData}, want: keeps(1)},
		"keeps the only master of an empty group": {in: []situation{syncedEmpty, masterEmpty}, want: keeps(1)},
		"holds where the only master is empty and another has data": {
			in: []situation{fencedData, masterEmpty}, want: holds(), message: "g-1 is master and empty",
		},
		"holds where two are masters": {
			in: []situation{masterData, masterData}, want: holds(), message: "more than one member is master",
		},
		"obeys a person among two masters": {
			in: []situation{masterData, masterData}, changes: []change{accepted(1)}, want: keeps(1),
		},
		"obeys a person while a member is silent": {
			in: []situation{fencedEmpty, unreachable}, changes: []change{accepted(0)}, want: lifts(0),
		},
		"waits for a silent member that a person names": {
			in: []situation{fencedData, unreachable}, changes: []change{accepted(1)}, want: waits(v1alpha1.ReasonProgressing),
		},
		"waits while all are copied to": {
			in: []situation{syncingData, syncingEmpty}, want: waits(v1alpha1.ReasonProgressing), message: "copy under way",
		},
		"waits while the only one with keys is copied to": {
			in: []situation{fencedEmpty, syncingData}, want: waits(v1alpha1.ReasonProgressing), message: "copy under way",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.run(t, -1) })
	}
}

// The dashboard calls g-0 the master; its process was started again.
func TestDecideAfterRestart(t *testing.T) {
	tests := map[string]situationTest{
		"promotes a replica that was in sync, over the disk": {
			in: []situation{fencedData, cutOffData}, changes: []change{keys(0, 9)}, want: promotes(1),
		},
		"promotes a replica that was in sync, over an empty master": {in: []situation{fencedEmpty, cutOffData}, want: promotes(1)},
		"promotes the replica that received most": {
			in: []situation{fencedEmpty, cutOffData, cutOffData}, changes: []change{offset(2, 101)}, want: promotes(2),
		},
		"promotes the first of replicas that received the same": {
			in: []situation{fencedEmpty, cutOffData, cutOffData}, want: promotes(1),
		},
		"promotes a replica that was in sync when the master went, over a volume": {
			in: []situation{fencedData, cutOffData}, changes: []change{persistent, wasInSync(1)}, want: promotes(1),
		},
		"goes on with a promotion that stopped before the dashboard was told": {
			in: []situation{fencedData, masterData}, changes: []change{persistent, wasInSync(1)}, want: promotes(1),
		},
		"does not promote a master that nobody recorded, over the disk": {
			in: []situation{fencedData, masterData}, want: lifts(0),
		},
		"promotes a replica that the restarted master refused, if it was in sync": {
			in: []situation{fencedData, neverSynced}, changes: []change{persistent, wasInSync(1)}, want: promotes(1),
		},
		"promotes a replica that the restarted master refused over one that did not notice the restart, if it has more": {
			in:      []situation{fencedEmpty, syncedData, neverSynced},
			changes: []change{everybodyInSync, keys(2, 8)}, want: promotes(2),
		},
		"promotes one that did not notice the restart, if nobody has more": {
			in:      []situation{fencedEmpty, syncedData, neverSynced},
			changes: []change{everybodyInSync}, want: promotes(1),
		},
		"does not promote a replica that was in sync and is copied to": {
			in: []situation{fencedData, syncingData}, changes: []change{persistent, wasInSync(1)}, want: lifts(0),
		},
		"does not promote a replica that was cut off before, over a volume": {
			in: []situation{fencedData, cutOffData}, changes: []change{persistent}, want: lifts(0),
		},
		"promotes a replica that was cut off before, over an emptied volume": {
			in: []situation{fencedEmpty, cutOffData}, changes: []change{persistent}, want: promotes(1),
		},
		"prefers another member's volume to it, if that holds more": {
			in: []situation{fencedEmpty, cutOffData, fencedData}, changes: []change{persistent, keys(2, 8)}, want: promotes(2),
		},
		"does not promote it while a member is silent": {
			in: []situation{fencedEmpty, cutOffData, unreachable}, want: holds(), message: "g-2, which may hold newer data",
		},
		"prefers who was in sync to a master that nobody recorded": {
			in: []situation{fencedEmpty, cutOffData, masterData}, changes: []change{wasInSync(1)}, want: promotes(1),
		},
		"promotes the master that it knows": {
			in: []situation{fencedData, masterData}, changes: []change{knownMaster(1), persistent}, want: promotes(1),
		},
		"does not go back to the master that it had replaced": {
			in: []situation{fencedData, masterData}, changes: []change{knownMaster(1), promoted(0), persistent}, want: lifts(0),
		},
		"holds while the heir of a volume cannot be asked": {
			in: []situation{fencedData, unreachable}, changes: []change{promoted(1), persistent}, want: holds(),
			message: "g-1, which may hold newer data, cannot be asked",
		},
		"lifts a volume of which another member never was the heir": {
			in: []situation{fencedData, unreachable}, changes: []change{persistent, saved(0)}, want: lifts(0),
		},
		"promotes who has data though the dashboard does not know it": {
			in: []situation{fencedEmpty, fencedData}, changes: []change{registeredOnly(0)}, want: promotes(1),
		},
		"prefers a replica that was in sync when the master went": {
			in:      []situation{fencedEmpty, cutOffData, cutOffData},
			changes: []change{offset(1, 900), wasInSync(2)}, want: promotes(2),
		},
		"does not promote a replica that is being stopped": {
			in: []situation{fencedData, cutOffData}, changes: []change{leaving(1)}, want: lifts(0),
		},
		"does not promote an empty replica over data":       {in: []situation{fencedData, syncedEmpty}, want: lifts(0)},
		"does not promote a replica that never was in sync": {in: []situation{fencedData, neverSynced}, want: lifts(0)},
		"lifts the master if nobody has data":               {in: []situation{fencedEmpty, fencedEmpty}, want: lifts(0)},
		"lifts a master that is alone":                      {in: []situation{fencedData}, want: lifts(0)},
		"promotes a master with data that the dashboard does not know of": {
			in: []situation{fencedEmpty, masterData}, want: promotes(1),
		},
		"promotes an empty master where nobody has data": {in: []situation{fencedEmpty, masterEmpty}, want: promotes(1)},
		"does not promote an empty master over data":     {in: []situation{fencedData, masterEmpty}, want: lifts(0)},
		"does not promote an empty master while a member is silent": {
			in: []situation{fencedEmpty, masterEmpty, unreachable}, want: holds(), message: "g-2, which may hold newer data",
		},
		"does not promote a master that reads its disk": {
			in: []situation{fencedEmpty, masterLoading}, want: holds(), message: "it is loading its data",
		},
		"holds while a member that may have newer data is silent": {
			in: []situation{fencedData, unreachable}, want: holds(), message: "g-1, which may hold newer data",
		},
		"lifts a master with a complete volume though a member is silent": {
			in: []situation{fencedData, unreachable}, changes: []change{persistent, saved(0)}, want: lifts(0),
		},
		"holds with a volume that may be old while a member is silent": {
			in: []situation{fencedData, unreachable}, changes: []change{persistent, saved(1)}, want: holds(),
		},
		"lifts a complete volume though another one has more keys": {
			in: []situation{fencedData, fencedData}, changes: []change{persistent, saved(0), keys(1, 9)}, want: lifts(0),
		},
		"goes on with who was meant to take over, before a volume": {
			in: []situation{fencedData, masterData}, changes: []change{persistent, saved(0), meantMaster(1)}, want: promotes(1),
		},
		"does not go on with a switchover of which the old master knows nothing": {
			in: []situation{fencedData, masterData}, want: lifts(0),
			changes: []change{persistent, saved(0), meantMaster(1), func(w *world) { w.switching = true }},
		},
		"goes on with a switchover whose new master has more than the volume": {
			in: []situation{fencedData, masterData}, want: promotes(1),
			changes: []change{persistent, saved(0), keys(1, 9), meantMaster(1), func(w *world) { w.switching = true }},
		},
		"goes on with a switchover whose new master was in sync while nobody has more": {
			in: []situation{fencedData, masterData, cutOffData}, want: promotes(1),
			changes: []change{everybodyInSync, meantMaster(1), func(w *world) { w.switching = true }},
		},
		"promotes past the new master of a switchover when the old one went on": {
			in: []situation{fencedData, masterData, cutOffData}, want: promotes(2),
			changes: []change{everybodyInSync, keys(2, 9), meantMaster(1), func(w *world) { w.switching = true }},
		},
		"goes on with the new master of a switchover that proxies lead to": {
			in: []situation{fencedData, masterData}, want: promotes(1), changes: []change{
				everybodyInSync, keys(0, 9), meantMaster(1), func(w *world) { w.switching, w.blind, w.routes.to = true, true, addrs(1) },
			},
		},
		"lifts the old master of a switchover that went on": {
			in: []situation{fencedData, masterData}, want: lifts(0),
			changes: []change{everybodyInSync, keys(0, 9), meantMaster(1), func(w *world) { w.switching = true }},
		},
		"goes on with a switchover that the old master followed": {
			in: []situation{syncedData, masterData}, want: promotes(1),
			changes: []change{meantMaster(1), func(w *world) { w.switching = true }},
		},
		"does not promote a master that nobody recorded while one that was in sync is silent": {
			in: []situation{fencedEmpty, masterData, unreachable}, changes: []change{wasInSync(2)}, want: holds(),
		},
		"does not promote a master that nobody recorded over who has more": {
			in: []situation{fencedEmpty, masterData, neverSynced}, changes: []change{keys(2, 9)}, want: promotes(2),
		},
		"waits for the dashboard while somebody's master takes writes": {
			in: []situation{fencedData, masterData, cutOffData}, want: waits(v1alpha1.ReasonMasterUnreachable),
			message: "cannot be asked", changes: []change{wasInSync(2), func(w *world) { w.blind = true }},
		},
		"promotes past somebody's master that the dashboard did not make": {
			in: []situation{fencedData, masterData, cutOffData}, want: promotes(2), changes: []change{wasInSync(2)},
		},
		"promotes who took over and was started again, with more keys than a complete volume": {
			in: []situation{fencedData, fencedData}, want: promotes(1),
			changes: []change{persistent, saved(0), keys(1, 9), promoted(1), func(w *world) { w.promotedRunID = "before" }},
		},
		"promotes who has more keys than a volume that may be old": {
			in: []situation{fencedData, fencedData}, changes: []change{persistent, saved(1), keys(1, 9)}, want: promotes(1),
		},
		"holds with an emptied volume while a member is silent": {
			in: []situation{fencedEmpty, unreachable}, changes: []change{persistent}, want: holds(),
		},
		"promotes whoever has data if the master has none": {in: []situation{fencedEmpty, fencedData}, want: promotes(1)},
		"promotes the one with most keys if the master has none": {
			in: []situation{fencedEmpty, neverSynced, strayData}, changes: []change{keys(2, 8)}, want: promotes(2),
		},
		"waits while the only one with keys is copied to": {
			in: []situation{fencedEmpty, syncingData}, want: waits(v1alpha1.ReasonProgressing), message: "copy under way",
		},
		"does not lift a master that is copied to": {
			in: []situation{syncingData, fencedData}, want: promotes(1),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.run(t, 0) })
	}
}

// g-0 is the master.
// lastProcess is another master than any that runs.
func lastProcess(w *world) { w.masterRunID = "gone" }

func TestDecideFollowers(t *testing.T) {
	tests := map[string]struct {
		in      []situation
		changes []change
		follows []string
		held    string
	}{
		"points a new member at the master":   {in: []situation{masterData, fencedEmpty}, follows: []string{"g-1"}},
		"points a member with old data at it": {in: []situation{masterData, fencedData}, follows: []string{"g-1"}},
		"demotes another master":              {in: []situation{masterData, masterData}, follows: []string{"g-1"}},
		"takes a member back from elsewhere":  {in: []situation{masterData, strayData}, follows: []string{"g-1"}},
		"points all at once where nothing is copied": {
			in: []situation{masterEmpty, fencedEmpty, fencedEmpty}, follows: []string{"g-1", "g-2"},
		},
		"copies to one at a time":                       {in: []situation{masterData, fencedEmpty, fencedEmpty}, follows: []string{"g-1"}},
		"waits for a copy under way":                    {in: []situation{masterData, syncingData, fencedEmpty}},
		"goes on though a link is down":                 {in: []situation{masterData, cutOffData, fencedEmpty}, follows: []string{"g-2"}},
		"goes on once a copy has ended":                 {in: []situation{masterData, syncedData, fencedEmpty}, follows: []string{"g-2"}},
		"leaves alone who follows":                      {in: []situation{masterData, syncedData, neverSynced}},
		"leaves alone who is silent or loading":         {in: []situation{masterData, unreachable, loading}},
		"leaves alone who is being stopped":             {in: []situation{masterData, fencedEmpty}, changes: []change{leaving(1)}},
		"points nobody at a member that is fenced":      {in: []situation{fencedData, fencedEmpty}},
		"points nobody at a master that reads its disk": {in: []situation{masterLoading, fencedEmpty}},
		"holds back who would lose its data": {
			in: []situation{masterEmpty, fencedData, fencedEmpty},
			held: "g-1 has data and would lose it by copying g-0, which is empty: " +
				"annotate the group with codis.io/accept-data-loss=<pod whose data is kept>",
		},
		"holds an empty one back whom one that is silent may follow, from somebody's master": {
			in: []situation{masterData, fencedEmpty, unreachable}, changes: []change{lastProcess},
			held: "somebody made g-0 master, and g-2, which cannot be asked (no answer in time), may follow g-1 and would lose " +
				"its data with it: bring it back, or annotate the group with codis.io/accept-data-loss=<pod whose data is kept>",
		},
		"points it at a master of the operator's though one is silent": {
			in: []situation{masterData, fencedEmpty, unreachable}, changes: []change{lastProcess, meantMaster(0)}, follows: []string{"g-1"},
		},
		"points it at somebody's master though one has ended": {
			in: []situation{masterData, fencedEmpty, ended}, changes: []change{lastProcess}, follows: []string{"g-1"},
		},
		"points it at somebody's master if a person chose that": {
			in: []situation{masterData, fencedEmpty, unreachable}, changes: []change{lastProcess, accepted(0)}, follows: []string{"g-1"},
		},
		"lets it lose its data if a person chose the empty master": {
			in: []situation{masterEmpty, fencedData}, changes: []change{accepted(0)}, follows: []string{"g-1"},
		},
		"holds it back if a person chose another": {
			in: []situation{masterEmpty, fencedData}, changes: []change{accepted(1)},
			held: "g-1 has data and would lose it by copying g-0, which is empty: " +
				"annotate the group with codis.io/accept-data-loss=<pod whose data is kept>",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld(tt.in, 0).with(tt.changes)
			follows, held := decideFollowers(w, w.members[0])
			var names []string
			for _, m := range follows {
				names = append(names, m.name)
			}
			if diff := cmp.Diff(tt.follows, names); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.held, held); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProblemSaysWhyAMemberIsUnknown(t *testing.T) {
	tests := map[string]struct {
		member member
		want   string
	}{
		"no pod":    {member{}, "its pod does not run"},
		"loading":   {member{ip: "10.0.0.1", redis: loading.observed("")}, "it is loading its data"},
		"not asked": {member{ip: "10.0.0.1"}, "it was not asked"},
		"silent":    {member{ip: "10.0.0.1", redis: unreachable.observed("")}, "no answer in time"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, problem(tt.member)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
