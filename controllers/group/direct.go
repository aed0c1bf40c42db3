// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// recallOrder fills in the order that the dashboard had when it last answered, as
// far as the status tells, and whether clients wait for this group at all.
func (s *state) recallOrder() bool {
	status := &s.group.Status
	master := s.world.byName(status.Master)
	if master == nil || status.Slots == 0 || s.dashboard == nil {
		return false
	}
	s.world.blind = true
	s.world.order = []string{master.addr}
	for _, m := range s.world.members {
		if m.addr != master.addr {
			s.world.order = append(s.world.order, m.addr)
		}
	}
	return true
}

// promoteDirectly makes a member master and tells the proxies that answer, without
// the dashboard: it cannot be asked, or would do nothing because a proxy does not
// answer it, or because a slot is being moved (measured on the real thing: 36 ms;
// reference 12.17).
//
// Phases: the intent is recorded, and that the dashboard will be behind; the others
// leave the old master, which would take writes again with the first of them that
// reaches it; the member is made master; the proxies are told. After a crash in between
// the next pass finds the record and tells the proxies who takes writes, whoever that
// is. The dashboard is told by the promotion that follows once it can be asked
// (decideMaster).
func (r *Reconciler) promoteDirectly(ctx context.Context, s *state, m *member) (time.Duration, error) {
	if s.world.routedTo() == m {
		if err := r.detach(ctx, s, *m); err != nil {
			return reconcile.Closely, redis.Unexpected(err)
		}
		s.promoted(m)
		return r.settle(ctx, s)
	}
	from := s.masterBefore()
	if err := r.intend(ctx, s, *m, from, s.decision.cause); err != nil {
		return 0, err
	}
	if err := r.recordBehind(ctx, s); err != nil {
		return 0, err
	}
	ctx, done := uninterrupted(ctx)
	defer done()
	if err := r.detach(ctx, s, *m); err != nil {
		return reconcile.Closely, redis.Unexpected(err)
	}
	if err := r.makeMaster(ctx, s, *m); err != nil {
		return reconcile.Closely, redis.Unexpected(err)
	}
	err := r.route(ctx, s, *m)
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonPromoted, "Promote",
		"%s is master instead of %s, with %d keys: %s; the proxies were told without the dashboard",
		m.name, from, m.redis.Keys, s.group.Status.Promotion.Cause)
	s.promoted(m)
	s.unrouted = err
	return reconcile.Closely, nil
}

// detach fences the replicas of every other member that may live: one that was master
// refuses writes only while it has none, be it the one of the dashboard or one that took
// its place since. They follow the new one later, one at a time.
func (r *Reconciler) detach(ctx context.Context, s *state, master member) error {
	for i := range s.world.members {
		m := &s.world.members[i]
		old := s.world.masterOf(*m)
		if m.addr == master.addr || old == nil || old.addr == master.addr || old.dead {
			continue
		}
		if err := r.follow(ctx, s, *m, redis.FenceAddr); err != nil {
			return fmt.Errorf("fence %s: %w", m.name, err)
		}
		m.redis.MasterAddr, m.redis.MasterName, m.redis.LinkUp = redis.FenceAddr, "", false
	}
	return nil
}

// masterOf is the member that another one follows, nil if it follows none.
func (w world) masterOf(m member) *member {
	return first(w.where(func(other member) bool { return m.redis.Follows(other.addr) }))
}

// bypass promotes without the dashboard, which refuses to promote, unless the old master
// may take writes: then the move of slots has to stop first.
func (r *Reconciler) bypass(ctx context.Context, s *state) (time.Duration, error) {
	s.world.refusing = true
	if s.decision = decideMaster(s.world); s.decision.verb != promote {
		return reconcile.Closely, nil
	}
	return r.promoteDirectly(ctx, s, s.decision.master)
}

// masterBefore is the name, or else the address, of what the dashboard calls master.
func (s *state) masterBefore() string {
	if old := s.world.byAddr(s.world.order[0]); old != nil {
		return old.name
	}
	return s.world.order[0]
}

// recordBehind records that proxies may know more than the dashboard.
func (r *Reconciler) recordBehind(ctx context.Context, s *state) error {
	if s.group.Status.Dashboard == v1alpha1.DashboardBehind {
		return nil
	}
	err := r.record(ctx, s, func(status *v1alpha1.CodisGroupStatus) {
		status.Dashboard = v1alpha1.DashboardBehind
	})
	if err != nil {
		return fmt.Errorf("record that the dashboard is behind: %w", err)
	}
	return nil
}

// holdRequests has the proxies that answer hold the requests of the group until the master,
// which is silent, refuses writes for certain, and somebody else takes its place. The
// routes stay as they are. It is recorded first: whoever settles the roles sends the routes
// again, which lets the requests go on. A proxy that was not told in time costs its clients
// time, and nothing else.
func (r *Reconciler) holdRequests(ctx context.Context, s *state) error {
	if s.group.Status.Requests != v1alpha1.RequestsHeld {
		err := r.record(ctx, s, func(status *v1alpha1.CodisGroupStatus) { status.Requests = v1alpha1.RequestsHeld })
		if err != nil {
			return fmt.Errorf("record that requests are held: %w", err)
		}
	}
	if err := r.heldUp(s); err != nil {
		return err
	}
	r.heldAt.Store(s.group.UID, r.Clock.Now())
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	s.unrouted = s.lockRoutes(ctx, s.world.order[0], true)
	return nil
}

// letGo has the proxies that answer let the requests go on that they hold for a master.
// Routes that lead to another one are somebody else's, and stay. Once all proxies have been
// told there is nothing to tell any more: what they hold later, the dashboard has them hold.
func (r *Reconciler) letGo(ctx context.Context, s *state, master string) {
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	if s.unrouted = r.heldUp(s); s.unrouted == nil {
		s.unrouted = s.lockRoutes(ctx, master, false)
	}
	if s.unrouted == nil && len(s.world.deafProxies) == 0 && !r.heldLately(s) {
		s.group.Status.Requests = ""
		r.heldAt.Delete(s.group.UID)
	}
}

// lockRoutes locks or unlocks the routes to a master, other than those of slots that are
// being moved.
func (s *state) lockRoutes(ctx context.Context, master string, locked bool) error {
	gid := int(s.group.Spec.ID)
	return s.tellRouters(func(proxy codis.Proxy) error {
		return s.correct(ctx, proxy, func(route codis.Route) (codis.Route, bool) {
			changes := route.Group == gid && route.Master == master && route.FromGroup == 0 && route.Locked != locked
			route.Locked = locked
			return route, changes
		})
	})
}

// releaseRequests lets the requests go on to the master that does not answer, where they
// were held and it is no longer known when somebody else takes its place: it may well
// answer those who wait. Nobody else may have become master meanwhile.
func (r *Reconciler) releaseRequests(ctx context.Context, s *state) {
	if s.world.holding && !s.world.behind && !s.promotesOn() && s.world.nobodyTookOver() {
		r.letGo(ctx, s, s.world.order[0])
	}
}

// promotesOn tells whether a promotion that was left half-done went so far that the
// dashboard has the proxies hold requests for it. One that did not get that far, since a
// proxy did not answer, leaves them to go on.
func (s *state) promotesOn() bool {
	known := s.known()
	return s.halfDone && (known == nil || known.Promoting.State != "preparing")
}

// nobodyTookOver tells whether the master that does not answer is the last one, and the
// one that is recorded as its heir is a replica still, and the same process. An operator
// that has just begun to ask knows that within a moment: until then they stay held, since
// what goes to a lost node now waits there for longer.
func (w *world) nobodyTookOver() bool {
	old, heir := w.byAddr(w.order[0]), w.byName(w.promoted)
	return old != nil && old.name == w.lastMaster && !old.redis.Reachable && w.masters() == 0 &&
		(old.silent >= w.window || old.ip == "") &&
		heir != nil && heir.redis.Role == redis.RoleReplica && heir.redis.RunID == w.promotedRunID
}

// heldLately tells whether requests were held so short a time ago that a proxy which is
// starved may still do so after it was told to let them go on: by this operator, or by
// the one before, which may have ended in that moment.
func (r *Reconciler) heldLately(s *state) bool {
	last, _ := r.heldAt.Load(s.group.UID)
	at, ok := last.(time.Time)
	return ok && r.Clock.Since(at) < lockLimit || s.world.watched < lockLimit
}

// straighten brings routes in line after a promotion that the dashboard did not know of,
// or after requests were held for one. While the dashboard cannot tell the proxies they are
// told again and again, since others may have sent them what it believes; then it tells
// them itself.
func (r *Reconciler) straighten(ctx context.Context, s *state) {
	master := s.decision.master
	switch {
	case s.stats == nil && !s.world.behind:
		r.letGoBlindly(ctx, s)
		return
	case s.cutOff(), len(s.world.order) > 0 && s.world.order[0] != master.addr, s.halfDone:
		s.unrouted = r.route(ctx, s, *master)
		return
	}
	// A dashboard that knows no server of the group is told by registration.
	told := len(s.world.order) == 0 || s.try("resync the group", s.api.ResyncGroup(ctx, int(s.group.Spec.ID)))
	if told && !r.heldLately(s) {
		s.group.Status.Dashboard, s.group.Status.Requests = "", ""
		r.heldAt.Delete(s.group.UID)
	}
}

// letGoBlindly lets the requests go on that were held for a failover which did not come,
// while the dashboard cannot be asked. Where it made the heir master, the proxies may hold
// requests for that one.
func (r *Reconciler) letGoBlindly(ctx context.Context, s *state) {
	heir := s.world.byName(s.world.promoted)
	if heir == nil || heir == s.decision.master || !s.world.meant(*heir) {
		r.letGo(ctx, s, s.decision.master.addr)
	}
}

// routedTo is the member that takes writes because proxies were told so while the
// dashboard was behind; nil if there is none, or not one.
func (w *world) routedTo() *member {
	told := w.toldOf()
	if told == nil || w.mayHaveTakenOver(told) {
		return nil
	}
	return told
}

// toldOf is the only member that takes writes as the operator meant it to, while the
// dashboard was behind; nil if there is none, or not one. Somebody may have taken over.
func (w *world) toldOf() *member {
	if !w.behind {
		return nil
	}
	takenBack := w.mayBeTakenBack()
	chosen := w.where(func(m member) bool {
		return w.meant(m) && (!takenBack || m.redis.RunID == w.masterRunID)
	})
	if len(chosen) == 2 && w.promotedRunID != "" { // The promotion is newer than the record of the last master.
		chosen = w.where(func(m member) bool { return m.redis.IsMaster() && m.redis.RunID == w.promotedRunID })
	}
	if len(chosen) != 1 {
		return nil
	}
	return chosen[0]
}

// mayBeTakenBack tells whether the recorded promotion is a switchover that the dashboard
// did not carry out, as far as it can be asked.
func (w *world) mayBeTakenBack() bool {
	dashboards := w.byAddr(w.order[0])
	return w.switching && (w.blind || dashboards == nil || dashboards.name != w.promoted)
}

// mayHaveTakenOver tells whether another member than the named one was recorded as the
// next master and cannot be asked whether it is: what it took since must not be passed over.
func (w *world) mayHaveTakenOver(except *member) bool {
	to := w.byName(w.promoted)
	return w.promotedRunID != "" && !w.mayBeTakenBack() &&
		to != nil && to.name != except.name && to.ip != "" && !to.dead && !to.redis.Reachable
}

// overtaken tells whether what the dashboard calls master is an older one than the one that
// proxies were told of, though it takes writes and somebody else may have taken over by now.
func (w *world) overtaken(current *member) bool {
	told := w.toldOf()
	return told != nil && told.addr != current.addr && w.mayHaveTakenOver(told)
}

// oldOf is who took writes before the candidate of a promotion: the dashboard's master or,
// where that one was passed over, the last one, if it cannot be asked; nil for the
// candidate itself.
func (w world) oldOf(candidate *member) *member {
	old := w.byAddr(w.order[0])
	if last := w.byName(w.lastMaster); w.behind && last != nil && !last.known() {
		old = last
	}
	if old == candidate {
		return nil
	}
	return old
}

// promoted takes down that a member takes writes and that the dashboard and the
// proxies know. The next pass looks whether it is so.
func (s *state) promoted(m *member) {
	m.redis.Role, m.redis.MasterAddr, m.redis.LinkUp = redis.RoleMaster, "", false
	s.decision = decision{verb: keep, master: m}
}
