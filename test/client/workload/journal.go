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
	// Writers in the order of their numbers.
	Writers        []WriterSummary  `json:"writers"`
	Acknowledged   int64            `json:"acknowledged"`
	Failed         int64            `json:"failed"`
	Errors         map[string]int64 `json:"errors,omitempty"`
	LongestStallMS int64            `json:"longestStallMS"`
	// LongestStallAt is when the longest stall began.
	LongestStallAt time.Time `json:"longestStallAt"`
}

// WriterSummary tells which numbers a writer wrote: all below Next but those in
// Unacknowledged, of which nothing is known.
type WriterSummary struct {
	Next           int   `json:"next"`
	Unacknowledged []int `json:"unacknowledged,omitempty"`
}

// journal keeps the books of a load. A stall of a writer begins with the first
// write that is not acknowledged yet and ends with the next acknowledgement.
type journal struct {
	prefix string
	size   int

	mu           sync.Mutex
	writers      []writerJournal
	acknowledged int64
	failed       int64
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
}

func newJournal(prefix string, writers, size int) *journal {
	return &journal{
		prefix: prefix, size: size,
		writers: make([]writerJournal, writers),
		errors:  map[string]int64{},
		texts:   map[string]string{},
	}
}

// record books one write, in the order of the writer's numbers.
func (j *journal) record(writer, number int, started, ended time.Time, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := &j.writers[writer]
	w.Next = number + 1
	if err != nil {
		w.Unacknowledged = append(w.Unacknowledged, number)
		if w.stalledSince.IsZero() {
			w.stalledSince = started
		}
		j.failed++
		j.errors[kind(err)]++
		j.texts[kind(err)] = err.Error()
		return
	}
	j.acknowledged++
	if !w.stalledSince.IsZero() {
		started = w.stalledSince
		w.stalledSince = time.Time{}
	}
	j.stall(started, ended)
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
		Time: now, Acknowledged: j.acknowledged, Failed: j.failed, Errors: maps.Clone(j.errors), Texts: maps.Clone(j.texts),
		LongestStallMS: j.longest.Milliseconds(), StallMS: j.recent.Milliseconds(),
	}
	j.recent = 0
	return r
}

func (j *journal) goingOn(now time.Time) {
	for _, w := range j.writers {
		if !w.stalledSince.IsZero() {
			j.stall(w.stalledSince, now)
		}
	}
}

func (j *journal) summary() Summary {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Summary{
		Prefix: j.prefix, Size: j.size, Acknowledged: j.acknowledged, Failed: j.failed, Errors: maps.Clone(j.errors),
		LongestStallMS: j.longest.Milliseconds(), LongestStallAt: j.longestAt,
	}
	for _, w := range j.writers {
		s.Writers = append(s.Writers, w.WriterSummary)
	}
	return s
}
