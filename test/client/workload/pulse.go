// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import "time"

// period of a pulse: short beside MinGap, and rare enough to cost nothing.
const period = 5 * time.Millisecond

// pulse beats all the while, and so finds the times in which this process was not run by
// its machine: a stall that falls into one may not be that of the other side.
type pulse struct {
	// now is the clock, which must not go back: time.Now does not, between two of its times.
	now  func() time.Time
	last time.Time
	late []Gap
}

// beat books by how much it is late, if that is at least MinGap.
func (p *pulse) beat() {
	now, due := p.now(), p.last.Add(period)
	if !p.last.IsZero() && now.Sub(due) >= MinGap {
		p.late = append(p.late, Gap{From: due, To: now})
	}
	p.last = now
}

// run beats until done is closed, and then once more.
func (p *pulse) run(done <-chan struct{}) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		p.beat()
		select {
		case <-ticker.C:
		case <-done:
			p.beat()
			return
		}
	}
}
