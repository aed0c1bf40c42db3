// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
	"github.com/codis-io/codis-operator/internal/zookeeper"
)

// seen is how a member of three sees itself.
func seen(id roster.ID, epoch int64, leads bool) *zookeeper.View {
	list := zookeeper.Config{Version: 7}
	for i := range 3 {
		list.Members = append(list.Members, roster.Member{ID: roster.ID(i + 1), PeerURLs: []string{peer(i)}})
	}
	return &zookeeper.View{ID: id, Epoch: epoch, Leads: leads, Config: list}
}

func TestCompose(t *testing.T) {
	older := seen(1, 1, true)
	older.Config = zookeeper.Config{Version: 6, Members: older.Config.Members[:1]}
	alien := seen(1, 9, true)
	alien.Config = zookeeper.Config{Version: 99, Members: []roster.Member{{ID: 1, PeerURLs: []string{"alien:2888"}}}}
	tests := map[string]struct {
		views []*zookeeper.View
		// leaders that the members follow; 0 for no status.
		leaders []roster.ID
		agreed  int
		version int64
	}{
		"all follow the one that leads":                  {[]*zookeeper.View{seen(1, 2, true), seen(2, 1, false), seen(3, 1, false)}, []roster.ID{1, 1, 1}, 3, 7},
		"nobody answers":                                 {[]*zookeeper.View{nil, nil, nil}, []roster.ID{0, 0, 0}, 0, 0},
		"who follows somebody that is silent follows":    {[]*zookeeper.View{nil, seen(2, 1, false), nil}, []roster.ID{0, roster.Unknown, 0}, 3, 7},
		"one that leads no more is not believed":         {[]*zookeeper.View{older, seen(2, 2, true), seen(3, 1, false)}, []roster.ID{1, 2, 2}, 3, 7},
		"one that leads alone is believed until then":    {[]*zookeeper.View{seen(1, 1, true), nil, nil}, []roster.ID{1, 0, 0}, 3, 7},
		"one of another ensemble has no say":             {[]*zookeeper.View{alien, seen(2, 2, true), seen(3, 1, false)}, []roster.ID{0, 2, 2}, 3, 7},
		"also if nobody else answers":                    {[]*zookeeper.View{alien, nil, nil}, []roster.ID{0, 0, 0}, 0, 0},
		"the newest list counts if the leader is silent": {[]*zookeeper.View{{ID: 1, Config: older.Config}, seen(2, 1, false), nil}, []roster.ID{roster.Unknown, roster.Unknown, 0}, 3, 7},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := &ensemble{wanted: 3, scale: 3, places: []place{emptyPlace(0), emptyPlace(1), emptyPlace(2)}}
			version := e.compose(tt.views)
			if version != tt.version || len(e.agreed) != tt.agreed || e.founded != (tt.agreed > 0) {
				t.Errorf("version %d, agreed %v", version, e.agreed)
			}
			for i, want := range tt.leaders {
				got := roster.ID(0)
				if p := e.places[i]; p.status != nil {
					got = p.status.Leader
				}
				if got != want {
					t.Errorf("m-%d follows %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestWhoSitsWhereNobodyVotesIsJoining(t *testing.T) {
	places := func(third *seat.Seat) []place {
		list := []place{emptyPlace(0), emptyPlace(1), emptyPlace(2)}
		list[0].seat, list[1].seat, list[2].seat = &seat.Seat{ID: "1"}, &seat.Seat{ID: "2"}, third
		return list
	}
	views := func(third *zookeeper.View) []*zookeeper.View {
		list := []*zookeeper.View{seen(1, 1, true), seen(2, 1, false), third}
		for _, v := range list {
			if v != nil {
				v.Config.Members = v.Config.Members[:2]
			}
		}
		return list
	}
	voter := func(i int) roster.Member {
		return roster.Member{ID: roster.ID(i + 1), Name: emptyPlace(i).pod, PeerURLs: []string{peer(i)}}
	}
	learner := func(name string) []roster.Member {
		return []roster.Member{voter(0), voter(1), {ID: 4, Name: name, PeerURLs: []string{peer(2)}, Learner: true}}
	}
	tests := map[string]struct {
		seat *seat.Seat
		view *zookeeper.View
		want []roster.Member
		verb verb
	}{
		"nobody sits there":                     {nil, nil, []roster.Member{voter(0), voter(1)}, add},
		"one sits there and did not start yet":  {&seat.Seat{ID: "4", Fresh: true}, nil, learner(""), wait},
		"one answers that may start empty yet":  {&seat.Seat{ID: "4", Fresh: true}, seen(4, 1, false), learner("m-2"), wait},
		"one answers that must find its data":   {&seat.Seat{ID: "4"}, seen(4, 1, false), learner("m-2"), promote},
		"one is silent that must find its data": {&seat.Seat{ID: "4"}, nil, learner("m-2"), wait},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := &ensemble{wanted: 3, scale: 3, elects: true, places: places(tt.seat)}
			e.compose(views(tt.view))
			if diff := cmp.Diff(tt.want, e.agreed); diff != "" {
				t.Error(diff)
			}
			if got := decide(e); got.verb != tt.verb {
				t.Errorf("%s: %s", words(got), got.message)
			}
		})
	}
}

// Nobody can hand over: the pod of the leader is replaced last all the same.
func TestTheOneThatLeadsGoesLastWithoutHandingOver(t *testing.T) {
	for name, tt := range map[string]struct {
		old  []int
		want int
	}{
		"first another one":       {[]int{0, 1}, 1},
		"then the one that leads": {[]int{0}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := ensembleOf(3, oldTemplate(tt.old...))
			e.elects = true
			if d := decide(e); d.verb != replace || d.place.ordinal != tt.want {
				t.Errorf("%s", words(d))
			}
		})
	}
	e := ensembleOf(3, wanting(1))
	e.elects = true
	e.places[0].status.Leader = idOf(2)
	e.places[1].status.Leader, e.places[2].status.Leader = idOf(2), idOf(2)
	if d := decide(e); d.verb != remove || d.id != idOf(2) {
		t.Errorf("a leader that is not wanted: %s", words(d))
	}
}

func TestNextID(t *testing.T) {
	tests := map[string]struct {
		last   roster.ID
		agreed []roster.ID
		want   roster.ID
	}{
		"the first that joins":               {1, []roster.ID{1}, 2},
		"none is given twice":                {9, []roster.ID{1, 2}, 10},
		"what was written down is lost":      {0, []roster.ID{1, 7}, 8},
		"the last is followed by a free one": {zookeeper.MaxID, []roster.ID{1, 2, 250}, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := &ensemble{lastID: tt.last}
			for _, id := range tt.agreed {
				e.agreed = append(e.agreed, roster.Member{ID: id})
			}
			if got := e.nextID(); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAListThatOutlivedItsEnsembleIsHeardOfOnce(t *testing.T) {
	const list = "server.1=m-0:2888:3888:participant;2181\nserver.2=m-1:2888:3888:participant;2181\n"
	first := emptyPlace(0)
	first.seat, first.said = &seat.Seat{ID: "1"}, list
	e := &ensemble{places: []place{first, emptyPlace(1)}}
	e.inherit()
	if len(e.places[0].heard) != 2 {
		t.Errorf("heard of %v", e.places[0].heard)
	}
	e.places[0].heard, e.places[1].seat = nil, &seat.Seat{ID: "2"}
	e.inherit()
	if e.places[0].heard != nil {
		t.Error("a list as old as the pod overrules who sits where")
	}
}
