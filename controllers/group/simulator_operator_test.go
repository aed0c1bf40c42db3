// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// The simulated operator: passes as in reconciler.go and act.go, in steps with
// time in between. Decisions, the intent and the report are the real code.

var simEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// How soon a pass asks for the next.
const (
	closely = tick(reconcile.Closely / time.Millisecond)
	soon    = tick(reconcile.Soon / time.Millisecond)
	later   = tick(reconcile.Later / time.Millisecond)
	steady  = tick(reconcile.Steady / time.Millisecond)
)

// Names are made once: a pass makes none.
var (
	simNames, simAddrs [simMembers]string
	simRunIDs, simUIDs [4096]string
)

func init() {
	for i := range simNames {
		simNames[i], simAddrs[i] = memberName(i), memberAddr(i)
	}
	for i := range simRunIDs {
		simRunIDs[i], simUIDs[i] = "r"+strconv.Itoa(i), "u"+strconv.Itoa(i)
	}
}

// ablation takes protection away, to show that it is needed.
type ablation struct {
	trust, inSyncRunID, intent, finishHeld, processCheck bool
	// staleReport is no protection: without it, the report of a pass that read an
	// old status fails, as its intent does.
	staleReport bool
}

type simVersion struct {
	at    tick
	group *v1alpha1.CodisGroup
}

type probeCode int8

const (
	codeSilent probeCode = iota
	codeRefused
	codeUp
)

// probed is what the prober of an operator knows of a member.
type probed struct {
	code      probeCode
	since     tick
	phase     tick // until the next question
	wasSilent bool // in state Silent before since
	silent    tick // since when it was
	ip        int  // target
}

type simOperator struct {
	sim              *sim
	id, host         int
	alive            bool
	epoch            int
	started          tick
	paused           tick // until when it is stopped
	groupLag, podLag tick
	staleUntil       tick

	busy, dirty bool
	timer       int
	members     [simMembers]probed
	reconciler  *Reconciler
	current     *simPass
	last        decision // of the last pass that ended
	lastHeld    string
}

// simClock is the clock of the reconciler.
type simClock struct{ s *sim }

func (c simClock) Now() time.Time                  { return simEpoch.Add(time.Duration(c.s.now) * time.Millisecond) }
func (c simClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// simClient is the API server for what an operator writes.
type simClient struct {
	client.Client
	o *simOperator
}

type simStatusWriter struct {
	client.SubResourceWriter
	o *simOperator
}

func (c simClient) Status() client.SubResourceWriter { return simStatusWriter{o: c.o} }

// Patch takes a status, and fails where the object changed since it was read,
// if the patch asks for that.
func (w simStatusWriter) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	s, group := w.o.sim, obj.(*v1alpha1.CodisGroup)
	if group.ResourceVersion != s.stored().ResourceVersion {
		data, err := patch.Data(obj)
		if err != nil {
			return err
		}
		if s.without.staleReport || strings.Contains(string(data), "resourceVersion") {
			return apierrors.NewConflict(schema.GroupResource{}, group.Name, nil)
		}
	}
	s.merge(&w.o.current.st.before.Status, &group.Status)
	s.stored().DeepCopyInto(group)
	return nil
}

func (s *sim) stored() *v1alpha1.CodisGroup { return s.versions[len(s.versions)-1].group }

func (s *sim) store(group *v1alpha1.CodisGroup) {
	group.ResourceVersion = strconv.Itoa(len(s.versions) + 1)
	s.versions = append(s.versions, simVersion{s.now, group})
}

// cached is what a cache that is behind by lag shows.
func (s *sim) cached(lag tick) *v1alpha1.CodisGroup {
	for i := len(s.versions) - 1; i > s.oldest; i-- {
		if s.versions[i].at <= s.now-lag {
			return s.versions[i].group
		}
	}
	return s.versions[s.oldest].group
}

// merge is what a merge patch from before to after does to the stored status.
func (s *sim) merge(before, after *v1alpha1.CodisGroupStatus) {
	stored := s.stored()
	into := stored.Status
	if before.Ready != after.Ready || before.Replicas != after.Replicas {
		into.Ready, into.Replicas = after.Ready, after.Replicas
	}
	if before.Master != after.Master {
		into.Master = after.Master
	}
	if before.MasterRunID != after.MasterRunID {
		into.MasterRunID = after.MasterRunID
	}
	if !slices.Equal(before.Members, after.Members) {
		into.Members = after.Members
	}
	if !slices.Equal(before.InSync, after.InSync) {
		into.InSync = after.InSync
	}
	into.Promotion = mergePromotion(into.Promotion, before.Promotion, after.Promotion)
	if !reflect.DeepEqual(before.LastFailover, after.LastFailover) {
		into.LastFailover = after.LastFailover
	}
	if !sameStatus(&into, &stored.Status) {
		changed := *stored
		changed.Status = into
		s.store(&changed)
	}
}

// sameStatus compares what passes of a simulated operator write.
func sameStatus(a, b *v1alpha1.CodisGroupStatus) bool {
	return a.Master == b.Master && a.MasterRunID == b.MasterRunID && a.Ready == b.Ready && a.Replicas == b.Replicas &&
		slices.Equal(a.Members, b.Members) && slices.Equal(a.InSync, b.InSync) &&
		reflect.DeepEqual(a.Promotion, b.Promotion) && reflect.DeepEqual(a.LastFailover, b.LastFailover)
}

func mergePromotion(stored, before, after *v1alpha1.Promotion) *v1alpha1.Promotion {
	switch {
	case reflect.DeepEqual(before, after):
		return stored
	case after == nil, before == nil, stored == nil:
		return after
	}
	merged := *stored
	field := func(into *string, before, after string) {
		if before != after {
			*into = after
		}
	}
	field(&merged.Member, before.Member, after.Member)
	field(&merged.RunID, before.RunID, after.RunID)
	field(&merged.From, before.From, after.From)
	cause := string(merged.Cause)
	field(&cause, string(before.Cause), string(after.Cause))
	merged.Cause = v1alpha1.FailoverCause(cause)
	return &merged
}

// later goes on with a pass, unless the operator has ended by then.
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
	o.alive, o.busy, o.dirty, o.started, o.paused = true, false, false, o.sim.now, 0
	o.epoch++
	o.sim.logf("operator %d starts", o.id)
	for i := range o.members {
		o.members[i] = probed{since: o.sim.now, phase: o.sim.between(0, 250), code: o.code(i)}
	}
	o.wake(1)
}

func (o *simOperator) crash() {
	o.alive = false
	o.epoch++
	o.sim.stats.crashes++
	o.sim.logf("operator %d ends", o.id)
}

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
		if code == codeSilent {
			o.wakeWhenSilent(i)
		} else {
			o.wake(s.between(1, 8) + p.phase*tick(min(1, code/codeUp)))
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

// simPass is one pass over the group.
type simPass struct {
	o       *simOperator
	s       *sim
	st      *state
	ips     [simMembers]int
	uids    [simMembers]int
	silent  [simMembers]tick // how long they really could not answer
	stats   bool
	order   []int
	promote [2]int // state and index as the dashboard told
	deaf    []string
	ready   tick
	looked  tick
	after   tick
}

// pass begins a pass: everything is looked at side by side.
func (o *simOperator) pass() {
	s := o.sim
	s.stats.passes++
	o.busy, o.dirty = true, false
	if s.now > o.staleUntil {
		o.groupLag, o.podLag = s.between(1, 20), s.between(1, 20)
	}
	before := s.cached(o.groupLag)
	p := &simPass{o: o, s: s, st: &state{group: before.DeepCopy(), before: before.DeepCopy()}, looked: s.now, ready: s.now + 2}
	o.current = p
	w := &p.st.world
	w.members = make([]member, s.count)
	for i := range w.members {
		p.observe(i, &w.members[i])
	}
	w.lastMaster = before.Status.Master
	w.accepted = before.Annotations[v1alpha1.AnnotationAcceptDataLoss]
	w.persistent = s.persistent
	w.window = defaultSilence
	o.later(1, p.askDashboard)
}

// observe is observeMember with ask.
func (p *simPass) observe(i int, m *member) {
	s, o := p.s, p.o
	view := s.viewOf(i, o.podLag)
	m.name, m.addr = simNames[i], simAddrs[i]
	if !view.exists {
		m.dead = true
		return
	}
	m.uid, m.leaving, m.node = types.UID(simUIDs[view.uid]), view.leaving, "node"
	p.uids[i], p.ips[i] = view.uid, view.ip
	if view.ip != 0 {
		m.ip = "10.0.0.1"
		p.ask(i, view.ip, m)
	}
	m.dead = !m.redis.Reachable && (m.dead || view.dead())
}

func (p *simPass) ask(i, ip int, m *member) {
	s, probe := p.s, &p.o.members[i]
	if p.silent[i] = never; probe.code == codeSilent && !probe.wasSilent {
		p.silent[i] = s.now - probe.since
	}
	known := probe.ip == ip
	probe.ip = ip
	if since, silent := probe.silence(s.now); known && silent {
		m.silent = time.Duration(s.now-since) * time.Millisecond
		m.redis = redis.Observation{Problem: "no answer in time"}
		return
	}
	if s.srv[i].pod.ip != ip || probe.code == codeSilent {
		m.redis = redis.Observation{Problem: "no answer in time"}
		p.ready = max(p.ready, s.now+1000)
		return
	}
	if probe.code == codeRefused {
		m.dead = true
		m.redis = redis.Observation{Refused: true, Problem: "connection refused"}
		return
	}
	s.observation(i, &m.redis)
	if r := &m.redis; known && r.WasInSync() {
		// The last answer is at most an interval old, and so is what it told.
		moved, answered := max(s.srv[i].heard, p.o.started)+probe.phase, s.now-probe.phase
		m.deaf = max(0, time.Duration(answered-moved)*time.Millisecond)
	}
}

// observation is what a server says of itself.
func (s *sim) observation(i int, into *redis.Observation) {
	m := &s.srv[i]
	*into = redis.Observation{
		Reachable: true, RunID: simRunIDs[m.run], Role: redis.RoleReplica, MasterAddr: redis.FenceAddr,
		LinkUp: m.link == lnUp, Syncing: m.link == lnSync || m.link == lnLoad, Loading: m.loading || m.link == lnLoad,
		Offset: s.offsetOf(i), Keys: int64(s.keys(m.data)),
	}
	if m.follows >= 0 {
		into.MasterAddr = simAddrs[m.follows]
	}
	if m.master {
		into.Role, into.MasterAddr, into.LinkUp, into.Offset = redis.RoleMaster, "", false, int64(m.data.n)
	}
}

// askDashboard is observeTopology; a dashboard that is busy answers late.
func (p *simPass) askDashboard() {
	d := &p.s.dash
	switch {
	case p.s.cut(p.o.host, hostDashboard):
		p.ready = max(p.ready, p.looked+1000)
	case !d.up:
	case d.busy && p.s.now < p.looked+10000:
		p.o.later(20, p.askDashboard)
		return
	case !d.busy:
		p.stats = true
		p.order, p.promote, p.deaf = d.order, [2]int{d.promoting, d.index}, p.s.deafProxies()
	}
	p.o.later(max(1, p.ready-p.s.now), p.decide)
}

// decide is assignRoles.
func (p *simPass) decide() {
	s, w := p.s, &p.st.world
	w.recall(&p.st.group.Status, p.o.reconciler.Clock.Now())
	if s.without.inSyncRunID {
		for _, name := range p.st.group.Status.InSync {
			w.inSync[name] = true
		}
	}
	p.after = later
	if !p.stats {
		p.finish()
		return
	}
	w.deafProxies = p.deaf
	w.order = make([]string, len(p.order))
	for i, m := range p.order {
		w.order[i] = simAddrs[m]
	}
	if p.promote[0] != 0 {
		p.finishPromotion(p.order[p.promote[1]])
		return
	}
	p.st.decision = decideMaster(*w)
	d := &p.st.decision
	if d.verb != keep && s.tracing {
		s.logf("operator %d decides %s; %s", p.o.id, d.text(), s.brief(w))
	}
	if d.verb != keep {
		s.step("decide", p.indexOf(d.master))
	}
	p.carryOut(d)
}

func (p *simPass) carryOut(d *decision) {
	if d.verb == promote && d.master == nil || d.verb == fence && d.heir == nil {
		p.s.violate("8: %s in favour of nobody", d.verb) // The operator would panic.
		return
	}
	switch d.verb {
	case lift:
		p.lift(p.indexOf(d.master))
	case promote:
		p.promoteMember(p.indexOf(d.master))
	case keep:
		p.settle()
	case fence:
		p.fence(p.indexOf(d.master))
	case wait:
		if p.after = soon; d.reason == v1alpha1.ReasonMasterUnreachable {
			p.after = closely
		}
		p.finish()
	case hold:
		p.finish()
	}
}

func (p *simPass) indexOf(m *member) int {
	for i := range p.st.world.members {
		if m != nil && p.st.world.members[i].addr == m.addr {
			return i
		}
	}
	return -1
}

// intend calls the real intend; it takes time, and may be the last that happens.
func (p *simPass) intend(i int, from string, cause v1alpha1.FailoverCause, next func()) {
	m := &p.st.world.members[i]
	if promotion := p.st.group.Status.Promotion; promotion != nil && promotion.Member == m.name && promotion.RunID == m.redis.RunID {
		next()
		return
	}
	if p.s.without.intent {
		next()
		return
	}
	p.o.later(p.s.between(2, 15), func() {
		err := p.o.reconciler.intend(context.Background(), p.st, *m, from, cause)
		p.s.logf("operator %d intends %s: %v", p.o.id, m.name, err)
		p.call("intend", i, func() {
			if err != nil {
				p.after = soon
				p.finish()
				return
			}
			next()
		})
	})
}

// call ends an external call: whatever a schedule does right then comes first.
func (p *simPass) call(name string, member int, next func()) {
	epoch := p.o.epoch
	p.s.step(name, member)
	if p.o.epoch == epoch {
		p.o.later(1, next)
	}
}

// same is stillThere and the comparison in front of SLAVEOF.
func (p *simPass) same(i int) bool {
	s, m := p.s, &p.st.world.members[i]
	if s.srv[i].proc != procUp || s.cut(p.o.host, hostMember+i) {
		return false
	}
	if s.without.processCheck {
		return true
	}
	if s.srv[i].pod.uid != p.uids[i] || s.srv[i].pod.ip != p.ips[i] {
		return false
	}
	var now redis.Observation
	s.observation(i, &now)
	return now.RunID == m.redis.RunID && now.Role == m.redis.Role && now.MasterAddr == m.redis.MasterAddr
}

// makeMaster calls next with whether it succeeded.
func (p *simPass) makeMaster(i int, next func(ok bool)) {
	p.o.later(p.s.between(1, 6), func() {
		m := &p.st.world.members[i]
		same := p.s.srv[i].pod.uid == p.uids[i] && p.s.srv[i].pod.ip == p.ips[i]
		if p.s.without.processCheck {
			same = true
		}
		ok := same && (m.redis.IsMaster() || p.same(i))
		if ok && !m.redis.IsMaster() {
			p.s.checkReplaced(p, i)
			p.s.makeMaster(i, byOperator)
		}
		p.call("makeMaster", i, func() { next(ok) })
	})
}

func (p *simPass) lift(i int) {
	m := &p.st.world.members[i]
	if m.redis.IsMaster() {
		p.st.decision.verb = keep
		p.settle()
		return
	}
	p.intend(i, "", "", func() {
		p.makeMaster(i, func(ok bool) {
			if !ok {
				p.st.decision = decision{verb: wait, reason: v1alpha1.ReasonProgressing, message: "does not become master yet"}
				p.after = soon
				p.finish()
				return
			}
			p.s.stats.lifts++
			m.redis.Role, m.redis.MasterAddr = redis.RoleMaster, ""
			p.st.decision.verb = keep
			p.settle()
		})
	})
}

func (p *simPass) promoteMember(i int) {
	m := &p.st.world.members[i]
	from := p.st.world.order[0]
	if old := p.st.world.byAddr(from); old != nil {
		from = old.name
	}
	p.after = soon
	p.intend(i, from, p.st.decision.cause, func() {
		p.makeMaster(i, func(ok bool) {
			if !ok {
				p.finish()
				return
			}
			p.dashboard(i, func(ok bool) {
				if ok {
					p.s.stats.promotions++
					p.st.promoted(m)
				}
				p.finish()
			})
		})
	})
}

// dashboard calls promote; a dashboard that does not answer in ten seconds is
// given up, one that ends at once.
func (p *simPass) dashboard(i int, next func(ok bool)) {
	s, o := p.s, p.o
	if s.cut(o.host, hostDashboard) || !s.dash.up {
		o.later(s.between(1, 1000), func() { next(false) })
		return
	}
	answered := false
	dash := s.dash.epoch
	answer := func(ok bool) {
		if !answered {
			answered = true
			p.call("promote", i, func() { next(ok) })
		}
	}
	epoch := o.epoch
	s.promoteCall(i, func(ok bool) {
		if o.epoch == epoch && !s.cut(o.host, hostDashboard) {
			o.later(1, func() { answer(ok) })
		}
	})
	var watch func()
	watch = func() {
		if !answered && s.dash.epoch != dash {
			answer(false)
		} else if !answered {
			o.later(500, watch)
		}
	}
	o.later(100, watch)
	o.later(10000, func() { answer(false) })
}

func (p *simPass) finishPromotion(i int) {
	st := p.st
	st.decision = decision{verb: wait, reason: v1alpha1.ReasonProgressing, message: "finishing a promotion"}
	held := finishHeld(st.world, simAddrs[i])
	if held != "" && !p.s.without.finishHeld {
		st.decision = decision{verb: hold, reason: v1alpha1.ReasonPromotionHeld, message: held}
		p.finish()
		return
	}
	p.s.logf("operator %d finishes the promotion of g-%d", p.o.id, i)
	promote := func() {
		p.dashboard(i, func(ok bool) {
			if ok {
				p.after = soon
			}
			p.finish()
		})
	}
	if m := &st.world.members[i]; m.known() {
		p.intend(i, st.group.Status.Master, v1alpha1.CauseFoundMaster, promote)
		return
	}
	promote()
}

func (p *simPass) fence(i int) {
	heir := p.indexOf(p.st.decision.heir)
	p.after = closely
	p.intend(heir, p.st.decision.master.name, v1alpha1.CauseMasterSilent, func() {
		p.o.later(p.s.between(2, 20), func() {
			if p.s.srv[i].pod.uid == p.uids[i] {
				p.s.checkReplaced(p, heir)
				p.s.checkCoolDown(p)
				p.s.stats.fences++
				p.s.deletePod(i, 1000)
			}
			p.call("fence", i, p.finish)
		})
	})
}

// settle points replicas at the master.
func (p *simPass) settle() {
	w, master := p.st.world, *p.st.decision.master
	if p.s.without.trust {
		w.masterRunID = ""
	}
	follows, held := decideFollowers(w, master)
	p.st.held = held
	p.point(follows, p.indexOf(&master))
}

func (p *simPass) point(follows []member, master int) {
	if len(follows) == 0 {
		p.settled(master)
		return
	}
	i := p.indexOf(&follows[0])
	p.o.later(p.s.between(1, 6), func() {
		if !p.same(i) {
			p.after = soon
			p.register(master)
			return
		}
		p.s.follow(i, master)
		p.call("follow", i, func() { p.point(follows[1:], master) })
	})
}

func (p *simPass) settled(master int) {
	w := &p.st.world
	m := w.members[master]
	p.after = steady
	switch follows, _ := decideFollowers(*w, m); {
	case len(follows) == 0 && p.st.held == "" && w.accepted == m.name && w.allFollow(m):
		p.after = soon
		cleared := p.s.stored().DeepCopy()
		delete(cleared.Annotations, v1alpha1.AnnotationAcceptDataLoss)
		p.s.store(cleared)
	case !p.o.reconciler.inSync(p.st):
		p.after = soon
	}
	p.register(master)
}

// register tells the dashboard about members, the master first.
func (p *simPass) register(master int) {
	d := &p.s.dash
	if p.st.decision.verb != keep || len(p.order) == p.s.count {
		p.finish()
		return
	}
	p.o.later(p.s.between(2, 8), func() {
		if d.up && !d.busy && d.promoting == 0 && !p.s.cut(p.o.host, hostDashboard) {
			d.order = append([]int{}, d.order...)
			p.add(master)
			for i := range p.s.count {
				if p.st.world.members[i].redis.Reachable {
					p.add(i)
				}
			}
		}
		p.after = soon
		p.call("register", master, p.finish)
	})
}

func (p *simPass) add(i int) {
	if d := &p.s.dash; !slices.Contains(d.order, i) {
		d.order = append(d.order, i)
	}
}

// finish is report and patch.
func (p *simPass) finish() {
	p.o.later(p.s.between(2, 25), func() {
		reportMembers(p.st)
		reportFailover(p.st, p.o.reconciler.Clock.Now())
		before := len(p.s.versions)
		// The comparison in patch is slow.
		if !sameStatus(&p.st.before.Status, &p.st.group.Status) {
			if err := p.o.reconciler.patch(context.Background(), p.st); err != nil {
				p.s.logf("operator %d cannot report: %v", p.o.id, err)
				p.after = soon
			}
		}
		p.o.last, p.o.lastHeld = p.st.decision, p.st.held
		p.o.busy = false
		if p.st.decision.verb == keep {
			p.s.lastKeep = max(p.s.lastKeep, p.looked)
		}
		if len(p.s.versions) > before {
			p.s.step("report", -1)
		}
		if !p.o.alive {
			return
		}
		if p.o.dirty {
			p.o.wake(p.s.between(1, 5))
			return
		}
		p.o.wake(p.after)
	})
}

// newSimOperator makes an operator that does not run yet.
func newSimOperator(s *sim, id int) *simOperator {
	o := &simOperator{sim: s, id: id, host: hostOperator + id}
	o.reconciler = &Reconciler{Client: simClient{o: o}, Clock: simClock{s}}
	return o
}

// newSimGroup is a group whose status the operator has not written yet.
func newSimGroup(count int) *v1alpha1.CodisGroup {
	replicas := int32(count)
	return &v1alpha1.CodisGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g", UID: "u"},
		// Without a condition it would be written whole, as the first status is.
		Status: v1alpha1.CodisGroupStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}}},
		Spec:   v1alpha1.CodisGroupSpec{ID: 1, CodisGroupTemplate: v1alpha1.CodisGroupTemplate{Replicas: &replicas}},
	}
}
