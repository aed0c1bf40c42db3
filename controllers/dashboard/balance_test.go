// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/planner"
)

// auto is what is wanted by default.
var auto = wanting{policy: v1alpha1.RebalanceAuto, by: v1alpha1.RebalanceBySlots, concurrent: 4, patience: slowAnswer}

// healthy is the view of groups that are well.
func healthy(ids ...int) []groupView {
	views := ready(ids...)
	for i := range views {
		views[i].registered, views[i].reachable = true, true
	}
	return views
}

// with changes the view of one group.
func with(views []groupView, id int, change func(*groupView)) []groupView {
	for i := range views {
		if views[i].id == id {
			change(&views[i])
		}
	}
	return views
}

// act gives slots an action.
func act(s *codis.Stats, state string, to int, slots ...int) *codis.Stats {
	for _, slot := range slots {
		s.Slots[slot].Action = codis.SlotAction{State: state, TargetID: to}
	}
	return s
}

// use tells what the masters of groups use, of how much.
func use(s *codis.Stats, limit int64, used map[int]int64) *codis.Stats {
	s.Group.Stats = map[string]codis.ServerStats{}
	for id, bytes := range used {
		var server codis.ServerStats
		server.Stats.UsedMemory, server.Stats.MaxMemory = fmt.Sprint(bytes), fmt.Sprint(limit)
		s.Group.Stats[s.GroupByID(id).Servers[0].Addr] = server
	}
	return s
}

func pairs(moves []planner.Move) string {
	var out []string
	for _, m := range plannedMoves(moves) {
		out = append(out, fmt.Sprintf("%d>%d %s", m.From, m.To, m.Slots))
	}
	return strings.Join(out, "; ")
}

// late makes answers of a group's master take a time.
func late(latency time.Duration) func(g *groupView) {
	return func(g *groupView) { g.latency = latency }
}

func TestDecideBalance(t *testing.T) {
	two := layout.Even([]int{1, 2})
	leave := func(g *groupView) { g.leaving = true }
	tests := map[string]struct {
		stats                *codis.Stats
		groups               []groupView
		change               func(*wanting)
		moves, cancel        string
		left                 int
		full, slow           []int
		failing              string
		pause, waits, strand bool
	}{
		"balanced":       {stats: stats(two, 1, 2), groups: healthy(1, 2)},
		"a group joins":  {stats: stats(two, 1, 2, 3), groups: healthy(1, 2, 3), moves: "2>3 960-1023; 1>3 448-511", left: 341},
		"one at a time":  {stats: stats(two, 1, 2, 3), groups: healthy(1, 2, 3), change: func(w *wanting) { w.concurrent = 1 }, moves: "2>3 960-1023", left: 341},
		"a group leaves": {stats: stats(two, 1, 2), groups: with(healthy(1, 2), 2, leave), moves: "2>1 960-1023", left: 512},
		"a group that is not in sync gets nothing yet": {
			stats: stats(two, 1, 2, 3), groups: append(healthy(1, 2), groupView{id: 3, registered: true, reachable: true}),
		},
		"a group that the dashboard does not know gets nothing yet": {stats: stats(two, 1, 2), groups: healthy(1, 2, 3)},
		"a group that owns slots shares although a replica lags": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 1, func(g *groupView) { g.inSync = false }),
			moves: "2>3 960-1023; 1>3 448-511", left: 341,
		},
		"a group that leaves and owns nothing is no target": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 3, leave),
		},
		"a group without a CodisGroup keeps what it has": {stats: stats(two, 1, 2), groups: healthy(1)},
		"all leave": {
			stats: stats(two, 1, 2), groups: with(with(healthy(1, 2), 1, leave), 2, leave), strand: true,
		},
		"slots without an owner come first": {stats: stats(layout.Layout{1: {0, 1, 2}}, 1, 2), groups: healthy(1, 2)},
		"the policy is Off": {
			stats: stats(two, 1, 2, 3), groups: healthy(1, 2, 3), change: func(w *wanting) { w.policy = v1alpha1.RebalanceOff },
		},
		"the policy is Manual": {
			stats: stats(two, 1, 2, 3), groups: healthy(1, 2, 3), change: func(w *wanting) { w.policy = v1alpha1.RebalanceManual },
			left: 341, waits: true,
		},
		"the policy is Manual and what is pending does not fit": {
			stats: act(stats(two, 1, 2), "pending", 2, 0, 1), groups: healthy(1, 2), change: func(w *wanting) { w.policy = v1alpha1.RebalanceManual },
			waits: true,
		},
		"a person agrees": {
			stats: stats(two, 1, 2, 3), groups: healthy(1, 2, 3),
			change: func(w *wanting) { w.policy, w.approved = v1alpha1.RebalanceManual, true }, moves: "2>3 960-1023; 1>3 448-511", left: 341,
		},
		"moves that were queued by somebody and do not fit are cancelled": {
			stats: act(stats(two, 1, 2), "pending", 2, 0, 1), groups: healthy(1, 2), cancel: "1>2 0-1",
		},
		"moves are paused": {
			stats: stats(two, 1, 2, 3), groups: healthy(1, 2, 3), change: func(w *wanting) { w.paused = true }, left: 341, pause: true,
		},
		"a group gets another master": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 2, func(g *groupView) { g.promoting = true }),
			left: 341, pause: true, failing: "group 2 gets another master",
		},
		"a master does not answer": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 1, func(g *groupView) { g.reachable = false }),
			left: 341, pause: true, failing: "the master of group 1 does not answer",
		},
		"the master of a group without slots does not answer": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 3, func(g *groupView) { g.reachable, g.inSync = false, false }),
		},
		"a target has room for some": {
			stats: use(stats(two, 1, 2, 3), 1000<<20, map[int]int64{1: 512 << 20, 2: 512 << 20, 3: 880 << 20}), groups: healthy(1, 2, 3),
			moves: "2>3 1008-1023; 1>3 496-499", left: 341, full: []int{3},
		},
		"a target is full": {
			stats: use(stats(two, 1, 2, 3), 1000<<20, map[int]int64{1: 512 << 20, 2: 512 << 20, 3: 950 << 20}), groups: healthy(1, 2, 3),
			left: 341, full: []int{3},
		},
		"a target filled up": {
			stats: act(use(stats(two, 1, 2, 3), 1000<<20, map[int]int64{1: 512 << 20, 2: 512 << 20, 3: 950 << 20}), "pending", 3, 0, 1), groups: healthy(1, 2, 3),
			left: 341, full: []int{3}, cancel: "1>3 0-1",
		},
		"a target answers late": {
			stats: act(stats(two, 1, 2, 3), "pending", 3, 0, 1), groups: with(healthy(1, 2, 3), 3, late(slowAnswer+1)),
			left: 341, full: []int{3}, slow: []int{3}, cancel: "1>3 0-1",
		},
		"a target answers just in time": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 3, late(slowAnswer)), moves: "2>3 960-1023; 1>3 448-511", left: 341,
		},
		"a group that nothing moves to answers late": {
			stats: stats(two, 1, 2, 3), groups: with(healthy(1, 2, 3), 1, late(time.Second)), moves: "2>3 960-1023; 1>3 448-511", left: 341,
		},
		"servers without a limit are never full": {
			stats: use(stats(two, 1, 2, 3), 0, map[int]int64{1: 1 << 40, 2: 1 << 40, 3: 1 << 40}), groups: healthy(1, 2, 3),
			moves: "2>3 960-1023; 1>3 448-511", left: 341,
		},
		"by memory": {
			stats: use(stats(two, 1, 2), 0, map[int]int64{1: 3 << 30, 2: 1 << 30}), groups: healthy(1, 2),
			change: func(w *wanting) { w.by = v1alpha1.RebalanceByMemory }, moves: "1>2 448-511", left: 171,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := auto
			if tt.change != nil {
				tt.change(&want)
			}
			got := decideBalance(tt.stats, tt.groups, want)
			if diff := cmp.Diff([]string{tt.moves, tt.cancel}, []string{pairs(got.move.Moves), pairs(got.cancel)}); diff != "" {
				t.Errorf("moves and cancels: %s", diff)
			}
			if diff := cmp.Diff([][]int{tt.full, tt.slow}, [][]int{got.move.Full, got.slow}); diff != "" {
				t.Errorf("full and slow: %s", diff)
			}
			if got.plan.Left() != tt.left || got.pause != tt.pause || got.failing != tt.failing ||
				got.waits() != tt.waits || (got.plan.Stranded > 0) != tt.strand {
				t.Errorf("got %d left, pause %v, failing %q, waits %v, %d stranded",
					got.plan.Left(), got.pause, got.failing, got.waits(), got.plan.Stranded)
			}
		})
	}
}

func TestWhatIsWanted(t *testing.T) {
	d := &v1alpha1.CodisDashboard{}
	if diff := cmp.Diff(auto, wantingOf(d), cmp.AllowUnexported(wanting{})); diff != "" {
		t.Errorf("by default: %s", diff)
	}
	d.Spec.Rebalance, d.Spec.Migration = &v1alpha1.Rebalance{}, &v1alpha1.Migration{State: v1alpha1.MigrationRunning}
	if diff := cmp.Diff(auto, wantingOf(d), cmp.AllowUnexported(wanting{})); diff != "" {
		t.Errorf("with nothing set: %s", diff)
	}
	d.Annotations = map[string]string{v1alpha1.AnnotationRebalance: "now"}
	d.Spec.Migration.State = v1alpha1.MigrationPaused
	d.Spec.Rebalance = &v1alpha1.Rebalance{
		Policy: v1alpha1.RebalanceManual, By: v1alpha1.RebalanceByMemory, MaxConcurrentMoves: new(int32(7)),
	}
	d.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRebalanced, Reason: v1alpha1.ReasonTargetSlow}}
	want := wanting{v1alpha1.RebalanceManual, v1alpha1.RebalanceByMemory, 7, true, true, slowAnswer / 2}
	if diff := cmp.Diff(want, wantingOf(d), cmp.AllowUnexported(wanting{})); diff != "" {
		t.Errorf("with all set: %s", diff)
	}
}

func TestRunsJoinNeighbours(t *testing.T) {
	var got []string
	for _, run := range runs([]planner.Move{
		{Slot: 11, From: 2, To: 4},
		{Slot: 8, From: 1, To: 3},
		{Slot: 9, From: 1, To: 4},
		{Slot: 5, From: 1, To: 3},
		{Slot: 6, From: 1, To: 3},
		{Slot: 10, From: 2, To: 4},
	}) {
		got = append(got, pairs(run))
	}
	if diff := cmp.Diff([]string{"1>3 5-6", "1>3 8", "1>4 9", "2>4 10-11"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBalanceConditionSaysWhatMovesWaitFor(t *testing.T) {
	moving := func(s *state) {
		s.balance.plan.Moves = []planner.Move{{Slot: 1, From: 1, To: 2}, {Slot: 2, From: 2, To: 3}}
	}
	tests := map[string]struct {
		prepare func(s *state)
		want    string
		says    string
	}{
		"balanced":          {func(*state) {}, "True Ready", "every group has its share"},
		"nobody looked":     {silent, "Unknown DashboardUnreachable", "does not answer"},
		"slots come first":  {func(s *state) { s.stats = stats(nil) }, "False WaitingForGroups", "no owner yet"},
		"nothing shall":     {func(s *state) { s.balance.policy = v1alpha1.RebalanceOff }, "True Disabled", "spec.rebalance.policy is Off"},
		"slots move":        {moving, "False Rebalancing", "slots move from groups 1, 2 to groups 2, 3"},
		"the act is denied": {func(s *state) { moving(s); s.notMoved = errors.New("move slot 1: no") }, "False DashboardRefused", "refused to move slot 1: no"},
		"nobody takes them": {func(s *state) { s.balance.plan.Stranded = 5 }, "False NoGroupForSlots", "5 slots"},
		"a person decides": {
			func(s *state) { moving(s); s.balance.policy = v1alpha1.RebalanceManual }, "False ApprovalNeeded", "codis.io/rebalance=now",
		},
		"a person decided":  {func(s *state) { moving(s); s.balance.policy, s.balance.approved = v1alpha1.RebalanceManual, true }, "False Rebalancing", "slots move"},
		"failover is first": {func(s *state) { moving(s); s.balance.failing, s.balance.pause = "group 1 x", true }, "False FailoverFirst", "group 1 x"},
		"paused":            {func(s *state) { moving(s); s.balance.pause = true }, "False MigrationPaused", "spec.migration.state"},
		"a slot is stuck":   {func(s *state) { moving(s); s.stuck = "slot 1 is stuck" }, "False SlotStuck", "slot 1 is stuck"},
		"a target is slow":  {func(s *state) { moving(s); s.balance.slow, s.balance.move.Full = []int{3}, []int{3} }, "False TargetSlow", "groups 3 take more than 100ms"},
		"a target is full":  {func(s *state) { moving(s); s.balance.move.Full = []int{3} }, "False TargetFull", "groups 3 would use more than 90%"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := converged()
			tt.prepare(s)
			got := balanceCondition(s)
			if word := string(got.Status) + " " + got.Reason; word != tt.want || !strings.Contains(got.Message, tt.says) {
				t.Errorf("got %s: %s", word, got.Message)
			}
		})
	}
}

func TestProgressIsToldEveryFiveSeconds(t *testing.T) {
	s := converged()
	at := func(seconds, left int) *v1alpha1.RebalanceStatus {
		s.balance.plan = planner.Plan{Moves: make([]planner.Move, left)}
		reportSlots(s, time.Unix(int64(seconds), 0))
		return s.dashboard.Status.Rebalance
	}
	told := func(moved, left int32, seconds, start, update int64) *v1alpha1.RebalanceStatus {
		return &v1alpha1.RebalanceStatus{
			Moved: moved, Left: left, EstimatedSecondsLeft: seconds,
			StartTime: metav1.Unix(start, 0), UpdateTime: metav1.Unix(update, 0),
		}
	}
	steps := []struct {
		seconds, left int
		want          *v1alpha1.RebalanceStatus
	}{
		{0, 0, nil},
		{100, 300, told(0, 300, 0, 100, 100)},
		{104, 280, told(0, 300, 0, 100, 100)},
		{105, 250, told(50, 250, 25, 100, 105)},
		{110, 250, told(50, 250, 25, 100, 105)}, // Nothing new is not told again.
		{115, 200, told(100, 200, 30, 100, 115)},
		{116, 0, told(300, 0, 0, 100, 116)},
		{120, 0, told(300, 0, 0, 100, 116)},
		{200, 7, told(0, 7, 0, 200, 200)},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, at(step.seconds, step.left)); diff != "" {
			t.Errorf("at %d with %d left: %s", step.seconds, step.left, diff)
		}
	}
}

func TestAPlanThatWaitsIsShownOnce(t *testing.T) {
	s := converged()
	s.balance = balance{policy: v1alpha1.RebalanceManual, plan: planner.Plan{Moves: []planner.Move{{Slot: 5, From: 1, To: 2}, {Slot: 6, From: 1, To: 2}}}}
	reportSlots(s, time.Unix(100, 0))
	want := &v1alpha1.RebalanceStatus{
		Left: 2, StartTime: metav1.Unix(100, 0), UpdateTime: metav1.Unix(100, 0),
		Plan: []v1alpha1.PlannedMove{{From: 1, To: 2, Slots: "5-6"}},
	}
	for _, seconds := range []int64{100, 200} {
		reportSlots(s, time.Unix(seconds, 0))
		if diff := cmp.Diff(want, s.dashboard.Status.Rebalance); diff != "" {
			t.Errorf("after %d seconds: %s", seconds, diff)
		}
	}
	s.balance.approved = true
	reportSlots(s, time.Unix(300, 0))
	want = &v1alpha1.RebalanceStatus{Left: 2, StartTime: metav1.Unix(300, 0), UpdateTime: metav1.Unix(300, 0)}
	if diff := cmp.Diff(want, s.dashboard.Status.Rebalance); diff != "" {
		t.Errorf("once it is approved: %s", diff)
	}
}

// What is recorded while slots move is seconds old at most, and says that they moved.
func TestTheLayoutIsRecordedWithTheProgress(t *testing.T) {
	s := converged()
	s.stats = act(stats(layout.Even([]int{1, 2}), 1, 2, 3), "migrating", 3, 511)
	s.balance.plan = planner.Plan{Moves: make([]planner.Move, 9)}
	reportSlots(s, time.Unix(100, 0))
	if got := s.dashboard.Status; got.Slots.Migrating != 1 || len(got.Layout) != 2 {
		t.Errorf("%+v, %+v", got.Slots, got.Layout)
	}
	s.stats.Slots[511] = codis.SlotMapping{ID: 511, GroupID: 3}
	s.balance.plan = planner.Plan{Moves: make([]planner.Move, 8)}
	reportSlots(s, time.Unix(104, 0))
	if got := s.dashboard.Status; got.Slots.Migrating != 1 || len(got.Layout) != 2 {
		t.Errorf("too early: %+v, %+v", got.Slots, got.Layout)
	}
	reportSlots(s, time.Unix(105, 0))
	if got := s.dashboard.Status; got.Slots.Migrating != 0 || len(got.Layout) != 3 {
		t.Errorf("%+v, %+v", got.Slots, got.Layout)
	}
}

// A store that was emptied takes nothing of the record with it.
func TestALostStoreLeavesTheRecordOfMoves(t *testing.T) {
	s := converged()
	s.stats = act(stats(layout.Even([]int{1, 2}), 1, 2, 3), "migrating", 3, 511)
	s.balance.plan = planner.Plan{Moves: make([]planner.Move, 9)}
	reportSlots(s, time.Unix(100, 0))
	s.stats, s.balance = stats(nil), balance{}
	reportSlots(s, time.Unix(200, 0))
	got := s.dashboard.Status
	if got.Slots.Offline != 1024 || got.Slots.Migrating != 1 || len(got.Layout) != 2 || got.Rebalance.Left != 9 {
		t.Errorf("%+v, %+v, %+v", got.Slots, got.Layout, got.Rebalance)
	}
}

func TestAStuckSlotIsNamed(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(100, 0))
	r := &Reconciler{Clock: clock}
	s := converged()
	s.dashboard.UID = "u"
	s.stats = act(stats(layout.Even([]int{1, 2}), 1, 2), "migrating", 2, 7)
	look := func(after time.Duration, status string) string {
		clock.Step(after)
		s.stats.SlotAction.Progress.Status = status
		return r.watchMoves(s)
	}
	steps := []struct {
		name   string
		after  time.Duration
		status string
		stuck  bool
	}{
		{"at first", 0, "[OK] Slot[0007]@DB[0]=9", false},
		{"a while later", 59 * time.Second, "[OK] Slot[0007]@DB[0]=9", false},
		{"a minute later", time.Second, "[OK] Slot[0007]@DB[0]=9", true},
		{"it goes on", time.Second, "[OK] Slot[0007]@DB[0]=8", false},
		{"it fails", time.Second, "[ERROR] Slot[0007]: read tcp 10.0.0.1:40001->10.0.0.2:6379: i/o timeout", false},
		{"it fails for long", time.Minute, "[ERROR] Slot[0007]: read tcp 10.0.0.1:40002->10.0.0.2:6379: i/o timeout", true},
	}
	for _, step := range steps {
		if got := look(step.after, step.status); (got != "") != step.stuck {
			t.Errorf("%s: %q", step.name, got)
		}
	}
	s.stats.Proxy.Models = []codis.Proxy{{Token: "t", Hostname: "p-1"}}
	want := "slot 7, on its way from group 1 to group 2, gets no further: Slot[0007]: read tcp 10.0.0.2:6379: i/o timeout; " +
		"proxies that do not answer the dashboard: p-1"
	if diff := cmp.Diff(want, look(0, s.stats.SlotAction.Progress.Status)); diff != "" {
		t.Error(diff)
	}
	s.stats.SlotAction.Disabled = true
	if got := look(time.Hour, ""); got != "" {
		t.Errorf("while paused: %s", got)
	}
	s.stats.SlotAction.Disabled = false
	if got := look(0, ""); got != "" {
		t.Errorf("right after the pause: %s", got)
	}
}

func TestALayoutRecordedWhileSlotsMovedIsCorrectedByKeys(t *testing.T) {
	recorded := layout.Even([]int{1, 2})
	tests := map[string]struct {
		stats   *codis.Stats
		groups  []groupView
		assigns string
		waiting string
	}{
		"nobody holds a key": {stats(nil, 1, 2, 3), healthy(1, 2, 3), "0-511 to group 1; 512-1023 to group 2", ""},
		"a slot has moved since": {
			stats(nil, 1, 2, 3), with(healthy(1, 2, 3), 3, func(g *groupView) { g.keySlots = "510-511" }),
			"0-509 to group 1; 512-1023 to group 2; 510-511 to group 3", "",
		},
		"a slot was under way": {
			stats(nil, 1, 2, 3), with(with(healthy(1, 2, 3), 3, func(g *groupView) { g.keySlots = "511" }), 1, func(g *groupView) { g.keySlots = "5,511" }),
			"", "groups 1 and 3 both hold keys of slot 511, which was moving when",
		},
		"a group has not told yet": {
			stats(nil, 1, 2, 3), with(healthy(1, 2, 3), 2, func(g *groupView) { g.registered = false }), "", "waiting for group 2",
		},
		"a master is silent": {
			stats(nil, 1, 2, 3), with(healthy(1, 2, 3), 2, func(g *groupView) { g.reachable = false }), "", "waiting for group 2",
		},
		"a group is not back": {stats(nil, 1), healthy(1, 2), "", "waiting for group 2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := decideAssignment(tt.stats, recorded, true, nil, tt.groups)
			if diff := cmp.Diff(tt.assigns, shares(got.slots)); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(got.waiting, tt.waiting) || (got.waiting == "") != (tt.waiting == "") {
				t.Errorf("waits for %q, want %q", got.waiting, tt.waiting)
			}
		})
	}
}
