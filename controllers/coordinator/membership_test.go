// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// option changes an ensemble for a case.
type option func(*ensemble)

// idOf is the id of the member at an ordinal.
func idOf(ordinal int) roster.ID { return roster.ID(0xa0 + ordinal) }

func peer(ordinal int) string { return fmt.Sprintf("http://m-%d:2380", ordinal) }

func memberAt(ordinal int) roster.Member {
	return roster.Member{ID: idOf(ordinal), Name: fmt.Sprintf("m-%d", ordinal), PeerURLs: []string{peer(ordinal)}}
}

// ensembleOf has n members, all healthy, led by the first; everything is as wanted.
func ensembleOf(n int, options ...option) *ensemble {
	e := &ensemble{wanted: n, scale: n, founded: true}
	for i := range n {
		e.agreed = append(e.agreed, memberAt(i))
	}
	for i := range n {
		e.places = append(e.places, healthyPlace(i, e.agreed))
	}
	for _, o := range options {
		o(e)
	}
	return e
}

func emptyPlace(ordinal int) place {
	return place{ordinal: ordinal, pod: fmt.Sprintf("m-%d", ordinal), peerURL: peer(ordinal)}
}

func healthyPlace(ordinal int, heard []roster.Member) place {
	p := emptyPlace(ordinal)
	p.running, p.ready, p.heard = true, true, heard
	p.seat = &seat.Seat{ID: idOf(ordinal).String()}
	p.status = &roster.Status{ClusterID: 1, MemberID: idOf(ordinal), Leader: idOf(0), Index: 100, Applied: 100}
	return p
}

func wanting(n int) option {
	return func(e *ensemble) {
		e.wanted = n
		for i := len(e.places); i < n; i++ {
			e.places = append(e.places, emptyPlace(i))
		}
	}
}

// silent members do not answer; nobody says why.
func silent(ordinals ...int) option {
	return func(e *ensemble) {
		for _, i := range ordinals {
			e.places[i].status, e.places[i].heard, e.places[i].ready = nil, nil, false
		}
	}
}

// without the data of their identity, by the word of their own pods.
func withoutData(ordinals ...int) option {
	return func(e *ensemble) {
		silent(ordinals...)(e)
		for _, i := range ordinals {
			e.places[i].idle = true
			e.places[i].finding = seat.Finding{Kind: seat.Emptied, ID: idOf(i).String()}
		}
	}
}

func noQuorum() option {
	return func(e *ensemble) {
		e.agreed = nil
		for i := range e.places {
			if e.places[i].status != nil {
				e.places[i].status.Leader = 0
			}
		}
	}
}

func oldTemplate(ordinals ...int) option {
	return func(e *ensemble) {
		for _, i := range ordinals {
			e.places[i].outdated = true
		}
	}
}

func notReady(ordinal int) option { return func(e *ensemble) { e.places[ordinal].ready = false } }

func haltedPod(ordinal int) option {
	return func(e *ensemble) {
		silent(ordinal)(e)
		e.places[ordinal].idle = true
	}
}

func gone(ordinal int) option {
	return func(e *ensemble) {
		silent(ordinal)(e)
		e.places[ordinal].running = false
	}
}

func ledBy(ordinal int) option {
	return func(e *ensemble) {
		for i := range e.places {
			if e.places[i].status != nil {
				e.places[i].status.Leader = idOf(ordinal)
			}
		}
	}
}

func behind(ordinal int, entries uint64) option {
	return func(e *ensemble) {
		for i := range e.places {
			e.places[i].status.Applied = 10000
		}
		e.places[ordinal].status.Applied = 10000 - entries
	}
}

// learner makes the member at an ordinal one that joins.
func learner(ordinal int, answers bool) option {
	return func(e *ensemble) {
		for i := range e.agreed {
			if e.agreed[i].ID == idOf(ordinal) {
				e.agreed[i].Learner = true
			}
		}
		if !answers {
			silent(ordinal)(e)
			return
		}
		e.places[ordinal].status.Learner = true
	}
}

// stranger is a member that somebody else added.
func stranger() option {
	return func(e *ensemble) {
		e.agreed = append(e.agreed, roster.Member{ID: 0xff, Name: "x", PeerURLs: []string{"http://x:2380"}})
	}
}

// unlisted takes the member at an ordinal out of the list.
func unlisted(ordinal int) option {
	return func(e *ensemble) {
		var stay []roster.Member
		for _, m := range e.agreed {
			if m.ID != idOf(ordinal) {
				stay = append(stay, m)
			}
		}
		e.agreed = stay
		e.places[ordinal].seat = nil
	}
}

func freshSeat(ordinal int, id roster.ID) option {
	return func(e *ensemble) { e.places[ordinal].seat = &seat.Seat{ID: id.String(), Fresh: true} }
}

func found(ordinal int, f seat.Finding) option {
	return func(e *ensemble) {
		silent(ordinal)(e)
		e.places[ordinal].idle, e.places[ordinal].finding = true, f
	}
}

func alarm(kind string) option {
	return func(e *ensemble) { e.alarms = append(e.alarms, roster.Alarm{MemberID: idOf(0), Kind: kind}) }
}

func unfounded(e *ensemble) {
	e.founded, e.agreed, e.scale = false, nil, 0
	for i := range e.places {
		e.places[i] = emptyPlace(i)
	}
}

var verbs = map[verb]string{
	keep: "keep", wait: "wait", hold: "hold", add: "add", promote: "promote", remove: "remove", transfer: "transfer",
	replace: "replace", relieve: "relieve",
}

// words describes a decision shortly: what, and at which place.
func words(d decision) string {
	text := verbs[d.verb]
	if d.place != nil {
		text += " " + d.place.pod
	}
	if d.verb == wait || d.verb == hold {
		text += " " + d.reason
	}
	return text
}

func TestDecide(t *testing.T) {
	unhealthy := v1alpha1.ReasonMemberUnhealthy
	tests := map[string]struct {
		ensemble *ensemble
		want     string
	}{
		"all as wanted":                      {ensembleOf(3), "keep"},
		"one member as wanted":               {ensembleOf(1), "keep"},
		"nothing was founded yet":            {ensembleOf(3, unfounded), "wait Progressing"},
		"founded, and more are wanted":       {ensembleOf(1, wanting(3)), "add m-1"},
		"the second came, the third follows": {ensembleOf(2, wanting(3)), "add m-2"},
		"a learner is on its way":            {ensembleOf(2, wanting(3), learner(1, false)), "wait m-1 Progressing"},
		"a learner answers":                  {ensembleOf(2, wanting(3), learner(1, true)), "promote m-1"},
		"nobody is added while the founder may found again": {
			ensembleOf(1, wanting(3), freshSeat(0, idOf(0))), "wait m-0 Progressing",
		},
		"a learner that may start empty yet": {
			ensembleOf(2, wanting(3), learner(1, true), freshSeat(1, idOf(1))), "wait m-1 Progressing",
		},
		"a learner lost its data":          {ensembleOf(3, learner(2, false), withoutData(2)), "remove m-2"},
		"a learner is not wanted any more": {ensembleOf(3, learner(2, false), wanting(1)), "remove m-2"},
		"nobody is added beside a silent member": {
			ensembleOf(3, wanting(5), silent(1)), "wait m-1 " + unhealthy,
		},

		"a silent member is not gone":            {ensembleOf(3, silent(1)), "wait m-1 " + unhealthy},
		"nor is one whose pod is gone":           {ensembleOf(3, gone(1)), "wait m-1 " + unhealthy},
		"a member that answers for another":      {ensembleOf(3, func(e *ensemble) { e.places[1].status.MemberID = 7 }), "wait m-1 " + unhealthy},
		"a member that is a little behind":       {ensembleOf(3, behind(1, maxLag)), "keep"},
		"a member that is far behind":            {ensembleOf(3, behind(1, maxLag+1)), "wait m-1 " + unhealthy},
		"a member that follows nobody":           {ensembleOf(3, func(e *ensemble) { e.places[1].status.Leader = 0 }), "wait m-1 " + unhealthy},
		"an emptied member is taken out":         {ensembleOf(3, withoutData(1)), "remove m-1"},
		"and comes back as a new one":            {ensembleOf(3, withoutData(1), unlisted(1)), "add m-1"},
		"two emptied of five":                    {ensembleOf(5, withoutData(1, 3)), "remove m-1"},
		"two emptied of three have no quorum":    {ensembleOf(3, withoutData(0, 1), noQuorum()), "hold QuorumLost"},
		"an emptied member beside a silent one":  {ensembleOf(3, withoutData(1), silent(2)), "hold m-1 QuorumLost"},
		"an emptied member of two":               {ensembleOf(2, withoutData(1)), "hold m-1 QuorumLost"},
		"an emptied only member":                 {ensembleOf(1, withoutData(0), noQuorum()), "hold QuorumLost"},
		"an emptied identity of before":          {ensembleOf(3, found(1, seat.Finding{Kind: seat.Emptied, ID: "77"})), "replace m-1"},
		"no quorum although two of three answer": {ensembleOf(3, silent(2), noQuorum()), "hold QuorumLost"},
		"nobody answers":                         {ensembleOf(3, silent(0, 1, 2), noQuorum()), "hold QuorumLost"},
		"a stranger holds everything":            {ensembleOf(3, wanting(5), stranger()), "hold MemberForeign"},

		"too many members":                         {ensembleOf(5, wanting(3)), "remove m-4"},
		"then one more":                            {ensembleOf(4, wanting(3)), "remove m-3"},
		"the one that goes hands over first":       {ensembleOf(5, wanting(3), ledBy(4)), "transfer m-0"},
		"nobody goes beside a silent member":       {ensembleOf(5, wanting(3), silent(1)), "hold m-4 " + unhealthy},
		"a silent one of many may itself go":       {ensembleOf(5, wanting(3), silent(4)), "remove m-4"},
		"but not one of two":                       {ensembleOf(2, wanting(1), silent(1)), "hold m-1 " + unhealthy},
		"from two to one":                          {ensembleOf(2, wanting(1)), "remove m-1"},
		"a stand-in for a missing one stays":       {ensembleOf(2, wanting(1), unlisted(0), ledBy(1)), "add m-0"},
		"the last is never taken out":              {ensembleOf(1), "keep"},
		"an emptied one goes before a surplus one": {ensembleOf(5, wanting(3), withoutData(1)), "remove m-1"},

		"an old template, the leader's last":    {ensembleOf(3, oldTemplate(0, 1, 2)), "replace m-2"},
		"only the leader's is old":              {ensembleOf(3, oldTemplate(0)), "transfer m-1"},
		"the only member is replaced as it is":  {ensembleOf(1, oldTemplate(0)), "replace m-0"},
		"one at a time":                         {ensembleOf(3, oldTemplate(0, 1), notReady(2)), "wait m-2 PodsNotReady"},
		"an old pod may itself be not ready":    {ensembleOf(3, oldTemplate(1), notReady(1)), "replace m-1"},
		"a halted pod of an old template":       {ensembleOf(3, oldTemplate(0, 1, 2), haltedPod(1)), "replace m-1"},
		"also without a quorum":                 {ensembleOf(3, oldTemplate(0, 1, 2), haltedPod(0), haltedPod(1), noQuorum()), "replace m-0"},
		"a silent pod of an old template stays": {ensembleOf(3, oldTemplate(1), silent(1)), "wait m-1 " + unhealthy},
		"not while a member is to be added":     {ensembleOf(1, wanting(3), oldTemplate(0)), "add m-1"},
		"a pod without a seat gets one":         {ensembleOf(3, found(1, seat.Finding{Kind: seat.Vacant})), "replace m-1"},
		"and waits while it has none":           {ensembleOf(3, found(1, seat.Finding{Kind: seat.Vacant}), unlisted(1)), "add m-1"},
		"data of an earlier life that is adopted": {
			ensembleOf(3, unfounded, found(0, seat.Finding{Kind: seat.Inherited, ID: "77"}), freshSeat(0, 0x77),
				func(e *ensemble) { e.places[0].running = true }), "replace m-0",
		},

		"an alarm about space": {ensembleOf(3, alarm(roster.AlarmNoSpace)), "relieve"},
		"an alarm about space makes pods unready": {
			ensembleOf(3, alarm(roster.AlarmNoSpace), notReady(0), notReady(1), notReady(2)), "relieve",
		},
		"an alarm about damage": {ensembleOf(3, alarm(roster.AlarmCorrupt)), "hold " + unhealthy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := words(decide(tt.ensemble)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever is found at however many members, nobody is taken out who would be
// missed: those who stay and are healthy are a majority of those who voted.
func TestNobodyIsRemovedWhoIsMissed(t *testing.T) {
	states := []func(int) option{
		func(int) option { return func(*ensemble) {} },
		func(i int) option { return silent(i) },
		func(i int) option { return withoutData(i) },
		gone,
		behindAt,
		func(i int) option { return oldTemplate(i) },
	}
	removals := 0
	for n := 1; n <= 5; n++ {
		combinations := 1
		for range n {
			combinations *= len(states)
		}
		for c := range combinations {
			for _, wanted := range []int{1, 3, 5} {
				var options []option
				for i, rest := 0, c; i < n; i, rest = i+1, rest/len(states) {
					options = append(options, states[rest%len(states)](i))
				}
				e := ensembleOf(n, append(options, wanting(wanted))...)
				d := decide(e)
				if d.verb == remove {
					removals++
					requireNotMissed(t, e, d)
				}
				if d.verb == replace && e.places[d.place.ordinal].status != nil {
					requireOthersHealthy(t, e, d)
				}
			}
		}
	}
	if removals < 100 {
		t.Errorf("only %d removals were looked at", removals)
	}
}

func behindAt(ordinal int) option {
	return func(e *ensemble) {
		if e.places[ordinal].status != nil {
			e.places[ordinal].status.Leader = 0
		}
	}
}

func requireNotMissed(t *testing.T, e *ensemble, d decision) {
	t.Helper()
	voters := e.voters()
	if got := e.healthyVoters(0); got < majority(len(voters)) {
		t.Fatalf("%s: removed with %d healthy of %d", words(d), got, len(voters))
	}
	if got := e.healthyVoters(d.id); got < majority(len(voters)-1) {
		t.Fatalf("%s: %d healthy of %d are left", words(d), got, len(voters)-1)
	}
	lost := d.place.finding.Kind == seat.Emptied && d.place.finding.ID == d.id.String()
	if d.place.ordinal < e.wanted && !lost {
		t.Fatalf("%s: it is wanted and nobody said that its data is gone", words(d))
	}
}

func requireOthersHealthy(t *testing.T, e *ensemble, d decision) {
	t.Helper()
	if got, others := e.healthyVoters(idOf(d.place.ordinal)), len(e.voters())-1; got != others {
		t.Fatalf("%s: replaced while %d of %d others are healthy", words(d), got, others)
	}
}

func TestSeats(t *testing.T) {
	fresh := func(e *ensemble) {
		e.agreed = append(e.agreed, roster.Member{ID: 0xbb, PeerURLs: []string{peer(1)}, Learner: true})
	}
	tests := map[string]struct {
		ensemble *ensemble
		want     map[int]seat.Seat
		scale    int
	}{
		"the founder comes first": {
			ensembleOf(3, unfounded), map[int]seat.Seat{0: {ID: "f0", Fresh: true, Founder: true}}, 1,
		},
		"data of an earlier life is taken over": {
			ensembleOf(3, unfounded, found(0, seat.Finding{Kind: seat.Inherited, ID: "77"})),
			map[int]seat.Seat{0: {ID: "77"}},
			1,
		},
		"a member that was added may start empty": {
			ensembleOf(1, wanting(3), fresh), map[int]seat.Seat{0: {ID: "a0"}, 1: {ID: "bb", Fresh: true}}, 2,
		},
		"a member that has joined must find its data": {
			ensembleOf(2, wanting(3), learner(1, true)), map[int]seat.Seat{0: {ID: "a0"}, 1: {ID: "a1"}}, 2,
		},
		"a member that was taken out has no seat": {
			ensembleOf(3, withoutData(1), unlisted(1)), map[int]seat.Seat{0: {ID: "a0"}, 2: {ID: "a2"}}, 3,
		},
		"without a quorum nothing changes": {
			ensembleOf(3, silent(1), noQuorum()), map[int]seat.Seat{0: {ID: "a0"}, 1: {ID: "a1"}, 2: {ID: "a2"}}, 3,
		},
		"without a quorum no pod is taken away": {
			ensembleOf(5, wanting(3), silent(1, 2, 3), noQuorum()),
			map[int]seat.Seat{0: {ID: "a0"}, 1: {ID: "a1"}, 2: {ID: "a2"}, 3: {ID: "a3"}, 4: {ID: "a4"}},
			5,
		},
		"an ensemble of which only volumes are left comes back": {
			ensembleOf(3, noQuorum(), onlyFirstSeat), map[int]seat.Seat{0: {ID: "a0"}, 1: {ID: "a1"}, 2: {ID: "a2"}}, 3,
		},
		"the pod of a member that was taken out goes": {
			ensembleOf(4, wanting(3), unlisted(3)), map[int]seat.Seat{0: {ID: "a0"}, 1: {ID: "a1"}, 2: {ID: "a2"}}, 3,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := seats(tt.ensemble, 0xf0)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if scale := tt.ensemble.scaleFor(got); scale != tt.scale {
				t.Errorf("scale %d, want %d", scale, tt.scale)
			}
		})
	}
}

// onlyFirstSeat leaves the configuration of the first member, which answers.
func onlyFirstSeat(e *ensemble) {
	e.scale = 1
	for i := range e.places {
		if i > 0 {
			e.places[i] = emptyPlace(i)
		}
	}
}

func TestHeldMessagesSayWhoAndWhatNext(t *testing.T) {
	d := decide(ensembleOf(3, withoutData(0, 1), noQuorum()))
	for _, part := range []string{"m-2", "without their data: m-0, m-1", "restore their volumes"} {
		if !strings.Contains(d.message, part) {
			t.Errorf("%q lacks %q", d.message, part)
		}
	}
	d = decide(ensembleOf(3, stranger()))
	if !strings.Contains(d.message, "etcdctl member remove ff") {
		t.Errorf("%q", d.message)
	}
}
