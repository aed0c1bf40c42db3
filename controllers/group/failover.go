// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

// coolDown is how long after a failover another one is not started on silence
// alone: a network that drops packets would move the master back and forth.
const coolDown = 10 * time.Second

// failover is what guards look at: a master that does not answer, and who would
// take its place.
type failover struct {
	world     world
	master    *member
	candidate *member // nil where nobody can
}

// guard is a named condition that a failover must meet.
type guard struct {
	name string
	// stops returns what is done instead, nil to let the failover pass.
	stops func(f failover) *decision
}

// guards are asked in order; the first that stops a failover decides. They are
// documented by name in docs/failover.md.
var guards = []guard{
	{"Evidence", evidence},
	{"Candidate", candidateKnown},
	{"Witness", witness},
	{"CoolDown", cooledDown},
	{"Fence", fenced},
}

// routeGuards are asked before every promotion, whatever its cause: after those above,
// and once more where the dashboard turns out not to carry it out.
var routeGuards = []guard{
	{"Routes", routed},
}

// decideFailover decides about a master that does not answer. It is pure.
func decideFailover(w world, master *member) decision {
	f := failover{world: w, master: master, candidate: w.candidate(master)}
	for _, g := range guards {
		if instead := g.stops(f); instead != nil {
			return *instead
		}
	}
	cause := v1alpha1.CauseMasterDead
	if !master.dead {
		cause = v1alpha1.CauseMasterSilent
	}
	return decision{verb: promote, master: f.candidate, cause: cause}
}

// waits words a decision to wait for a master that does not answer.
func (f failover) waits(format string, args ...any) *decision {
	message := fmt.Sprintf("master %s does not answer (%s); ", f.master.name, problem(*f.master))
	return &decision{verb: wait, reason: v1alpha1.ReasonMasterUnreachable, message: message + fmt.Sprintf(format, args...)}
}

// evidence: the process has ended, or it has been silent for the whole window.
func evidence(f failover) *decision {
	if f.master.dead || f.master.silent >= f.world.window {
		return nil
	}
	return f.waits("waiting whether it does again")
}

// candidateKnown: a member that can be asked was in sync with the master when
// that one last answered, and has not been started again since.
func candidateKnown(f failover) *decision {
	if f.candidate != nil {
		return nil
	}
	return f.waits("no member that was in sync with it can take its place: bring it back, "+
		"or annotate the group with %s=<pod whose data is kept>", v1alpha1.AnnotationAcceptDataLoss)
}

// witness: no member that can be asked hears the master. One that does means
// that the master lives, and that the operator is the one who is cut off.
func witness(f failover) *decision {
	for _, m := range f.world.members {
		if m.redis.Follows(f.master.addr) && m.redis.LinkUp && m.deaf < f.world.window {
			return f.waits("%s still hears it", m.name)
		}
	}
	return nil
}

// mayServe says what to wait for before a promotion is finished that has changed nothing
// yet: the proxies write to the old master, and that it did not answer just now proves
// nothing. It is pure.
func (w world) mayServe(known *codis.Group) *decision {
	old := w.byAddr(known.Servers[0].Addr)
	candidate := w.byAddr(known.Servers[known.Promoting.Index].Addr)
	if known.Promoting.State != "preparing" || old == nil || candidate == nil || old == candidate ||
		old.redis.Reachable || candidate.name == w.accepted {
		return nil
	}
	f := failover{world: w, master: old, candidate: candidate}
	if instead := evidence(f); instead != nil {
		return instead
	}
	return witness(f)
}

// cooledDown: silence is believed once in a while only.
func cooledDown(f failover) *decision {
	if f.master.dead || f.world.sinceFailover >= coolDown {
		return nil
	}
	return f.waits("it was promoted a moment ago, waiting for the network to settle")
}

// fenced: a master that is only silent may still take writes, from clients that
// reach it. Its pod is deleted: kubelet kills the process, whose end also frees
// the requests that hang in proxies. The promotion does not wait for that: kubelet
// takes two seconds, and a node may be lost. It has to lock the slots before
// backend_recv_timeout frees the first requests, or clients send the next ones to
// the same master.
func fenced(f failover) *decision {
	if f.master.dead || f.master.leaving {
		return nil
	}
	return &decision{
		verb: fence, master: f.master, heir: f.candidate, reason: v1alpha1.ReasonMasterUnreachable,
		message: fmt.Sprintf("master %s answers neither the operator nor its replicas: its pod is deleted", f.master.name),
	}
}

// routed: no proxy goes on sending writes to a master that may live where nobody
// else sees it. The dashboard has every proxy stop that; where it cannot, whoever may
// be master must be known to take no writes, or a person accepts what it does take.
func routed(f failover) *decision {
	if f.world.promotesElsewhere(f.candidate) && f.world.accepted != f.candidate.name {
		return &decision{verb: wait, reason: v1alpha1.ReasonMasterUnreachable, message: fmt.Sprintf(
			"the proxies hold requests, and the dashboard, which does not answer, may be about to make somebody master: "+
				"bring it back, or annotate the group with %s=%s", v1alpha1.AnnotationAcceptDataLoss, f.candidate.name)}
	}
	old := f.world.mayTakeWrites(f.candidate)
	if old == nil || !f.world.cutOff() {
		return nil
	}
	f.master = old
	switch {
	case old.redis.Reachable:
		return &decision{verb: wait, reason: v1alpha1.ReasonProgressing, message: fmt.Sprintf(
			"%s takes writes, and the dashboard cannot have all proxies go on to %s now", old.name, f.candidate.name)}
	case f.world.accepted == f.candidate.name:
		return nil
	case f.world.guards(old) && f.world.heardLately(old):
		if f.refusalComes() {
			waits := f.waits("waiting until it refuses writes; the proxies hold the requests")
			waits.locks = true
			return waits
		}
		return f.waits("waiting until it refuses writes")
	case f.world.blind:
		return f.waits("the dashboard does not answer either, which has the proxies stop writing to it")
	case len(f.world.deafProxies) == 0:
		return f.waits("waiting for a move of slots to stop, which keeps the dashboard from promoting %s", f.candidate.name)
	}
	return f.waits("its node may be cut off, and %s with it, which may go on writing to it: bring the node back, "+
		"delete the Node object if it is lost, or annotate the group with %s=%s",
		strings.Join(f.world.deafProxies, ", "), v1alpha1.AnnotationAcceptDataLoss, f.candidate.name)
}

// refusalComes tells whether nothing but time keeps the recorded candidate from taking the
// place of a guarded master: the proxies hold the requests meanwhile. Those that
// backend_recv_timeout frees would go to a lost node again, and wait there until Codis
// gives its connect up after 5 s, long after somebody else is master. Where the dashboard
// only waits for a move of slots to stop, it tells the proxies itself.
func (f failover) refusalComes() bool {
	w, silent := f.world, f.master.silent >= f.world.window
	return silent && f.master.addr == w.order[0] && f.candidate.name == w.promoted && !w.switching && !w.refusing &&
		w.allElseKnown(f.master)
}

// promotesElsewhere tells whether a dashboard that cannot be asked is promoting somebody
// else: the proxies hold requests, though the operator has recorded no promotion, or one
// of another member, which it may have asked for. What a switchover holds it locked itself.
func (w *world) promotesElsewhere(candidate *member) bool {
	asked := w.promoted != "" && (w.switching || w.promoted == candidate.name)
	return w.blind && !w.behind && !w.holding && w.routes.held && !asked
}

// cutOff tells whether the dashboard cannot have all proxies stop writing to a master:
// it cannot be asked, or a proxy does not answer, or it refuses to promote.
func (w *world) cutOff() bool { return w.blind || w.refusing || len(w.deafProxies) > 0 }

// mayTakeWrites returns a member that proxies may go on writing to when another one is
// made master, nil if there is none: what the dashboard calls master, who was it when
// the operator last looked, and who was about to be. One that cannot be asked may.
func (w *world) mayTakeWrites(to *member) *member {
	suspects := []*member{w.byAddr(w.order[0]), w.byName(w.lastMaster)}
	if w.promotedRunID != "" {
		suspects = append(suspects, w.byName(w.promoted))
	}
	for _, addr := range w.routes.to {
		suspects = append(suspects, w.byAddr(addr))
	}
	var unknown *member
	for i, m := range suspects {
		switch {
		case m == nil || m.addr == to.addr || m.dead || w.refusesWrites(m):
		case m.redis.IsMaster() && i < 2, w.ledTo(m):
			return m
		case !m.redis.Reachable && unknown == nil:
			unknown = m
		}
	}
	return unknown
}

// ledTo tells whether proxies lead to a member that lives and was not master when it was
// last asked who is: it may have been made one since.
func (w *world) ledTo(m *member) bool {
	return m.addr != w.order[0] && w.routes.leadTo(m.addr) && m.redis.Reachable && !m.redis.Fenced()
}

// candidate returns the member that takes the place of a master that does not
// answer: one that was in sync with it by the record, is the same process still,
// and has received most. One that takes writes already comes first: a promotion
// that stopped halfway left it so.
func (w world) candidate(master *member) *member {
	if w.blind && w.usurped() {
		return nil
	}
	candidates := w.where(func(m member) bool {
		vouched := w.inSync[m.name] || m.redis.IsMaster() && m.redis.RunID == w.promotedRunID && w.handedOver(m)
		return m.addr != master.addr && vouched && m.known() && !m.redis.Syncing && !m.leaving &&
			(m.redis.Follows(master.addr) || w.meant(m)) && (m.redis.HasData() || !w.anyData())
	})
	received := amountReceived(candidates)
	sort.SliceStable(candidates, func(i, j int) bool {
		a, b := candidates[i].redis, candidates[j].redis
		if a.IsMaster() != b.IsMaster() {
			return a.IsMaster()
		}
		if x, y := w.registered(*candidates[i]), w.registered(*candidates[j]); x != y {
			return x
		}
		if candidates[i].young != candidates[j].young {
			return candidates[j].young
		}
		return received(candidates[i]) > received(candidates[j])
	})
	return first(candidates)
}

// handedOver tells whether a member that was made master took over: the new one of a
// switchover may have been given up. Proxies that the dashboard told lead to it, or hold
// requests; it has everything then.
func (w world) handedOver(m member) bool {
	held := w.routes.held && len(w.routes.to) == 0
	return !w.switching || w.routes.leadTo(m.addr) || held
}

// usurped tells whether somebody else made a member master: where the dashboard
// cannot be asked, proxies may have been told so.
func (w world) usurped() bool {
	return len(w.where(func(m member) bool { return m.redis.IsMaster() && !w.meant(m) })) > 0
}

// meant tells whether a member that takes writes was made master by the operator.
func (w world) meant(m member) bool {
	return m.redis.IsMaster() && m.redis.RunID != "" &&
		(m.redis.RunID == w.promotedRunID || m.redis.RunID == w.masterRunID)
}

// registered tells whether the dashboard knows a member.
func (w world) registered(m member) bool {
	return len(w.order) == 0 || slices.Contains(w.order, m.addr)
}

// hears tells whether a member follows a master and receives what it sends.
func (w world) hears(m member, master string) bool {
	return m.redis.Follows(master) && m.redis.LinkUp && (w.window == 0 || m.deaf < 2*w.window)
}

// trusted tells whether a server that takes writes may be copied to members that
// hold other data: the operator made it master, it was promoted while in sync,
// or a person chose it, or the sentinels did; or nobody else can have more.
func (w world) trusted(master member) bool {
	return w.masterRunID == "" || w.meant(master) || w.inSync[master.name] || w.accepted == master.name ||
		w.chosen(master) || w.orphaned() && w.hasMore(master)
}

// notVouchedFor says why the candidate of a promotion may lack what another member has,
// where nothing is recorded of it: it was not in sync, and is not a master that the
// operator made. It is pure.
func (w world) notVouchedFor(candidate *member) string {
	old, most, heir := w.oldOf(candidate), w.mostKeys(), w.silentHeir(candidate.name)
	switch {
	case w.inSync[candidate.name] || w.meant(*candidate) || old == nil:
		return ""
	case !old.known() && (w.persistent || !old.dead):
		return fmt.Sprintf("a promotion of %s was left half-done, it was not in sync with %s, and that one "+
			"cannot be asked (%s): bring it back, or annotate the group with %s=%s",
			candidate.name, old.name, problem(*old), v1alpha1.AnnotationAcceptDataLoss, candidate.name)
	case heir != nil:
		return fmt.Sprintf("a promotion of %s was left half-done, and %s, which was in sync where that one was not, "+
			"cannot be asked (%s): bring it back, or annotate the group with %s=%s",
			candidate.name, heir.name, problem(*heir), v1alpha1.AnnotationAcceptDataLoss, candidate.name)
	case most != nil && most.redis.Keys > candidate.redis.Keys:
		return fmt.Sprintf("a promotion of %s was left half-done and %s has more keys: "+
			"annotate the group with %s=%s to go on without them",
			candidate.name, most.name, v1alpha1.AnnotationAcceptDataLoss, candidate.name)
	}
	return ""
}

// silentHeir returns another member than the named one that was in sync with the master,
// may have its data still, and cannot be asked; nil if there is none.
func (w world) silentHeir(except string) *member {
	return w.find(func(m *member) bool {
		return m.name != except && w.inSync[m.name] && !m.known() && (w.persistent || !m.dead)
	})
}

// hasMore tells whether a member has more keys than any other.
func (w world) hasMore(master member) bool {
	return len(w.where(func(m member) bool { return m.addr != master.addr && m.redis.Keys >= master.redis.Keys })) == 0
}

// orphaned tells that every member can be asked and that none is the process that
// was the last master, nor the one that was about to be.
func (w world) orphaned() bool {
	return len(w.where(func(m member) bool {
		return !m.known() || m.redis.Syncing || m.redis.RunID == w.masterRunID || m.redis.RunID == w.promotedRunID
	})) == 0
}
