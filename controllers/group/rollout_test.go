// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/redis"
)

func TestDecideReplacement(t *testing.T) {
	stopping := func(s *state, ordinal int) { s.pods[ordinal].DeletionTimestamp = &metav1.Time{} }
	outdated := func(s *state, ordinals ...int) {
		for _, ordinal := range ordinals {
			s.pods[ordinal] = pod(ordinal, oldRevision)
		}
	}
	three := []situation{masterData, syncedData, syncedData}
	tests := map[string]struct {
		in        []situation
		prepare   func(s *state)
		notInSync bool
		want      string
		to        string
		held      string
	}{
		"replaces nothing where nothing is outdated": {in: three, prepare: func(*state) {}},
		"replaces the last replica first": {
			in: three, prepare: func(s *state) { outdated(s, 0, 1, 2) }, want: "g-2",
		},
		"replaces the replica before the master": {
			in: three, prepare: func(s *state) { outdated(s, 0, 1) }, want: "g-1",
		},
		"replaces a replica with a lower ordinal than the master": {
			in: []situation{syncedData, masterData}, want: "g-0",
			prepare: func(s *state) {
				outdated(s, 0, 1)
				s.world.order = []string{memberAddr(1), memberAddr(0)}
				s.decision = decideMaster(s.world)
			},
		},
		"hands the master over before it goes": {
			in: three, prepare: func(s *state) { outdated(s, 0) }, to: "g-1",
		},
		"hands over to who received most": {
			in: three, prepare: func(s *state) { outdated(s, 0); s.world.members[2].redis.Offset++ }, to: "g-2",
		},
		"does not hand over while a proxy is deaf": {
			in: three, prepare: func(s *state) { outdated(s, 0); s.world.deafProxies = []string{"p-1"} }, held: "p-1",
		},
		"does not hand over while slots move": {
			in: three, prepare: func(s *state) {
				outdated(s, 0)
				s.stats.Slots = []codis.SlotMapping{{GroupID: int(s.group.Spec.ID), Action: codis.SlotAction{State: "migrating"}}}
			}, held: "on their way",
		},
		"replaces a lone master with a volume": {
			in: []situation{masterData}, want: "g-0",
			prepare: func(s *state) { outdated(s, 0); s.world.persistent = true },
		},
		"leaves a lone master without a volume to a person": {
			in: []situation{masterData}, prepare: func(s *state) { outdated(s, 0) }, held: "g-0 runs an old template",
		},
		"waits until all are in sync": {
			in: three, prepare: func(s *state) { outdated(s, 0, 1, 2) }, notInSync: true,
		},
		"leaves a replica alone that a switchover stopped midway with": {
			in: three, prepare: func(s *state) {
				outdated(s, 0, 1, 2)
				s.group.Status.Promotion = &v1alpha1.Promotion{Member: "g-1", Cause: v1alpha1.CauseSwitchover}
			},
		},
		"replaces a pod that never started at any time": {
			in: three, prepare: func(s *state) { outdated(s, 0, 1); waiting(s.pods[1], "ImagePullBackOff") },
			notInSync: true, want: "g-1",
		},
		"replaces a master that never started at any time": {
			in: three, prepare: func(s *state) { outdated(s, 0); waiting(s.pods[0], "ImagePullBackOff") },
			notInSync: true, want: "g-0",
		},
		"leaves a pod that is being stopped alone": {
			in: three, prepare: func(s *state) { outdated(s, 2); stopping(s, 2) },
		},
		"waits for a pod that is missing": {
			in: three, prepare: func(s *state) { outdated(s, 1); s.pods[2] = nil }, notInSync: true,
		},
		"replaces nothing without a StatefulSet": {
			in: three, prepare: func(s *state) { outdated(s, 0, 1, 2); s.live = nil },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.world.inSync = map[string]bool{"g-0": true, "g-1": true, "g-2": true}
			tt.prepare(s)
			got := decideReplacement(s, !tt.notInSync)
			name := ""
			if got.pod != nil {
				name = got.pod.Name
			}
			if name != tt.want {
				t.Errorf("replaces %q, want %q", name, tt.want)
			}
			to := ""
			if got.to != nil {
				to = got.to.name
			}
			if to != tt.to {
				t.Errorf("hands over to %q, want %q", to, tt.to)
			}
			if (got.held != "") != (tt.held != "") || !strings.Contains(got.held, tt.held) {
				t.Errorf("held %q, want %q", got.held, tt.held)
			}
		})
	}
}

func TestAPodIsAskedBeforeItGoes(t *testing.T) {
	tests := map[string]struct {
		prepare func(l *lab, s *state)
		may     bool
		err     error
	}{
		"it is a replica": {func(l *lab, s *state) {
			m := s.world.members[1]
			seen := s.servers.Observe(l.t.Context(), redisAddr(m))
			if err := s.servers.Follow(l.t.Context(), redisAddr(m), seen, strayAddr); err != nil {
				l.t.Fatal(err)
			}
		}, true, nil},
		"it has become master":     {func(*lab, *state) {}, false, nil},
		"its process has ended":    {func(l *lab, _ *state) { l.end(1) }, true, nil},
		"another pod has its name": {func(_ *lab, s *state) { s.world.members[1].uid = "another" }, false, redis.ErrRestarted},
		"the pass is old":          {func(l *lab, _ *state) { l.clock.Step(passLimit + 1) }, false, errHeldUp},
		"it never had an address":  {func(_ *lab, s *state) { s.world.members[1].ip = "" }, true, nil},
		"it is alone":              {func(_ *lab, s *state) { s.world.members = s.world.members[1:] }, true, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2)
			s := l.state(masterData, syncedData)
			tt.prepare(l, s)
			may, err := l.r.mayGo(t.Context(), s, s.pods[1])
			if may != tt.may || !errors.Is(err, tt.err) {
				t.Errorf("may go: %t, %v", may, err)
			}
		})
	}
}

func TestPodsAreComparedOnlyWithATemplateThatWasSeen(t *testing.T) {
	tests := map[string]struct {
		live appsv1.StatefulSet
		want bool
	}{
		"seen": {appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status:     appsv1.StatefulSetStatus{ObservedGeneration: 2, UpdateRevision: newRevision},
		}, true},
		"an older one seen": {appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status:     appsv1.StatefulSetStatus{ObservedGeneration: 1, UpdateRevision: oldRevision},
		}, false},
		"never seen": {appsv1.StatefulSet{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := observed(&tt.live); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func TestOnlyReadyPodsOfEveryMemberCount(t *testing.T) {
	s := stateOfWorld(masterData, syncedData)
	r := &Reconciler{}
	if !r.allReady(s) {
		t.Error("all pods are ready")
	}
	s.pods[1] = waiting(s.pods[1], "CrashLoopBackOff")
	if r.allReady(s) {
		t.Error("a pod is not ready")
	}
	s.pods[1] = nil
	if r.allReady(s) {
		t.Error("a pod is missing")
	}
}

func TestGroupsOfAProductReplacePodsInTurn(t *testing.T) {
	r := &Reconciler{}
	takes := func(group, dashboard string, at time.Duration) bool {
		r.Clock = clocktesting.NewFakePassiveClock(now.Add(at))
		s := stateOfWorld(masterData, syncedData)
		s.group.UID, s.dashboard.UID = types.UID(group), types.UID(dashboard)
		return r.takesTurn(s)
	}
	for _, step := range []struct {
		group, dashboard string
		at               time.Duration
		want             bool
	}{
		{"a", "d", 0, true},
		{"b", "d", 1, false},
		{"b", "other", 1, true},
		{"a", "d", turnTime - 1, true}, // It tries again, and keeps its turn for no longer.
		{"b", "d", turnTime, true},
		{"a", "d", turnTime, false},
		{"a", "d", 2 * turnTime, true},
	} {
		if got := takes(step.group, step.dashboard, step.at); got != step.want {
			t.Errorf("%+v: got %t", step, got)
		}
	}
}
