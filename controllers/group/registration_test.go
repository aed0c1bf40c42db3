// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/codis"
)

// knownGroup is a group as the dashboard knows it, the master first.
func knownGroup(ordinals ...int) *codis.Group {
	g := &codis.Group{ID: 1}
	for _, ordinal := range ordinals {
		g.Servers = append(g.Servers, codis.GroupServer{Addr: memberAddr(ordinal)})
	}
	return g
}

func addrs(ordinals ...int) []string {
	var list []string
	for _, ordinal := range ordinals {
		list = append(list, memberAddr(ordinal))
	}
	return list
}

func TestPlanRegistration(t *testing.T) {
	outOfSync, promoting := knownGroup(0, 1), knownGroup(0, 1)
	outOfSync.OutOfSync, promoting.OutOfSync = true, true
	promoting.Promoting.State = "prepared"
	tests := map[string]struct {
		known  *codis.Group
		wanted []string
		want   registration
	}{
		"creates a group that is not known, the master first": {nil, addrs(1, 0), registration{create: true, add: addrs(1, 0)}},
		"adds everybody to an empty group":                    {knownGroup(), addrs(1, 0), registration{add: addrs(1, 0)}},
		"adds who is missing":                                 {knownGroup(0), addrs(0, 1, 2), registration{add: addrs(1, 2)}},
		"takes out who is no longer wanted":                   {knownGroup(0, 1, 2), addrs(0, 1), registration{remove: addrs(2)}},
		"never takes out the master":                          {knownGroup(2, 0, 1), addrs(0, 1), registration{}},
		"leaves the order alone":                              {knownGroup(0, 2, 1), addrs(0, 1, 2), registration{}},
		"adds and takes out":                                  {knownGroup(0, 3), addrs(0, 1), registration{add: addrs(1), remove: addrs(3)}},
		"resyncs proxies that may not know the routes":        {outOfSync, addrs(0, 1), registration{resync: true}},
		"leaves a promotion under way alone":                  {promoting, addrs(0, 1), registration{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := planRegistration(tt.known, tt.wanted)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(registration{})); diff != "" {
				t.Error(diff)
			}
			nothing := cmp.Equal(tt.want, registration{}, cmp.AllowUnexported(registration{}))
			if got.done() != nothing {
				t.Errorf("done is %t", got.done())
			}
		})
	}
}

func TestReplicasToRun(t *testing.T) {
	tests := map[string]struct {
		wanted, running int
		known           []string
		want            int
	}{
		"runs what is wanted":                                    {2, 2, addrs(0, 1), 2},
		"makes members at once":                                  {3, 2, addrs(0, 1), 3},
		"makes the members of a new group":                       {2, 0, nil, 2},
		"keeps a member that the dashboard knows":                {2, 3, addrs(0, 1, 2), 3},
		"stops a member that the dashboard forgot":               {2, 3, addrs(0, 1), 2},
		"keeps those before the one that the dashboard knows":    {1, 4, addrs(0, 3), 4},
		"stops those behind it":                                  {1, 4, addrs(0, 1), 2},
		"keeps the master that is no longer wanted":              {1, 3, addrs(2, 0), 3},
		"stops nobody while the dashboard knows nobody":          {1, 3, nil, 3},
		"makes members while the dashboard knows nobody":         {3, 1, nil, 3},
		"a server of another name at the dashboard keeps nobody": {1, 2, []string{memberAddr(0), strayAddr}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := replicasToRun(tt.wanted, tt.known, memberAddr, tt.running); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// Whatever the dashboard knows: what it knows runs on, and what is wanted runs.
func TestInvariant3OnlyForgottenMembersAreStopped(t *testing.T) {
	const most = 5
	for known := range 1 << most {
		var ordinals []int
		for ordinal := range most {
			if known&(1<<ordinal) != 0 {
				ordinals = append(ordinals, ordinal)
			}
		}
		for wanted := 1; wanted <= most; wanted++ {
			for running := 0; running <= most; running++ {
				got := replicasToRun(wanted, addrs(ordinals...), memberAddr, running)
				stopsKnown := slices.ContainsFunc(ordinals, func(o int) bool { return o < running && o >= got })
				if stopsKnown || got < wanted || got > max(wanted, running) {
					t.Fatalf("%d of %d run where %d are wanted and the dashboard knows %v", got, running, wanted, ordinals)
				}
			}
		}
	}
}
