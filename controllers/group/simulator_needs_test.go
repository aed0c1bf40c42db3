// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package group

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
)

var simNeed = flag.Int("sim.need", 6000, "number of schedules in which a missing protection must show")

// simNeeds compares schedules with something taken away to the same schedules
// with everything in place.
type simNeeds struct {
	whole map[uint64]bool // by seed, whether it breaks with everything in place
}

// simRare is what shows in one of some ten thousand schedules only, and a seed before
// one of them. With other code it is another one: they are sought for longer from there.
var simRare = map[string]uint64{
	"the comparison of processes": 31000, "finishHeld": 9000, "the members' processes": 36700,
}

func (n *simNeeds) breaksWhole(s *sim, seed uint64) bool {
	breaks, known := n.whole[seed]
	if !known {
		breaks = s.simulate(seed, ablation{}, false) != ""
		n.whole[seed] = breaks
	}
	return breaks
}

// show runs schedules until enough of them break that do not with everything in
// place, and says of one how.
func (n *simNeeds) show(s *sim, without ablation, remove string, limit int) (more int, example string) {
	all, every := guards, routeGuards
	defer func() { guards, routeGuards = all, every }()
	is := func(g guard) bool { return g.name == remove }
	from, rare := simRare[remove]
	if rare {
		limit *= 10
	}
	for seed := from + 1; seed <= from+uint64(limit) && more == 0; seed++ {
		guards, routeGuards = all, every
		whole := n.breaksWhole(s, seed)
		guards = slices.DeleteFunc(slices.Clone(all), is)
		routeGuards = slices.DeleteFunc(slices.Clone(every), is)
		if broken := s.simulate(seed, without, false); broken != "" && !whole {
			more++
			example = fmt.Sprintf("seed %d: %s", seed, broken)
		}
	}
	return more, example
}

// Without any one protection, schedules break that do not break with it.
func TestSimulationNeedsEveryGuard(t *testing.T) {
	without := map[string]ablation{
		"the start fence": {startFence: true}, "the comparison of processes": {processCheck: true},
		"the lock of a switchover": {lock: true}, "the refusal of writes": {refusal: true},
		"the intent": {intent: true}, "finishHeld": {finishHeld: true},
		"the master's process": {masterRecord: true}, "the members' processes": {memberRecord: true},
	}
	for _, g := range slices.Concat(guards, routeGuards) {
		without[g.name] = ablation{}
	}
	n := &simNeeds{whole: map[uint64]bool{}}
	for _, name := range slices.Sorted(maps.Keys(without)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *sim) {
				more, example := n.show(s, without[name], name, *simNeed)
				if more == 0 {
					t.Errorf("of %d schedules, only %d more break without it: %s", *simNeed, more, example)
				}
				t.Logf("after %d schedules: %s", s.stats.schedules, example)
			})
		})
	}
}
