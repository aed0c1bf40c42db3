// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

// flushInterval is how long a reply may wait for those of later requests.
const flushInterval = time.Millisecond

// session is one client. A reader turns commands into requests and sends them on their way at once; a writer answers
// them in the order they came in.
type session struct {
	proxy  *Proxy
	conn   net.Conn
	reader *bufio.Reader
	queue  *queue[*request]
	stats  sessionStats

	db         int
	authorized bool
	quit       bool
	broken     atomic.Bool
}

func newSession(p *Proxy, conn net.Conn) *session {
	keepAlive(conn, p.cfg.SessionKeepAlivePeriod.D())
	return &session{
		proxy: p, conn: conn, queue: newQueue[*request](),
		reader: bufio.NewReaderSize(conn, bufferSize(p.cfg.SessionRecvBufsize)),
		stats:  sessionStats{ops: map[string]*opStats{}, shared: p.stats},
	}
}

// serve refuses the client, or serves it until it leaves.
func (s *session) serve() {
	alive := s.proxy.stats.sessionStarted()
	defer s.proxy.stats.sessionEnded()
	switch {
	case alive > int64(s.proxy.cfg.ProxyMaxClients):
		s.refuse("ERR max number of clients reached")
		return
	case !s.proxy.router.isOnline():
		s.refuse("ERR router is not online")
		return
	}
	var writer sync.WaitGroup
	writer.Go(s.writeReplies)
	s.readRequests()
	s.queue.close()
	writer.Wait()
}

func (s *session) refuse(reason string) {
	s.stats.fails.Add(1)
	s.stats.flush(true)
	setTimeout(s.conn.SetWriteDeadline, s.proxy.cfg.SessionSendTimeout.D())
	_, _ = s.conn.Write(resp.Errorf("%s", reason))
	_ = s.conn.Close()
}

func (s *session) readRequests() {
	for !s.quit {
		if s.reader.Buffered() == 0 {
			setTimeout(s.conn.SetReadDeadline, s.proxy.cfg.SessionRecvTimeout.D())
		}
		words, err := resp.ReadCommand(s.reader)
		if err != nil {
			s.hangUp()
			return
		}
		if len(words) == 0 {
			continue
		}
		s.stats.total.Add(1)
		if s.queue.len() > s.proxy.cfg.SessionMaxPipeline {
			s.stats.fails.Add(1)
			s.hangUp()
			return
		}
		r := &request{words: words, db: s.db, start: time.Now(), batch: &sync.WaitGroup{}, broken: &s.broken}
		err = s.handle(r)
		if err != nil {
			r.reply, r.err = resp.Errorf("ERR handle request, %s", err), nil
			r.merge = nil
		}
		s.queue.push(r)
		if err != nil && s.proxy.cfg.SessionBreakOnFailure {
			return
		}
	}
}

// hangUp ends a client that has said its last word; what it asked for before is still answered, if it listens.
func (s *session) hangUp() {
	if c, ok := s.conn.(*net.TCPConn); ok {
		_ = c.CloseRead()
	}
}

func (s *session) writeReplies() {
	defer s.stats.flush(true)
	defer func() { _ = s.conn.Close() }()
	var batch []*request
	var out []byte
	var sent time.Time
	for {
		var ok bool
		if batch, ok = s.queue.pop(batch); !ok {
			return
		}
		for i, r := range batch {
			reply, err := s.finish(r)
			if err != nil {
				reply = resp.Errorf("ERR handle response, %s", err)
			}
			out = append(out, reply...)
			if err != nil && s.proxy.cfg.SessionBreakOnFailure {
				_ = s.send(out)
				s.abandon(batch[i:])
				return
			}
			now := s.stats.answered(r, reply.Kind())
			if i < len(batch)-1 && len(out) < maxKept && now.Sub(sent) < flushInterval {
				continue
			}
			if err := s.send(out); err != nil {
				s.abandon(batch[i:])
				return
			}
			out, sent = shrink(out), now
		}
		s.stats.flush(false)
	}
}

func (s *session) finish(r *request) (resp.Reply, error) {
	r.batch.Wait()
	switch {
	case r.merge != nil:
		return r.merge()
	case r.err != nil:
		return nil, r.err
	case r.reply == nil:
		return nil, errRespRequired
	}
	return r.reply, nil
}

func (s *session) send(out []byte) error {
	setTimeout(s.conn.SetWriteDeadline, s.proxy.cfg.SessionSendTimeout.D())
	_, err := s.conn.Write(out)
	return err
}

// abandon ends a client that cannot be answered.
func (s *session) abandon(batch []*request) {
	s.broken.Store(true)
	_ = s.conn.Close()
	for ok := true; ok; batch, ok = s.queue.pop(batch) {
		for _, r := range batch {
			s.stats.failed(r)
		}
	}
}
