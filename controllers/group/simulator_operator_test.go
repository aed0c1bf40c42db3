// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/prober"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// The simulated operator: its process, its prober, and passes of the reconciler,
// which are the real ones from the look at the members to the report.

// Names are made once: a pass makes none.
var (
	simNames, simAddrs [simMembers]string
	simRunIDs, simUIDs [4096]string
)

func init() {
	for i := range simNames {
		simNames[i] = naming.Member("g", i)
		simAddrs[i] = naming.Domain("").MemberAddr("ns", "g", simNames[i])
	}
	for i := range simRunIDs {
		simRunIDs[i], simUIDs[i] = "r"+strconv.Itoa(i), "u"+strconv.Itoa(i)
	}
}

type probeCode int8

const (
	codeSilent probeCode = iota
	codeRefused
	codeUp
)

// probed is what the prober of an operator knows of a member.
type probed struct {
	target    prober.Target
	code      probeCode
	since     tick
	phase     tick // until the next question
	wasSilent bool // in state Silent before since
	silent    tick // since when it was
}

// simLife is one life of an operator's process, whose calls end with it.
type simLife struct {
	*simOperator

	current *simPass // under way
}

type simOperator struct {
	sim              *sim
	id, host         int
	alive            bool
	epoch            int
	dead             chan struct{} // closed when the process ends
	mu               sync.Mutex    // of the targets of members
	started          tick
	paused           tick // until when it is stopped
	groupLag, podLag tick
	staleUntil       tick

	busy, dirty bool
	timer       int
	failures    int // passes in a row that ended with an error
	members     [simMembers]probed
	results     atomic.Pointer[map[string]prober.Result] // A pass that nobody waits for any more may look, too.
	reconciler  *Reconciler
	life        *simLife
	last        decision // of the last pass that ended
	said        string   // what a trace tells of the last decision
	lastHeld    string
}

// later goes on with something, unless the operator has ended by then.
func (o *simOperator) later(d tick, do func()) {
	epoch := o.epoch
	o.sim.after(d, func() {
		switch {
		case o.epoch != epoch:
		case o.sim.now < o.paused:
			o.later(o.paused-o.sim.now, do)
		default:
			do()
		}
	})
}

// wake starts a pass soon, or after the one under way.
func (o *simOperator) wake(d tick) {
	if !o.alive {
		return
	}
	if o.busy {
		o.dirty = true
		return
	}
	o.timer++
	timer := o.timer
	o.later(d, func() {
		if o.timer == timer && !o.busy {
			o.pass()
		}
	})
}

// begin starts the process of an operator.
func (o *simOperator) begin() {
	o.alive, o.busy, o.dirty, o.started, o.paused, o.failures = true, false, false, o.sim.now, 0, 0
	o.epoch++
	o.dead = make(chan struct{})
	o.life = &simLife{simOperator: o}
	o.reconciler = &Reconciler{
		Client: simClient{o: o.life}, Reader: simReader{o: o.life}, Recorder: simRecorder{o}, Clock: clock.RealClock{}, Prober: simProber{o: o, dead: o.dead},
	}
	o.sim.logf("operator %d starts", o.id)
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.members {
		o.members[i] = probed{since: o.sim.now, phase: o.sim.between(0, 250), code: o.code(i)}
	}
	o.wake(1)
}

func (o *simOperator) crash() {
	o.stop()
	o.sim.stats.crashes++
	o.sim.logf("operator %d ends", o.id)
}

func (o *simOperator) stop() {
	if o.alive {
		o.alive = false
		o.epoch++
		close(o.dead)
	}
}

// code is what a question to a member meets now.
func (o *simOperator) code(i int) probeCode {
	m := &o.sim.srv[i]
	switch {
	case o.sim.cut(o.host, hostMember+i), m.pod.ip == 0, m.proc == procHung:
		return codeSilent
	case m.proc == procDown:
		return codeRefused
	}
	return codeUp
}

// refresh is what the prober notices. Changes wake the reconciler.
func (o *simOperator) refresh() {
	s := o.sim
	for i := range s.count {
		p := &o.members[i]
		code := o.code(i)
		if code == p.code {
			continue
		}
		unanswered := s.now - p.since - p.phase
		switch {
		case p.code == codeSilent && unanswered >= 500 && !p.wasSilent:
			p.wasSilent, p.silent = true, p.since+p.phase
		case p.code == codeUp && unanswered >= 0, p.code == codeRefused:
			p.wasSilent = false
		}
		p.code, p.since, p.phase = code, s.now, s.between(0, 250)
		switch code {
		case codeSilent:
			o.wakeWhenSilent(i)
		case codeRefused:
			o.wake(s.between(1, 8))
		case codeUp:
			o.wake(s.between(1, 8) + p.phase)
		}
	}
}

func (o *simOperator) wakeWhenSilent(i int) {
	since := o.members[i].since
	o.later(o.members[i].phase+501, func() {
		if p := &o.members[i]; p.since == since && p.code == codeSilent {
			o.wake(1)
		}
	})
}

// silence tells since when a member is in state Silent.
func (p *probed) silence(now tick) (since tick, is bool) {
	switch {
	case p.code == codeRefused, p.code == codeUp && (!p.wasSilent || now >= p.since+p.phase):
		return 0, false
	case p.wasSilent:
		return p.silent, true
	}
	return p.since + p.phase, p.code == codeSilent && now >= p.since+p.phase+500
}

// result is what the prober tells of a member.
func (o *simOperator) result(i int) prober.Result {
	s, p, m := o.sim, &o.members[i], &o.sim.srv[i]
	result := prober.Result{UID: p.target.UID, Addr: p.target.Addr, State: prober.Up}
	since, silent := p.silence(s.now)
	switch {
	case silent:
		result.State, result.Since = prober.Silent, s.time(since)
	case p.code == codeRefused:
		result.State = prober.Dead
	case p.code == codeUp && m.link == lnUp:
		// The last answer is at most an interval old, and so is what it told.
		result.Seen, result.Answered = redis.Observation{RunID: simRunIDs[m.run]}, s.time(s.now-p.phase)
		result.Moved = s.time(max(m.heard, o.started) + p.phase)
	}
	return result
}

// simProber is the prober that an operator has.
type simProber struct {
	watcher

	o    *simOperator
	dead chan struct{}
}

func (p simProber) Set(_ types.NamespacedName, _ prober.Settings, targets []prober.Target) {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	select {
	case <-p.dead:
		return // The pass goes on for a moment after its process has ended.
	default:
	}
	for i := range p.o.members {
		p.o.members[i].target = prober.Target{}
		for _, target := range targets {
			if target.Name == simNames[i] {
				p.o.members[i].target = target
			}
		}
	}
}

func (p simProber) Results(types.NamespacedName) map[string]prober.Result {
	return *p.o.results.Load()
}

// simRecorder tells a trace of events.
type simRecorder struct{ o *simOperator }

func (r simRecorder) Eventf(_, _ runtime.Object, _, _, action, note string, args ...any) {
	if action == "SwitchOver" {
		r.o.sim.stats.switchovers++
	}
	r.o.sim.logf("operator %d tells: %s", r.o.id, fmt.Sprintf(note, args...))
}

// simPass is one pass over the group.
type simPass struct {
	o       *simOperator
	s       *sim
	st      *state
	dead    chan struct{}
	looking bool
	looked  tick
	silent  [simMembers]tick // how long they really could not answer
	after   time.Duration
	err     error
}

func (p *simPass) alive() bool { return p.o.alive && p.o.dead == p.dead }

// pass begins a pass.
func (o *simOperator) pass() {
	s := o.sim
	s.stats.passes++
	o.busy, o.dirty = true, false
	if s.now > o.staleUntil {
		o.groupLag, o.podLag = s.between(1, 20), s.between(1, 20)
	}
	before := s.cached(o.groupLag)
	p := &simPass{o: o, s: s, dead: o.dead, looked: s.now, looking: true}
	p.st = &state{
		group: before.DeepCopy(), before: before, dashboard: simDashboardObject,
		servers: simServers{p}, api: simAPI{p}, proxies: simProxyAPI{p},
	}
	o.life.current = p
	if s.without.lateLocks {
		o.reconciler.heldAt.Clear()
		o.reconciler.watched.Store(before.UID, s.base.Add(-time.Hour))
	}
	results := map[string]prober.Result{}
	for i := range s.count {
		results[simNames[i]] = o.result(i)
		if p.silent[i] = never; o.members[i].code == codeSilent && !o.members[i].wasSilent {
			p.silent[i] = s.now - o.members[i].since
		}
	}
	o.results.Store(&results)
	<-time.After(time.Until(s.time(s.now))) // The clock of the bubble stood still since the last pass.
	go p.run()
	s.rest()
}

// run is Reconcile without what needs the API server only.
func (p *simPass) run() {
	defer p.end()
	ctx, r, s := context.Background(), p.o.reconciler, p.st
	step := func(f func(context.Context, *state) (time.Duration, error)) reconcile.Step {
		return func(ctx context.Context) (time.Duration, error) { return f(ctx, s) }
	}
	err := r.observeObjects(ctx, s)
	r.look(ctx, s)
	p.looking = false
	result, failed := reconcile.Run(ctx, step(r.assignRoles), step(r.register))
	reportMembers(s)
	reportFailover(s, r.Clock.Now())
	if err == nil && !reflect.DeepEqual(s.before.Status, s.group.Status) { // The comparison in patch is slow.
		err = r.patch(ctx, s)
	}
	result, p.err = reconcile.Done(result, failed, err)
	p.after = result.RequeueAfter
}

// end is deferred: a pass may panic, or end with its operator.
func (p *simPass) end() {
	broken := recover()
	select {
	case <-p.dead:
	default:
		p.submit(&simCall{pass: p, name: "end", begin: func(*simCall) {
			if broken != nil {
				p.s.violate("8: the operator panics: %v", broken)
				return
			}
			p.ended()
		}})
	}
}

func (p *simPass) ended() {
	o, s := p.o, p.s
	o.last, o.lastHeld, o.busy = p.st.decision, p.st.held, false
	if p.st.decision.verb == keep {
		s.lastKeep = max(s.lastKeep, p.looked)
	}
	again := tick(p.after / time.Millisecond)
	if o.failures++; p.err == nil {
		o.failures = 0
	} else {
		s.logf("operator %d fails: %v", o.id, p.err)
		again = min(tick(50)<<min(o.failures-1, 10), 15000)
	}
	switch {
	case o.dirty:
		o.wake(s.between(1, 5))
	case again > 0:
		o.wake(again)
	}
}

// newSimOperator makes an operator that does not run yet.
func newSimOperator(s *sim, id int) *simOperator {
	return &simOperator{sim: s, id: id, host: hostOperator + id}
}

const simProduct = "product"

var simDashboardObject = simDashboardOf(simProduct)

func simDashboardOf(product string) *v1alpha1.CodisDashboard {
	d := &v1alpha1.CodisDashboard{}
	d.Spec.ProductName = product
	return d
}
