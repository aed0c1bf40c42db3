// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// rule looks at an ensemble and says what must be done, or keep.
type rule func(*ensemble) decision

// rules in order of precedence. Each may rely on those before it: from
// replaceHalted on a quorum answered, after joining nobody is about to join,
// after lagging every voter is healthy.
var rules = []rule{
	replaceHalted, founding, quorum, foreign, unwritten, joining, emptied, surplus, lagging, alarmed, missing, outdated,
}

// replaceHalted lets a pod start anew at once when what halted it is over: it
// runs an old template, or it was stopped for a seat that has changed since. No
// member runs in it, so nobody misses it.
func replaceHalted(e *ensemble) decision {
	for i := range e.places {
		p := &e.places[i]
		if !p.running || !p.idle {
			continue
		}
		if p.outdated || p.reseated() {
			return decision{verb: replace, place: p, message: p.pod + " starts anew"}
		}
	}
	return decision{}
}

// reseated tells whether what keeps the pod from starting is settled by the seat
// that it has now.
func (p *place) reseated() bool {
	if p.seat == nil {
		return false
	}
	switch p.finding.Kind {
	case seat.Vacant:
		return true
	case seat.Emptied:
		return p.finding.ID != p.seat.ID
	case seat.Inherited:
		return p.finding.ID == p.seat.ID
	}
	return false
}

// founding waits for the first member, which is alone in the beginning.
func founding(e *ensemble) decision {
	if e.founded {
		return decision{}
	}
	return decision{
		verb: wait, reason: v1alpha1.ReasonProgressing,
		message: e.places[0].pod + " is being started, to found the ensemble",
	}
}

// quorum holds everything that changes the ensemble while too few answer.
func quorum(e *ensemble) decision {
	if e.agreed != nil {
		return decision{}
	}
	var answering, silent, gone []string
	for _, p := range e.places {
		switch {
		case p.status != nil:
			answering = append(answering, p.pod)
		case p.finding.Kind == seat.Emptied:
			gone = append(gone, p.pod)
		case p.seat != nil:
			silent = append(silent, p.pod)
		}
	}
	message := fmt.Sprintf("too few members answer: %s", list(answering, "none"))
	if len(silent) > 0 {
		message += "; silent: " + strings.Join(silent, ", ")
	}
	if len(gone) > 0 {
		message += "; without their data: " + strings.Join(gone, ", ") + ": restore their volumes; if those are lost, " +
			"delete this CodisCoordinator and its volumes: the dashboard's status has the layout of the slots"
	}
	return decision{verb: hold, reason: v1alpha1.ReasonQuorumLost, message: message}
}

func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// foreign leaves an ensemble alone that somebody else changed.
func foreign(e *ensemble) decision {
	for _, m := range e.agreed {
		if e.placeOf(m) == nil {
			return decision{verb: hold, reason: v1alpha1.ReasonMemberForeign, message: fmt.Sprintf(
				"member %s (%s) was not added by the operator: take it out with %s",
				m.ID, strings.Join(m.PeerURLs, ","), e.takeOut(m.ID))}
		}
	}
	return decision{}
}

// takeOut is the command that takes a member out by hand.
func (e *ensemble) takeOut(id roster.ID) string {
	if e.elects {
		return fmt.Sprintf("zkCli.sh reconfig -remove %d", uint64(id))
	}
	return "etcdctl member remove " + id.String()
}

// unwritten waits until every member that has joined is written down as one that
// must find its data, so that none gets a vote, nor counts on others, while its
// pod could start empty.
func unwritten(e *ensemble) decision {
	for _, m := range e.agreed {
		p := e.placeOf(m)
		if m.Started() && (p.seat == nil || p.seat.Fresh || p.seat.ID != m.ID.String()) {
			return decision{verb: wait, place: p, reason: v1alpha1.ReasonProgressing, message: p.pod + " has joined"}
		}
	}
	return decision{}
}

// joining finishes what was begun: a learner gets its vote once it answers, and
// goes if it is not wanted any more or lost its data. It has no vote to miss.
func joining(e *ensemble) decision {
	for _, m := range e.agreed {
		if !m.Learner {
			continue
		}
		p := e.placeOf(m)
		lost := p.finding.Kind == seat.Emptied && p.finding.ID == m.ID.String()
		switch {
		case p.ordinal >= e.wanted || lost:
			return decision{verb: remove, place: p, id: m.ID}
		case p.status != nil && p.status.MemberID == m.ID:
			return decision{verb: promote, place: p, id: m.ID}
		}
		return decision{verb: wait, place: p, reason: v1alpha1.ReasonProgressing, message: p.pod + " is joining"}
	}
	return decision{}
}

// emptied takes out a voter whose own pod says that its data is gone, so that
// it can come back under another identity.
func emptied(e *ensemble) decision {
	voters := e.voters()
	for _, m := range voters {
		p := e.placeOf(m)
		if p.finding.Kind != seat.Emptied || p.finding.ID != m.ID.String() {
			continue
		}
		if e.healthyVoters(m.ID) < majority(len(voters)) {
			return decision{verb: hold, place: p, reason: v1alpha1.ReasonQuorumLost, message: fmt.Sprintf(
				"%s lost its data and waits to be replaced until %d of the others are healthy", p.pod, majority(len(voters)))}
		}
		return decision{verb: remove, place: p, id: m.ID}
	}
	return decision{}
}

// surplus takes out the last of more members than are wanted, if all who stay are
// healthy. A leader hands over first. One that stands in for a wanted one which
// is missing stays until that has come.
func surplus(e *ensemble) decision {
	voters := e.voters()
	if len(voters) <= e.wanted {
		return decision{}
	}
	last := slices.MaxFunc(voters, func(a, b roster.Member) int {
		return cmp.Compare(e.placeOf(a).ordinal, e.placeOf(b).ordinal)
	})
	p := e.placeOf(last)
	stay := len(voters) - 1
	enough := e.healthyVoters(0) >= majority(len(voters))
	if e.healthyVoters(last.ID) < stay || !enough {
		return decision{
			verb: hold, place: p, reason: v1alpha1.ReasonMemberUnhealthy,
			message: fmt.Sprintf("%s stays until every other member is healthy", p.pod),
		}
	}
	if e.leader() == last.ID && !e.elects {
		return e.handOver(p)
	}
	return decision{verb: remove, place: p, id: last.ID}
}

// handOver makes the healthy voter of the lowest ordinal lead instead.
func (e *ensemble) handOver(from *place) decision {
	var to *place
	id := roster.ID(0)
	for _, m := range e.voters() {
		p := e.placeOf(m)
		if p.ordinal != from.ordinal && e.healthy(m) && (to == nil || p.ordinal < to.ordinal) {
			to, id = p, m.ID
		}
	}
	if to == nil {
		return decision{
			verb: hold, place: from, reason: v1alpha1.ReasonMemberUnhealthy,
			message: fmt.Sprintf("%s leads and nobody healthy can take over", from.pod),
		}
	}
	return decision{verb: transfer, place: to, id: id, from: from}
}

// lagging stops every further change while a voter is not healthy.
func lagging(e *ensemble) decision {
	for _, m := range e.voters() {
		if e.healthy(m) {
			continue
		}
		p := e.placeOf(m)
		message := p.pod + " does not answer"
		if p.status != nil {
			message = p.pod + " answers and is not up to date"
		}
		return decision{verb: wait, place: p, reason: v1alpha1.ReasonMemberUnhealthy, message: message}
	}
	return decision{}
}

// missing adds the first member that is wanted and not there.
func missing(e *ensemble) decision {
	for i := range e.places {
		p := &e.places[i]
		if p.ordinal < e.wanted && !slices.ContainsFunc(e.agreed, func(m roster.Member) bool { return e.placeOf(m) == p }) {
			return decision{verb: add, place: p}
		}
	}
	return decision{}
}

// outdated replaces one pod that runs an old template, the leader's last, while
// all others are ready.
func outdated(e *ensemble) decision {
	var next, leading *place
	for _, m := range e.voters() {
		p := e.placeOf(m)
		switch {
		case !p.running:
			return decision{verb: wait, place: p, reason: v1alpha1.ReasonPodsNotReady, message: p.pod + " is being replaced"}
		case p.outdated && m.ID == e.leader():
			leading = p
		case p.outdated && (next == nil || p.ordinal > next.ordinal):
			next = p
		}
	}
	chosen := cmp.Or(next, leading)
	for i := range e.places {
		if p := &e.places[i]; p.seat != nil && !p.ready && p != chosen {
			return decision{verb: wait, place: p, reason: v1alpha1.ReasonPodsNotReady, message: p.pod + " is not ready yet"}
		}
	}
	switch {
	case chosen == nil:
		return decision{}
	case next == nil && len(e.agreed) > 1 && !e.elects:
		return e.handOver(leading)
	}
	return decision{verb: replace, place: chosen, message: chosen.pod + " runs an old template"}
}

// alarmed makes room where members are out of space, and tells of damage.
func alarmed(e *ensemble) decision {
	for _, a := range e.alarms {
		if a.Kind != roster.AlarmNoSpace {
			return decision{verb: hold, reason: v1alpha1.ReasonMemberUnhealthy, message: fmt.Sprintf(
				"member %s has raised the alarm %s: see its log", a.MemberID, a.Kind)}
		}
	}
	if len(e.alarms) > 0 {
		return decision{verb: relieve, reason: v1alpha1.ReasonOutOfSpace, message: "making room after an alarm about space"}
	}
	return decision{}
}
