// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"context"
	"errors"
	"hash/fnv"
	"net"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/internal/redis"
)

// attempts bounds how often a server is asked at once, without waiting for the
// interval: somebody who takes connections and drops them must not be hammered.
const attempts = 3

// probe asks one server. What is below mu is guarded by that of its prober;
// the rest belongs to its goroutine.
type probe struct {
	prober   *Prober
	group    types.NamespacedName
	settings Settings
	target   Target
	client   redis.Client
	// after is closed when the probe that this one replaces has hung up, nil for
	// none: a server never has two connections.
	after <-chan struct{}
	done  chan struct{}

	line *redis.Line
	// took is how long the last answer took.
	took time.Duration
	// looked is until when the last look without an answer is known to have had none:
	// what this process slept through after that is not part of it.
	looked time.Time

	// cancel is nil until the probe is launched.
	cancel context.CancelFunc
	ended  bool
	// result is written by the goroutine alone.
	result Result
}

func newProbe(p *Prober, group types.NamespacedName, settings Settings, target Target, before *probe) *probe {
	probe := &probe{
		prober: p, group: group, settings: settings, target: target,
		client: redis.Client{Password: settings.Password, Timeout: settings.Timeout},
		done:   make(chan struct{}),
		result: Result{UID: target.UID, Addr: target.Addr, State: Unknown, Since: p.clock.Now()},
	}
	if before != nil {
		probe.after = before.done
	}
	return probe
}

// end is called with the mutex of the prober held.
func (p *probe) end() {
	p.ended = true
	if p.cancel != nil {
		p.cancel()
	}
}

func (p *probe) run(ctx context.Context) {
	defer close(p.done)
	if p.after != nil {
		<-p.after
	}
	defer p.hangUp()
	if !p.wait(ctx) {
		return
	}
	ticker := p.prober.clock.NewTicker(p.settings.Interval)
	defer ticker.Stop()
	p.look(ctx)
	for redials := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			redials = 0
		case <-p.broken(redials):
			redials++
		}
		p.look(ctx)
	}
}

// wait puts the first question off by a moment that is the pod's own, so that
// servers that were set together are not asked together.
func (p *probe) wait(ctx context.Context) bool {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(string(p.target.UID) + p.target.Addr)) // Never fails.
	limit := min(p.settings.Interval, DefaultInterval)
	timer := p.prober.clock.NewTimer(limit * time.Duration(hash.Sum64()%1000) / 1000)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

// broken tells when the connection breaks while nothing is asked; never if there
// is none, or if that happened too often since the last interval began.
func (p *probe) broken(redials int) <-chan struct{} {
	if p.line == nil || redials == attempts {
		return nil
	}
	return p.line.Broken()
}

func (p *probe) hangUp() {
	if p.line != nil {
		p.line.Close()
		p.line = nil
	}
}

// look asks the server, on a new connection if the last one is gone, and tells
// what it is now.
func (p *probe) look(ctx context.Context) {
	// gone is the first of the two witnesses that it takes to call a server dead.
	gone := p.dropBroken() || p.result.State == Dead
	var sent, now time.Time
	for range attempts {
		var seen redis.Observation
		var err error
		sent, seen, err = p.ask(ctx)
		// Read once: this process may be held up between any two lines.
		now = p.prober.clock.Now()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			p.answered(Up, seen)
			return
		}
		p.hangUp() // The answer may still come; it must not be taken for that to another question.
		switch {
		case seen.Denied:
			p.answered(Unknown, seen)
			return
		case errors.Is(err, syscall.ECONNREFUSED) && gone:
			p.unanswered(Dead, now, now)
			return
		case late(err):
			if now.Sub(sent) < 2*p.settings.Timeout {
				p.unanswered(Silent, sent, now)
				return
			}
			// This process was held up, so the silence may be its own: ask again, and if
			// that was the last time, let it begin now.
			sent = now
		default:
			gone = true
		}
	}
	p.unanswered(Silent, sent, now)
}

// dropBroken tells whether there was a connection that broke meanwhile.
func (p *probe) dropBroken() bool {
	if p.line == nil {
		return false
	}
	select {
	case <-p.line.Broken():
		p.hangUp()
		return true
	default:
		return false
	}
}

// ask returns when it began to wait for what did or did not come.
func (p *probe) ask(ctx context.Context) (sent time.Time, seen redis.Observation, err error) {
	sent = p.prober.clock.Now()
	if p.line == nil {
		if p.line, err = p.client.Open(ctx, p.target.Addr); err != nil {
			return sent, redis.Observation{}, err
		}
		sent = p.prober.clock.Now()
	}
	seen, err = p.line.Ask(ctx)
	if err == nil {
		p.took = p.prober.clock.Since(sent)
		probeSeconds.Observe(p.took.Seconds())
	}
	return sent, seen, err
}

func late(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

func (p *probe) answered(state State, seen redis.Observation) {
	now := p.prober.clock.Now()
	next := p.result
	next.Moved = moved(p.result, seen, now)
	next.Seen, next.Answered = seen, now
	next.Latency = latency(p.result, p.took)
	if next.State != state {
		next.State, next.Since = state, now
	}
	p.tell(next)
}

// unanswered takes over a state that began at since, and that now was the last moment of
// which it is known.
func (p *probe) unanswered(state State, since, now time.Time) {
	next := p.result
	// Two silences with nobody awake to ask in between are not one.
	apart := state == Silent && since.Sub(p.looked) > 2*(p.settings.Interval+p.settings.Timeout)
	p.looked = now
	if next.State != state || apart {
		next.State, next.Since = state, since
	}
	p.tell(next)
}

// weight of an answer in the mean is one in this many.
const weight = 8

// latency returns the mean with another answer in it.
func latency(before Result, took time.Duration) time.Duration {
	if before.Answered.IsZero() {
		return took
	}
	return before.Latency + (took-before.Latency)/weight
}

// moved returns when the offset of a replica last changed. One that follows
// another master, or whose link came up, hears its master anew.
func moved(before Result, now redis.Observation, at time.Time) time.Time {
	was := before.Seen
	switch {
	case !now.WasInSync():
		return time.Time{}
	case before.Moved.IsZero(), was.RunID != now.RunID, was.MasterAddr != now.MasterAddr,
		was.Offset != now.Offset, now.LinkUp && !was.LinkUp:
		return at
	default:
		return before.Moved
	}
}

// tell takes over what is known now, and marks the group if anybody should hear
// of it.
func (p *probe) tell(next Result) {
	p.prober.mu.Lock()
	defer p.prober.mu.Unlock()
	before := p.result
	p.result = next
	if p.ended {
		return
	}
	if before.State != next.State {
		stateChanges.WithLabelValues(string(next.State)).Inc()
	}
	if before.State != next.State || news(before.Seen) != news(next.Seen) {
		p.prober.dirty[p.group] = true
		p.prober.nudge()
	}
}

// news is what others want to hear of when it changes.
func news(o redis.Observation) redis.Observation {
	return redis.Observation{
		Denied: o.Denied, RunID: o.RunID, Role: o.Role, MasterAddr: o.MasterAddr, LinkUp: o.LinkUp,
		Syncing: o.Syncing, Loading: o.Loading, Replicas: o.Replicas, WritesGuarded: o.WritesGuarded,
	}
}
