// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

const (
	backendDialTimeout = 5 * time.Second
	eagerRetries       = 10
	minRetryDelay      = 50 * time.Millisecond
	maxRetryDelay      = 5 * time.Second
)

// The errors of requests whose backend failed them.
var (
	errConnReset     = errors.New("backend conn reset")
	errRequestBroken = errors.New("request is broken")
	errRespRequired  = errors.New("resp is required")
)

// The states of a backend connection: a stale one is connected to a server that is loading or has lost its master.
const (
	stateDown = iota
	stateConnected
	stateStale
)

// backendContext is what all connections of a proxy share.
type backendContext struct {
	ctx      context.Context
	dial     rpc.DialFunc
	settings *Settings
	log      *log.Logger
	running  *sync.WaitGroup
}

// backend is one connection to one database of a server, shared by all sessions. A writer sends what is queued, in
// as few packets as possible; a reader matches replies to requests in order. A connection whose peer has closed it
// is only found out by the next request, which fails.
type backend struct {
	*backendContext
	addr  string
	db    int
	input *queue[*request]
	state atomic.Int32
	done  chan struct{}
	once  sync.Once
}

func newBackend(c *backendContext, addr string, db int) *backend {
	b := &backend{
		backendContext: c, addr: addr, db: db, input: newQueue[*request](), done: make(chan struct{}),
	}
	c.running.Go(b.run)
	return b
}

// push queues a request; it is answered in any case.
func (b *backend) push(r *request) {
	if r.batch != nil {
		r.batch.Add(1)
	}
	if !b.input.push(r) {
		r.finish(nil, errConnReset)
	}
}

func (b *backend) close() {
	b.once.Do(func() { close(b.done) })
	b.input.close()
}

func (b *backend) isConnected() bool { return b.state.Load() == stateConnected }

func (b *backend) isClosed() bool {
	select {
	case <-b.done:
		return true
	case <-b.ctx.Done():
		return true
	default:
		return false
	}
}

func (b *backend) run() {
	stop := context.AfterFunc(b.ctx, b.close)
	defer stop()
	delay := minRetryDelay
	for fails := 0; !b.isClosed(); {
		connected, err := b.session()
		if connected {
			fails, delay = 0, minRetryDelay
		}
		b.failAll(b.input.refuse(false))
		if err == nil {
			continue
		}
		b.log.Printf("backend conn to %s, db-%d: %v", b.addr, b.db, err)
		if fails++; fails > eagerRetries {
			b.wait(delay)
			delay = min(2*delay, maxRetryDelay)
		}
	}
	b.failAll(b.input.refuse(true))
}

// wait fails requests while there is no use in dialing.
func (b *backend) wait(t time.Duration) {
	b.failAll(b.input.refuse(true))
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
	b.input.refuse(false)
}

func (b *backend) failAll(batch []*request) {
	for _, r := range batch {
		r.finish(nil, errConnReset)
	}
}

// session lives as long as one connection.
func (b *backend) session() (connected bool, err error) {
	conn, reader, err := b.connect()
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(b.ctx, func() { _ = conn.Close() })
	defer stop()
	b.state.Store(stateConnected)
	defer b.state.Store(stateDown)
	sent := newQueue[*request]()
	defer sent.close()
	b.running.Go(func() { b.readReplies(conn, reader, sent) })
	return true, b.writeRequests(conn, sent)
}

func (b *backend) connect() (net.Conn, *bufio.Reader, error) {
	conn, err := b.dial.DialWithin(b.ctx, b.addr, backendDialTimeout)
	if err != nil {
		return nil, nil, err
	}
	keepAlive(conn, b.settings.BackendKeepAlivePeriod.D())
	reader := bufio.NewReaderSize(conn, bufferSize(b.settings.BackendRecvBufsize))
	var greetings [][][]byte
	if b.settings.ProductAuth != "" {
		greetings = append(greetings, [][]byte{[]byte("AUTH"), []byte(b.settings.ProductAuth)})
	}
	if b.db != 0 {
		greetings = append(greetings, [][]byte{[]byte("SELECT"), strconv.AppendInt(nil, int64(b.db), 10)})
	}
	for _, words := range greetings {
		if err := b.greet(conn, reader, words); err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
	}
	return conn, reader, nil
}

func (b *backend) greet(conn net.Conn, reader *bufio.Reader, words [][]byte) error {
	setTimeout(conn.SetWriteDeadline, b.settings.BackendSendTimeout.D())
	setTimeout(conn.SetReadDeadline, b.settings.BackendRecvTimeout.D())
	if _, err := conn.Write(resp.AppendCommand(nil, words)); err != nil {
		return err
	}
	p, err := resp.ReadReply(reader)
	switch {
	case err != nil:
		return err
	case p.Kind() == resp.Error:
		return fmt.Errorf("error resp: %s", p.Line())
	case p.Kind() != resp.String:
		return fmt.Errorf("error resp: should be string, but got %q", p.Kind())
	}
	return nil
}

// writeRequests returns nil only when the backend is closed.
func (b *backend) writeRequests(conn net.Conn, sent *queue[*request]) error {
	var batch []*request
	var out []byte
	for {
		var ok bool
		if batch, ok = b.input.pop(batch); !ok {
			return nil
		}
		for i, r := range batch {
			if r.flag.readOnly() && r.isBroken() {
				r.finish(nil, errRequestBroken)
				batch[i] = nil
				continue
			}
			out = resp.AppendCommand(out, r.words)
		}
		setTimeout(conn.SetWriteDeadline, b.settings.BackendSendTimeout.D())
		if _, err := conn.Write(out); err != nil {
			b.failBatch(batch, fmt.Errorf("backend conn failure, %w", err))
			return err
		}
		out = shrink(out)
		for _, r := range batch {
			if r != nil {
				sent.push(r)
			}
		}
	}
}

// failBatch gives the first request the cause and the others only the consequence.
func (b *backend) failBatch(batch []*request, err error) {
	for _, r := range batch {
		if r != nil {
			r.finish(nil, err)
			err = errConnReset
		}
	}
}

// readReplies waits at most the receive timeout for each reply; then the whole connection is given up.
func (b *backend) readReplies(conn net.Conn, reader *bufio.Reader, sent *queue[*request]) {
	defer func() { _ = conn.Close() }()
	var batch []*request
	var failed error
	for {
		var ok bool
		if batch, ok = sent.pop(batch); !ok {
			return
		}
		for i, r := range batch {
			if failed != nil {
				r.finish(nil, errConnReset)
				continue
			}
			if reader.Buffered() == 0 || i == 0 {
				setTimeout(conn.SetReadDeadline, b.settings.BackendRecvTimeout.D())
			}
			reply, err := resp.ReadReply(reader)
			if err != nil {
				failed = fmt.Errorf("backend conn failure, %w", err)
				_ = conn.Close()
				r.finish(nil, failed)
				continue
			}
			b.noticeStale(reply)
			r.finish(reply, nil)
		}
	}
}

func (b *backend) noticeStale(reply resp.Reply) {
	if reply.Kind() != resp.Error {
		return
	}
	line := reply.Line()
	if bytes.HasPrefix(line, []byte("MASTERDOWN")) || bytes.HasPrefix(line, []byte("LOADING")) {
		b.state.CompareAndSwap(stateConnected, stateStale)
	}
}

// ping keeps an idle connection alive, and looks whether a stale one has recovered.
func (b *backend) ping() {
	if b.input.len() != 0 {
		return
	}
	if b.state.Load() != stateStale {
		b.push(&request{words: [][]byte{[]byte("PING")}})
		return
	}
	r := &request{words: [][]byte{[]byte("INFO")}, batch: &sync.WaitGroup{}}
	b.push(r)
	b.running.Go(func() {
		r.batch.Wait()
		if r.err != nil || r.reply.Kind() != resp.Bulk {
			return
		}
		info := resp.ParseInfo(r.reply.Text())
		if info["master_link_status"] != "down" && info["loading"] != "1" {
			b.state.CompareAndSwap(stateStale, stateConnected)
		}
	})
}
