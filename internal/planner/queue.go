// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package planner

import "container/heap"

// queue gives out shares in an order.
type queue struct {
	shares  []*share
	compare func(a, b *share) int
}

func newQueue(shares []*share, belongs func(*share) bool, compare func(a, b *share) int) *queue {
	q := &queue{compare: compare}
	for _, s := range shares {
		if belongs(s) {
			q.shares = append(q.shares, s)
		}
	}
	heap.Init(q)
	return q
}

func (q *queue) next() *share {
	s, _ := heap.Pop(q).(*share)
	return s
}

func (q *queue) put(s *share) { heap.Push(q, s) }

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q *queue) Len() int           { return len(q.shares) }
func (q *queue) Less(i, j int) bool { return q.compare(q.shares[i], q.shares[j]) < 0 }
func (q *queue) Swap(i, j int)      { q.shares[i], q.shares[j] = q.shares[j], q.shares[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	if s, ok := x.(*share); ok {
		q.shares = append(q.shares, s)
	}
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.shares) - 1
	s := q.shares[last]
	q.shares = q.shares[:last]
	return s
}
