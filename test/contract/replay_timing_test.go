// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
)

// unrecorded is what happened to the world between the recorded requests, keyed by the note of the request that
// came after it.
var unrecorded = map[string]func(*scene){
	"stats, two groups of two in sync, two proxies online (slots cut to the first 2 of 1024)": func(s *scene) {
		s.d.mustAssign(0, slotCount/2-1, 1)
		s.d.mustAssign(slotCount/2, slotCount-1, 2)
	},
	"slow migration down (microseconds between steps)": func(s *scene) {
		c := &cluster{world: s.world}
		conn := dial(s.t, s.proxies[0].client)
		conn.text("COMMAND")
		c.load(s.proxies[0].client, 20000)
	},
	// Slot 50 has to have its action still when it is asked for a second one.
	"migrate slots 0..63 to group 2": func(s *scene) { s.d.ok("slots/action/disabled", 1) },
	"stats while slots migrate: slots 0..12 and slot_action": func(s *scene) {
		s.d.ok("slots/action/disabled", 0)
	},
	"rebalance plan":                    func(s *scene) { s.d.settled() },
	"proxy stats with one proxy killed": func(s *scene) { s.proxies[1].proc.kill() },
	"server stats with the master of group 2 killed (stats of the live ones cut)": func(s *scene) {
		s.servers[2].proc.kill()
	},
}

// timed are the requests whose recorded answers depend on how far the dashboard's loops had come.
var timed = map[string]func(*scene, record){
	"again while pending or done":                                    (*scene).replaySecondSyncAction,
	"stats while slots migrate: slots 0..12 and slot_action":         (*scene).replayMigrating,
	"promote while a migration runs":                                 (*scene).replayPromoteWhileMigrating,
	"slot_action when paused":                                        (*scene).replayPaused,
	"cancel a pending slot action (or an error when it has started)": (*scene).replayCancel,
	"rebalance plan":                                                 (*scene).replayRebalance,
}

// replaySecondSyncAction is refused while the first one is pending, which ends within a second. If the loop took it
// in between, the second one is accepted, and pending itself.
func (s *scene) replaySecondSyncAction(r record) {
	got, err := s.exchange(s.d.addr, r)
	if err == nil && got.isOK() {
		got, err = s.exchange(s.d.addr, r)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if want := (reply{status: r.Status, body: r.Response}).cause(); got.cause() != want {
		s.t.Errorf("got %q, want %q", got.cause(), want)
	}
}

// replayMigrating: what is certain is that slots go one after the other, in the order of their numbers.
func (s *scene) replayMigrating(record) {
	eventually(s.t, patience, "the first of the slots has moved", func() bool {
		return s.d.stats().Slots[0].GroupID == 2
	})
	s.checkMigration()
	if got := s.d.stats().SlotAction; got.Interval != 20000 || got.Disabled || got.Executor > 1 {
		s.t.Errorf("slot_action is %+v", got)
	}
}

// checkMigration: in the order of their numbers slots have moved, are at most one of them under way, and wait.
func (s *scene) checkMigration() {
	s.t.Helper()
	phase := 0
	for _, m := range s.d.stats().Slots[:64] {
		now := map[string]int{"": 0, "pending": 2}[m.Action.State]
		if m.Action.State != "" && m.Action.State != "pending" {
			now = 1
		}
		if now < phase || now == 1 && phase == 1 {
			s.t.Fatalf("slot %d is %+v after a slot of a later phase", m.ID, m)
		}
		phase = now
		wantGroup, wantTarget := 2, 0
		if now > 0 {
			wantGroup, wantTarget = 1, 2
		}
		if m.GroupID != wantGroup || m.Action.TargetID != wantTarget {
			s.t.Fatalf("slot %d is %+v", m.ID, m)
		}
	}
}

var migrationRuns = regexp.MustCompile(`^slots-migration is running = 1$`)

// replayPromoteWhileMigrating is accepted between two steps, and refused during one.
func (s *scene) replayPromoteWhileMigrating(r record) {
	eventually(s.t, patience, "the promotion falls between two steps", func() bool {
		got, err := s.exchange(s.d.addr, r)
		if err != nil || got.isOK() {
			return err == nil
		}
		if !migrationRuns.MatchString(got.cause()) {
			s.t.Fatalf("promote: %s", got.cause())
		}
		return false
	})
}

// replayPaused: the steps end, and the slots stay where they are.
func (s *scene) replayPaused(record) {
	eventually(s.t, patience, "no step runs", func() bool {
		got := s.d.stats().SlotAction
		return got.Interval == 20000 && got.Disabled && got.Executor == 0
	})
	s.checkMigration()
}

// replayCancel is accepted as when recorded unless slot 60 has already started, or even gone.
func (s *scene) replayCancel(r record) {
	got, err := s.exchange(s.d.addr, r)
	if err != nil {
		s.t.Fatal(err)
	}
	switch {
	case got.isOK():
		s.kept60 = true
	case got.cause() == "slot-[60] action isn't pending", got.cause() == "slot-[60] action doesn't exist":
	default:
		s.t.Errorf("cancel: %s", got.cause())
	}
}

// replayRebalance: the plan is the recorded one, or one slot longer if slot 60 has gone to group 2 too.
func (s *scene) replayRebalance(r record) {
	var want, plan map[string]int
	if err := json.Unmarshal(r.Response, &want); err != nil {
		s.t.Fatal(err)
	}
	if !s.kept60 {
		want[fmt.Sprint(960)] = 1
	}
	got, err := s.exchange(s.d.addr, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(got.body, &plan); err != nil || !maps.Equal(plan, want) {
		s.t.Errorf("rebalance: got %s, want %v", got.body, want)
	}
}
