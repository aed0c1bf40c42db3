// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"slices"

	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// maxLag is how many entries of the log a member may have to apply yet and
// still count as healthy: a second or two of a busy ensemble.
const maxLag = 5000

// place is one ordinal of the StatefulSet: its pod, and what answers there.
type place struct {
	ordinal int
	pod     string
	peerURL string
	node    string

	// running tells that the pod exists and is not being deleted, ready that it
	// passes its probes, outdated that it runs an old template.
	running, ready, outdated bool
	// idle tells that kubelet says that no member runs in the pod, now or yet.
	idle bool
	// finding is what keeps the pod from starting, by its own word.
	finding seat.Finding
	// seat that the live configuration gives the pod; nil for none.
	seat *seat.Seat
	// status of the member that answers; nil if none does, which says nothing
	// about whether one runs.
	status *roster.Status
	// heard is the ensemble as the member last heard of it; it tells also while it
	// waits for a quorum, which is before it has a status.
	heard []roster.Member
	// said is what the gate of the pod said when it let the pod start.
	said string
}

// ensemble is everything that a decision about membership is based on.
type ensemble struct {
	wanted int
	// scale is the number of pods that the StatefulSet runs now.
	scale int
	// founded tells that the ensemble exists, reachable or not.
	founded bool
	places  []place
	// agreed is the list of members that a quorum stands for; nil while nobody
	// can give it. What follows from silence alone is decided without it: nothing.
	agreed []roster.Member
	alarms []roster.Alarm
	// elects tells that leadership cannot be handed over: those who stay choose.
	elects bool
	// lastID is the identity that was given last, where the operator gives them.
	lastID roster.ID
}

// verb is an act on the ensemble.
type verb int

const (
	// keep: nothing to do.
	keep verb = iota
	// wait: something is under way and ends by itself.
	wait
	// hold: a person must act, or what is lost must come back.
	hold
	// add a learner at a place.
	add
	// promote a learner.
	promote
	// remove a member.
	remove
	// transfer leadership to a member.
	transfer
	// replace the pod of a place.
	replace
	// relieve the members of an alarm about space.
	relieve
)

// decision is the one act that a pass takes.
type decision struct {
	verb verb
	// place that the act is about; nil if it is about none.
	place *place
	// id of the member that is removed, promoted or to lead.
	id roster.ID
	// from is the place of the leader that hands over.
	from *place
	// reason and message say why, for a condition.
	reason, message string
}

// decide chooses at most one act. It is pure. A member is removed only while
// those who stay are enough to decide, and only if it is not wanted or its own
// pod says that its data is gone.
func decide(e *ensemble) decision {
	for _, rule := range rules {
		if d := rule(e); d.verb != keep {
			return d
		}
	}
	return decision{}
}

// voters are the members that count for a quorum.
func (e *ensemble) voters() []roster.Member {
	return slices.DeleteFunc(slices.Clone(e.agreed), func(m roster.Member) bool { return m.Learner })
}

// majority of n votes.
func majority(n int) int { return n/2 + 1 }

// placeOf finds the place of a member by the address that it was added with.
func (e *ensemble) placeOf(m roster.Member) *place {
	for i := range e.places {
		if slices.Contains(m.PeerURLs, e.places[i].peerURL) {
			return &e.places[i]
		}
	}
	return nil
}

// listed tells whether a list has whoever answers at the place there. The address of a pod
// is used again when it is gone, which may be known here later than it answers.
func (p *place) listed(members []roster.Member) bool {
	return slices.ContainsFunc(members, func(m roster.Member) bool {
		return p.status != nil && m.ID == p.status.MemberID && slices.Contains(m.PeerURLs, p.peerURL)
	})
}

// dropUnlisted takes back what was said by those who are no members.
func (e *ensemble) dropUnlisted() {
	for i := range e.places {
		if p := &e.places[i]; !p.listed(e.agreed) {
			p.status = nil
		}
	}
}

// leader that most of those who answer follow; 0 for none.
func (e *ensemble) leader() roster.ID {
	votes := map[roster.ID]int{}
	for _, p := range e.places {
		if p.status != nil && p.status.Leader != 0 {
			votes[p.status.Leader]++
		}
	}
	best := roster.ID(0)
	for id, n := range votes {
		if best == 0 || n > votes[best] || n == votes[best] && id < best {
			best = id
		}
	}
	return best
}

// healthy tells whether a member answers in its own name, follows the leader of
// the others and is not behind.
func (e *ensemble) healthy(m roster.Member) bool {
	p := e.placeOf(m)
	if p == nil || p.status == nil || p.status.MemberID != m.ID {
		return false
	}
	newest := uint64(0)
	for _, other := range e.places {
		if other.status != nil {
			newest = max(newest, other.status.Applied)
		}
	}
	return p.status.Leader != 0 && p.status.Leader == e.leader() && newest-p.status.Applied <= maxLag
}

// healthyVoters counts the voters that are healthy, without the given one.
func (e *ensemble) healthyVoters(without roster.ID) int {
	count := 0
	for _, m := range e.voters() {
		if m.ID != without && e.healthy(m) {
			count++
		}
	}
	return count
}
