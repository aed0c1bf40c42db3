// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/test/bench/figures"
	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// trial is one way of slots to the third group.
type trial struct {
	// took is the time until the slots came to rest, waited that until the first moved.
	took, waited time.Duration
	slots        int
}

// String implements fmt.Stringer.
func (t trial) String() string {
	return fmt.Sprintf("%d slots in %.2f s, %.1f a second, the first seen to move after %.2f s",
		t.slots, t.took.Seconds(), t.speed(), t.waited.Seconds())
}

// speed in slots a second.
func (t trial) speed() float64 { return float64(t.slots) / t.took.Seconds() }

// perThousand is how long a thousand slots take at the speed of a trial: the ways may
// differ in a slot.
func perThousand(trials []trial) []time.Duration {
	var times []time.Duration
	for _, t := range trials {
		times = append(times, t.took*1000/time.Duration(t.slots))
	}
	return times
}

// summary words the trials of both ways, and returns how fast the operator is beside
// Codis, by the p50 of each.
func summary(codis, operator []trial) (text string, ratio float64) {
	theirs, ours := perThousand(codis), perThousand(operator)
	ratio = figures.Percentile(theirs, 50).Seconds() / figures.Percentile(ours, 50).Seconds()
	return fmt.Sprintf("%s\n%s\nspeed of the operator beside Codis: %.2f",
		figures.Summary("Codis's own rebalance, 1000 slots", theirs),
		figures.Summary("the operator's plan, 1000 slots", ours), ratio), ratio
}

// verdict is what the run fails for.
func verdict(ratio, least float64, outcome framework.Outcome) error {
	var errs []error
	if ratio < least {
		errs = append(errs, fmt.Errorf("the operator has %.2f of the speed of Codis, less than %.2f", ratio, least))
	}
	if outcome.Failed > 0 || outcome.Lost > 0 {
		errs = append(errs, fmt.Errorf("%d writes failed and %d are lost: %v %v",
			outcome.Failed, outcome.Lost, outcome.Errors, outcome.Examples))
	}
	return errors.Join(errs...)
}

// firstMove is when a slot was first seen on its way, or to have come.
func firstMove(seen []observer.Observation) time.Time {
	for _, o := range seen {
		if o.Problem == "" && (o.Moving > 0 || o.Slots[extraID] != "") {
			return o.Time
		}
	}
	return time.Time{}
}

// settled returns when slots came to rest, group three having at least so many: the
// first moment after which nothing was on its way in any observation.
func settled(seen []observer.Observation, least int) (at time.Time, slots int) {
	for _, o := range seen {
		owned, err := layout.Parse(o.Slots[extraID])
		slots = len(owned)
		switch {
		case o.Problem != "" || err != nil:
		case o.Moving > 0 || slots < least:
			at = time.Time{}
		case at.IsZero():
			at = o.Time
		}
	}
	return at, slots
}
