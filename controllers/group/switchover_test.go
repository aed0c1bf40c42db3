// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

func TestSwitchoverWaitsUntilAllIsInOrder(t *testing.T) {
	const id = 7
	tests := map[string]struct {
		change func(w *world, stats *codis.Stats)
		to     string
		held   string
	}{
		"all is in order":       {func(*world, *codis.Stats) {}, "g-1", ""},
		"is the master already": {func(*world, *codis.Stats) {}, "g-0", ""},
		"is no member":          {func(*world, *codis.Stats) {}, "h-1", "no such member"},
		"is not registered":     {func(w *world, _ *codis.Stats) { w.order = w.order[:1] }, "g-1", "does not know"},
		"its link is down":      {func(w *world, _ *codis.Stats) { w.members[1].redis.LinkUp = false }, "g-1", "not in sync"},
		"is being copied to":    {func(w *world, _ *codis.Stats) { w.members[1].redis.Syncing = true }, "g-1", "not in sync"},
		"follows somebody else": {func(w *world, _ *codis.Stats) { w.members[1].redis.MasterAddr = strayAddr }, "g-1", "not in sync"},
		"is new":                {func(w *world, _ *codis.Stats) { w.members[1].young = true }, "g-1", "less than 35 s"},
		"was not recorded yet":  {func(w *world, _ *codis.Stats) { w.inSync = nil }, "g-1", "not in sync"},
		"nobody is registered":  {func(w *world, _ *codis.Stats) { w.order = nil }, "g-1", "does not know"},
		"its volume is old": {func(w *world, _ *codis.Stats) {
			w.persistent, w.members[1].redis.Saving = true, true
		}, "g-1", "to its volume"},
		"it has no volume": {func(w *world, _ *codis.Stats) { w.members[1].redis.Saving = true }, "g-1", ""},
		"is leaving":       {func(w *world, _ *codis.Stats) { w.members[1].leaving = true }, "g-1", "not in sync"},
		"a proxy is deaf":  {func(w *world, _ *codis.Stats) { w.deafProxies = []string{"p-1"} }, "g-1", "p-1"},
		"sentinels watch the master": {func(w *world, _ *codis.Stats) {
			lookedAtBy(says(serverOf(0), 1), says(serverOf(0), 1), silent())(w)
		}, "g-1", ""},
		"one sentinel finds the master down": {func(w *world, _ *codis.Stats) {
			lookedAtBy(down(says(serverOf(0), 1)), says(serverOf(0), 1), says(serverOf(0), 1))(w)
		}, "g-1", ""},
		"as many sentinels find it down as have to": {func(w *world, _ *codis.Stats) {
			lookedAtBy(down(says(serverOf(0), 1)), down(says(serverOf(0), 1)), says(serverOf(0), 1))(w)
		}, "g-1", "find g-0 down"},
		"one finds it down and one cannot be asked": {func(w *world, _ *codis.Stats) {
			lookedAtBy(down(says(serverOf(0), 1)), silent(), says(serverOf(0), 1))(w)
		}, "g-1", "find g-0 down"},
		"a sentinel is replacing it": {func(w *world, _ *codis.Stats) {
			lookedAtBy(replacing(says(serverOf(0), 1)), says(serverOf(0), 1), says(serverOf(0), 1))(w)
		}, "g-1", "may be making another member master"},
		"a sentinel hangs":       {func(w *world, _ *codis.Stats) { w.lookouts.mute = "d-sentinel-1" }, "g-1", "d-sentinel-1 hangs"},
		"a slot leaves":          {func(_ *world, s *codis.Stats) { s.Slots[0].Action.State = "pending" }, "g-1", "on their way"},
		"a slot of others moves": {func(_ *world, s *codis.Stats) { s.Slots[1].Action.State = "pending" }, "g-1", ""},
		"a slot comes": {func(_ *world, s *codis.Stats) {
			s.Slots[1].Action = codis.SlotAction{State: "migrating", TargetID: id}
		}, "g-1", "on their way"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld([]situation{masterData, syncedData}, 0)
			everybodyInSync(&w)
			stats := &codis.Stats{Slots: []codis.SlotMapping{{ID: 0, GroupID: id}, {ID: 1, GroupID: id + 1}}}
			tt.change(&w, stats)
			got := switchoverHeld(w, stats, id, &w.members[0], w.byName(tt.to))
			if (got == "") != (tt.held == "") || !strings.Contains(got, tt.held) {
				t.Errorf("held %q, want %q", got, tt.held)
			}
			if tt.held == "on their way" { // They are until a promotion that was left half-done is finished.
				got = ""
			}
			if held := handOverHeld(w, &w.members[0], w.byName(tt.to)); held != got {
				t.Errorf("with slots on their way held %q, want %q", held, got)
			}
		})
	}
}

func TestHandOverFromWhoeverTookOver(t *testing.T) {
	tests := map[string]struct {
		index  int
		change func(s *state)
		want   string
	}{
		"the third one is master":                {1, func(*state) {}, "g-1"},
		"the candidate itself is master":         {2, func(*state) {}, ""},
		"the dashboard is not behind":            {1, func(s *state) { s.world.behind = false }, ""},
		"a person gives up what the master took": {1, func(s *state) { s.world.accepted = "g-1" }, ""},
		"the dashboard names nobody":             {3, func(*state) {}, ""},
		"somebody else was to be, and is silent": {1, silentHeir("g-0"), "g-1"},
		"the candidate was to be, and is silent": {0, silentHeir("g-0"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(ended, syncedData, masterData)
			s.world.behind, s.world.promoted, s.world.promotedRunID = true, "g-2", s.world.members[2].redis.RunID
			tt.change(s)
			known := &codis.Group{}
			for _, m := range s.world.members {
				known.Servers = append(known.Servers, codis.GroupServer{Addr: m.addr})
			}
			known.Promoting.State, known.Promoting.Index = "prepared", tt.index
			got := ""
			if to := s.handOverTaken(known); to != nil {
				got = to.name
			}
			if got != tt.want || s.halfDone != (tt.want != "") {
				t.Errorf("hands over to %q, want %q", got, tt.want)
			}
			if tt.want != "" && (s.decision.verb != keep || s.decision.master.name != "g-2") {
				t.Errorf("decided %+v", s.decision)
			}
		})
	}
}

// silentHeir was to take the place of g-2, which takes writes, and cannot be asked.
func silentHeir(name string) func(s *state) {
	return func(s *state) {
		s.world.masterRunID, s.world.promotedRunID, s.world.promoted = s.world.promotedRunID, "next", name
		s.world.byName(name).dead = false
	}
}

func TestInterruptedSwitchoverIsFound(t *testing.T) {
	promotion := func(member string, cause v1alpha1.FailoverCause) *v1alpha1.Promotion {
		return &v1alpha1.Promotion{Member: member, Cause: cause}
	}
	tests := map[string]struct {
		promotion *v1alpha1.Promotion
		want      bool
	}{
		"none":                        {nil, false},
		"before the dashboard was":    {promotion("g-1", v1alpha1.CauseSwitchover), true},
		"after the dashboard was":     {promotion("g-0", v1alpha1.CauseSwitchover), false},
		"a failover locks no slots":   {promotion("g-1", v1alpha1.CauseMasterSilent), false},
		"nor does who becomes master": {promotion("g-0", ""), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			s.group.Status.Promotion = tt.promotion
			if got := s.interrupted(); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// routingProxies have these routes, by their addresses; others do not answer.
type routingProxies struct {
	proxies

	routes map[string][]codis.Route
}

func (p routingProxies) Routes(_ context.Context, addr string) ([]codis.Route, error) {
	routes, answers := p.routes[addr]
	if !answers {
		return nil, errors.New("no answer")
	}
	return routes, nil
}

func TestProxiesTellWhereRequestsGo(t *testing.T) {
	s := stateOfWorld(masterData, syncedData)
	gid, before, after := int(s.group.Spec.ID), memberAddr(0), memberAddr(1)
	route := func(master string, locked bool) codis.Route {
		return codis.Route{Group: gid, Master: master, Locked: locked}
	}
	other := codis.Route{Group: gid + 1, Master: strayAddr}
	locked, unlocked, told := route(before, true), route(before, false), route(after, false)
	tests := map[string]struct {
		first, second []codis.Route // nil is no answer
		gone          bool          // the second
		want          routesSeen
	}{
		"one knows the new master":            {first: []codis.Route{other, told}, second: []codis.Route{locked, unlocked}, want: routesSeen{to: []string{after, before}}},
		"one does, the other cannot be asked": {first: []codis.Route{told}, want: routesSeen{to: []string{after}, held: true, silent: true}},
		"all hold the requests":               {first: []codis.Route{locked, other}, second: []codis.Route{locked, locked}, want: routesSeen{held: true}},
		"none has routes yet":                 {first: []codis.Route{other}, second: []codis.Route{route("", false)}},
		"one has a slot that comes in":        {first: []codis.Route{{Group: gid, Master: before, FromGroup: gid + 1, From: strayAddr}}, second: []codis.Route{other}, want: routesSeen{to: []string{before}}},
		"one has a slot that goes away":       {first: []codis.Route{{Group: gid + 1, Master: strayAddr, FromGroup: gid, From: after}}, second: []codis.Route{other}, want: routesSeen{to: []string{after}}},
		"one has a slot that is open":         {first: []codis.Route{locked}, second: []codis.Route{locked, unlocked}, want: routesSeen{to: []string{before}, held: true}},
		"one tells no routes":                 {first: []codis.Route{other}, want: routesSeen{held: true, silent: true}},
		"one has ended":                       {first: []codis.Route{other}, gone: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.routers = []router{
				{Proxy: codis.Proxy{AdminAddr: "a"}, answers: true}, {Proxy: codis.Proxy{AdminAddr: "b"}, answers: !tt.gone, gone: tt.gone},
			}
			routes := map[string][]codis.Route{"a": tt.first}
			if tt.second != nil {
				routes["b"] = tt.second
			}
			s.proxies = routingProxies{routes: routes}
			if diff := cmp.Diff(tt.want, s.seeRoutes(t.Context()), cmp.AllowUnexported(routesSeen{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Without the dashboard an old master goes on only where the new one took no write.
func TestInvariant4SwitchoverIsEndedByWhatProxiesTell(t *testing.T) {
	lost := change(func(w *world) { w.members[1].redis.RunID = "other" })
	tests := map[string]struct {
		in     []situation
		change change
		seen   routesSeen
		want   switchoverEnd
	}{
		"the new master is one, and a proxy leads to it":          {in: []situation{masterData, masterData}, seen: routesSeen{to: addrs(1, 0)}, want: endForward},
		"it is one, and all hold":                                 {in: []situation{masterData, masterData}, want: endForward},
		"it is one, and the old one goes on":                      {in: []situation{masterData, masterData}, seen: routesSeen{to: addrs(0)}, want: endBack},
		"it is one, and a proxy cannot be asked":                  {in: []situation{masterData, masterData}, seen: routesSeen{silent: true}},
		"it is none":                                              {in: []situation{masterData, syncedData}, seen: routesSeen{to: addrs(1)}, want: endBack},
		"it is none, and a proxy cannot be asked":                 {in: []situation{masterData, syncedData}, seen: routesSeen{silent: true}, want: endBack},
		"it is silent, and a proxy leads to it":                   {in: []situation{masterData, unreachable}, seen: routesSeen{to: addrs(1)}, want: endForward},
		"it is silent, and all hold":                              {in: []situation{masterData, unreachable}, want: endBack},
		"it is silent, and the old one goes on":                   {in: []situation{masterData, unreachable}, seen: routesSeen{to: addrs(0)}, want: endBack},
		"it is silent, and so is a proxy":                         {in: []situation{masterData, unreachable}, seen: routesSeen{silent: true}},
		"it is silent, and a person accepts the loss":             {in: []situation{masterData, unreachable}, change: accepted(0), seen: routesSeen{silent: true}, want: endBack},
		"it ended, and a proxy leads to it":                       {in: []situation{masterData, ended}, seen: routesSeen{to: addrs(1)}, want: endBack},
		"it was started again, and a proxy leads to it":           {in: []situation{masterData, fencedEmpty}, change: lost, seen: routesSeen{to: addrs(1)}, want: endBack},
		"it was started again with its volume, and a proxy leads": {in: []situation{masterData, fencedData}, change: both(lost, persistent), seen: routesSeen{to: addrs(1)}, want: endForward},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld(tt.in, 0)
			p := v1alpha1.Promotion{Member: "g-1", RunID: w.members[1].redis.RunID, From: "g-0"}
			if tt.change != nil {
				tt.change(&w)
			}
			if got := w.switchoverEnd(p, &w.members[1], tt.seen); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			p.Outcome = v1alpha1.PromotionTakenBack
			if got := w.switchoverEnd(p, &w.members[1], tt.seen); got != endBack {
				t.Errorf("taken back, and %q", got)
			}
		})
	}
}

func both(first, second change) change {
	return func(w *world) { first(w); second(w) }
}

// Two operators may act for a moment, when one was held up.
func TestSwitchoverOfAnotherOperatorIsNotUndone(t *testing.T) {
	tests := map[string]struct {
		age, givenUp time.Duration // givenUp 0 is never
		want         bool
	}{
		"just begun":                          {age: lockLimit - 1},
		"begun long ago":                      {lockLimit, 0, true},
		"given up by this one":                {time.Second, time.Millisecond, true},
		"this one gave up the one before it":  {time.Second, 2 * time.Second, false},
		"this one gave it up when it was new": {time.Second, time.Second, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 0)
			s := stateOfWorld(masterData, syncedData)
			s.group.Status.Promotion = &v1alpha1.Promotion{StartTime: metav1.NewMicroTime(now.Add(-tt.age))}
			if tt.givenUp > 0 {
				l.r.givenUp.Store(s.group.UID, now.Add(-tt.givenUp))
			}
			if got := l.r.ended(s); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// Clients wait for the slots that another operator locked, whatever its clock says.
func TestSwitchoverEndsThoughAnotherClockIsAhead(t *testing.T) {
	l := newLab(t, 0)
	s := stateOfWorld(masterData, syncedData)
	begun := func(ahead time.Duration) {
		s.group.Status.Promotion = &v1alpha1.Promotion{StartTime: metav1.NewMicroTime(now.Add(ahead))}
	}
	ends := func(want bool) {
		t.Helper()
		if got := l.r.ended(s); got != want {
			t.Errorf("got %t, want %t", got, want)
		}
	}
	begun(time.Hour)
	ends(false)
	l.clock.Step(lockLimit - 1)
	ends(false)
	l.clock.Step(1)
	ends(true)
	begun(2 * time.Hour) // Another one.
	ends(false)
}

// movingDashboard has a step of a move that ends after so many looks.
type movingDashboard struct {
	dashboard

	steps int
	after *codis.Stats
	err   error
}

func (d *movingDashboard) HoldMoves(context.Context, *codis.Stats) (idle bool, err error) {
	d.steps--
	return d.steps < 0, d.err
}

func (d *movingDashboard) Stats(context.Context) (*codis.Stats, error) { return d.after, d.err }

func TestSwitchoverWaitsForTheStepOfAMove(t *testing.T) {
	with := func(group int, state string) *codis.Stats {
		return &codis.Stats{Slots: []codis.SlotMapping{{ID: 0, GroupID: group, Action: codis.SlotAction{State: state}}}}
	}
	broken := errors.New("broken")
	tests := map[string]struct {
		before *codis.Stats
		moving movingDashboard
		want   error
		looks  int
	}{
		"nothing moves":               {with(2, ""), movingDashboard{steps: 9}, nil, 0},
		"the step ends":               {with(2, "migrating"), movingDashboard{steps: 2, after: with(2, "pending")}, nil, 3},
		"a slot of the group came in": {with(2, "migrating"), movingDashboard{after: with(1, "pending")}, errProxiesChanged, 1},
		"the dashboard goes":          {with(2, "migrating"), movingDashboard{err: broken}, broken, 1},
		"the step does not end":       {with(2, "migrating"), movingDashboard{steps: 1 << 20}, errMovesRun, -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stateOfWorld(masterData, syncedData)
				dashboard, steps := tt.moving, tt.moving.steps
				s.stats, s.api = tt.before, &dashboard
				if err := s.stopMoves(t.Context()); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if looks := steps - dashboard.steps; tt.looks >= 0 && looks != tt.looks {
					t.Errorf("%d looks, want %d", looks, tt.looks)
				}
				if tt.want == nil && tt.looks > 0 && s.stats != dashboard.after {
					t.Error("the slots were not looked at again")
				}
			})
		})
	}
}
