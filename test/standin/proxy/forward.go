// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
)

const maxMovingDelay = 20 * time.Millisecond

// forward sends a request on the route of the slot, or answers it. While the slot migrates, the key is dealt with
// first: moved to the new server in sync mode, else the command is tried on the old server, as often as it takes.
func (x *slot) forward(r *request, key []byte) error {
	for loop := 0; ; loop++ {
		b, again, err := x.route(r, key)
		if err != nil {
			return err
		}
		if b != nil {
			b.push(r)
		}
		if !again {
			return nil
		}
		wait(movingDelay(loop))
		if r.isBroken() {
			return errRequestBroken
		}
	}
}

func movingDelay(loop int) time.Duration {
	if loop < 5 {
		return 0
	}
	return min(time.Duration(loop)*time.Millisecond, maxMovingDelay)
}

func wait(t time.Duration) {
	if t > 0 {
		<-time.After(t)
	}
}

// route returns the connection to use; none means that the request is answered, or that it has to be tried again.
func (x *slot) route(r *request, key []byte) (b *backend, again bool, err error) {
	x.lock.RLock()
	defer x.lock.RUnlock()
	if x.backend == nil {
		return nil, false, errSlotNotReady
	}
	if x.migrate != nil && len(key) != 0 {
		if x.method == models.ForwardSync {
			err = x.moveKey(r, key)
		} else {
			var moved bool
			if moved, again, err = x.tryOldServer(r, key); !moved || err != nil {
				return nil, again, err
			}
		}
		if err != nil {
			return nil, false, err
		}
	}
	x.inFlight.Add(1)
	r.slot = &x.inFlight
	return x.pick(r), false, nil
}

// pick prefers a replica for reads, the nearest first.
func (x *slot) pick(r *request) *backend {
	if x.migrate == nil && !r.flag.masterOnly() {
		for _, group := range x.replicas {
			n := uint32(len(group))
			for i := range n {
				if b := group[(r.seed()+1+i)%n].conn(r.db, r.seed(), false); b != nil {
					return b
				}
			}
		}
	}
	return x.backend.conn(r.db, r.seed(), true)
}

// ask runs a command on the old server and waits for the reply.
func (x *slot) ask(r *request, words [][]byte) (resp.Reply, error) {
	m := &request{words: words, flag: opWrite, batch: &sync.WaitGroup{}}
	x.migrate.conn(r.db, r.seed(), true).push(m)
	m.batch.Wait()
	return m.reply, m.err
}

func (x *slot) moveKey(r *request, key []byte) error {
	reply, err := x.ask(r, [][]byte{
		[]byte("SLOTSMGRTTAGONE"), []byte(x.backend.host), []byte(x.backend.port), []byte("3000"), key,
	})
	switch {
	case err != nil:
		return err
	case reply.Kind() == resp.Error:
		return fmt.Errorf("bad slotsmgrt resp: %s", reply.Line())
	case reply.Kind() != resp.Int:
		return fmt.Errorf("bad slotsmgrt resp: should be integer, but got %q", reply.Kind())
	}
	return nil
}

// tryOldServer runs the command where the key still is. It says moved if the key is not there any more, and again if
// it is just being moved.
func (x *slot) tryOldServer(r *request, key []byte) (moved, again bool, err error) {
	const bad = "bad slotsmgrt-exec-wrapper resp: "
	words := append([][]byte{[]byte("SLOTSMGRT-EXEC-WRAPPER"), key}, r.words...)
	reply, err := x.ask(r, words)
	if err != nil {
		return false, false, err
	}
	switch reply.Kind() {
	case resp.Error:
		return false, false, fmt.Errorf(bad+"%s", reply.Line())
	case resp.Array:
	default:
		return false, false, fmt.Errorf(bad+"should be integer, but got %q", reply.Kind())
	}
	pair, err := reply.Elements()
	if err != nil || len(pair) != 2 || pair[0].Kind() != resp.Int {
		return false, false, fmt.Errorf(bad+"array.len = %d", len(pair))
	}
	switch pair[0].Text() {
	case "0":
		return true, false, nil
	case "1":
		return false, true, nil
	case "2":
		r.reply = pair[1]
		return false, false, nil
	}
	return false, false, fmt.Errorf(bad+"[%s] %s", pair[0].Text(), pair[1].Text())
}
