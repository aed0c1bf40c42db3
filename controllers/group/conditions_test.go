// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/product"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// conditionsOf writes conditions as "status reason" by type.
func conditionsOf(list []metav1.Condition) map[string]string {
	found := map[string]string{}
	for _, c := range list {
		found[c.Type] = string(c.Status) + " " + c.Reason
	}
	return found
}

// expected writes what is wanted of a group without volumes, in the order Ready,
// Available, WorkloadReady, MasterReachable, ReplicasInSync, Registered.
func expected(values ...string) map[string]string {
	wanted := map[string]string{v1alpha1.ConditionVolumesReady: "True Disabled"}
	for i, t := range []string{
		v1alpha1.ConditionReady, v1alpha1.ConditionAvailable, v1alpha1.ConditionWorkloadReady,
		v1alpha1.ConditionMasterReachable, v1alpha1.ConditionReplicasInSync, v1alpha1.ConditionRegistered,
	} {
		wanted[t] = values[i]
	}
	return wanted
}

func unreachableDashboard(s *state) {
	s.stats, s.decision = nil, decision{}
	s.world.order = nil
	s.problem = &product.Problem{Reason: v1alpha1.ReasonDashboardUnreachable, Message: "the dashboard does not answer yet"}
}

func TestReportSetsEveryConditionInEveryState(t *testing.T) {
	const good = "True Ready"
	tests := map[string]struct {
		in      []situation
		prepare func(s *state)
		want    map[string]string
		state   string
		ready   string
	}{
		"a converged group": {
			in:   []situation{masterData, syncedData},
			want: expected(good, good, good, good, good, good), state: stateStable, ready: "2/2",
		},
		"a replica is copying": {
			in:    []situation{masterData, syncingData},
			want:  expected("False ReplicaNotInSync", good, good, good, "False ReplicaNotInSync", good),
			state: stateHealing, ready: "1/2",
		},
		"the master is silent": {
			in: []situation{unreachable, cutOffData},
			want: expected("False MasterUnreachable", "False MasterUnreachable", good, "False MasterUnreachable",
				"False ReplicaNotInSync", "False Progressing"),
			state: stateHealing, ready: "0/2",
		},
		"nothing safe can be chosen": {
			in: []situation{fencedData, unreachable},
			want: expected("False PromotionHeld", "False PromotionHeld", good, "False PromotionHeld",
				"False ReplicaNotInSync", "False Progressing"),
			state: stateHeld, ready: "0/2",
		},
		"a follower is held back": {
			in:    []situation{masterEmpty, fencedData},
			want:  expected("False PromotionHeld", good, good, good, "False PromotionHeld", good),
			state: stateHeld, ready: "1/2",
		},
		"a member is about to be master": {
			in: []situation{fencedEmpty, cutOffData},
			want: expected("False Progressing", "False Progressing", good, "False Progressing",
				"False ReplicaNotInSync", "False Progressing"),
			state: stateHealing, ready: "0/2",
		},
		"the dashboard refuses to promote": {
			in:      []situation{fencedEmpty, cutOffData},
			prepare: func(s *state) { s.refused = errors.New("promote g-1: slots-migration is running = 3") },
			want: expected("False DashboardRefused", "False DashboardRefused", good, "False DashboardRefused",
				"False ReplicaNotInSync", "False DashboardRefused"),
			state: stateHealing, ready: "0/2",
		},
		"the dashboard does not answer": {
			in: []situation{masterData, syncedData}, prepare: unreachableDashboard,
			want: expected("False DashboardUnreachable", "False DashboardUnreachable", good, "Unknown DashboardUnreachable",
				"Unknown DashboardUnreachable", "Unknown DashboardUnreachable"),
			state: stateProgressing, ready: "1/2",
		},
		"the dashboard does not answer, the last master does": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { unreachableDashboard(s); s.group.Status.Master = memberName(0) },
			want:    expected("False DashboardUnreachable", good, good, good, good, "Unknown DashboardUnreachable"),
			state:   stateProgressing, ready: "2/2",
		},
		"nothing was looked at": {
			in:      []situation{unreachable, unreachable},
			prepare: func(s *state) { unreachableDashboard(s); s.problem = nil },
			want: expected("False NotObserved", "False NotObserved", good, "Unknown NotObserved", "Unknown NotObserved",
				"Unknown NotObserved"),
			state: stateProgressing, ready: "0/2",
		},
		"the dashboard object is missing": {
			in: []situation{unreachable, unreachable},
			prepare: func(s *state) {
				unreachableDashboard(s)
				s.live, s.dashboard, s.pods = nil, nil, nil
				s.problem = &product.Problem{Reason: v1alpha1.ReasonDashboardMissing, Message: "create it"}
			},
			want: expected("False DashboardMissing", "False DashboardMissing", "False DashboardMissing",
				"Unknown DashboardMissing", "Unknown DashboardMissing", "Unknown DashboardMissing"),
			state: stateProgressing, ready: "0/2",
		},
		"the id is taken": {
			in: []situation{fencedEmpty, fencedEmpty},
			prepare: func(s *state) {
				s.decision, s.world.order = decision{}, nil
				s.invalid = &product.Problem{Reason: v1alpha1.ReasonGroupIDTaken, Message: "choose another"}
			},
			want: expected("False GroupIDTaken", "False GroupIDTaken", good, "Unknown NotObserved", "Unknown NotObserved",
				"False Progressing"),
			state: stateHeld, ready: "0/2",
		},
		"an object is somebody else's": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { s.applied = fmt.Errorf("apply Service g: %w", apply.ErrCollision) },
			want:    expected("False NameCollision", good, "False NameCollision", good, good, good),
			state:   stateHealing, ready: "2/2",
		},
		"the API server refuses an object": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { s.applied = errors.New("exceeded quota") },
			want:    expected("False ApplyFailed", good, "False ApplyFailed", good, good, good),
			state:   stateHealing, ready: "2/2",
		},
		"a pod cannot get its image": {
			in:      []situation{masterData, unreachable},
			prepare: func(s *state) { waiting(s.pods[1], "ImagePullBackOff") },
			want:    expected("False ImageNotFound", good, "False ImageNotFound", good, "False ReplicaNotInSync", good),
			state:   stateHealing, ready: "1/2",
		},
		"a pod is missing": {
			in:      []situation{masterData, unreachable},
			prepare: func(s *state) { s.pods[1] = nil },
			want:    expected("False PodsNotReady", good, "False PodsNotReady", good, "False ReplicaNotInSync", good),
			state:   stateHealing, ready: "1/2",
		},
		"a pod runs an old template": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { s.pods[0] = pod(0, oldRevision); s.rolloutHeld = "delete that pod" },
			want:    expected("False Progressing", good, "False Progressing", good, good, good),
			state:   stateHealing, ready: "2/2",
		},
		"a member is not registered yet": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { s.registration = registration{add: addrs(1)} },
			want:    expected("False Progressing", good, good, good, good, "False Progressing"),
			state:   stateHealing, ready: "2/2",
		},
		"the dashboard knows too many": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { s.stats.Group.Models[0] = *knownGroup(0, 1, 2) },
			want:    expected("False Progressing", good, good, good, good, "False Progressing"),
			state:   stateHealing, ready: "2/2",
		},
		"a scale-in is held": {
			in:      []situation{masterData, syncedData},
			prepare: func(s *state) { s.scaleHeld = "g-1 is the master and cannot be removed" },
			want:    expected("False ScaleInHeld", good, good, good, good, "False ScaleInHeld"),
			state:   stateHeld, ready: "2/2",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			if tt.prepare != nil {
				tt.prepare(s)
			}
			report(s, now)
			status := s.group.Status
			if diff := cmp.Diff(tt.want, conditionsOf(status.Conditions)); diff != "" {
				t.Error(diff)
			}
			for _, c := range status.Conditions {
				if c.Message == "" || c.ObservedGeneration != 3 {
					t.Errorf("%s has message %q and generation %d", c.Type, c.Message, c.ObservedGeneration)
				}
			}
			if status.State != tt.state || status.Ready != tt.ready {
				t.Errorf("state %q and ready %q, want %q and %q", status.State, status.Ready, tt.state, tt.ready)
			}
		})
	}
}

// What moves all the time must not be written all the time.
func TestReportSaysTheSameWhileNumbersTick(t *testing.T) {
	for in := range situations {
		for other := range situations {
			first, second := stateOfWorld(in, other), stateOfWorld(in, other)
			for i := range second.world.members {
				o := &second.world.members[i].redis
				o.UsedMemory += 12345
				if o.Offset > 1 {
					o.Offset += 1000
				}
				if o.Keys > 0 {
					o.Keys++
				}
			}
			report(first, now)
			second.group.Status = *first.group.Status.DeepCopy()
			report(second, now.Add(time.Second))
			if diff := cmp.Diff(first.group.Status, second.group.Status); diff != "" {
				t.Errorf("%s and %s: %s", situationNames[in], situationNames[other], diff)
			}
		}
	}
}

func TestReportMembers(t *testing.T) {
	s := stateOfWorld(masterData, syncedData, syncingData, cutOffData, fencedData, unreachable)
	s.world.members[1].node = "node-a"
	s.world.members[5].ip = ""
	report(s, now)
	want := []v1alpha1.MemberStatus{
		{Name: "g-0", Role: v1alpha1.RoleMaster, Link: v1alpha1.LinkNone, RunID: "run"},
		{Name: "g-1", Role: v1alpha1.RoleReplica, Link: v1alpha1.LinkUp, Node: "node-a", RunID: "run"},
		{Name: "g-2", Role: v1alpha1.RoleReplica, Link: v1alpha1.LinkSyncing, RunID: "run"},
		{Name: "g-3", Role: v1alpha1.RoleReplica, Link: v1alpha1.LinkDown, RunID: "run"},
		{Name: "g-4", Role: v1alpha1.RoleFenced, Link: v1alpha1.LinkDown, RunID: "run"},
		{Name: "g-5", Role: v1alpha1.RoleUnknown, Link: v1alpha1.LinkUnknown},
	}
	status := s.group.Status
	if diff := cmp.Diff(want, status.Members); diff != "" {
		t.Error(diff)
	}
	if status.Master != "g-0" || status.Replicas != 5 || status.Ready != "2/6" {
		t.Errorf("master %q, %d replicas, ready %q", status.Master, status.Replicas, status.Ready)
	}
}

func TestReportSaysWhyAReplicaIsNotInSync(t *testing.T) {
	tests := map[situation]string{
		unreachable: "g-1 is not in sync with g-0: no answer in time",
		loading:     "g-1 is not in sync with g-0: it is loading its data",
		syncingData: "g-1 is not in sync with g-0: it is copying the data",
		cutOffData:  "g-1 is not in sync with g-0: its link is down",
		fencedEmpty: "g-1 is not in sync with g-0: it was started and waits to be told what to follow",
		strayData:   "g-1 is not in sync with g-0: it does not follow it yet",
		masterEmpty: "g-1 is not in sync with g-0: it does not follow it yet",
		syncedEmpty: "all replicas follow g-0",
	}
	for in, want := range tests {
		t.Run(situationNames[in], func(t *testing.T) {
			if diff := cmp.Diff(want, replicasCondition(stateOfWorld(masterData, in)).Message); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReportUsage(t *testing.T) {
	const mi = 1 << 20
	later, soon := now.Add(time.Minute), now.Add(time.Second)
	before := v1alpha1.CodisGroupStatus{Master: "g-0", Keys: 100, Memory: "10Mi/1Gi", UsageTime: &metav1.Time{Time: now}}
	tests := map[string]struct {
		before    v1alpha1.CodisGroupStatus
		at        time.Time
		keys      int64
		used, max int64
		want      string
	}{
		"the first look is written":           {v1alpha1.CodisGroupStatus{Master: "g-0"}, now, 7, 3 * mi, 1024 * mi, "7 3Mi/1Gi"},
		"without a limit only what is used":   {v1alpha1.CodisGroupStatus{Master: "g-0"}, now, 7, 3 * mi, 0, "7 3Mi"},
		"keys that moved are written":         {before, later, 200, 10 * mi, 1024 * mi, "200 10Mi/1Gi"},
		"memory that moved is written":        {before, later, 100, 20 * mi, 1024 * mi, "100 20Mi/1Gi"},
		"what moved a little is not written":  {before, later, 101, 10*mi + 5, 1024 * mi, "100 10Mi/1Gi"},
		"what moved just now is not written":  {before, soon, 500, 50 * mi, 1024 * mi, "100 10Mi/1Gi"},
		"a status that is no number is no 0":  {v1alpha1.CodisGroupStatus{Master: "g-0", Memory: "?"}, later, 7, mi, 0, "7 1Mi"},
		"nothing is known without the master": {v1alpha1.CodisGroupStatus{Master: "g-9"}, later, 7, mi, 0, "0 "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData)
			s.group.Status = tt.before
			o := &s.world.members[0].redis
			o.Keys, o.UsedMemory, o.MaxMemory = tt.keys, tt.used, tt.max
			reportUsage(s, tt.at)
			if diff := cmp.Diff(tt.want, fmt.Sprintf("%d %s", s.group.Status.Keys, s.group.Status.Memory)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// counted returns how many failovers of a cause with a result, and how many
// durations, were told to Prometheus so far.
func counted(t *testing.T, cause v1alpha1.FailoverCause, result string) (failovers, durations int) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch {
			case family.GetName() == "codis_operator_failover_duration_seconds":
				durations += int(m.GetHistogram().GetSampleCount())
			case family.GetName() == "codis_operator_failovers_total" &&
				m.GetLabel()[0].GetValue() == string(cause) && m.GetLabel()[1].GetValue() == result:
				failovers += int(m.GetCounter().GetValue())
			}
		}
	}
	return failovers, durations
}

func TestReportFailover(t *testing.T) {
	promotion := func(member, from string, cause v1alpha1.FailoverCause) *v1alpha1.Promotion {
		return &v1alpha1.Promotion{
			Member: member, RunID: "run", From: from, Cause: cause, StartTime: metav1.NewMicroTime(now.Add(-1500 * time.Millisecond)),
		}
	}
	record := func(cause v1alpha1.FailoverCause) *v1alpha1.FailoverRecord {
		return &v1alpha1.FailoverRecord{From: "g-1", To: "g-0", Cause: cause, Time: metav1.NewMicroTime(now), DurationMilliseconds: 1500}
	}
	running, stray := []situation{masterData, syncedData}, []situation{masterEmpty, strayData}
	tests := map[string]struct {
		in        []situation
		promotion *v1alpha1.Promotion
		blind     bool
		left      bool
		givenUp   int
		record    *v1alpha1.FailoverRecord
		runID     string
	}{
		"nobody was to be promoted": {in: running, runID: "run"},
		"a dead master was replaced": {
			in: running, promotion: promotion("g-0", "g-1", v1alpha1.CauseMasterDead), record: record(v1alpha1.CauseMasterDead), runID: "run",
		},
		"a silent master was replaced": {
			in: running, promotion: promotion("g-0", "g-1", v1alpha1.CauseMasterSilent), record: record(v1alpha1.CauseMasterSilent), runID: "run",
		},
		"it was planned": {
			in: running, promotion: promotion("g-0", "g-1", v1alpha1.CauseSwitchover), record: record(v1alpha1.CauseSwitchover), runID: "run",
		},
		"the first master":                      {in: running, promotion: promotion("g-0", "", ""), runID: "run"},
		"the master was lifted again":           {in: running, promotion: promotion("g-0", "g-0", v1alpha1.CauseFoundMaster), runID: "run"},
		"another became master than was meant":  {in: running, promotion: promotion("g-1", "g-0", v1alpha1.CauseMasterDead), givenUp: 1, runID: "run"},
		"the new master takes no writes yet":    {in: []situation{unreachable, syncedData}, promotion: promotion("g-0", "g-1", v1alpha1.CauseMasterDead), left: true, runID: "before"},
		"a follower is held back":               {in: stray, promotion: promotion("g-0", "g-1", v1alpha1.CauseMasterDead), left: true, runID: "before"},
		"the dashboard may be at another":       {in: running, promotion: promotion("g-1", "g-0", v1alpha1.CauseMasterDead), blind: true, left: true, runID: "run"},
		"a switchover that was not carried out": {in: running, promotion: promotion("g-1", "g-0", v1alpha1.CauseSwitchover), left: true, runID: "run"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			status := &s.group.Status
			status.Promotion, status.MasterRunID = tt.promotion, "before"
			if tt.blind {
				s.stats = nil
			}
			cause := v1alpha1.FailoverCause("")
			if tt.promotion != nil {
				cause = tt.promotion.Cause
			}
			failovers, durations := counted(t, cause, resultPromoted)
			givenUp, _ := counted(t, cause, resultGivenUp)
			reportFailover(s, now)
			if diff := cmp.Diff(tt.record, status.LastFailover); diff != "" {
				t.Error(diff)
			}
			if left := status.Promotion != nil; left != tt.left || status.MasterRunID != tt.runID {
				t.Errorf("the promotion is left: %t, the master runs as %q; want %t and %q", left, status.MasterRunID, tt.left, tt.runID)
			}
			more := 0
			if tt.record != nil {
				more = 1
			}
			if f, d := counted(t, cause, resultPromoted); f != failovers+more || d != durations+more {
				t.Errorf("counted %d failovers and %d durations, want %d", f-failovers, d-durations, more)
			}
			if f, _ := counted(t, cause, resultGivenUp); f != givenUp+tt.givenUp {
				t.Errorf("counted %d failovers that were given up, want %d", f-givenUp, tt.givenUp)
			}
		})
	}
}

func TestFalseAlarm(t *testing.T) {
	status := func(reachable metav1.ConditionStatus, reason, runID string) v1alpha1.CodisGroupStatus {
		return v1alpha1.CodisGroupStatus{MasterRunID: runID, Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionMasterReachable, Status: reachable, Reason: reason},
		}}
	}
	silent := status(metav1.ConditionFalse, v1alpha1.ReasonMasterUnreachable, "run")
	well := status(metav1.ConditionTrue, v1alpha1.ReasonReady, "run")
	tests := map[string]struct {
		before, after v1alpha1.CodisGroupStatus
		want          bool
	}{
		"a silent master answers again":           {silent, well, true},
		"it is still silent":                      {silent, silent, false},
		"it was not silent":                       {well, well, false},
		"another took its place":                  {silent, status(metav1.ConditionTrue, v1alpha1.ReasonReady, "another"), false},
		"it was started again":                    {status(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "run"), well, false},
		"nothing is known of the time before":     {v1alpha1.CodisGroupStatus{}, well, false},
		"nobody knows which process is master":    {status(metav1.ConditionFalse, v1alpha1.ReasonMasterUnreachable, ""), status(metav1.ConditionTrue, v1alpha1.ReasonReady, ""), false},
		"the group was held, which is no silence": {status(metav1.ConditionFalse, v1alpha1.ReasonPromotionHeld, "run"), well, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := falseAlarm(&tt.before, &tt.after); got != tt.want {
				t.Errorf("falseAlarm() = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestReportKeepsWhoMayTakeOver(t *testing.T) {
	all := []string{"g-1", "g-2"}
	restarted := func(s *state) { s.world.inSync["g-2"] = false }
	tests := map[string]struct {
		in      []situation
		before  []string
		prepare func(s *state)
		want    []string
	}{
		"who follows is in sync":                     {in: []situation{masterData, syncedData, syncedData}, want: all},
		"who is cut off from a master that is there": {in: []situation{masterData, cutOffData, syncedData}, before: all, want: all[1:]},
		"who is cut off from one that is not":        {in: []situation{unreachable, cutOffData, cutOffData}, before: all, want: all},
		"who does not answer, either":                {in: []situation{ended, unreachable, unreachable}, before: all, want: all},
		"who was started again":                      {in: []situation{ended, cutOffData, fencedData}, before: all, prepare: restarted, want: all[:1]},
		"who was not in sync before":                 {in: []situation{unreachable, cutOffData, syncedData}, before: all[:1], want: all[:1]},
		"nobody knows the master":                    {in: []situation{masterData, syncedData, syncedData}, before: all[:1], prepare: unreachableDashboard, want: all[:1]},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.world.inSync = map[string]bool{}
			for _, name := range tt.before {
				s.group.Status.InSync = append(s.group.Status.InSync, name)
				s.world.inSync[name] = true
			}
			if tt.prepare != nil {
				tt.prepare(s)
			}
			reportInSync(s)
			if diff := cmp.Diff(tt.want, s.group.Status.InSync); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVolumeOfTheMasterIsComplete(t *testing.T) {
	config := func(directive, value string) func(s *state) {
		return func(s *state) {
			s.group.Spec.Config = map[string]v1alpha1.RedisValue{directive: v1alpha1.RedisValue(value)}
		}
	}
	const was = "g-0"
	tests := map[string]struct {
		saved  string // before
		change func(s *state)
		want   string
	}{
		"once its file is written":                    {"", func(*state) {}, "g-0"},
		"not while it is":                             {"", func(s *state) { s.world.members[0].redis.Saving = true }, ""},
		"while it is written anew":                    {was, func(s *state) { s.world.members[0].redis.Saving = true }, "g-0"},
		"not that of another process":                 {was, func(s *state) { s.world.members[0].redis.Saving, s.group.Status.MasterRunID = true, "before" }, ""},
		"not without a volume":                        {"", func(s *state) { s.world.persistent = false }, ""},
		"not where somebody turned the file off":      {was, config("appendonly", "no"), ""},
		"not where the kernel writes when it likes":   {was, config("appendfsync", "no"), ""},
		"where somebody has each write wait for it":   {"", config("appendfsync", "always"), "g-0"},
		"not of the one before while it is not known": {"g-1", func(s *state) { s.world.members[0].redis.Saving = true }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			s.world.persistent, s.group.Status.SavedMaster, s.group.Status.MasterRunID = true, tt.saved, "run"
			tt.change(s)
			s.reportSaved(s.decision.master.redis)
			if got := s.group.Status.SavedMaster; got != tt.want {
				t.Errorf("the volume of %q is complete, want %q", got, tt.want)
			}
		})
	}
}
