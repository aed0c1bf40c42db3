// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/layout"
)

// moves are n moves from one group to another.
func moves(n, from, to int) []Move {
	var list []Move
	for i := range n {
		list = append(list, Move{from*100 + i, from, to})
	}
	return list
}

func TestNext(t *testing.T) {
	twoPairs := Plan{Moves: append(moves(3, 1, 3), moves(3, 2, 4)...)}
	tests := map[string]struct {
		plan   Plan
		limits Limits
		want   map[string]int
		full   []int
		stop   map[string]int
	}{
		"no moves": {Plan{}, Limits{Sources: 4, Queue: 16}, nil, nil, nil},
		"all that fits within the queue of each source": {
			twoPairs, Limits{Sources: 4, Queue: 2}, map[string]int{"1>3": 2, "2>4": 2}, nil, nil,
		},
		"no more sources than asked for":            {twoPairs, Limits{Sources: 1, Queue: 9}, map[string]int{"1>3": 3}, nil, nil},
		"nothing may move":                          {twoPairs, Limits{Queue: 9}, nil, nil, nil},
		"what is queued counts":                     {Plan{Moves: moves(3, 1, 3), Queued: moves(1, 1, 3)}, Limits{Sources: 1, Queue: 3}, map[string]int{"1>3": 2}, nil, nil},
		"more than half of the queue is left":       {Plan{Moves: moves(3, 1, 3), Queued: moves(2, 1, 3)}, Limits{Sources: 1, Queue: 3}, nil, nil, nil},
		"half of the queue has moved":               {Plan{Moves: moves(3, 1, 3), Queued: moves(2, 1, 3)}, Limits{Sources: 1, Queue: 4}, map[string]int{"1>3": 2}, nil, nil},
		"what runs counts":                          {Plan{Moves: moves(3, 1, 3), Running: moves(1, 2, 3)}, Limits{Sources: 1, Queue: 3}, nil, nil, nil},
		"a group that still gets a slot gives none": {Plan{Moves: moves(1, 1, 3), Running: moves(1, 2, 1)}, Limits{Sources: 4, Queue: 3}, nil, nil, nil},
		"a group that still gives a slot gets none": {Plan{Moves: moves(1, 1, 3), Running: moves(1, 3, 2)}, Limits{Sources: 4, Queue: 3}, nil, nil, nil},
		"a target takes what it has room for": {
			twoPairs,
			Limits{Sources: 4, Queue: 9, Free: map[int]int64{3: 25}, SlotBytes: map[int]int64{1: 10}},
			map[string]int{"1>3": 2, "2>4": 3},
			[]int{3},
			nil,
		},
		"what is on its way fills a target, too": {
			Plan{Moves: moves(3, 1, 3), Queued: moves(1, 1, 3), Running: moves(1, 2, 3)},
			Limits{Sources: 4, Queue: 9, Free: map[int]int64{3: 45}, SlotBytes: map[int]int64{1: 10, 2: 20}},
			map[string]int{"1>3": 1},
			[]int{3},
			nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.plan.Next(tt.limits)
			if len(got.Moves)+len(tt.want) > 0 {
				if diff := cmp.Diff(tt.want, summary(got.Moves)); diff != "" {
					t.Error(diff)
				}
			}
			if diff := cmp.Diff(tt.full, got.Full); diff != "" {
				t.Errorf("full: %s", diff)
			}
			if stop := summary(got.Stop); !maps.Equal(tt.stop, stop) {
				t.Errorf("stops %v, want %v", stop, tt.stop)
			}
		})
	}
}

// 1024 slots of one group to be spread over 512: the most rounds that a plan takes.
func BenchmarkPlan1024SlotsOver512Groups(b *testing.B) {
	var all []int
	for id := range 512 {
		all = append(all, id+1)
	}
	tests := map[string]struct {
		slots  []codis.SlotMapping
		groups []Group
	}{
		"from one":          {owned(layout.Even([]int{1})), groups(all...)},
		"half are drained":  {owned(layout.Even(all)), drain(groups(all...), all[:256]...)},
		"all are balanced":  {owned(layout.Even(all)), groups(all...)},
		"from half of them": {owned(layout.Even(all[:256])), groups(all...)},
	}
	for name, tt := range tests {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				BySlots(tt.slots, tt.groups).Next(Limits{Sources: 4, Queue: 16})
			}
		})
	}
}
