// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/client/workload"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// lag is how long before a fault a write may have been acknowledged that is
// lost: replication is not waited for.
const lag = time.Second

// evidence is all that is known of what happened after a fault.
type evidence struct {
	// at is when it struck, well when all was well again, if ever.
	at, well time.Time
	// usable is when a dashboard that was struck was of use again; zero if none was.
	usable time.Time
	// group that was struck.
	group    int
	promotes bool
	// either tells that it is well whether or not another master is chosen.
	either bool
	// exposed are all groups whose masters were hit.
	exposed []int
	// masters that the groups began with, by their addresses.
	masters map[int]string
	// struck are the addresses of proxies that were hit.
	struck  []string
	seen    []observer.Observation
	outcome framework.Outcome
	// beside is the outcome of clients that were cut off with the old master.
	beside *framework.Outcome
}

// judge draws from the evidence all that is told of a trial.
func (t *trial) judge(e evidence) {
	t.group, t.old, t.promotes = e.group, e.masters[e.group], e.promotes
	if !e.well.IsZero() {
		t.well = e.well.Sub(e.at)
	}
	if !e.usable.IsZero() {
		t.usable = e.usable.Sub(e.at)
	}
	t.countPromotions(e)
	takeover := e.at
	if i := slices.IndexFunc(e.seen, func(o observer.Observation) bool { return otherMaster(o, e.group, t.old) }); i >= 0 {
		takeover = e.seen[i].Time
		t.seen = takeover.Sub(e.at)
	}
	if len(e.seen) > 0 {
		last := e.seen[len(e.seen)-1]
		if servers := last.Groups[e.group]; len(servers) > 0 {
			t.master = servers[0]
		}
		old := last.Members[t.old]
		t.demoted = t.master != t.old && old.Role == "slave" && old.Master == t.master && old.LinkUp
	}
	t.acknowledged = e.outcome.Acknowledged
	t.lostLag, t.lostReal = classify(e.outcome.Lost, e.outcome.LostWritten, e.at, takeover)
	t.tellLost(e.outcome.LostWritten, e.at)
	t.feel(e)
	held := stall(e.outcome.HeldUp, e.at) // The longest of those gaps.
	t.heldUp = max(held.To.Sub(held.From), workload.MinGap)
	if e.beside != nil {
		t.judgeBeside(e, takeover)
	}
}

// judgeBeside draws from the outcome of clients beside the old master until when
// it took writes. If it does after another one has taken over, there are two.
func (t *trial) judgeBeside(e evidence, takeover time.Time) {
	within, beyond := classify(e.beside.Lost, e.beside.LostWritten, e.at, takeover)
	t.besideLost, t.lostReal = within, t.lostReal+beyond
	for _, w := range e.beside.Writers {
		i := slices.IndexFunc(w.Gaps, func(g workload.Gap) bool {
			return !g.From.After(takeover) && !g.To.Before(e.at.Add(cutFor))
		})
		if i < 0 {
			t.fail("the old master took writes of a client beside it after another one had taken over")
			continue
		}
		t.besideUntil = max(t.besideUntil, w.Gaps[i].From.Sub(e.at))
	}
}

// countPromotions compares the promotions of every group with those that were
// wanted: one for each master that was hit, by a fault that calls for it.
func (t *trial) countPromotions(e evidence) {
	for group, master := range e.masters {
		count, wanted := promotions(master, group, e.seen), 0
		if e.promotes && slices.Contains(e.exposed, group) {
			wanted = 1
		}
		if e.either {
			wanted = min(wanted, count)
		}
		t.promotions += min(count, wanted)
		t.needless += max(0, count-wanted)
		t.missing += max(0, wanted-count)
	}
}

// promotions counts how often a group got another master in the dashboard.
func promotions(master string, group int, seen []observer.Observation) int {
	count := 0
	for _, o := range seen {
		if servers := o.Groups[group]; len(servers) > 0 && servers[0] != master {
			master = servers[0]
			count++
		}
	}
	return count
}

// otherMaster tells whether another member of a group than the old master takes writes.
func otherMaster(o observer.Observation, group int, old string) bool {
	return slices.ContainsFunc(o.Masters(group), func(addr string) bool { return addr != old })
}

// classify tells lost writes that were on their way to a replica when the master
// was struck from all others: those that were acknowledged long before, or sent, to
// whomever, long after another master had taken over. When a write is acknowledged
// says nothing where a network that is cut holds the answer back.
func classify(lost int64, written []workload.Span, at, takeover time.Time) (withinLag, beyond int64) {
	for _, write := range written {
		if !write.Acknowledged.Before(at.Add(-lag)) && !write.Sent.After(takeover.Add(lag)) {
			withinLag++
		}
	}
	return withinLag, lost - withinLag
}

// tellLost notes when writes that are lost were under way, a few of them.
func (t *trial) tellLost(written []workload.Span, at time.Time) {
	const few = 4
	for _, write := range written[:min(few, len(written))] {
		t.notes = append(t.notes, fmt.Sprintf("lost what was sent %s after it and acknowledged %s after it",
			seconds(write.Sent.Sub(at)), seconds(write.Acknowledged.Sub(at))))
	}
}

// feel sums up what clients felt. Those of a proxy that was struck are counted
// apart: nobody can spare them that.
func (t *trial) feel(e evidence) {
	t.errors, t.struckErrors, t.texts = map[string]int64{}, map[string]int64{}, map[string]string{}
	for _, w := range e.outcome.Writers {
		if w.First.IsZero() || w.First.After(e.at) {
			t.fail("nothing was written through " + w.Address + " before the fault")
		}
		longest := stall(w.Gaps, e.at)
		errors := t.errors
		if slices.Contains(e.struck, w.Address) {
			errors = t.struckErrors
			t.struckStall = max(t.struckStall, longest.To.Sub(longest.From))
		} else {
			if length := longest.To.Sub(longest.From); length > t.stall {
				t.stall, t.stallFrom = length, longest.From.Sub(e.at)
			}
			t.stall = max(t.stall, workload.MinGap)
			if back := longest.To.Sub(e.at); t.promotions > 0 && back > 0 && (t.back == 0 || back < t.back) {
				t.back = back
			}
		}
		for kind, count := range w.Errors {
			errors[kind] += count
			t.texts[kind] = w.Texts[kind]
		}
	}
}

// stall is the longest of the gaps that a connection had after a moment, or was in.
func stall(gaps []workload.Gap, after time.Time) workload.Gap {
	var longest workload.Gap
	for _, gap := range gaps {
		if gap.To.After(after) && gap.To.Sub(gap.From) > longest.To.Sub(longest.From) {
			longest = gap
		}
	}
	return longest
}
