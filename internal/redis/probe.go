// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Line is one connection to a server that is kept to ask again and again. It
// never reconnects: all that it tells is of one and the same process. One
// goroutine may ask at a time.
type Line struct {
	wire    *wire
	client  *goredis.Client
	conn    *goredis.Conn
	timeout time.Duration
	// runID is that of the process, empty until it told it.
	runID string
	// loading tells that the process read its dataset when it was last asked.
	loading bool
}

// Open connects to a server. Somebody has to close the line.
func (c Client) Open(ctx context.Context, addr string) (*Line, error) {
	timeout := c.timeout()
	dialer := net.Dialer{Timeout: timeout}
	socket, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open a line: %w", err)
	}
	w := newWire(socket)
	client := goredis.NewClient(&goredis.Options{
		Dialer:   func(context.Context, string, string) (net.Conn, error) { return w, nil },
		Password: c.Password,
		// The deadline of a question is that of its context, for all that it takes.
		ContextTimeoutEnabled: true,
		ReadTimeout:           -1,
		WriteTimeout:          -1,
		Protocol:              2,
		DisableIdentity:       true,
		MaxRetries:            -1,
		DialerRetries:         1,
		PoolSize:              1,
		// Questions and answers are small, and there are many lines.
		ReadBufferSize:  4 << 10,
		WriteBufferSize: 1 << 10,
	})
	return &Line{wire: w, client: client, conn: client.Conn(), timeout: timeout}, nil
}

// Broken is closed as soon as the connection is, by whatever side. It takes no
// question to learn it.
func (l *Line) Broken() <-chan struct{} { return l.wire.broken }

// Close ends the connection. It is safe to repeat.
func (l *Line) Close() {
	// They only free local resources; there is nobody to tell. The library does
	// not know the wire before the first question.
	_ = l.conn.Close()
	_ = l.client.Close()
	_ = l.wire.Close()
}

// Ask asks for what INFO replication tells, with the run id, and whether the
// server is loading: no keys and no memory. A server that says that it is
// loading has answered. After an error, the observation says why nothing is
// known, and the line is of no use: an answer may still be under way in it.
func (l *Line) Ask(ctx context.Context) (Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	// The library minds the deadline of a context, not that it is cancelled.
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			_ = l.wire.Close()
		}
	})()
	raw, err := l.conn.Info(ctx, l.sections()...).Result()
	if err != nil && strings.HasPrefix(err.Error(), "LOADING") {
		l.loading = true
		return Observation{Reachable: true, Loading: true, RunID: l.runID}, nil
	}
	if err != nil {
		return unreachable(err), fmt.Errorf("ask for INFO: %w", err)
	}
	return l.read(ParseInfo(raw))
}

// sections are few once the run id is known: it cannot change while the
// connection lasts. Whether a server reads its dataset is told elsewhere, and
// it does so only when it starts, or as a part of a sync, which is told.
func (l *Line) sections() []string {
	if l.runID == "" || l.loading {
		return nil
	}
	return []string{"replication"}
}

func (l *Line) read(info Info) (Observation, error) {
	if l.runID != "" {
		info["run_id"] = l.runID
	}
	o := info.observation()
	if !o.Reachable {
		return o, errors.New(o.Problem)
	}
	l.runID, l.loading = o.RunID, o.Loading
	o.Keys, o.UsedMemory, o.MaxMemory = 0, 0, 0 // Not asked for each time.
	return o, nil
}

// maxUnread bounds what a server may send that nobody reads.
const maxUnread = 1 << 20

var errUnread = errors.New("the server sends what nobody asked for")

// wire is a connection that is always being read, so that its end is seen at
// once, whether or not somebody waits for an answer.
type wire struct {
	net.Conn

	// broken is closed when nothing can arrive any more.
	broken chan struct{}

	mu      sync.Mutex
	changed *sync.Cond
	data    []byte
	err     error
	// expired tells that the deadline has passed that was set as the nth.
	expired bool
	nth     int
	timer   *time.Timer
}

func newWire(socket net.Conn) *wire {
	w := &wire{Conn: socket, broken: make(chan struct{})}
	w.changed = sync.NewCond(&w.mu)
	go w.receive()
	return w
}

func (w *wire) receive() {
	defer close(w.broken)
	chunk := make([]byte, 4<<10)
	for {
		n, err := w.Conn.Read(chunk)
		if !w.take(chunk[:n], err) {
			return
		}
	}
}

func (w *wire) take(data []byte, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.data = append(w.data, data...)
	if err == nil && len(w.data) > maxUnread {
		err = errUnread
	}
	w.err = err
	w.changed.Broadcast()
	return err == nil
}

// Read hands out what has arrived, even past the deadline: then it was this
// process that was late, not the server.
func (w *wire) Read(into []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.data) == 0 && w.err == nil && !w.expired {
		w.changed.Wait()
	}
	switch {
	case len(w.data) > 0:
		n := copy(into, w.data)
		w.data = append(w.data[:0], w.data[n:]...)
		return n, nil
	case w.err != nil:
		return 0, w.err
	default:
		return 0, os.ErrDeadlineExceeded
	}
}

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error {
	if err := w.SetWriteDeadline(t); err != nil {
		return err
	}
	return w.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn. The socket itself has none: it is read
// while nobody waits, too.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopTimer()
	w.expired = false
	w.nth++
	if t.IsZero() || w.err != nil {
		return nil
	}
	nth := w.nth
	w.timer = time.AfterFunc(time.Until(t), func() { w.expire(nth) })
	return nil
}

// expire ends the nth deadline, unless another one was set meanwhile.
func (w *wire) expire(nth int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nth == nth {
		w.expired = true
		w.changed.Broadcast()
	}
}

func (w *wire) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// Close ends the connection and waits until it is read no more.
func (w *wire) Close() error {
	err := w.Conn.Close()
	<-w.broken
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopTimer()
	return err
}
