// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// g-1 is to become master.
func TestInvariant2PromotionThatLostItsDataIsNotFinished(t *testing.T) {
	tests := map[string]struct {
		in      []situation
		changes []change
		held    string
	}{
		"the candidate is whole":               {in: []situation{fencedEmpty, cutOffData}},
		"the candidate is master":              {in: []situation{fencedData, masterData}},
		"nobody has data":                      {in: []situation{fencedEmpty, fencedEmpty}},
		"the candidate lost its data":          {in: []situation{fencedData, fencedEmpty}, held: "it lost its data since"},
		"the candidate is silent":              {in: []situation{fencedData, unreachable}, held: "no answer in time"},
		"the candidate reads its disk":         {in: []situation{fencedData, loading}, held: "it is loading its data"},
		"a person chose the emptied candidate": {in: []situation{fencedData, fencedEmpty}, changes: []change{accepted(1)}},
		"a person chose another":               {in: []situation{fencedData, fencedEmpty}, changes: []change{accepted(0)}, held: "lost"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := finishHeld(smallWorld(tt.in, 0).with(tt.changes), memberAddr(1))
			if (got == "") != (tt.held == "") || !strings.Contains(got, tt.held) {
				t.Errorf("held %q, want %q", got, tt.held)
			}
		})
	}
	if got := finishHeld(smallWorld([]situation{fencedData}, 0), strayAddr); got != "" {
		t.Errorf("a candidate that is no member is held: %s", got)
	}
}

func TestMembersThatTheDashboardShouldKnow(t *testing.T) {
	tests := map[string]struct {
		in      []situation
		wanted  int32
		prepare func(s *state)
		want    []string
		held    string
	}{
		"the master first": {
			in: []situation{syncedData, masterData}, wanted: 2, want: addrs(1, 0),
			prepare: func(s *state) { s.decision = decision{verb: keep, master: &s.world.members[1]} },
		},
		"not who never answered": {
			in: []situation{masterData, unreachable}, wanted: 2, want: addrs(0), prepare: func(s *state) { s.world.order = addrs(0) },
		},
		"who is silent and known":     {in: []situation{masterData, unreachable}, wanted: 2, want: addrs(0, 1)},
		"not who is no longer wanted": {in: []situation{masterData, syncedData, syncedData}, wanted: 2, want: addrs(0, 1)},
		"the master, though not wanted": {
			in: []situation{syncedData, masterData}, wanted: 1, want: addrs(1, 0), held: "set replicas to 2 or more",
			prepare: func(s *state) { s.decision = decision{verb: keep, master: &s.world.members[1]} },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.group.Spec.Replicas = &tt.wanted
			if tt.prepare != nil {
				tt.prepare(s)
			}
			if diff := cmp.Diff(tt.want, (&Reconciler{}).wantedAddresses(s)); diff != "" {
				t.Error(diff)
			}
			if (s.scaleHeld == "") != (tt.held == "") || !strings.Contains(s.scaleHeld, tt.held) {
				t.Errorf("held %q, want %q", s.scaleHeld, tt.held)
			}
		})
	}
}

func TestEveryMemberThatAnswersFollows(t *testing.T) {
	tests := map[string]struct {
		in   []situation
		want bool
	}{
		"all follow":                 {[]situation{masterData, syncedData, cutOffData}, true},
		"who is silent is not asked": {[]situation{masterData, unreachable, loading}, true},
		"one is fenced":              {[]situation{masterData, fencedEmpty}, false},
		"one is a master, too":       {[]situation{masterData, masterData}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld(tt.in, 0)
			if got := w.allFollow(w.members[0]); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
