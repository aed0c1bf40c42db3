// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// intend records who is about to become master, before it does: whoever finds
// it takes writes later knows that it was meant to. The write fails when the
// status changed since it was read, by another operator or by a pass that this
// one's cache has not seen. A switchover is recorded anew each time: its age tells
// whether locks may still be on their way.
func (r *Reconciler) intend(ctx context.Context, s *state, m member, from string, cause v1alpha1.FailoverCause) error {
	p := s.group.Status.Promotion
	locks := cause == v1alpha1.CauseSwitchover
	left := p != nil && p.Cause == v1alpha1.CauseSwitchover
	if p != nil && isFor(p, m, cause) && !left && !locks {
		return nil
	}
	if left && !locks && !s.world.behind { // Otherwise the routes are told directly, which unlocks.
		// Its slots may be locked, and what is recorded now no longer says so. A
		// failover unlocks them itself, with the new route.
		var err error = s.problem
		if s.stats != nil {
			err = s.api.ResyncGroup(ctx, int(s.group.Spec.ID))
		}
		if err != nil && (cause == "" || cause == v1alpha1.CauseMasterSilent) {
			return fmt.Errorf("unlock the slots of a switchover that stopped midway: %w", err)
		}
	}
	return r.remember(ctx, s, &v1alpha1.Promotion{
		Member: m.name, RunID: m.redis.RunID, From: from, Cause: cause, StartTime: metav1.NewMicroTime(r.Clock.Now()),
	})
}

// remember writes what promotion is under way, nil for none, and nothing else.
// The pass knows of it only when it is stored.
func (r *Reconciler) remember(ctx context.Context, s *state, promotion *v1alpha1.Promotion) error {
	err := r.record(ctx, s, func(status *v1alpha1.CodisGroupStatus) { status.Promotion = promotion })
	if err != nil {
		return fmt.Errorf("record the promotion: %w", err)
	}
	return nil
}

// record writes a part of the status at once, and fails when the status changed
// since it was read. The pass knows of it only when it is stored.
func (r *Reconciler) record(ctx context.Context, s *state, change func(*v1alpha1.CodisGroupStatus)) error {
	if s.decision.verb == keep { // It may take long until the pass ends.
		then := change
		change = func(status *v1alpha1.CodisGroupStatus) { status.InSync = s.inSyncNow(); then(status) }
	}
	stored := s.before.DeepCopy()
	change(&stored.Status)
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, stored, patch); err != nil {
		return err
	}
	s.before = stored
	s.group.ResourceVersion = stored.ResourceVersion
	change(&s.group.Status)
	return nil
}

// handOverLeft returns the candidate of a promotion that has not begun to change
// anything, while the old master lives; nil if there is none. Codis lets the
// proxies go on with the old master then, so that it has writes that the candidate
// may lack: the promotion is finished as a switchover.
func (s *state) handOverLeft(known *codis.Group) *member {
	if known.Promoting.State != "preparing" || known.Promoting.Index >= len(known.Servers) {
		return nil
	}
	old := s.world.byAddr(known.Servers[0].Addr)
	if told := s.world.toldOf(); old == nil || told != nil && told != old {
		return nil // The proxies went on to that one while the dashboard could not be asked.
	}
	return s.handOverFrom(old, known)
}

// handOverTaken returns the candidate of a promotion while a third member is master:
// the proxies were told so when the dashboard could not be asked. Nothing but that
// promotion can be done to the group, and the candidate lacks what the master took.
func (s *state) handOverTaken(known *codis.Group) *member {
	if known.Promoting.Index >= len(known.Servers) {
		return nil
	}
	master := s.world.toldOf()
	if to := s.world.byName(s.world.promoted); to != nil && to.addr == known.Servers[known.Promoting.Index].Addr {
		master = s.world.routedTo() // The candidate itself may have taken over.
	}
	return s.handOverFrom(master, known)
}

// handOverFrom decides that a master stays until the candidate of a promotion has
// all of its writes, and returns the candidate; nil if that cannot be.
func (s *state) handOverFrom(master *member, known *codis.Group) *member {
	to := s.world.byAddr(known.Servers[known.Promoting.Index].Addr)
	if master == nil || to == nil || to == master || !master.redis.IsMaster() || !s.world.trusted(*master) ||
		s.world.tookOver() != nil || to.name == s.world.accepted {
		return nil
	}
	s.halfDone = true
	s.decision = decision{verb: keep, master: master}
	return to
}

// finishHandOver brings the candidate in sync and then switches over to it. Codis
// moves no slot from or to a group that it promotes: to wait for those would be to
// wait for ever, and none of them goes on before the promotion is finished.
func (r *Reconciler) finishHandOver(ctx context.Context, s *state, to *member) (time.Duration, error) {
	held := handOverHeld(s.world, s.decision.master, to)
	if held == "" {
		return r.switchOver(ctx, s, to)
	}
	s.switchHeld = fmt.Sprintf("a promotion of %s was left half-done and waits: %s", to.name, held)
	if err := r.letGoOn(ctx, s); err != nil {
		return 0, err
	}
	return r.settle(ctx, s)
}

func (r *Reconciler) finishPromotion(ctx context.Context, s *state, known *codis.Group) (time.Duration, error) {
	chosen := s.decision
	s.decision = decision{
		verb: wait, reason: v1alpha1.ReasonProgressing,
		message: "finishing a promotion that was left half-done",
	}
	if known.Promoting.Index >= len(known.Servers) {
		return reconcile.Later, nil
	}
	held := finishHeld(s.world, known.Servers[known.Promoting.Index].Addr)
	if held == "" && known.Promoting.State == "preparing" {
		held = s.world.switchedBack()
	}
	if held != "" && known.Promoting.State != "finished" { // What is finished only lacks its routes.
		return r.goAround(ctx, s, known, chosen, held)
	}
	if instead := s.world.mayServe(known); instead != nil {
		s.decision = *instead
		return reconcile.Closely, r.letGoOn(ctx, s)
	}
	candidate := s.world.byAddr(known.Servers[known.Promoting.Index].Addr)
	if candidate != nil && s.world.mayAnswerYet(*candidate) && r.awaits(s) {
		return reconcile.Closely, nil // Nobody would know later that it was meant to take writes.
	}
	// Who is held and empty has its routes, and is not vouched for: nobody copies it then.
	meant := candidate != nil && candidate.known() && (held == "" || candidate.redis.HasData())
	if meant {
		if err := r.intend(ctx, s, *candidate, s.group.Status.Master, v1alpha1.CauseFoundMaster); err != nil {
			return 0, err
		}
	}
	return r.promoteAgain(ctx, s, known, meant)
}

// promoteAgain calls a promotion that was left half-done again. Where its candidate is
// meant to be master, as is recorded, the dashboard is not behind any more: it has told
// every proxy itself.
func (r *Reconciler) promoteAgain(
	ctx context.Context, s *state, known *codis.Group, meant bool,
) (time.Duration, error) {
	ctx, done := uninterrupted(ctx)
	defer done()
	if !s.holdMoves(ctx) {
		return reconcile.Closely, nil
	}
	if err := r.heldUp(s); err != nil {
		return reconcile.Closely, err
	}
	if !s.try("finish the promotion", s.api.Promote(ctx, known.ID, known.Servers[known.Promoting.Index].Addr)) {
		return reconcile.Later, nil
	}
	r.awaited.Delete(s.group.UID)
	if meant && !r.heldLately(s) {
		s.group.Status.Dashboard = ""
	}
	return reconcile.Soon, nil
}

// goAround makes another member master than the one whose promotion was left half-done
// and must not be finished: the dashboard does nothing else with the group, but need not
// be asked. Once the candidate is in sync with that master it is switched over to.
func (r *Reconciler) goAround(
	ctx context.Context, s *state, known *codis.Group, chosen decision, held string,
) (time.Duration, error) {
	s.halfDone, s.world.refusing = true, true
	if chosen.verb == promote {
		chosen = decideMaster(s.world)
	}
	candidate := known.Servers[known.Promoting.Index].Addr
	switch {
	case chosen.verb == lift && known.Promoting.State == "preparing" && chosen.master.addr != candidate:
		s.decision = chosen
		return r.lift(ctx, s)
	case chosen.verb == promote && chosen.master.addr != candidate:
		s.decision = chosen
		return r.promoteDirectly(ctx, s, chosen.master)
	}
	s.decision.verb, s.decision.reason, s.decision.message = hold, v1alpha1.ReasonPromotionHeld, held
	r.releaseRequests(ctx, s)
	return reconcile.Later, nil
}

// finishHeld says why a promotion that was left half-done must not be finished:
// its candidate was restarted meanwhile and may have lost its data. It is pure.
func finishHeld(w world, addr string) string {
	candidate := w.byAddr(addr)
	switch {
	case candidate == nil || candidate.name == w.accepted:
		return ""
	case candidate.redis.Syncing:
		return fmt.Sprintf("a promotion of %s was left half-done and it is copying the data", candidate.name)
	case !candidate.known():
		return fmt.Sprintf("a promotion of %s was left half-done and it cannot be asked (%s): bring it back",
			candidate.name, problem(*candidate))
	case !candidate.redis.HasData() && w.anyData():
		return fmt.Sprintf("a promotion of %s was left half-done and it lost its data since: "+
			"annotate the group with %s=%s to go on without the data of the others",
			candidate.name, v1alpha1.AnnotationAcceptDataLoss, candidate.name)
	}
	if newer := w.newer(candidate); newer != nil {
		return fmt.Sprintf("a promotion of %s was left half-done and %s has newer data: "+
			"annotate the group with %s=%s to go on without it",
			candidate.name, newer.name, v1alpha1.AnnotationAcceptDataLoss, candidate.name)
	}
	unknown := w.firstUnknown(candidate)
	if !candidate.redis.HasData() && !w.inSync[candidate.name] && unknown != nil {
		return fmt.Sprintf("a promotion of %s was left half-done, it has no data, and %s, which may have some, "+
			"cannot be asked (%s): bring it back", candidate.name, unknown.name, problem(*unknown))
	}
	return w.notVouchedFor(candidate)
}

// newer returns a member that has what the candidate of a promotion lacks: one that
// was in sync with the last master, where the candidate was not; or that master
// itself, unless it is the one that is being replaced; or who was to be promoted
// when that master had gone on without the candidate.
func (w world) newer(candidate *member) *member {
	if candidate.redis.IsMaster() && candidate.redis.RunID == w.promotedRunID {
		return nil
	}
	other := w.where(func(m member) bool {
		replaced := !candidate.redis.IsMaster() && len(w.order) > 0 && m.addr == w.order[0]
		return m.redis.IsMaster() && m.redis.RunID == w.masterRunID && m.name != candidate.name && !replaced
	})
	if len(other) == 0 && candidate.redis.IsMaster() && !w.meant(*candidate) {
		other = w.where(func(m member) bool {
			return m.redis.RunID == w.promotedRunID && w.inSync[m.name] && m.hasWholeData()
		})
	}
	if len(other) > 0 || w.inSync[candidate.name] || candidate.redis.IsMaster() {
		return first(other)
	}
	return first(w.where(func(m member) bool { return w.inSync[m.name] && m.hasWholeData() }))
}

// lift ends the replication of a member that the dashboard calls master, or
// that is the first master of its group.
func (r *Reconciler) lift(ctx context.Context, s *state) (time.Duration, error) {
	m := s.decision.master
	if m.redis.IsMaster() {
		s.decision.verb = keep
		return r.settle(ctx, s)
	}
	if err := r.intend(ctx, s, *m, "", ""); err != nil {
		return 0, err
	}
	if err := r.makeMaster(ctx, s, *m); err != nil {
		s.decision = decision{
			verb: wait, reason: v1alpha1.ReasonProgressing,
			message: fmt.Sprintf("%s does not become master yet", m.name),
		}
		return reconcile.Soon, redis.Unexpected(err)
	}
	r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonPromoted, "Lift",
		"%s takes writes again with %d keys: it is the master and no member has newer data", m.name, m.redis.Keys)
	m.redis.Role, m.redis.MasterAddr = redis.RoleMaster, ""
	s.decision.verb = keep
	if _, err := r.settle(ctx, s); err != nil {
		return 0, err
	}
	return reconcile.Soon, nil
}

func (r *Reconciler) promote(ctx context.Context, s *state, m *member) (time.Duration, error) {
	from, cause := s.masterBefore(), s.decision.cause
	told := s.world.routedTo() == m
	if told {
		from, cause = "", "" // It was recorded when the proxies were told.
	}
	if err := r.intend(ctx, s, *m, from, cause); err != nil {
		return 0, err
	}
	ctx, done := uninterrupted(ctx)
	defer done()
	if !s.holdMoves(ctx) {
		return r.bypass(ctx, s)
	}
	if err := r.takeOff(ctx, s, *m); err != nil {
		return reconcile.Soon, redis.Unexpected(err)
	}
	gid := int(s.group.Spec.ID)
	if !slices.Contains(s.world.order, m.addr) && !s.try("add "+m.addr, s.api.AddServer(ctx, gid, m.addr)) {
		return reconcile.Soon, nil
	}
	if stale, err := r.demote(ctx, s, *m); stale || err != nil {
		return reconcile.Closely, redis.Unexpected(err)
	}
	tell := func() error { return s.api.Promote(ctx, gid, m.addr) }
	if s.world.order[0] == m.addr { // It calls that member the master still: it was not told of the last one.
		tell = func() error { return s.api.ResyncGroup(ctx, gid) }
	}
	if err := r.heldUp(s); err != nil {
		return reconcile.Closely, err
	}
	if !s.try("promote "+m.name, tell()) {
		return reconcile.Soon, nil
	}
	if told {
		r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonPromoted, "Promote",
			"the dashboard knows that %s is master", m.name)
	} else {
		r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonPromoted, "Promote",
			"%s is master instead of %s, with %d keys: %s", m.name, from, m.redis.Keys, s.group.Status.Promotion.Cause)
	}
	s.promoted(m)
	return reconcile.Soon, nil
}

// demote fences a master that came back after the proxies were told that another one
// is, before the dashboard is told: where a proxy does not hear of a promotion, the
// dashboard sends all of them back to the old master, which must not take writes then.
// That one may be a newer master by now, of which a stale pass does not know.
func (r *Reconciler) demote(ctx context.Context, s *state, master member) (stale bool, err error) {
	old := s.world.byAddr(s.world.order[0])
	if !s.world.behind || old == nil || old.addr == master.addr || !old.redis.IsMaster() {
		return false, nil
	}
	if stale, err := r.behindOthers(ctx, s, *old); stale || err != nil {
		return stale, err
	}
	if err := r.follow(ctx, s, *old, redis.FenceAddr); err != nil {
		return false, fmt.Errorf("fence %s: %w", old.name, err)
	}
	old.redis.Role, old.redis.MasterAddr = redis.RoleReplica, redis.FenceAddr
	return false, nil
}

// holdMoves has the dashboard pause the moves of slots, and tells whether none runs:
// it would refuse the promotion. Who reconciles the dashboard lets them go on.
func (s *state) holdMoves(ctx context.Context) bool {
	idle, err := s.api.HoldMoves(ctx, s.stats)
	return s.try("pause the moves of slots", err) && idle
}

// takeOff makes a member master before the dashboard promotes it. The dashboard
// would make a master of whatever process has the address by then; this way it is
// the one that was compared, or nobody. Where the old master may live, the
// dashboard has to lock the slots first: until then the old one acknowledges
// writes that the new one would lack. The member is only compared then.
func (r *Reconciler) takeOff(ctx context.Context, s *state, m member) error {
	if s.group.Status.Promotion.Cause != v1alpha1.CauseMasterSilent {
		return r.makeMaster(ctx, s, m)
	}
	if err := r.stillThere(ctx, s, m); err != nil {
		return err
	}
	now := s.servers.Observe(ctx, redisAddr(m))
	if now.RunID != m.redis.RunID || now.Role != m.redis.Role || now.MasterAddr != m.redis.MasterAddr {
		return redis.ErrRestarted
	}
	return nil
}

// uninterrupted is for acts that must not stop midway because the operator is
// asked to end: clients wait for them.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
