// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/test/bench/figures"
)

// trial is the outcome of one.
type trial struct {
	fault  string
	number int
	// notRun is why it was not, failure why it is no success.
	notRun, failure string
	notes           []string

	group int
	// old is the master that the group began with, master the one it ended with.
	old, master string
	// demoted tells that the old master follows the new one.
	demoted bool
	// promotes tells whether another master was wanted. Of the promotions that
	// were wanted some happened and some are missing; others were needless.
	promotes                      bool
	promotions, missing, needless int

	// stall is the longest time between two acknowledgements on a connection,
	// struckStall that on connections through a proxy that was struck. stallFrom is
	// when the first began, after the fault.
	stall, struckStall, stallFrom time.Duration
	// heldUp is the longest time for which the machine did not run the clients.
	heldUp time.Duration
	// seen is the time until the witness saw another master, back that until a
	// connection which had stalled had a write acknowledged again, and well that
	// until all was well.
	seen, back, well time.Duration
	// usable is the time until a dashboard that was struck was of use again.
	usable time.Duration
	// errors of clients by kind, apart for those of a proxy that was struck, and
	// the text of one of each kind.
	errors, struckErrors map[string]int64
	texts                map[string]string

	acknowledged, lostLag, lostReal int64

	// besideUntil is how long the old master took writes from clients that were
	// cut off with it, besideLost how many of those are lost.
	besideUntil time.Duration
	besideLost  int64
}

func (t trial) failed() bool { return t.notRun == "" && t.failure != "" }

func (t *trial) fail(why string) {
	if t.failure != "" {
		why = t.failure + "; " + why
	}
	t.failure = why
}

// String is the line of a trial.
func (t trial) String() string {
	name := fmt.Sprintf("%s %d: ", t.fault, t.number)
	if t.notRun != "" {
		return name + "NOT RUN: " + t.notRun
	}
	parts := append(t.roles(), t.notes...)
	if t.acknowledged > 0 {
		parts = append(parts, "longest stall "+seconds(t.stall)+" from "+seconds(t.stallFrom),
			"clients held up by their machine for at most "+seconds(t.heldUp))
	}
	if t.struckStall > 0 {
		parts = append(parts, "through the proxy struck "+seconds(t.struckStall))
	}
	if t.seen > 0 {
		parts = append(parts, fmt.Sprintf("new master seen after %s", seconds(t.seen)))
	}
	if t.back > 0 {
		parts = append(parts, fmt.Sprintf("took writes after %s", seconds(t.back)))
	}
	if t.usable > 0 {
		parts = append(parts, "dashboard usable again after "+seconds(t.usable))
	}
	if t.well > 0 {
		parts = append(parts, "well after "+seconds(t.well))
	}
	if t.besideUntil > 0 {
		parts = append(parts, fmt.Sprintf("writes beside it went on for %s, of which %d are lost",
			seconds(t.besideUntil), t.besideLost))
	}
	parts = append(parts, errorsOf(t.errors, t.struckErrors, t.texts), writesOf(t.acknowledged, t.lostLag, t.lostReal))
	if t.failed() {
		parts = append(parts, "FAILED: "+t.failure)
	}
	return name + strings.Join(parts, ", ")
}

// roles tells who was master and who is.
func (t trial) roles() []string {
	var parts []string
	switch {
	case t.old == "":
		return nil
	case t.master == "":
		parts = append(parts, fmt.Sprintf("nobody saw who is master of group %d", t.group))
	case t.master == t.old:
		parts = append(parts, fmt.Sprintf("%s stays master of group %d", host(t.old), t.group))
	case t.demoted:
		parts = append(parts, t.takeover()+", now its replica")
	default:
		parts = append(parts, t.takeover()+", which is NOT its replica")
	}
	if t.missing > 0 {
		parts = append(parts, fmt.Sprintf("%d promotions missing", t.missing))
	}
	if t.needless > 0 {
		parts = append(parts, fmt.Sprintf("%d promotions NEEDLESS", t.needless))
	}
	return parts
}

func (t trial) takeover() string {
	return fmt.Sprintf("%s took over group %d from %s", host(t.master), t.group, host(t.old))
}

// summary is the line of a fault.
func summary(name string, trials []trial) string {
	var stalls, held, struck, back, beside, usable []time.Duration
	sum, failed, notRun := trial{errors: map[string]int64{}, struckErrors: map[string]int64{}}, 0, 0
	for _, t := range trials {
		if t.notRun != "" {
			notRun++
			continue
		}
		if t.failed() {
			failed++
		}
		sum.add(t)
		if t.acknowledged > 0 {
			stalls, held = append(stalls, t.stall), append(held, t.heldUp)
		}
		if t.struckStall > 0 {
			struck = append(struck, t.struckStall)
		}
		if t.back > 0 {
			back = append(back, t.back)
		}
		if t.besideUntil > 0 {
			beside = append(beside, t.besideUntil)
		}
		if t.usable > 0 {
			usable = append(usable, t.usable)
		}
	}
	parts := []string{fmt.Sprintf("%s: %d trials run, %d not run, %d failed", name, len(trials)-notRun, notRun, failed)}
	if len(usable) > 0 {
		parts = append(parts, "dashboard usable again after "+percentiles(usable))
	}
	parts = append(parts, "longest stall "+percentiles(stalls),
		"clients held up by their machine for at most "+percentiles(held))
	if len(struck) > 0 {
		parts = append(parts, "through a proxy struck "+percentiles(struck))
	}
	if len(beside) > 0 {
		parts = append(parts, fmt.Sprintf("writes beside the old master went on for %s, %d of them lost",
			percentiles(beside), sum.besideLost))
	}
	parts = append(parts,
		"new master took writes after "+percentiles(back),
		fmt.Sprintf("%d promotions, %d missing, %d needless", sum.promotions, sum.missing, sum.needless),
		errorsOf(sum.errors, sum.struckErrors, nil),
		writesOf(sum.acknowledged, sum.lostLag, sum.lostReal))
	return strings.Join(parts, "; ")
}

func (t *trial) add(other trial) {
	t.promotions += other.promotions
	t.missing += other.missing
	t.needless += other.needless
	t.acknowledged += other.acknowledged
	t.lostLag += other.lostLag
	t.lostReal += other.lostReal
	t.besideLost += other.besideLost
	for kind, count := range other.errors {
		t.errors[kind] += count
	}
	for kind, count := range other.struckErrors {
		t.struckErrors[kind] += count
	}
}

// verdict is why a run as a whole is no success. What was not run is none, but
// no failure either.
func verdict(trials []trial) error {
	var errs []error
	for _, t := range trials {
		if t.notRun != "" {
			continue
		}
		name := fmt.Sprintf("%s %d", t.fault, t.number)
		if t.failed() {
			errs = append(errs, fmt.Errorf("%s failed: %s", name, t.failure))
		}
		if t.lostReal > 0 {
			errs = append(errs, fmt.Errorf("%s: %d acknowledged writes are lost that no lag explains", name, t.lostReal))
		}
		if t.needless > 0 {
			errs = append(errs, fmt.Errorf("%s: %d needless promotions", name, t.needless))
		}
	}
	return errors.Join(errs...)
}

func percentiles(trials []time.Duration) string {
	if len(trials) == 0 {
		return "(no trial)"
	}
	return fmt.Sprintf("p50 %s, p99 %s, max %s of %d", seconds(figures.Percentile(trials, 50)),
		seconds(figures.Percentile(trials, 99)), seconds(figures.Percentile(trials, 100)), len(trials))
}

func writesOf(acknowledged, lostLag, lostReal int64) string {
	return fmt.Sprintf("%d writes acknowledged, %d lost within the lag, %d lost beyond it",
		acknowledged, lostLag, lostReal)
}

// errorsOf counts errors by kind, with the text of one of each kind if there is any.
func errorsOf(all, struck map[string]int64, texts map[string]string) string {
	words := "errors " + kinds(all, texts)
	if len(struck) > 0 {
		words += ", through the proxy struck " + kinds(struck, texts)
	}
	return words
}

func kinds(counts map[string]int64, texts map[string]string) string {
	if len(counts) == 0 {
		return "0"
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		part := fmt.Sprintf("%d %s", counts[kind], kind)
		if texts[kind] != "" {
			part += fmt.Sprintf(" (%q)", texts[kind])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " + ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
