// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lost(o lookout, ids ...string) lookout {
	o.Lost = ids
	return o
}

func refused(o lookout, by ...string) lookout {
	o.Refused = by
	return o
}

func untold(o lookout) lookout {
	o.untold = true
	return o
}

func toldAnew(o lookout) lookout {
	o.toldAnew = true
	return o
}

func tuned(o lookout, quorum int) lookout {
	o.Settings.Quorum = quorum
	return o
}

// toldWhat is a plan in a form that can be compared.
type toldWhat struct {
	Forget, Watch, Tune []int
	Corrected           string
	Held                bool
}

func toldBy(m monitors) toldWhat {
	return toldWhat{m.forget, m.watch, m.tune, m.corrected, m.held != ""}
}

func TestMonitorsAreKeptOnTheMaster(t *testing.T) {
	m0, m1, m2 := serverOf(0), serverOf(1), serverOf(2)
	good := knows(says(m0, 1), m1, m2)
	all := []int{0, 1, 2}
	tests := map[string]struct {
		in   []situation
		all  []lookout
		want toldWhat
	}{
		"everybody watches the master": {all: []lookout{good, good, good}},
		"one forgot":                   {all: []lookout{good, forgetful(), good}, want: toldWhat{Watch: []int{1}}},
		"all forgot":                   {all: []lookout{forgetful(), forgetful(), forgetful()}, want: toldWhat{Watch: all}},
		"one does not answer":          {all: []lookout{good, silent(), good}},
		"one never ran":                {all: []lookout{good, unborn(), forgetful()}, want: toldWhat{Watch: []int{2}}},
		"one has another quorum":       {all: []lookout{good, tuned(good, 3), good}, want: toldWhat{Tune: []int{1}}},
		"one watches an address that is no member's": {
			all:  []lookout{good, says(nowhere, 1), good},
			want: toldWhat{Forget: all, Watch: all, Corrected: nowhere},
		},
		"one missed a switchover and watches a replica": {
			all:  []lookout{forgetful(), says(m1, 4), good},
			want: toldWhat{Forget: []int{1, 2}, Watch: all, Corrected: m1},
		},
		"one watches another member that takes writes": {
			in: []situation{masterData, masterData, syncedData}, all: []lookout{good, says(m1, 2), forgetful()}, want: toldWhat{Held: true},
		},
		"one watches another member that cannot be asked": {
			in: []situation{masterData, unreachable, syncedData}, all: []lookout{good, says(m1, 2), forgetful()}, want: toldWhat{Held: true},
		},
		"one is replacing the master": {all: []lookout{replacing(good), good, forgetful()}, want: toldWhat{Held: true}},
		"one counts a replica that is gone": {
			all: []lookout{good, knows(good, m1, m2, nowhere), good}, want: toldWhat{Forget: []int{1}, Watch: []int{1}},
		},
		"one counts a sentinel that is gone": {
			all: []lookout{good, lost(good, "gone"), good}, want: toldWhat{Forget: []int{1}, Watch: []int{1}},
		},
		"one may know another password": {all: []lookout{good, untold(good), good}, want: toldWhat{Tune: []int{1}}},
		"one is refused by the master": {
			all: []lookout{good, refused(good, m0), good}, want: toldWhat{Forget: []int{1}, Watch: []int{1}},
		},
		"all are refused by a replica": {
			all: []lookout{refused(good, m2), refused(good, m2), refused(good, m2)}, want: toldWhat{Forget: all, Watch: all},
		},
		"one is refused and was told anew":                {all: []lookout{good, toldAnew(refused(good, m0)), good}},
		"one is refused by a server of somebody else":     {all: []lookout{good, refused(good, nowhere), good}},
		"one is refused by a member that refuses us, too": {in: []situation{masterData, unreachable, syncedData}, all: []lookout{good, refused(good, m1), good}},
		"one is refused, and one is replacing the master": {all: []lookout{refused(good, m0), replacing(good), good}, want: toldWhat{Held: true}},
		"one finds a sentinel down that shall be":         {all: []lookout{good, lost(good, "mine"), good}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := tt.in
			if in == nil {
				in = []situation{masterData, syncedData, syncedData}
			}
			w := smallWorld(in, 0).with([]change{lookedAtBy(tt.all...)})
			got := planMonitors(w, w.members[0], someSettings, func(id string) bool { return id == "mine" })
			if diff := cmp.Diff(tt.want, toldBy(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Sentinels of somebody else have identities that nobody knows.
func TestSentinelsOfSomebodyElseAreCounted(t *testing.T) {
	w := smallWorld([]situation{masterData, syncedData}, 0)
	o := lost(says(serverOf(0), 1), "theirs")
	w.lookouts = lookouts{wanted: 1, led: true, all: []lookout{o}, foreign: true}
	none := func(string) bool { return false }
	if plan := planMonitors(w, w.members[0], someSettings, none); !plan.done() {
		t.Errorf("told %+v", toldBy(plan))
	}
	w.lookouts.foreign = false
	if plan := planMonitors(w, w.members[0], someSettings, none); plan.done() {
		t.Error("one that is gone is counted for ever")
	}
}

func TestGroupIsTakenBackFromSentinelsThatCannotHelp(t *testing.T) {
	m0, m1 := serverOf(0), serverOf(1)
	dead := down(knows(says(m0, 1), m1))
	alone := down(says(m0, 1))
	tests := map[string]struct {
		in    []situation
		all   []lookout
		taken string
		want  toldWhat
	}{
		"they are about to replace it":         {all: []lookout{dead, dead, dead}},
		"they know nobody to take its place":   {all: []lookout{alone, alone, alone}, want: toldWhat{Forget: []int{0, 1, 2}}},
		"one of them does":                     {all: []lookout{alone, alone, dead}},
		"it is replaced by one of them":        {all: []lookout{alone, alone, replacing(alone)}},
		"one of them does not answer":          {all: []lookout{alone, alone, silent()}},
		"they find it up":                      {all: []lookout{says(m0, 1), says(m0, 1), says(m0, 1)}},
		"too few watch it, the others forgot":  {all: []lookout{dead, forgetful(), forgetful()}, want: toldWhat{Forget: []int{0}}},
		"too few watch it, the rest never ran": {all: []lookout{dead, unborn(), unborn()}, want: toldWhat{Forget: []int{0}}},
		"too few watch it, as far as is known": {all: []lookout{dead, forgetful(), silent()}},
		"fewer watch it than have to find it down": {
			all: []lookout{tuned(dead, 3), tuned(dead, 3), forgetful()}, want: toldWhat{Forget: []int{0, 1}},
		},
		"one of them knows of a lower quorum": {all: []lookout{tuned(dead, 3), dead, forgetful()}},
		"nobody watches it":                   {all: []lookout{forgetful(), forgetful(), forgetful()}},
		"its address belongs to somebody else": {
			all: []lookout{says(nowhere, 1), says(nowhere, 1), silent()}, taken: nowhere,
			want: toldWhat{Forget: []int{0, 1}, Corrected: nowhere},
		},
		"the address of a replica belongs to somebody else": {
			all: []lookout{dead, knows(dead, m1, nowhere), dead}, taken: nowhere, want: toldWhat{Forget: []int{1}},
		},
		"whom they know was started again and waits for a role": {
			in: []situation{ended, fencedData}, all: []lookout{dead, dead, dead}, want: toldWhat{Forget: []int{0, 1, 2}},
		},
		"its address belongs to nobody":          {all: []lookout{dead, down(says(nowhere, 1)), dead}},
		"whom they know cannot be asked, either": {in: []situation{ended, unreachable}, all: []lookout{dead, dead, dead}, want: toldWhat{Forget: []int{0, 1, 2}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := tt.in
			if in == nil {
				in = []situation{ended, cutOffData}
			}
			w := smallWorld(in, 0).with([]change{lookedAtBy(tt.all...)})
			got := planWithoutMaster(w, func(addr string) bool { return addr == tt.taken })
			if diff := cmp.Diff(tt.want, toldBy(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
