// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

// request is a command on its way to a backend and back.
type request struct {
	words [][]byte
	op    string
	flag  opFlag
	db    int
	start time.Time

	// batch counts the parts that have not been answered, slot those that hold up a change of the slot's route.
	batch *sync.WaitGroup
	slot  *sync.WaitGroup
	// broken is set when the client is gone.
	broken *atomic.Bool

	reply resp.Reply
	err   error
	// merge builds the reply of a request that was split.
	merge func() (resp.Reply, error)
}

func (r *request) isBroken() bool { return r.broken != nil && r.broken.Load() }

// finish answers the request, once.
func (r *request) finish(reply resp.Reply, err error) {
	r.reply, r.err = reply, err
	if r.slot != nil {
		r.slot.Done()
	}
	if r.batch != nil {
		r.batch.Done()
	}
}

// split makes parts that are answered together.
func (r *request) split(n int, words func(i int) [][]byte) []request {
	parts := make([]request, n)
	for i := range parts {
		parts[i] = request{
			words: words(i), op: r.op, flag: r.flag, db: r.db, start: r.start, batch: r.batch, broken: r.broken,
		}
	}
	return parts
}

// seed spreads requests over parallel connections and replicas.
func (r *request) seed() uint32 {
	return uint32(r.start.UnixNano()) * 0x9e370001 >> 16
}
