// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
	"github.com/codis-io/codis-operator/internal/zookeeper"
)

// realm is a model of an ensemble with its pods and volumes, and of an operator
// that sees it through answers only, in which time passes in steps.
type realm struct {
	t      *testing.T
	random *rand.Rand
	log    []string
	// url is the peer URL of a place.
	url func(ordinal int) string

	// counts tells that it is a ZooKeeper, whose members without a vote are in
	// the seats only, and whose identities the operator counts.
	counts bool
	// version of the list of members.
	version int64

	wanted, scale int
	founded       bool
	members       []roster.Member
	led           roster.ID
	// lived are the identities that ever ran, voted those that ever had a vote.
	lived, voted map[string]bool
	nextID       roster.ID

	pods [maxPlaces]realmPod
	// seats as written last, and as pods that start now may still see them.
	seats, seen map[int]seat.Seat
}

type realmPod struct {
	exists bool
	// runs is the identity of the member that runs; empty for none.
	runs    string
	finding seat.Finding
	// cut tells that the operator gets no answer.
	cut bool
	// data of identities on the volume.
	data map[string]bool
}

func newRealm(t *testing.T, seed uint64, wanted int) *realm {
	r := &realm{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), wanted: wanted, nextID: 0x100, url: peer,
		lived: map[string]bool{}, voted: map[string]bool{}, seats: map[int]seat.Seat{}, seen: map[int]seat.Seat{},
	}
	for i := range r.pods {
		r.pods[i].data = map[string]bool{}
	}
	return r
}

func (r *realm) say(format string, args ...any) { r.log = append(r.log, fmt.Sprintf(format, args...)) }

func (r *realm) fail(format string, args ...any) {
	r.t.Helper()
	for _, line := range r.log[max(0, len(r.log)-40):] {
		r.t.Log(line)
	}
	r.t.Fatalf(format, args...)
}

func (r *realm) ordinalOf(m roster.Member) int {
	for i := range maxPlaces {
		if m.PeerURLs[0] == r.url(i) {
			return i
		}
	}
	return -1
}

func (r *realm) runs(m roster.Member) bool { return r.pods[r.ordinalOf(m)].runs == m.ID.String() }

// quorum tells whether a majority of the given voters runs.
func (r *realm) quorum(members []roster.Member) bool {
	voters, running := 0, 0
	for _, m := range members {
		if !m.Learner {
			voters++
			if r.runs(m) {
				running++
			}
		}
	}
	return running >= majority(voters)
}

func (r *realm) leader() roster.ID {
	if !r.quorum(r.members) {
		return 0
	}
	running := func(m roster.Member) bool { return !m.Learner && r.runs(m) }
	if !slices.ContainsFunc(r.members, func(m roster.Member) bool { return m.ID == r.led && running(m) }) {
		r.led = r.members[slices.IndexFunc(r.members, running)].ID
	}
	return r.led
}

// observation is what the operator finds out.
func (r *realm) observation() *ensemble {
	e := &ensemble{wanted: r.wanted, scale: r.scale, founded: r.founded}
	for i := range maxPlaces {
		p := emptyPlace(i)
		pod := &r.pods[i]
		p.running, p.idle, p.finding = pod.exists, pod.exists && pod.runs == "", pod.finding
		if s, found := r.seats[i]; found {
			p.seat = &s
			e.founded = e.founded || !s.Fresh
		}
		if pod.runs != "" && !pod.cut && !r.counts {
			p.heard = slices.Clone(r.members)
		}
		// Without a quorum a member that was started anew does not open its port.
		if p.heard != nil && (r.leader() != 0 || r.random.IntN(2) == 0) {
			id, err := parseID(pod.runs)
			if err != nil {
				r.fail("%v", err)
			}
			p.ready = r.leader() != 0
			p.status = &roster.Status{MemberID: id, Leader: r.leader(), Applied: 10}
			for _, m := range r.members {
				p.status.Learner = p.status.Learner || m.ID == id && m.Learner
			}
			if r.leader() != 0 && !p.status.Learner {
				e.agreed, e.founded = slices.Clone(r.members), true
			}
		}
		e.places = append(e.places, p)
	}
	if r.counts {
		r.view(e)
	}
	return e
}

// view is what members of a ZooKeeper say, which they do with a quorum only.
func (r *realm) view(e *ensemble) {
	e.elects, e.lastID = true, r.nextID
	views := make([]*zookeeper.View, maxPlaces)
	for i := range r.pods {
		pod := &r.pods[i]
		if pod.runs == "" || pod.cut || r.leader() == 0 {
			continue
		}
		id, err := roster.ParseID(pod.runs)
		if err != nil {
			r.fail("%v", err)
		}
		views[i] = &zookeeper.View{ID: id, Leads: id == r.leader(), Config: zookeeper.Config{Version: r.version}}
		for _, m := range r.members {
			views[i].Config.Members = append(views[i].Config.Members, roster.Member{ID: m.ID, PeerURLs: m.PeerURLs})
		}
		e.places[i].ready = true
	}
	e.compose(views)
}

func parseID(text string) (roster.ID, error) {
	var id uint64
	_, err := fmt.Sscanf(text, "%x", &id)
	return roster.ID(id), err
}

// pass is one pass of the operator, which may end anywhere.
func (r *realm) pass() {
	e := r.observation()
	r.seen = r.seats
	given := seats(e, r.founderID())
	if r.random.IntN(20) == 0 {
		return
	}
	r.seats = given
	if r.random.IntN(20) == 0 {
		return
	}
	r.scale = e.scaleFor(given)
	for i := r.scale; i < maxPlaces; i++ {
		r.pods[i].exists, r.pods[i].runs, r.pods[i].finding = false, "", seat.Finding{}
	}
	if r.random.IntN(20) == 0 {
		return
	}
	r.act(e, decide(e))
	r.founded = e.founded
}

func (r *realm) founderID() roster.ID {
	if r.counts {
		return 1
	}
	return 0xf0
}

// actCounting is what a ZooKeeper makes of a decision, which the operator may not
// live to write down.
func (r *realm) actCounting(e *ensemble, d decision) {
	r.version++
	at := slices.IndexFunc(r.members, func(m roster.Member) bool { return m.ID == d.id })
	switch d.verb {
	case add:
		id := e.nextID()
		if r.lived[id.String()] {
			r.fail("%s is given again", id)
		}
		r.nextID = id
		r.seats = maps.Clone(r.seats)
		r.seats[d.place.ordinal] = seat.Seat{ID: id.String(), Fresh: true}
	case promote:
		joined := append(slices.Clone(r.members), roster.Member{ID: d.id, PeerURLs: []string{d.place.peerURL}})
		if r.seats[d.place.ordinal].Fresh {
			r.fail("%s gets a vote and may still start empty", d.id)
		}
		if r.pods[d.place.ordinal].runs == d.id.String() && r.quorum(joined) {
			r.members = joined
			r.voted[d.id.String()] = true
		}
	case remove:
		if at >= 0 {
			r.remove(e, d)
		}
		if r.random.IntN(5) == 0 {
			return
		}
		r.seats = maps.Clone(r.seats)
		delete(r.seats, d.place.ordinal)
		if pod := &r.pods[d.place.ordinal]; pod.runs == d.id.String() {
			pod.runs = ""
		}
	case transfer:
		r.fail("leadership cannot be handed over")
	case keep, wait, hold, replace, relieve:
	}
}

func (r *realm) act(e *ensemble, d decision) {
	if d.verb != keep {
		r.say("%s %s", words(d), d.message)
	}
	if d.verb != replace && !r.quorum(r.members) {
		return // etcd does not answer.
	}
	if r.counts && d.verb != replace {
		r.actCounting(e, d)
		return
	}
	switch d.verb {
	case add:
		r.nextID++
		r.members = append(r.members, roster.Member{ID: r.nextID, PeerURLs: []string{d.place.peerURL}, Learner: true})
	case promote:
		for i, m := range r.members {
			if m.ID == d.id {
				r.members[i].Learner = false
				r.voted[m.ID.String()] = true
			}
		}
	case transfer:
		r.led = d.id
	case remove:
		r.remove(e, d)
	case replace:
		pod := &r.pods[d.place.ordinal]
		pod.exists, pod.runs, pod.finding = false, "", seat.Finding{}
	}
}

func (r *realm) remove(e *ensemble, d decision) {
	stay := slices.DeleteFunc(slices.Clone(r.members), func(m roster.Member) bool { return m.ID == d.id })
	if !r.quorum(stay) {
		r.fail("%s lost the quorum", words(d))
	}
	if d.place.ordinal < e.wanted && r.pods[d.place.ordinal].data[d.id.String()] {
		r.fail("%s is wanted and has its data", words(d))
	}
	r.members = stay
	if pod := &r.pods[d.place.ordinal]; pod.runs == d.id.String() {
		pod.runs = "" // A member that is taken out ends.
	}
}

// kubelet starts what shall run and does not.
func (r *realm) kubelet() {
	for i := range r.scale {
		pod := &r.pods[i]
		pod.exists = true
		if pod.runs != "" {
			continue
		}
		seats := r.seats
		if r.random.IntN(3) == 0 {
			seats = r.seen
		}
		s, found := seats[i]
		if !found {
			pod.finding = seat.Finding{Kind: seat.Vacant}
			continue
		}
		if pod.finding = check(pod.data, s); pod.finding.Present() {
			continue
		}
		r.start(i, s)
	}
}

// check is what the gate does, on the model of a volume.
func check(data map[string]bool, s seat.Seat) seat.Finding {
	switch {
	case !data[s.ID] && !s.Fresh:
		return seat.Finding{Kind: seat.Emptied, ID: s.ID}
	case !data[s.ID] && s.Founder && len(data) > 0:
		return seat.Finding{Kind: seat.Inherited, ID: slices.Sorted(maps.Keys(data))[0]}
	}
	maps.DeleteFunc(data, func(id string, _ bool) bool { return id != s.ID })
	return seat.Finding{}
}

// start runs a member, if etcd lets it.
func (r *realm) start(ordinal int, s seat.Seat) {
	pod := &r.pods[ordinal]
	if s.Founder && s.Fresh && len(r.members) == 0 {
		id, err := parseID(s.ID)
		if err != nil {
			r.fail("%v", err)
		}
		r.members = []roster.Member{{ID: id, PeerURLs: []string{r.url(ordinal)}}}
		r.voted[s.ID] = true
	}
	at := slices.IndexFunc(r.members, func(m roster.Member) bool { return m.ID.String() == s.ID })
	if at < 0 && r.counts && r.leader() != 0 {
		pod.runs, pod.data[s.ID], r.lived[s.ID] = s.ID, true, true // It follows without a vote.
		return
	}
	if at < 0 || !pod.data[s.ID] && r.lived[s.ID] && r.leader() == 0 && !s.Founder {
		return // It was taken out, or finds nobody to join.
	}
	// A founder that is still alone has promised nobody anything.
	if alone := s.Founder && len(r.members) == 1; !alone && r.voted[s.ID] && !pod.data[s.ID] {
		r.fail("m-%d votes as %s, whose data is gone", ordinal, s.ID)
	}
	pod.runs, pod.data[s.ID], r.lived[s.ID] = s.ID, true, true
	r.members[at].Name = fmt.Sprintf("m-%d", ordinal)
	r.say("m-%d runs as %s", ordinal, s.ID)
}

// strike does harm to one place.
func (r *realm) strike() {
	i := r.random.IntN(max(1, r.scale))
	pod := &r.pods[i]
	switch r.random.IntN(6) {
	case 0:
		pod.runs = ""
		r.say("m-%d is killed", i)
	case 1:
		pod.exists, pod.runs, pod.finding = false, "", seat.Finding{}
		r.say("the pod of m-%d is deleted", i)
	case 2, 3:
		pod.cut = !pod.cut
		r.say("m-%d is cut off: %v", i, pod.cut)
	case 4:
		data := pod.data
		pod.data = map[string]bool{}
		if r.hopeless() && r.random.IntN(200) != 0 {
			pod.data = data // Not all schedules shall end like this.
			return
		}
		pod.exists, pod.runs, pod.finding = false, "", seat.Finding{}
		r.say("the volume of m-%d is lost", i)
	case 5:
		r.wanted = []int{1, 3, 5}[r.random.IntN(3)]
		r.say("%d members are wanted", r.wanted)
	}
}

// settled tells whether all is as wanted.
func (r *realm) settled() bool {
	if len(r.members) != r.wanted || r.scale != r.wanted || len(r.seats) != r.wanted {
		return false
	}
	return !slices.ContainsFunc(r.members, func(m roster.Member) bool { return m.Learner || !r.runs(m) })
}

// hopeless tells whether too many voters lost their data for a quorum to come back.
func (r *realm) hopeless() bool {
	voters, whole := 0, 0
	for _, m := range r.members {
		if !m.Learner {
			voters++
			if r.pods[r.ordinalOf(m)].data[m.ID.String()] {
				whole++
			}
		}
	}
	return whole < majority(voters)
}

// Whatever happens to members, pods, volumes and the operator, nobody votes with
// an identity whose data is gone, nobody is taken out who is missed, and
// everything ends as wanted once the harm does, unless most of the data is lost.
func TestEnsembleSurvivesAnySchedule(t *testing.T) {
	t.Run("of an etcd", func(t *testing.T) { survive(t, false) })
	t.Run("of a ZooKeeper", func(t *testing.T) { survive(t, true) })
}

func survive(t *testing.T, counts bool) {
	t.Helper()
	lost, replaced := 0, 0
	for seed := range uint64(400) {
		r := newRealm(t, seed, []int{1, 3, 5}[seed%3])
		if r.counts = counts; counts {
			r.nextID = 0
		}
		begin := r.nextID
		for range 200 {
			switch {
			case r.random.IntN(4) == 0 && r.founded:
				r.strike()
			case r.random.IntN(2) == 0:
				r.kubelet()
			default:
				r.pass()
			}
		}
		for i := range r.pods {
			r.pods[i].cut = false
		}
		if r.hopeless() {
			lost++
			continue
		}
		for step := 0; !r.settled(); step++ {
			if step > 300 {
				r.fail("seed %d: not as wanted: %+v, pods %+v, seats %v", seed, r.members, r.pods, r.seats)
			}
			r.kubelet()
			r.pass()
		}
		if r.nextID > begin+5 {
			replaced++
		}
	}
	t.Logf("%d schedules lost most data, %d replaced many members", lost, replaced)
	if lost == 0 || lost > 200 || replaced < 100 {
		t.Errorf("the schedules say little: %d lost, %d replaced", lost, replaced)
	}
}
