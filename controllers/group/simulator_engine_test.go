// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// The machine below the simulated world: a queue of events in virtual time, and
// calls of the operator's own goroutines, which rest while events happen. All of
// it runs in a bubble of testing/synctest, whose clock the acts see.

// tick is a millisecond since the start of a schedule.
type tick = int32

const never tick = 1 << 30

func (s *sim) time(at tick) time.Time { return s.base.Add(time.Duration(at) * time.Millisecond) }

type simEvent struct {
	at, seq tick
	do      func()
}

func (e *simEvent) sooner(f *simEvent) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

type sim struct {
	rng     *rand.Rand
	base    time.Time
	now     tick
	seq     tick
	queue   []simEvent
	gate    *simGate
	without ablation

	count      int
	refusal    tick // how long a guarded master goes on without a replica
	persistent bool
	srv        [simMembers]simServer
	proxy      [simProxies]simProxy
	dash       *simDashboard
	ghost      *simDashboard // one that was cut off and replaced, and does not know
	replaced   tick          // when that was
	ops        []*simOperator
	versions   []simVersion
	oldest     int // version that a cache may still show
	cuts       [simHosts][simHosts]int8
	nodeOf     [simHosts]int
	nodeCut    [simNodes]int
	branches   []branch
	runs, uids int

	// legit is the process that is rightly master; failedAt when it was hit.
	legit, legitRun int
	failedAt        tick
	impaired        [simMembers]tick // since when a member is no master that all operators reach
	fencedAt        tick             // when it was hit, if it was fenced for that
	lastKeep        tick             // when the last pass looked that found a master
	rogue           bool             // somebody changed roles behind the operator's back
	healing         bool
	fresh           bool
	besieged        bool // see besiege
	accepted        bool
	stats           simStats

	triggers  []trigger
	steps     int
	tracing   bool
	trace     []string
	violation string
}

// simStats counts what happened, so that a run shows that it tested something.
type simStats struct {
	schedules, promotions, switchovers, fences, held, crashes, passes, calls, writes, lost, lostLate, raced, faults int
	// takeovers of dashboards: of them, in the middle of a promotion, or of a move.
	takeovers, midPromotion, midMove int
	// holds and releases are how often a proxy was told to hold requests for a failover,
	// and to let them go on, other than to a new master.
	holds, releases int
	seconds         int64
}

func (s *sim) logf(format string, args ...any) {
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%6d ", s.now)+fmt.Sprintf(format, args...))
	}
}

// violate keeps the first broken invariant.
func (s *sim) violate(format string, args ...any) {
	if s.violation == "" {
		s.violation = fmt.Sprintf(format, args...)
		s.logf("VIOLATION: %s", s.violation)
	}
}

// between returns a number in [low, high].
func (s *sim) between(low, high tick) tick { return low + tick(s.rng.IntN(int(high-low+1))) }
func (s *sim) chance(percent int) bool     { return s.rng.IntN(100) < percent }

func (s *sim) after(d tick, do func()) {
	s.seq++
	s.queue = append(s.queue, simEvent{s.now + d, s.seq, do})
	i := len(s.queue) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !s.queue[i].sooner(&s.queue[up]) {
			break
		}
		s.queue[i], s.queue[up] = s.queue[up], s.queue[i]
		i = up
	}
}

func (s *sim) pop() simEvent {
	top, last := s.queue[0], len(s.queue)-1
	s.queue[0] = s.queue[last]
	s.queue[last].do = nil
	s.queue = s.queue[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if s.queue[c].sooner(&s.queue[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		s.queue[i], s.queue[least] = s.queue[least], s.queue[i]
		i = least
	}
}

// runUntil lets events happen until a time, or until the first violation.
func (s *sim) runUntil(end tick) {
	for s.violation == "" {
		next := end
		if len(s.queue) > 0 {
			next = min(next, s.queue[0].at)
		}
		if s.pace(next) {
			continue
		}
		if len(s.queue) == 0 || s.queue[0].at > end {
			s.advance(end)
			return
		}
		e := s.pop()
		s.advance(e.at)
		e.do()
		s.refresh()
	}
}

// pace lets the clock of the acts go to a time, unless one of them calls before
// that: then it begins what is called, and is true.
func (s *sim) pace(at tick) bool {
	for s.acting() && s.clock() < at {
		timer := time.NewTimer(time.Until(s.time(at)))
		select {
		case <-timer.C:
		case <-s.gate.called:
			timer.Stop()
		}
		synctest.Wait()
		if s.gate.waiting() {
			s.advance(s.clock())
			s.beginCalls()
			return true
		}
	}
	return false
}

// clock is what time it is for the acts. While none is under way it stands still.
func (s *sim) clock() tick { return tick(time.Since(s.base).Milliseconds()) }

func (s *sim) acting() bool {
	return slices.ContainsFunc(s.ops, func(o *simOperator) bool { return o.alive && o.busy })
}

// simGate is where the goroutines of the acts meet the events.
type simGate struct {
	mu     sync.Mutex
	calls  []*simCall
	called chan struct{}
}

func (g *simGate) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls) > 0
}

// simCall is a request of a pass to the world outside.
type simCall struct {
	pass     *simPass
	name     string
	about    int // member or proxy, or -1
	begin    func(c *simCall)
	done     chan struct{}
	answered bool
	unasked  [simMembers]bool // whom no operator reached when it began
	err      error
}

// call asks the outside and waits for the answer. An operator that ended meanwhile
// never gets one, nor does anything else.
func (p *simPass) call(ctx context.Context, name string, about int, begin func(c *simCall)) error {
	c := &simCall{pass: p, name: name, about: about, begin: begin, done: make(chan struct{})}
	p.submit(c)
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.dead:
		runtime.Goexit()
		return nil
	}
}

func (p *simPass) submit(c *simCall) {
	select {
	case <-p.dead:
		runtime.Goexit()
	default:
	}
	g := p.s.gate
	g.mu.Lock()
	g.calls = append(g.calls, c)
	g.mu.Unlock()
	select {
	case g.called <- struct{}{}:
	default:
	}
}

// rest lets the acts go on until all of them wait for something, and begins what
// they called.
func (s *sim) rest() {
	synctest.Wait()
	s.beginCalls()
}

// beginCalls brings calls of one instant in an order that the seed decides.
func (s *sim) beginCalls() {
	g := s.gate
	g.mu.Lock()
	calls := g.calls
	g.calls = nil
	g.mu.Unlock()
	select {
	case <-g.called:
	default:
	}
	slices.SortStableFunc(calls, func(a, b *simCall) int {
		return cmp.Or(a.pass.o.id-b.pass.o.id, cmp.Compare(a.name, b.name), a.about-b.about)
	})
	for _, c := range calls {
		if c.pass.alive() {
			s.stats.calls++
			for i := range s.count {
				c.unasked[i] = !s.reached(i)
			}
			c.tell()
			if o := c.pass.o; s.now < o.paused { // A timer of a process that is stopped.
				o.later(0, func() { c.begin(c) })
				continue
			}
			c.begin(c)
		}
	}
}

// after goes on with a call in a while, unless its operator has ended by then.
func (c *simCall) after(d tick, do func()) {
	if c.pass.alive() {
		c.pass.o.later(d, do)
	}
}

// reply answers a call.
func (c *simCall) reply(err error) {
	if c.answered || !c.pass.alive() {
		return
	}
	c.answered, c.err = true, err
	close(c.done)
	c.pass.s.rest()
}

// answer lets a schedule do its worst, right after a call took effect, and answers.
func (c *simCall) answer(err error) {
	if c.answered {
		return
	}
	if c.name != "observe" && c.name != "stats" {
		c.pass.s.step(c.name, c.about)
	}
	c.after(1, func() { c.reply(err) })
}

// tell adds what is asked to the trace, and why, unless that was the last it said.
func (c *simCall) tell() {
	p, o := c.pass, c.pass.o
	if !p.s.tracing || c.name == "stats" || c.name == "observe" {
		return
	}
	d := p.st.decision
	said := fmt.Sprint(d.verb, d.master == nil || d.master.addr == "", d.reason, d.message, p.st.held, p.st.switchHeld)
	if said != o.said {
		o.said = said
		p.s.logf("operator %d: %s %s %s; %s", o.id, d.text(), p.st.held, p.st.switchHeld, p.st.world.brief())
	}
	if c.name != "get" && c.name != "end" {
		p.s.logf("operator %d calls %s %d", o.id, c.name, c.about)
	}
}

// brief describes a world for a trace.
func (w *world) brief() string {
	var b strings.Builder
	for i := range w.members {
		m := &w.members[i]
		fmt.Fprintf(&b, "%s{dead=%t silent=%s deaf=%s leaving=%t %s %s of %s up=%t sync=%t off=%d keys=%d insync=%t} ", m.name, m.dead,
			m.silent, m.deaf, m.leaving, m.redis.RunID, m.redis.Role, m.redis.MasterAddr, m.redis.LinkUp, m.redis.Syncing,
			m.redis.Offset, m.redis.Keys, w.inSync[m.name])
	}
	fmt.Fprintf(&b, "order=%v masterRun=%s promoted=%s", w.order, w.masterRunID, w.promotedRunID)
	return b.String()
}
