// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"slices"

	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// seats gives every place its seat. It is pure. What a quorum stands for
// decides; without it everybody stays in the seat they have, and places that
// every member who answers knows of are filled again: so an ensemble comes back
// on volumes that outlived everything else.
func seats(e *ensemble, founder roster.ID) map[int]seat.Seat {
	given := map[int]seat.Seat{}
	if e.agreed != nil {
		for _, m := range e.agreed {
			if p := e.placeOf(m); p != nil {
				given[p.ordinal] = seat.Seat{ID: m.ID.String(), Fresh: !m.Started()}
			}
		}
		return given
	}
	for _, m := range e.heardOfByAll() {
		if p := e.placeOf(m); p != nil {
			given[p.ordinal] = seat.Seat{ID: m.ID.String()}
		}
	}
	for _, p := range e.places {
		if p.seat != nil {
			given[p.ordinal] = *p.seat
		}
	}
	if !e.founded {
		given[0] = e.founderSeat(founder)
	}
	return given
}

// founderSeat is that of the first place while there is no ensemble: to found
// one, or to bring back the one whose data is there.
func (e *ensemble) founderSeat(founder roster.ID) seat.Seat {
	if first := e.places[0]; first.finding.Kind == seat.Inherited {
		return seat.Seat{ID: first.finding.ID}
	}
	return seat.Seat{ID: founder.String(), Fresh: true, Founder: true}
}

// heardOfByAll lists the members that everybody who can be asked has heard of.
func (e *ensemble) heardOfByAll() []roster.Member {
	var known []roster.Member
	first := true
	for _, p := range e.places {
		if p.heard == nil {
			continue
		}
		if first {
			known, first = slices.Clone(p.heard), false
			continue
		}
		known = slices.DeleteFunc(known, func(m roster.Member) bool {
			return !slices.ContainsFunc(p.heard, func(o roster.Member) bool { return o.ID == m.ID })
		})
	}
	return known
}

// scaleFor is how many pods shall run: one for each seat, and none is taken
// from a place before a quorum stands for that the place has no member.
func (e *ensemble) scaleFor(given map[int]seat.Seat) int {
	scale := 1
	for ordinal := range given {
		scale = max(scale, ordinal+1)
	}
	if e.agreed == nil {
		scale = max(scale, e.scale)
	}
	return scale
}
