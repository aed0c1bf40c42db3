// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

var someSettings = sentinel.Settings{
	Quorum: 2, DownAfter: 5 * time.Second, FailoverTimeout: time.Minute, ParallelSyncs: 1,
}

// nowhere is an address that no member has.
const nowhere = "10.9.9.9:6379"

// serverOf is the address of a member's pod.
func serverOf(ordinal int) string {
	return redisAddr(smallWorld([]situation{fencedEmpty, fencedEmpty, fencedEmpty}, 0).members[ordinal])
}

// says is a sentinel that calls an address master, by its last election.
func says(addr string, epoch int64) lookout {
	return lookout{addr: "s:26379", View: sentinel.View{
		Answers: true, Watches: true, Addr: addr, Epoch: epoch, Settings: someSettings,
	}}
}

func forgetful() lookout { return lookout{addr: "s:26379", View: sentinel.View{Answers: true}} }
func silent() lookout    { return lookout{addr: "s:26379"} }
func unborn() lookout    { return lookout{absent: true} }

func down(o lookout) lookout {
	o.Down = true
	return o
}

func replacing(o lookout) lookout {
	o.FailingOver = true
	return o
}

func knows(o lookout, replicas ...string) lookout {
	o.Replicas = replicas
	return o
}

// lookedAtBy gives a world sentinels that replace its masters.
func lookedAtBy(all ...lookout) change {
	return func(w *world) { w.lookouts = lookouts{wanted: 3, led: true, all: all, electedFor: followPatience} }
}

func TestElected(t *testing.T) {
	tests := map[string]struct {
		all  []lookout
		want string
	}{
		"all agree":                           {[]lookout{says("a", 1), says("a", 1), says("a", 1)}, "a"},
		"a majority agrees":                   {[]lookout{says("a", 1), says("a", 1), silent()}, "a"},
		"one is left":                         {[]lookout{says("a", 1), silent(), silent()}, ""},
		"one knows of a later election":       {[]lookout{says("a", 1), says("a", 1), says("b", 2)}, ""},
		"one has not heard of the last":       {[]lookout{says("b", 2), says("b", 2), says("a", 1)}, "b"},
		"they are divided":                    {[]lookout{says("a", 1), says("b", 1), silent()}, ""},
		"nobody watches":                      {[]lookout{forgetful(), forgetful(), forgetful()}, ""},
		"there are none":                      {nil, ""},
		"the rest has forgotten":              {[]lookout{says("a", 1), forgetful(), forgetful()}, ""},
		"epochs differ and the address not":   {[]lookout{says("a", 3), says("a", 0), forgetful()}, "a"},
		"one of five, three of which are off": {[]lookout{says("a", 1), says("a", 1), silent(), silent(), silent()}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := (lookouts{wanted: 3, all: tt.all}).elected(); got != tt.want {
				t.Errorf("elected %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhoIsMasterWhereSentinelsDecide(t *testing.T) {
	m0, m1 := serverOf(0), serverOf(1)
	wait := outcome{Verb: wait, Reason: v1alpha1.ReasonSentinelDecides}
	follow := outcome{Verb: promote, Master: "g-1"}
	all := func(o lookout) change { return lookedAtBy(o, o, o) }
	tests := map[string]situationTest{
		"the master serves": {
			in: []situation{masterData, syncedData}, changes: []change{all(says(m0, 1))}, want: outcome{Verb: keep, Master: "g-0"},
		},
		"a dead master is left to sentinels": {
			in: []situation{ended, cutOffData}, changes: []change{wasInSync(1), all(says(m0, 1))}, want: wait,
			message: "the sentinels replace the master",
		},
		"a silent master is left to sentinels": {
			in: []situation{unreachable, cutOffData}, changes: []change{wasInSync(1), silentFor(0, time.Hour), all(says(m0, 1))}, want: wait,
		},
		"without a majority nobody is replaced, and it is said": {
			in: []situation{ended, cutOffData}, changes: []change{wasInSync(1), lookedAtBy(says(m0, 1), silent(), silent())},
			want: wait, message: "only 1 of 3 sentinels answer",
		},
		"without a quorum nobody is replaced, and it is said": {
			in: []situation{ended, cutOffData}, changes: []change{wasInSync(1), lookedAtBy(says(m0, 1), says(m0, 1), silent()), quorum(3)},
			want: wait, message: "only 2 of 3 sentinels answer, where 3 have to agree",
		},
		"whoever they agreed on is followed": {
			in: []situation{ended, masterData}, changes: []change{all(says(m1, 2))}, want: follow,
		},
		"also while the old master takes writes again": {
			in: []situation{masterData, masterData}, changes: []change{knownMaster(0), all(says(m1, 2))}, want: follow,
		},
		"the dashboard has time to follow by itself": {
			in: []situation{ended, masterData}, changes: []change{all(says(m1, 2)), electedSince(time.Second)}, want: wait,
			message: "the dashboard is about to follow",
		},
		"who was master before the one that took over is not": {
			in: []situation{masterData, masterData, unreachable}, want: wait,
			changes: []change{overtakenInTurn, lookedAtBy(forgetful(), forgetful(), silent())}, message: "master g-2 does not answer",
		},
		"whoever they agreed on and who takes no writes is not made master": {
			in: []situation{masterData, syncedData}, changes: []change{all(says(m1, 2))}, want: outcome{Verb: keep, Master: "g-0"},
		},
		"an address that is no member's is not followed": {
			in: []situation{masterData, masterData}, changes: []change{all(says(nowhere, 2))}, want: outcome{Verb: keep, Master: "g-0"},
		},
		"a promotion that sentinels forgot is followed": {
			in: []situation{ended, masterData}, changes: []change{wasInSync(1), all(down(says(m0, 0)))}, want: follow,
		},
		"a master that was never in sync is not": {
			in: []situation{ended, masterData}, changes: []change{all(down(says(m0, 0)))}, want: wait,
		},
		"a master that was restarted and has everything goes on": {
			in: []situation{fencedData, neverSynced}, changes: []change{persistent, all(says(m0, 1))}, want: outcome{Verb: lift, Master: "g-0"},
		},
		"but not while they replace it": {
			in: []situation{fencedData, neverSynced}, changes: []change{persistent, lookedAtBy(replacing(says(m0, 1)), says(m0, 1), says(m0, 1))}, want: wait,
		},
		"a master that was restarted empty is left to sentinels": {
			in: []situation{fencedEmpty, cutOffData}, changes: []change{wasInSync(1), all(says(m0, 1))}, want: wait,
		},
		"who was elected last is waited for, whoever was master before": {
			in: []situation{fencedData, unreachable}, changes: []change{persistent, all(says(m1, 2))}, want: wait, message: "master g-1 does not answer",
		},
		"who was elected last and was restarted goes on": {
			in: []situation{fencedData, fencedData}, changes: []change{persistent, all(says(m1, 2))}, want: outcome{Verb: lift, Master: "g-1"},
		},
		"a replica is not what sentinels that missed a switchover make it": {
			in: []situation{unreachable, syncedData}, changes: []change{persistent, all(says(m1, 2))}, want: wait, message: "master g-0 does not answer",
		},
		"sentinels that watch nothing leave it to the operator": {
			in: []situation{ended, cutOffData}, changes: []change{wasInSync(1), all(forgetful())}, want: follow,
		},
		"but a promotion of theirs is followed, though they forgot it": {
			in: []situation{ended, masterData, cutOffData}, changes: []change{everybodyInSync, all(forgetful())}, want: follow,
		},
		"so do those that never ran": {
			in: []situation{ended, cutOffData}, changes: []change{wasInSync(1), lookedAtBy(forgetful(), unborn(), unborn())}, want: follow,
		},
		"one that does not answer may watch": {
			in: []situation{ended, cutOffData}, changes: []change{wasInSync(1), lookedAtBy(forgetful(), forgetful(), silent())}, want: wait,
		},
		"a person decides all the same": {
			in: []situation{ended, cutOffData}, changes: []change{accepted(1), all(says(m0, 1))}, want: follow,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.run(t, 0) })
	}
}

// overtakenInTurn: g-1 took over from g-0 without the dashboard, and g-2 was to from g-1.
func overtakenInTurn(w *world) {
	w.behind, w.members[1].redis.RunID = true, "new"
	w.masterRunID, w.promotedRunID, w.promoted = "new", "next", "g-2"
}

func silentFor(ordinal int, d time.Duration) change {
	return func(w *world) { w.members[ordinal].silent = d }
}

func quorum(n int) change { return func(w *world) { w.lookouts.quorum = n } }

func electedSince(d time.Duration) change { return func(w *world) { w.lookouts.electedFor = d } }

// The record that was read may be older than what sentinels did since.
func TestSecondMasterIsDisputedByWhoeverWatches(t *testing.T) {
	agreed := says(serverOf(1), 2)
	w := smallWorld([]situation{masterData, masterData}, 0).with([]change{
		knownMaster(0), lookedAtBy(agreed, agreed, agreed), ledByOperator,
	})
	if follows, held := decideFollowers(w, w.members[0]); len(follows) > 0 || held == "" {
		t.Errorf("%d follow, held %q", len(follows), held)
	}
	w.lookouts.all = []lookout{silent(), silent(), unborn()}
	if follows, held := decideFollowers(w, w.members[0]); len(follows) != 1 {
		t.Errorf("%d follow, held %q, where none is known to watch", len(follows), held)
	}
}

// A dashboard that lost its store is told of whom sentinels agreed on.
func TestFirstMasterIsWhomSentinelsAgreedOn(t *testing.T) {
	in := []situation{unreachable, masterData}
	agreed := says(serverOf(1), 3)
	w := smallWorld(in, -1).with([]change{lastMaster(0), lookedAtBy(agreed, agreed, agreed)})
	situationCheck(t, w, outcome{Verb: keep, Master: "g-1"}, "")
	w.lookouts.led = false
	situationCheck(t, w, outcome{Verb: wait, Reason: v1alpha1.ReasonProgressing}, "waiting for g-0")
}

// The dashboard lost its store and the master was started again, all at once.
func TestFirstMasterIsLeftToSentinelsThatKnowTheLastOne(t *testing.T) {
	m0, m1 := serverOf(0), serverOf(1)
	wait := outcome{Verb: wait, Reason: v1alpha1.ReasonSentinelDecides}
	survivor := outcome{Verb: lift, Master: "g-1"}
	all := func(o lookout) change { return lookedAtBy(o, o, o) }
	tests := map[string]situationTest{
		"they are about to elect a replica": {in: []situation{fencedEmpty, syncedData}, changes: []change{wasInSync(1), all(says(m0, 1))}, want: wait},
		"they have forgotten the group":     {in: []situation{fencedEmpty, syncedData}, changes: []change{wasInSync(1), all(forgetful())}, want: survivor},
		"a person decides":                  {in: []situation{fencedEmpty, syncedData}, changes: []change{accepted(1), all(says(m0, 1))}, want: survivor},
		"who they know was started again":   {in: []situation{fencedEmpty, fencedData}, changes: []change{all(says(m1, 1))}, want: survivor},
		"they are replacing him":            {in: []situation{fencedEmpty, fencedData}, changes: []change{all(replacing(says(m1, 1)))}, want: wait},
		"the operator replaces masters":     {in: []situation{fencedEmpty, syncedData}, changes: []change{wasInSync(1), all(says(m0, 1)), ledByOperator}, want: survivor},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.changes = append([]change{lastMaster(0)}, tt.changes...)
			tt.run(t, -1)
		})
	}
}

func ledByOperator(w *world) { w.lookouts.led = false }

func TestSecondMasterIsDisputed(t *testing.T) {
	m0 := serverOf(0)
	tests := map[string]struct {
		all  []lookout
		held bool
	}{
		"all agree on the other":        {[]lookout{says(m0, 1), says(m0, 1), says(m0, 1)}, false},
		"one finds the other down":      {[]lookout{says(m0, 1), says(m0, 1), down(says(m0, 1))}, true},
		"one is replacing the other":    {[]lookout{says(m0, 1), says(m0, 1), replacing(says(m0, 1))}, true},
		"one does not answer":           {[]lookout{says(m0, 1), says(m0, 1), silent()}, true},
		"they agreed on the second one": {[]lookout{says(serverOf(1), 2), says(serverOf(1), 2), says(serverOf(1), 2)}, true},
		"they watch nothing":            {[]lookout{forgetful(), forgetful(), forgetful()}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, masterEmpty}, 0).with([]change{lookedAtBy(tt.all...)})
			follows, held := decideFollowers(w, w.members[0])
			if (held != "") != tt.held || (len(follows) == 0) != tt.held {
				t.Errorf("%d follow, held %q", len(follows), held)
			}
			if tt.held && !strings.Contains(held, "takes writes as well") {
				t.Errorf("held %q", held)
			}
		})
	}
}

func TestReplicaOfAnAddressFollowsTheMemberThatHasIt(t *testing.T) {
	tests := map[string]struct {
		addr    string
		follows bool
	}{
		"the address of the master's pod":  {serverOf(0), true},
		"that of the other replica":        {serverOf(2), false},
		"an address that was the master's": {nowhere, false},
		"the fence":                        {"127.0.0.1:1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, syncedData, syncedData}, 0)
			w.members[1].redis.MasterAddr = tt.addr
			w.nameMasters()
			if got := w.members[1].redis.Follows(w.members[0].addr); got != tt.follows {
				t.Errorf("follows: %v, want %v", got, tt.follows)
			}
			if !w.members[2].redis.Follows(w.members[0].addr) {
				t.Error("one that follows the name does not count")
			}
		})
	}
}

// While sentinels leave, one of them may have every replica follow the address again.
func TestReplicasFollowTheNameOnceNoSentinelCanRun(t *testing.T) {
	tests := map[string]struct{ asked, led, byName bool }{
		"sentinels are asked for":       {true, false, false},
		"sentinels replace masters":     {true, true, false},
		"sentinels leave":               {false, true, false},
		"the operator replaces masters": {false, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			want := serverOf(0)
			if tt.asked {
				s.dashboard.Spec.Sentinel = &v1alpha1.SentinelSettings{}
			}
			if tt.led {
				s.group.Status.FailoverBy = v1alpha1.FailoverBySentinel
			}
			if tt.byName {
				want = memberAddr(0)
			}
			if got := s.masterAddr(s.world.members[0]); got != want {
				t.Errorf("follow %s, want %s", got, want)
			}
		})
	}
}

func TestReplicasAreReaddressedOneAtATime(t *testing.T) {
	m0 := serverOf(0)
	w := smallWorld([]situation{masterData, syncedData, syncedData}, 0)
	w.nameMasters()
	next := func(by string) []string {
		var names []string
		for _, m := range w.readdress(nil, "", w.members[0], by) {
			names = append(names, m.name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"g-1"}, next(m0)); diff != "" {
		t.Error("by address: " + diff)
	}
	if got := next(w.members[0].addr); got != nil {
		t.Errorf("by name: %v, want none", got)
	}
	w.members[1].redis.MasterAddr = m0
	w.nameMasters()
	if diff := cmp.Diff([]string{"g-2"}, next(m0)); diff != "" {
		t.Error("the second: " + diff)
	}
	w.members[1].redis.LinkUp = false
	if got := next(m0); got != nil {
		t.Errorf("%v while one copies", got)
	}
	if got := w.readdress(nil, "held", w.members[0], m0); got != nil {
		t.Errorf("%d while followers are held", len(got))
	}
}

func TestElectionIsRecordedWhereTheDashboardFollowedByItself(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 9, 0, time.UTC)
	tests := map[string]struct {
		prepare func(s *state)
		took    int64
	}{
		"the master was seen to fail":       {func(*state) {}, 7000},
		"nobody saw it fail":                {func(s *state) { s.before.Status.Conditions = nil }, 0},
		"it is the same master":             {func(s *state) { s.group.Status.Master = "g-1" }, -1},
		"it is the first master":            {func(s *state) { s.group.Status.Master = "" }, -1},
		"sentinels say nothing about it":    {func(s *state) { s.world.lookouts.all = nil }, -1},
		"the operator replaces masters":     {func(s *state) { s.group.Status.FailoverBy = "" }, -1},
		"the operator has promoted it":      {func(s *state) { s.group.Status.Promotion = &v1alpha1.Promotion{} }, -1},
		"it is not decided who is master":   {func(s *state) { s.decision.verb = wait }, -1},
		"a member takes writes beside it":   {func(s *state) { s.held = "held" }, -1},
		"the one before was told otherwise": {func(s *state) { s.group.Status.LastFailover = &v1alpha1.FailoverRecord{From: "g-1", To: "g-0"} }, 7000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := &v1alpha1.CodisGroup{}
			g.Status.Master, g.Status.FailoverBy = "g-0", v1alpha1.FailoverBySentinel
			g.Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionMasterReachable, Status: metav1.ConditionFalse, LastTransitionTime: metav1.NewTime(now.Add(-7 * time.Second)),
			}}
			agreed := says(serverOf(1), 2)
			s := &state{group: g, before: g.DeepCopy()}
			s.world = smallWorld([]situation{ended, masterData}, 1).with([]change{lookedAtBy(agreed, agreed, agreed)})
			s.decision = decision{verb: keep, master: &s.world.members[1]}
			tt.prepare(s)
			before := g.Status.LastFailover
			reportElection(s, now)
			last := g.Status.LastFailover
			if recorded := last != before; recorded != (tt.took >= 0) || recorded != s.elected {
				t.Fatalf("recorded %v, to be told %v", last, s.elected)
			}
			if tt.took >= 0 && (last.From != "g-0" || last.To != "g-1" || last.Cause != v1alpha1.CauseSentinel || last.DurationMilliseconds != tt.took) {
				t.Errorf("recorded %+v", last)
			}
		})
	}
}
