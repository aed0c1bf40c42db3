// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import "sync"

// queue hands batches from many senders to one receiver, in order. It has no limit of its own.
type queue[T any] struct {
	mu     sync.Mutex
	ready  sync.Cond
	items  []T
	closed bool
	// refusing keeps new items out for a while.
	refusing bool
}

func newQueue[T any]() *queue[T] {
	q := &queue[T]{}
	q.ready.L = &q.mu
	return q
}

// push adds an item; it returns false if the queue is closed or refuses.
func (q *queue[T]) push(x T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.refusing {
		return false
	}
	q.items = append(q.items, x)
	if len(q.items) == 1 {
		q.ready.Signal()
	}
	return true
}

// pop waits for items and takes all of them, reusing the memory of a batch that is done with. It returns false when
// the queue is closed and empty.
func (q *queue[T]) pop(done []T) ([]T, bool) {
	clear(done)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed {
			return nil, false
		}
		q.ready.Wait()
	}
	batch := q.items
	q.items = done[:0]
	return batch, true
}

// refuse takes what is queued and keeps new items out, or lets them in again.
func (q *queue[T]) refuse(on bool) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.refusing = nil, on
	return items
}

func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// close lets the receiver take what is left.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}
