// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"maps"
	"slices"
)

// Limits bound what is under way at a time.
type Limits struct {
	// Sources is how many groups give slots at a time. Codis moves one slot of a
	// group at a time, so it is also how many slots move at a time.
	Sources int
	// Queue is how many slots of one source are queued at a time. It is filled again
	// when half of it has moved: who moves slots also answers who queues them.
	Queue int
	// Free is how many bytes a group may still take. One without an entry takes any.
	Free map[int]int64
	// SlotBytes is what a slot of a group holds on average.
	SlotBytes map[int]int64
}

// Batch is what of a plan may be queued now.
type Batch struct {
	Moves []Move
	// Stop are queued moves that their target has no room for any more.
	Stop []Move
	// Full are groups that have no room for a slot that they should take, in ascending order.
	Full []int
}

// Next returns the next moves of a plan within limits. With what is under way
// they make no group a source and a target at once.
func (p Plan) Next(limits Limits) Batch {
	b := batch{Limits: limits, sources: map[int]int{}, targets: map[int]int{}, coming: map[int]int64{}}
	for _, m := range p.Running {
		b.take(m)
	}
	for _, m := range p.Queued {
		if b.fits(m) {
			b.take(m)
		} else {
			b.result.Stop = append(b.result.Stop, m)
		}
	}
	left := maps.Clone(b.sources)
	for _, m := range p.Moves {
		if 2*left[m.From] <= b.Queue && b.mayStart(m) {
			b.take(m)
			b.result.Moves = append(b.result.Moves, m)
		}
	}
	slices.Sort(b.result.Full)
	b.result.Full = slices.Compact(b.result.Full)
	return b.result
}

type batch struct {
	Limits
	// sources and targets count the moves from and to groups; coming are bytes.
	sources, targets map[int]int
	coming           map[int]int64
	result           Batch
}

func (b *batch) take(m Move) {
	b.sources[m.From]++
	b.targets[m.To]++
	b.coming[m.To] += b.SlotBytes[m.From]
}

func (b *batch) mayStart(m Move) bool {
	switch {
	case b.sources[m.To] > 0 || b.targets[m.From] > 0:
		return false
	case b.sources[m.From] >= b.Queue || b.sources[m.From] == 0 && len(b.sources) >= b.Sources:
		return false
	}
	return b.fits(m)
}

// fits tells whether a target has room for a slot, and takes down if it has not.
func (b *batch) fits(m Move) bool {
	free, bounded := b.Free[m.To]
	if bounded && b.coming[m.To]+b.SlotBytes[m.From] > free {
		b.result.Full = append(b.result.Full, m.To)
		return false
	}
	return true
}
