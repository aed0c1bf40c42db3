// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Load describes writes at a steady pace.
type Load struct {
	Target
	// Pins are addresses of proxies that writers connect to, in turn, instead of
	// the target's: a connection to a Service shows one proxy only.
	Pins []string
	// Slots that are written to, like "0-511,600"; all where it is empty.
	Slots string
	// Prefix of all keys.
	Prefix string
	// Writers that write side by side, each on its own connection.
	Writers int
	// Rate in writes a second, of all writers together.
	Rate float64
	// Size of a value in bytes, at least.
	Size int
	// Report receives a report this often, and one at the end.
	Report time.Duration
	// Lifetime of a connection, which is then replaced between two writes, as the
	// pools of clients do. 0: it is never replaced.
	Lifetime time.Duration
	// Reconnect tells that a write whose connection was closed without an answer is
	// repeated once on another, and counted as repeated; it fails if that fails.
	Reconnect bool

	// now is the clock of the pulse; nil is time.Now.
	now func() time.Time
}

// address that a writer connects to.
func (l Load) address(writer int) string {
	if len(l.Pins) == 0 {
		return l.Address
	}
	return l.Pins[writer%len(l.Pins)]
}

// Run writes until the context ends and returns what became of every write.
// A write that fails is counted and, but for Reconnect, never repeated: the writer
// reconnects and goes on with the next number.
func (l Load) Run(ctx context.Context, report func(Report)) (Summary, error) {
	slots, err := ParseSlots(l.Slots)
	if err != nil {
		return Summary{}, err
	}
	j := newJournal(l)
	var writers sync.WaitGroup
	for number := range l.Writers {
		writers.Go(func() { l.write(ctx, j, slots, number) })
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	own := pulse{now: l.now}
	if own.now == nil {
		own.now = time.Now
	}
	var beating sync.WaitGroup
	beating.Go(func() { own.run(done) })
	ticker := time.NewTicker(l.Report)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			report(j.report(time.Now()))
		case <-done:
			report(j.report(time.Now()))
			summary := j.summary(time.Now())
			beating.Wait()
			summary.HeldUp = own.late
			return summary, nil
		}
	}
}

// write is one writer: at each tick of its pace it writes the next number. A
// writer that had to wait does not make up for what it missed.
func (l Load) write(ctx context.Context, j *journal, slots Slots, writer int) {
	line := line{load: l, target: l.Target}
	line.target.Address = l.address(writer)
	defer line.drop()
	defer func() { j.end(writer, time.Now()) }()
	pace := time.NewTicker(max(time.Duration(float64(time.Second)*float64(l.Writers)/l.Rate), time.Microsecond))
	defer pace.Stop()
	for number := 0; ; number++ {
		for !slots.Hold(Key(l.Prefix, writer, number)) {
			number++
		}
		started := time.Now()
		// A write under way is finished, so that what became of it is known.
		key, value := Key(l.Prefix, writer, number), Value(l.Prefix, writer, number, l.Size)
		sent, err := line.set(context.WithoutCancel(ctx), key, value, started)
		j.record(writer, number, started, sent, time.Now(), err)
		wait := pace.C
		if err != nil {
			wait = time.After(pause)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return
		}
	}
}

// line is the connection of a writer, and what it takes to have another one.
type line struct {
	load   Load
	target Target
	conn   *Conn
	opened time.Time
}

// set writes one value, and tells when it did: now, or again on another connection.
func (l *line) set(ctx context.Context, key, value string, now time.Time) (sent time.Time, err error) {
	if l.load.Lifetime > 0 && time.Since(l.opened) > l.load.Lifetime {
		l.drop()
	}
	err = l.try(ctx, key, value)
	if l.load.Reconnect && isClosed(err) {
		return time.Now(), l.try(ctx, key, value)
	}
	return now, err
}

// try writes one value on the connection, which ends with any error.
func (l *line) try(ctx context.Context, key, value string) error {
	if l.conn == nil {
		conn, err := l.target.Dial(ctx)
		if err != nil {
			return err
		}
		l.conn, l.opened = conn, time.Now()
	}
	_, err := l.conn.Do("SET", key, value)
	if err != nil {
		l.drop()
	}
	return err
}

func (l *line) drop() {
	drop(l.conn)
	l.conn = nil
}

// isClosed tells whether the other side closed the connection instead of answering.
func isClosed(err error) bool {
	return err != nil && (kind(err) == "closed" || kind(err) == "reset")
}

// kind puts an error into one word, so that reports can count alike errors.
func kind(err error) string {
	var reply ReplyError
	var network net.Error
	switch {
	case errors.As(err, &reply):
		word, _, _ := strings.Cut(string(reply), " ")
		return "reply " + word
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	default:
		return "other"
	}
}
