// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/redis"
)

// cutOffMaster is a group of three whose master's node is cut off, with a proxy.
// Its writes were guarded for long enough.
func cutOffMaster() world {
	w := silentMaster()
	w.members[0].silent, w.guarded, w.deafProxies = refusalTime, true, []string{"p-1"}
	w.members[1].deaf, w.members[2].deaf = refusalTime, refusalTime
	return w
}

func TestFailoverWhereAProxyOrTheDashboardIsCutOff(t *testing.T) {
	waitsForMaster := waits(v1alpha1.ReasonMasterUnreachable)
	tests := map[string]struct {
		change  func(w *world)
		want    outcome
		message string
	}{
		"the master refuses writes":          {func(*world) {}, promotes(1), ""},
		"the same without a dashboard":       {func(w *world) { w.blind = true }, promotes(1), ""},
		"it does not refuse them yet":        {func(w *world) { w.members[0].silent-- }, waitsForMaster, "until it refuses writes"},
		"nor does it without a dashboard":    {func(w *world) { w.members[0].silent--; w.blind, w.deafProxies = true, nil }, waitsForMaster, "until it refuses writes"},
		"every proxy is told":                {func(w *world) { w.members[0].silent--; w.deafProxies = nil }, promotes(1), ""},
		"its writes are not guarded":         {func(w *world) { w.guarded = false }, waitsForMaster, "p-1 with it"},
		"a replica may be with it":           {func(w *world) { w.members[2].redis = redis.Observation{} }, waitsForMaster, "p-1 with it"},
		"that replica has ended":             {func(w *world) { w.members[2].redis, w.members[2].dead = redis.Observation{}, true }, promotes(1), ""},
		"not guarded, without a dashboard":   {func(w *world) { w.guarded, w.blind, w.deafProxies = false, true, nil }, waitsForMaster, "the dashboard does not answer either"},
		"dead, without a dashboard":          {func(w *world) { w.members[0].dead, w.guarded, w.blind = true, false, true }, promotes(1), ""},
		"a replica was with it a moment ago": {func(w *world) { w.members[2].deaf-- }, waitsForMaster, "until it refuses writes"},
		"a replica broke its link a moment ago": {func(w *world) {
			w.members[2].redis.LinkUp, w.members[2].deaf, w.members[2].redis.LinkDown = false, 0, 4*time.Second
		}, waitsForMaster, "until it refuses writes"},
		"a replica broke its link long ago": {func(w *world) {
			w.members[2].redis.LinkUp, w.members[2].deaf, w.members[2].redis.LinkDown = false, 0, 5*time.Second
		}, promotes(1), ""},
		"a replica hears the guarded master": {func(w *world) { w.members[1].deaf = 0 }, waitsForMaster, "g-1 still hears it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := cutOffMaster()
			tt.change(&w)
			situationCheck(t, w, tt.want, tt.message)
		})
	}
}

// The dashboard calls g-0 the master; the proxies were told of g-1.
func TestTheDashboardIsToldWhoTakesWrites(t *testing.T) {
	recorded := func(w *world) { w.masterRunID = "new" }
	tests := map[string]struct {
		in     []situation
		change func(w *world)
		want   outcome
	}{
		"it was recorded":                   {[]situation{masterData, masterData}, recorded, promotes(1)},
		"it was about to be":                {[]situation{masterData, masterData}, func(w *world) { w.masterRunID, w.promotedRunID = "run", "new" }, promotes(1)},
		"the old master is back":            {[]situation{fencedData, masterData}, recorded, promotes(1)},
		"the old master is away":            {[]situation{ended, masterData}, func(w *world) { recorded(w); w.inSync = map[string]bool{"g-1": true} }, promotes(1)},
		"a switchover to it was taken back": {[]situation{masterData, masterData}, func(w *world) { w.masterRunID, w.promotedRunID, w.switching = "run", "new", true }, keeps(0)},
		"a switchover that the dashboard carried out": {[]situation{masterData, masterData}, func(w *world) {
			w.masterRunID, w.promotedRunID, w.switching, w.promoted, w.order = "run", "new", true, "g-1", addrs(1, 0)
		}, keeps(1)},
		"it is silent by now": {[]situation{fencedData, unreachable}, func(w *world) { w.lastMaster, w.persistent = "g-1", true }, waits(v1alpha1.ReasonMasterUnreachable)},
		"another one was to be, and is silent": {[]situation{masterData, unreachable}, func(w *world) {
			w.masterRunID, w.promotedRunID, w.promoted, w.found, w.order = "run", "new", "g-1", true, addrs(1, 0)
		}, waits(v1alpha1.ReasonMasterUnreachable)},
		"another one was to be, and has ended": {[]situation{masterData, ended}, func(w *world) {
			w.masterRunID, w.promotedRunID, w.promoted, w.found, w.order = "run", "new", "g-1", true, addrs(1, 0)
		}, promotes(0)},
		"another one was to be, and does not take writes": {[]situation{masterData, syncedData}, func(w *world) {
			w.masterRunID, w.promotedRunID, w.promoted, w.found, w.order = "run", "new", "g-1", true, addrs(1, 0)
		}, promotes(0)},
		"a third one was to be, and is silent, and the dashboard's is back": {[]situation{masterData, masterData, unreachable}, overtakenInTurn, waits(v1alpha1.ReasonMasterUnreachable)},
		"a third one was to be, and has ended, and the dashboard's is back": {[]situation{masterData, masterData, ended}, overtakenInTurn, promotes(1)},
		"it did not come to it":              {[]situation{masterData, syncedData}, func(w *world) { w.masterRunID, w.promotedRunID = "run", "new" }, keeps(0)},
		"no proxy was told":                  {[]situation{masterData, masterData}, func(w *world) { recorded(w); w.behind = false }, keeps(0)},
		"somebody else made another master":  {[]situation{masterData, masterData}, func(w *world) { w.masterRunID = "run" }, keeps(0)},
		"it was started again and is fenced": {[]situation{masterData, fencedData}, recorded, keeps(0)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld(tt.in, 0)
			w.behind = true
			if m := &w.members[1]; m.redis.IsMaster() {
				m.redis.RunID = "new"
			}
			tt.change(&w)
			situationCheck(t, w, tt.want, "")
		})
	}
}

func TestOrderThatTheDashboardHad(t *testing.T) {
	tests := map[string]struct {
		change func(s *state)
		want   []string
	}{
		"the master first":         {func(s *state) { s.group.Status.Master = "g-1" }, addrs(1, 0, 2)},
		"nobody was master":        {func(s *state) { s.group.Status.Master = "" }, nil},
		"it is no member":          {func(s *state) { s.group.Status.Master = "g-9" }, nil},
		"no client needs it":       {func(s *state) { s.group.Status.Slots = 0 }, nil},
		"there is no dashboard":    {func(s *state) { s.dashboard = nil }, nil},
		"the first is as good too": {func(*state) {}, addrs(0, 1, 2)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData, syncedData)
			s.world.order, s.stats = nil, nil
			s.group.Status.Master, s.group.Status.Slots = "g-0", 512
			tt.change(s)
			if got := s.recallOrder(); got != (tt.want != nil) || s.world.blind != got {
				t.Errorf("recalled %t, blind %t", got, s.world.blind)
			}
			if diff := cmp.Diff(tt.want, s.world.order); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhoMayTakeOverBeforeTheDashboardKnows(t *testing.T) {
	tests := map[string]struct {
		in     situation
		change func(w *world)
		want   bool
	}{
		"from a master that ended":        {ended, func(*world) {}, true},
		"from one that was started again": {fencedData, func(*world) {}, true},
		"from one that follows":           {syncedData, func(*world) {}, true},
		"not from one that takes writes":  {masterData, func(*world) {}, false},
		"not from one that is silent":     {unreachable, func(*world) {}, false},
		"but if it refuses writes": {unreachable, func(w *world) {
			w.guarded, w.members[0].silent = true, refusalTime
			w.members[1].redis.LinkDown, w.members[2].redis.LinkDown = 5*time.Second, 5*time.Second
		}, true},
		"or if a person accepts the loss":    {unreachable, func(w *world) { w.accepted = "g-1" }, true},
		"not if a person accepts another's":  {unreachable, func(w *world) { w.accepted = "g-2" }, false},
		"not from one that lives, by nobody": {masterData, func(w *world) { w.accepted = "g-1" }, false},
		"if the dashboard tells all proxies": {unreachable, func(w *world) { w.blind = false }, true},
		"not while it refuses to":            {unreachable, func(w *world) { w.blind, w.refusing = false, true }, false},
		"not while a proxy is deaf":          {unreachable, func(w *world) { w.blind, w.deafProxies = false, []string{"p-1"} }, false},
		"not past one that was about to take over and is silent": {ended, func(w *world) {
			w.promoted, w.promotedRunID, w.members[2].redis = "g-2", "r", redis.Observation{}
		}, false},
		"past one whose taking over was taken back": {ended, func(w *world) {
			w.promoted, w.members[2].redis = "g-2", redis.Observation{}
		}, true},
		"not past the last master, which the dashboard does not know of": {ended, func(w *world) {
			w.lastMaster, w.members[2].redis = "g-2", redis.Observation{}
		}, false},
		"not while a proxy leads to somebody else": {ended, func(w *world) { w.routes.to = addrs(0, 2) }, false},
		"not while one leads to somebody silent": {ended, func(w *world) {
			w.routes.to, w.members[2].redis = addrs(2), redis.Observation{}
		}, false},
		"while one leads to somebody who ended": {ended, func(w *world) {
			w.routes.to, w.members[2].redis, w.members[2].dead = addrs(2), redis.Observation{}, true
		}, true},
		"while one leads to somebody who was started again": {ended, func(w *world) {
			w.routes.to, w.members[2].redis.MasterAddr = addrs(2), redis.FenceAddr
		}, true},
		"while proxies lead to the old master":                 {ended, func(w *world) { w.routes.to = addrs(0) }, true},
		"while one leads to it":                                {ended, func(w *world) { w.routes.to = addrs(1) }, true},
		"while one leads to a stranger":                        {ended, func(w *world) { w.routes.to = []string{strayAddr} }, true},
		"not while somebody has proxies hold the requests":     {ended, func(w *world) { w.routes.held = true }, false},
		"while they hold them for a promotion of this group's": {ended, func(w *world) { w.routes.held, w.promoted = true, "g-1" }, true},
		"not while they hold them for that of another member":  {ended, func(w *world) { w.routes.held, w.promoted = true, "g-2" }, false},
		"while they hold them for a switchover that stopped":   {ended, func(w *world) { w.routes.held, w.promoted, w.switching = true, "g-2", true }, true},
		"while they hold them and were told by the operator":   {ended, func(w *world) { w.routes.held, w.behind = true, true }, true},
		"while they hold them, if a person accepts the loss":   {ended, func(w *world) { w.routes.held, w.accepted = true, "g-1" }, true},
		"not past the last master that takes writes": {ended, func(w *world) {
			w.lastMaster, w.members[2].redis.Role = "g-2", redis.RoleMaster
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in, cutOffData, cutOffData)
			s.world.blind = true
			tt.change(&s.world)
			if got := routed(failover{world: s.world, candidate: &s.world.members[1]}) == nil; got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestWritesThatAreGuarded(t *testing.T) {
	protect := func(p v1alpha1.Protection) func(s *state) {
		return func(s *state) { s.group.Spec.Failover = &v1alpha1.Failover{SplitBrainProtection: p} }
	}
	three, two := []situation{masterData, syncedData, fencedData}, []situation{masterData, syncedData}
	tests := map[string]struct {
		in      []situation
		change  func(s *state)
		leaving string
		want    bool
	}{
		"of a group of three":              {three, func(*state) {}, "", true},
		"not of a group of two":            {two, func(*state) {}, "", false},
		"of a group of two that asks":      {two, protect(v1alpha1.ProtectionEnabled), "", true},
		"not where it is not asked for":    {three, protect(v1alpha1.ProtectionDisabled), "", false},
		"as by default":                    {three, protect(v1alpha1.ProtectionAuto), "", true},
		"not while no replica is in sync":  {[]situation{masterData, fencedData, cutOffData}, func(*state) {}, "", false},
		"not when the last one goes":       {three, func(*state) {}, "g-1", false},
		"when another one goes":            {three, func(*state) {}, "g-2", true},
		"not while the last one is going":  {three, func(s *state) { s.world.members[1].leaving = true }, "", false},
		"not where the last one is deaf":   {three, func(s *state) { s.world.members[1].deaf = 2 * defaultSilence }, "", false},
		"while it only begins to be":       {three, func(s *state) { s.world.members[1].deaf = defaultSilence }, "", true},
		"not where nothing else is chosen": {two, func(s *state) { s.group.Spec.Failover = &v1alpha1.Failover{} }, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			tt.change(s)
			if got := s.guardsWrites(tt.leaving); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// What the status says of the guard is never more than what is so.
func TestGuardIsTakenBackOnlyAfterItIsRecorded(t *testing.T) {
	l := newLab(t, 1)
	s := l.state(masterData)
	master := &s.world.members[0]
	observe := func() { master.redis = s.servers.Observe(t.Context(), redisAddr(*master)) }
	s.group.Status.Writes = v1alpha1.WritesGuarded
	if err := l.r.Client.Create(t.Context(), s.group); err != nil {
		t.Fatal(err)
	}
	s.before = s.group.DeepCopy()
	s.decision = decision{verb: keep, master: master}
	l.server(0).TakeWrites()
	observe()
	if err := l.r.guardWrites(t.Context(), s, true); err != nil {
		t.Fatal(err)
	}
	if observe(); !master.redis.WritesGuarded {
		t.Fatal("writes are not guarded")
	}
	if l.server(0).Set(fixture.Dataset{"a": "1"}) {
		t.Error("a guarded master without replicas takes writes")
	}
	answer := func(outcome fixture.Outcome) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.outcome["CONFIG"] = outcome
	}
	answer(fixture.Fail)
	if err := l.r.guardWrites(t.Context(), s, false); err == nil {
		t.Error("a server that breaks off is no error")
	}
	if stored(t, l.r.Client).Status.Writes == v1alpha1.WritesGuarded {
		t.Error("the status still says that writes are guarded")
	}
	answer(fixture.Pass)
	if err := l.r.guardWrites(t.Context(), s, false); err != nil {
		t.Fatal(err)
	}
	if observe(); master.redis.WritesGuarded || !l.server(0).Set(fixture.Dataset{"a": "1"}) {
		t.Error("writes are still guarded")
	}
}

func TestMasterThatSomebodyElseMayHaveMadeIsNotDemotedBlindly(t *testing.T) {
	for name, tt := range map[string]struct {
		blind, behind, want bool
	}{
		"the dashboard answers":        {want: true},
		"it does not":                  {blind: true},
		"it does not, the other is it": {blind: true, behind: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, masterEmpty}, 0)
			w.blind, w.behind = tt.blind, tt.behind
			follows, held := decideFollowers(w, w.members[0])
			if got := len(follows) == 1; got != tt.want || got != (held == "") {
				t.Errorf("%d follow, held %q", len(follows), held)
			}
		})
	}
}

// A dashboard that cannot reach a proxy sends all of them back to the old master.
func TestAMasterThatCameBackIsFencedBeforeTheDashboardIsTold(t *testing.T) {
	tests := map[string]struct {
		change func(s *state)
		fenced bool
		stale  bool
	}{
		"the dashboard calls it the master":                  {func(*state) {}, true, false},
		"the dashboard knows":                                {func(s *state) { s.world.order = addrs(1, 0) }, false, false},
		"proxies know no more than the dashboard":            {func(s *state) { s.world.behind = false }, false, false},
		"it does not answer":                                 {func(s *state) { s.world.members[0].redis = redis.Observation{} }, false, false},
		"the group was changed since, maybe by a switchover": {func(s *state) { s.group.ResourceVersion = "1" }, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2)
			s := l.state(masterData, masterData)
			for i := range s.world.members {
				l.server(i).TakeWrites()
				s.world.members[i].redis = s.servers.Observe(t.Context(), redisAddr(s.world.members[i]))
			}
			if err := l.r.Client.Create(t.Context(), s.group); err != nil {
				t.Fatal(err)
			}
			s.world.behind, s.world.order = true, addrs(0, 1)
			tt.change(s)
			stale, err := l.r.demote(t.Context(), s, s.world.members[1])
			if err != nil || stale != tt.stale {
				t.Fatalf("stale %t: %v", stale, err)
			}
			old := s.servers.Observe(t.Context(), redisAddr(s.world.members[0]))
			if old.Fenced() != tt.fenced || tt.fenced == old.IsMaster() {
				t.Errorf("the old master is %+v", old)
			}
			if m := s.servers.Observe(t.Context(), redisAddr(s.world.members[1])); !m.IsMaster() {
				t.Errorf("the new master is %+v", m)
			}
		})
	}
}

// Who was master refuses writes only while no replica is with it.
func TestReplicasLeaveWhoeverMayBeMasterStill(t *testing.T) {
	tests := map[string]struct {
		of     int // whom g-0 and g-2 follow; g-0 is the dashboard's master, g-3 takes over
		change func(s *state)
		fenced []string
	}{
		"the dashboard's master": {0, func(*state) {}, []string{"g-2"}},
		"the one that took its place, which the dashboard does not know": {1, func(*state) {}, []string{"g-0", "g-2"}},
		"not one that has ended": {1, func(s *state) { s.world.members[1].dead = true }, nil},
		"not the new one":        {3, func(*state) {}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 4)
			s := l.state(unreachable, unreachable, unreachable, unreachable)
			for _, i := range []int{0, 2} {
				m := &s.world.members[i]
				seen := s.servers.Observe(t.Context(), redisAddr(*m))
				if i == tt.of {
					continue
				}
				if err := s.servers.Follow(t.Context(), redisAddr(*m), seen, memberAddr(tt.of)); err != nil {
					t.Fatal(err)
				}
				m.redis = s.servers.Observe(t.Context(), redisAddr(*m))
			}
			tt.change(s)
			if err := l.r.detach(t.Context(), s, s.world.members[3]); err != nil {
				t.Fatal(err)
			}
			var fenced []string
			for _, m := range s.world.members {
				if now := s.servers.Observe(t.Context(), redisAddr(m)); now.Fenced() != m.redis.Fenced() {
					t.Errorf("%s is %+v, and the pass believes %+v", m.name, now, m.redis)
				} else if now.Fenced() {
					fenced = append(fenced, m.name)
				}
			}
			if diff := cmp.Diff(tt.fenced, fenced); diff != "" {
				t.Error(diff)
			}
		})
	}
}
