// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"maps"
	"sync"
	"time"
)

// Report tells how the load goes.
type Report struct {
	// Time of the report.
	Time time.Time `json:"time"`
	// Acknowledged and Failed writes since the start.
	Acknowledged int64 `json:"acknowledged"`
	Failed       int64 `json:"failed"`
	// Repeated writes since the start, on another connection than at first.
	Repeated int64 `json:"repeated,omitempty"`
	// Errors since the start, by kind, and the text of the last of each kind.
	Errors map[string]int64  `json:"errors,omitempty"`
	Texts  map[string]string `json:"texts,omitempty"`
	// LongestStallMS is the longest time so far in which a writer that wanted to
	// write got nothing acknowledged; StallMS is the longest one since the last
	// report, going on ones included.
	LongestStallMS int64 `json:"longestStallMS"`
	StallMS        int64 `json:"stallMS"`
}

// Summary is what became of every write; Verify reads it.
type Summary struct {
	Prefix string `json:"prefix"`
	Size   int    `json:"size"`
	// Slots that were written to; all where it is empty.
	Slots string `json:"slots,omitempty"`
	// Writers in the order of their numbers.
	Writers        []WriterSummary  `json:"writers"`
	Acknowledged   int64            `json:"acknowledged"`
	Failed         int64            `json:"failed"`
	Repeated       int64            `json:"repeated,omitempty"`
	Errors         map[string]int64 `json:"errors,omitempty"`
	LongestStallMS int64            `json:"longestStallMS"`
	// LongestStallAt is when the longest stall began.
	LongestStallAt time.Time `json:"longestStallAt"`
	// HeldUp are the times of at least MinGap in which the process that wrote was not run
	// by its machine. They are in the stalls as well.
	HeldUp []Gap `json:"heldUp,omitempty"`
}

// WriterSummary tells which numbers a writer wrote: all below Next whose slots
// are among those of the load, but those in Unacknowledged, of which nothing is
// known.
type WriterSummary struct {
	Next           int   `json:"next"`
	Unacknowledged []int `json:"unacknowledged,omitempty"`
	// Address that the writer was connected to.
	Address      string `json:"address"`
	Acknowledged int64  `json:"acknowledged"`
	// Errors by kind, and the text of the last of each kind.
	Errors map[string]int64  `json:"errors,omitempty"`
	Texts  map[string]string `json:"texts,omitempty"`
	// First is the time of the first acknowledgement.
	First time.Time `json:"first,omitzero"`
	// Gaps are the times of at least MinGap between one acknowledgement and the
	// next, or the end, in their order.
	Gaps []Gap `json:"gaps,omitempty"`

	// written is when each number that was acknowledged was under way. It is not
	// printed: only the process that wrote can tell that of what is lost.
	written map[int]Span
}

// Span is the time in which a write was done, sooner or later: an answer may be
// held back for long by a network that is cut.
type Span struct {
	// Sent is when the try began that was acknowledged.
	Sent         time.Time `json:"sent"`
	Acknowledged time.Time `json:"acknowledged"`
}

// MinGap is the shortest gap that is told.
const MinGap = 25 * time.Millisecond

// Gap is a time in which a writer got nothing acknowledged.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// journal keeps the books of a load. A stall of a writer begins with the first
// write that is not acknowledged yet and ends with the next acknowledgement.
type journal struct {
	load Load

	mu           sync.Mutex
	writers      []writerJournal
	acknowledged int64
	failed       int64
	repeated     int64
	errors       map[string]int64
	texts        map[string]string
	longest      time.Duration
	longestAt    time.Time
	recent       time.Duration
}

type writerJournal struct {
	WriterSummary
	// stalledSince is the start of the first of the failed writes in a row.
	stalledSince time.Time
	// last acknowledgement.
	last time.Time
	// ended is when the writer stopped, zero while it goes on: it feels nothing any more,
	// though another one may wait for its last answer still.
	ended time.Time
}

// until is the end of what a writer has felt so far.
func (w *writerJournal) until(now time.Time) time.Time {
	if w.ended.IsZero() {
		return now
	}
	return w.ended
}

// end books that a writer has stopped.
func (j *journal) end(writer int, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writers[writer].ended = at
}

func newJournal(l Load) *journal {
	j := &journal{load: l, errors: map[string]int64{}, texts: map[string]string{}}
	for writer := range l.Writers {
		j.writers = append(j.writers, writerJournal{WriterSummary: WriterSummary{
			Address: l.address(writer), Errors: map[string]int64{}, Texts: map[string]string{}, written: map[int]Span{},
		}})
	}
	return j
}

// record books one write, in the order of the writer's numbers. It began when it was
// started, and its last try when it was sent.
func (j *journal) record(writer, number int, started, sent, ended time.Time, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := &j.writers[writer]
	if sent.After(started) {
		j.repeated++
	}
	w.Next = number + 1
	if err != nil {
		w.Unacknowledged = append(w.Unacknowledged, number)
		if w.stalledSince.IsZero() {
			w.stalledSince = started
		}
		j.failed++
		w.Errors[kind(err)]++
		w.Texts[kind(err)] = err.Error()
		j.errors[kind(err)]++
		j.texts[kind(err)] = err.Error()
		return
	}
	j.acknowledged++
	w.acknowledge(number, Span{Sent: sent, Acknowledged: ended})
	if !w.stalledSince.IsZero() {
		started = w.stalledSince
		w.stalledSince = time.Time{}
	}
	j.stall(started, ended)
}

func (w *writerJournal) acknowledge(number int, span Span) {
	at := span.Acknowledged
	w.gap(at)
	if w.First.IsZero() {
		w.First = at
	}
	w.last = at
	w.written[number] = span
	w.Acknowledged++
}

// gap books the time since the last acknowledgement, if that is long.
func (w *writerJournal) gap(until time.Time) {
	if !w.last.IsZero() && until.Sub(w.last) >= MinGap {
		w.Gaps = append(w.Gaps, Gap{From: w.last, To: until})
	}
}

func (j *journal) stall(from, to time.Time) {
	length := to.Sub(from)
	j.recent = max(j.recent, length)
	if length > j.longest {
		j.longest, j.longestAt = length, from
	}
}

// report sums up; stalls that have not ended count as they are now.
func (j *journal) report(now time.Time) Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.goingOn(now)
	r := Report{
		Time: now, Acknowledged: j.acknowledged, Failed: j.failed, Repeated: j.repeated,
		Errors: maps.Clone(j.errors), Texts: maps.Clone(j.texts),
		LongestStallMS: j.longest.Milliseconds(), StallMS: j.recent.Milliseconds(),
	}
	j.recent = 0
	return r
}

func (j *journal) goingOn(now time.Time) {
	for _, w := range j.writers {
		if !w.stalledSince.IsZero() {
			j.stall(w.stalledSince, w.until(now))
		}
	}
}

// summary ends the books: gaps that have not ended end now.
func (j *journal) summary(now time.Time) Summary {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Summary{
		Prefix: j.load.Prefix, Size: j.load.Size, Slots: j.load.Slots,
		Acknowledged: j.acknowledged, Failed: j.failed, Repeated: j.repeated, Errors: maps.Clone(j.errors),
		LongestStallMS: j.longest.Milliseconds(), LongestStallAt: j.longestAt,
	}
	for _, w := range j.writers {
		w.gap(w.until(now))
		s.Writers = append(s.Writers, w.WriterSummary)
	}
	return s
}
