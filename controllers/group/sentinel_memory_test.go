// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
)

// Sentinels do not tell which password they know; the operator remembers what it told.
func TestWhoMayKnowAnotherPassword(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	r := &Reconciler{Clock: clock}
	pass := func(password string, pod types.UID, watches bool) (*state, lookout) {
		s := &state{group: &v1alpha1.CodisGroup{}, password: password}
		s.group.UID = "group"
		o := lookout{uid: pod}
		o.Answers, o.Watches = true, watches
		s.world.lookouts.all = []lookout{o}
		r.recallTold(s)
		return s, s.world.lookouts.all[0]
	}
	steps := []struct {
		name             string
		password         string
		pod              types.UID
		watches          bool
		after            time.Duration
		tell, anew       bool // It is told the password then, or the whole group.
		untold, toldAnew bool
	}{
		{name: "this operator never told it", password: "a", pod: "0", watches: true, untold: true, tell: true},
		{name: "it was told", password: "a", pod: "0", watches: true},
		{name: "the password was changed", password: "b", pod: "0", watches: true, untold: true, tell: true},
		{name: "it was told that", password: "b", pod: "0", watches: true, tell: true, anew: true},
		{name: "it was told the group anew", password: "b", pod: "0", watches: true, toldAnew: true},
		{name: "a while ago", password: "b", pod: "0", watches: true, after: toldAnewFor},
		{name: "its pod is another", password: "b", pod: "1", watches: true, untold: true},
		{name: "it watches nothing", password: "b", pod: "1"},
		{name: "the password is not known", password: "", pod: "1", watches: true},
		{name: "the first one is forgotten", password: "b", pod: "0", watches: true, untold: true},
	}
	for _, step := range steps {
		clock.SetTime(clock.Now().Add(step.after))
		s, o := pass(step.password, step.pod, step.watches)
		if o.untold != step.untold || o.toldAnew != step.toldAnew {
			t.Errorf("%s: untold %t, told anew %t", step.name, o.untold, o.toldAnew)
		}
		if step.tell {
			r.rememberTold(s, o, step.anew)
		}
	}
	if text := fmt.Sprint(r.toldSentinels("group")); len(r.toldSentinels("group")) != 0 {
		t.Errorf("remembered of pods that are gone: %s", text)
	}
}

func TestSwitchoverWaitsForASentinelThatHangs(t *testing.T) {
	at := func(ordinal int) string { return naming.Domain("").SentinelAddr("ns", "d", ordinal) }
	quietPod := func(o lookout, ordinal int) lookout {
		o.pod = naming.SentinelPod("d", ordinal)
		return o
	}
	tests := map[string]struct {
		prepare      func(s *state)
		first, later string
	}{
		"all answer":                  {func(s *state) { s.world.lookouts.all[1] = quietPod(forgetful(), 1) }, "", ""},
		"one does not answer":         {func(*state) {}, "d-sentinel-1", ""},
		"one hangs":                   {hangsFor(at(1)), "d-sentinel-1", "d-sentinel-1"},
		"it does not run":             {func(s *state) { hangsFor(at(1))(s); s.world.lookouts.all[1].addr = "" }, "", ""},
		"it was taken out":            {func(s *state) { hangsFor(at(1))(s); s.stats.Sentinels.Model.Servers = []string{at(0), at(2)} }, "", ""},
		"the dashboard is away":       {func(s *state) { s.stats = nil }, "", ""},
		"the dashboard is paused":     {func(s *state) { s.dashboard.Annotations = map[string]string{v1alpha1.AnnotationPaused: "true"} }, "", ""},
		"too few answer":              {func(s *state) { hangsFor(at(1))(s); s.world.lookouts.all[0] = quietPod(silent(), 0) }, "", ""},
		"none are asked for any more": {func(s *state) { s.dashboard.Spec.Sentinel = nil }, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
			r := &Reconciler{Clock: clock}
			s := stateOfWorld(masterData, syncedData)
			s.dashboard.Name, s.dashboard.Namespace = "d", "ns"
			s.dashboard.Spec.Sentinel = &v1alpha1.SentinelSettings{}
			s.world.lookouts.wanted = 3
			s.world.lookouts.all = []lookout{quietPod(forgetful(), 0), quietPod(silent(), 1), quietPod(forgetful(), 2)}
			s.stats.Sentinels.Model.Servers = []string{at(0), at(1), at(2)}
			tt.prepare(s)
			if got := r.muteSentinel(s); got != tt.first {
				t.Errorf("at first %q, want %q", got, tt.first)
			}
			clock.SetTime(clock.Now().Add(muteGrace))
			if got := r.muteSentinel(s); got != tt.later {
				t.Errorf("later %q, want %q", got, tt.later)
			}
		})
	}
}

// hangsFor has the dashboard wait for a sentinel in vain.
func hangsFor(addr string) func(s *state) {
	return func(s *state) { s.stats.Sentinels.Stats = map[string]codis.ServerStats{addr: {Timeout: true}} }
}
