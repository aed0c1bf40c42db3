// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// assignRoles makes the group have one master that the others follow.
//
// Phases, at most one of the first three in a pass:
//  1. A promotion that was left half-done is called again: until then the
//     proxies hold every request of the group's slots.
//  2. The chosen member is lifted, or promoted through the dashboard, which
//     also tells the proxies.
//  3. Other members are pointed at the master, one at a time where data is copied.
//
// Invariants: nothing is done while the dashboard cannot be asked, since its
// order says who the proxies write to; each command reaches only the process
// that was observed (run id and command on one connection). After a crash
// behind any line the next pass observes again and goes on; each call is safe
// to repeat.
func (r *Reconciler) assignRoles(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil || s.servers == nil || s.invalid.Present() {
		return reconcile.Later, nil
	}
	if known := s.known(); known != nil && known.Promoting.State != "" {
		if to := s.handOverLeft(known); to != nil {
			return r.finishHandOver(ctx, s, to)
		}
		return r.finishPromotion(ctx, s, known)
	}
	s.decision = decideMaster(s.world)
	switch s.decision.verb {
	case lift:
		return r.lift(ctx, s)
	case promote:
		return r.promote(ctx, s, s.decision.master)
	case keep:
		return r.settle(ctx, s)
	case fence:
		return r.fence(ctx, s)
	case wait:
		if s.decision.reason == v1alpha1.ReasonMasterUnreachable {
			return reconcile.Closely, nil
		}
		return reconcile.Soon, nil
	case hold:
		return reconcile.Later, nil
	}
	return 0, nil
}

// fence deletes the pod of a silent master with the shortest grace that lets
// the API server wait for kubelet: the object goes when the process has ended.
// The promotion is recorded first, with the cause that is known only now.
func (r *Reconciler) fence(ctx context.Context, s *state) (time.Duration, error) {
	m := s.decision.master
	if err := r.intend(ctx, s, *s.decision.heir, m.name, v1alpha1.CauseMasterSilent); err != nil {
		return 0, err
	}
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = s.group.Namespace, m.name
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &m.uid}, client.GracePeriodSeconds(1))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return reconcile.Soon, nil // It is gone, or another one has its name.
	}
	if err != nil {
		return 0, fmt.Errorf("fence %s: %w", m.name, err)
	}
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonMasterFenced, "Fence",
		"Deleted pod %s: it is master and answers neither the operator nor its replicas", m.name)
	return reconcile.Closely, nil
}

// intend records who is about to become master, before it does: whoever finds
// it takes writes later knows that it was meant to. The write fails when the
// status changed since it was read, by another operator or by a pass that this
// one's cache has not seen.
func (r *Reconciler) intend(ctx context.Context, s *state, m member, from string, cause v1alpha1.FailoverCause) error {
	p := s.group.Status.Promotion
	locks := cause == v1alpha1.CauseSwitchover
	if p != nil && p.Member == m.name && p.RunID == m.redis.RunID && (!locks || p.Cause == cause) {
		return nil
	}
	if p != nil && p.Cause == v1alpha1.CauseSwitchover && !locks {
		// Its slots may be locked, and what is recorded now no longer says so. A
		// failover unlocks them itself, with the new route.
		err := s.api.ResyncGroup(ctx, int(s.group.Spec.ID))
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
	stored := s.before.DeepCopy()
	stored.Status.Promotion = promotion
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, stored, patch); err != nil {
		return fmt.Errorf("record the promotion: %w", err)
	}
	s.before = stored
	s.group.ResourceVersion, s.group.Status.Promotion = stored.ResourceVersion, promotion
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
	master, to := s.world.byAddr(known.Servers[0].Addr), s.world.byAddr(known.Servers[known.Promoting.Index].Addr)
	if master == nil || to == nil || to == master || !master.redis.IsMaster() || to.name == s.world.accepted {
		return nil
	}
	s.halfDone = true
	s.decision = decision{verb: keep, master: master}
	return to
}

// finishHandOver brings the candidate in sync and then switches over to it.
func (r *Reconciler) finishHandOver(ctx context.Context, s *state, to *member) (time.Duration, error) {
	held := switchoverHeld(s.world, s.stats, int(s.group.Spec.ID), s.decision.master, to)
	if held == "" {
		return r.switchOver(ctx, s, to)
	}
	s.switchHeld = fmt.Sprintf("a promotion of %s was left half-done and waits: %s", to.name, held)
	return r.settle(ctx, s)
}

func (r *Reconciler) finishPromotion(ctx context.Context, s *state, known *codis.Group) (time.Duration, error) {
	s.decision = decision{
		verb: wait, reason: v1alpha1.ReasonProgressing,
		message: "finishing a promotion that was left half-done",
	}
	if known.Promoting.Index >= len(known.Servers) {
		return reconcile.Later, nil
	}
	held := finishHeld(s.world, known.Servers[known.Promoting.Index].Addr)
	if held != "" && known.Promoting.State != "finished" { // What is finished only lacks its routes.
		s.decision.verb, s.decision.reason, s.decision.message = hold, v1alpha1.ReasonPromotionHeld, held
		return reconcile.Later, nil
	}
	if candidate := s.world.byAddr(known.Servers[known.Promoting.Index].Addr); candidate != nil && candidate.known() {
		if err := r.intend(ctx, s, *candidate, s.group.Status.Master, v1alpha1.CauseFoundMaster); err != nil {
			return 0, err
		}
	}
	ctx, done := uninterrupted(ctx)
	defer done()
	if !s.try("finish the promotion", s.api.Promote(ctx, known.ID, known.Servers[known.Promoting.Index].Addr)) {
		return reconcile.Later, nil
	}
	return reconcile.Soon, nil
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
	unknown := w.firstUnknown(candidate)
	if !candidate.redis.HasData() && !w.inSync[candidate.name] && unknown != nil {
		return fmt.Sprintf("a promotion of %s was left half-done, it has no data, and %s, which may have some, "+
			"cannot be asked (%s): bring it back", candidate.name, unknown.name, problem(*unknown))
	}
	return ""
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
	from := s.world.order[0]
	if old := s.world.byAddr(from); old != nil {
		from = old.name
	}
	if err := r.intend(ctx, s, *m, from, s.decision.cause); err != nil {
		return 0, err
	}
	ctx, done := uninterrupted(ctx)
	defer done()
	if err := r.takeOff(ctx, s, *m); err != nil {
		return reconcile.Soon, redis.Unexpected(err)
	}
	if !s.try("promote "+m.name, s.api.Promote(ctx, int(s.group.Spec.ID), m.addr)) {
		return reconcile.Soon, nil
	}
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonPromoted, "Promote",
		"%s is master instead of %s, with %d keys: %s", m.name, from, m.redis.Keys, s.group.Status.Promotion.Cause)
	s.promoted(m)
	return reconcile.Soon, nil
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

// promoted takes down that a member takes writes and that the dashboard and the
// proxies know. The next pass looks whether it is so.
func (s *state) promoted(m *member) {
	m.redis.Role, m.redis.MasterAddr, m.redis.LinkUp = redis.RoleMaster, "", false
	s.decision = decision{verb: keep, master: m}
}

// settle points the other members at the master and clears what a person
// accepted once it is so.
func (r *Reconciler) settle(ctx context.Context, s *state) (time.Duration, error) {
	master := s.decision.master
	if s.interrupted() {
		return reconcile.Later, r.undoSwitchover(ctx, s)
	}
	follows, held := decideFollowers(s.world, *master)
	s.held = held
	if err := r.observeKeySlots(ctx, s, *master); err != nil {
		return reconcile.Later, err
	}
	for _, m := range follows {
		if err := r.follow(ctx, s, m, master.addr); err != nil {
			return reconcile.Soon, redis.Unexpected(fmt.Errorf("point %s at %s: %w", m.name, master.name, err))
		}
	}
	if len(follows) == 0 && held == "" && s.world.accepted == master.name && s.world.allFollow(*master) {
		return reconcile.Soon, r.clearAnnotation(ctx, s, v1alpha1.AnnotationAcceptDataLoss)
	}
	if s.needless(len(follows)) {
		r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonPromoted, "Ignore",
			"%s is master and nothing is held: the annotation %s=%s is removed unused",
			master.name, v1alpha1.AnnotationAcceptDataLoss, s.world.accepted)
		return reconcile.Soon, r.clearAnnotation(ctx, s, v1alpha1.AnnotationAcceptDataLoss)
	}
	if s.halfDone || s.group.DeletionTimestamp != nil {
		return reconcile.Soon, nil
	}
	if after, err := r.requested(ctx, s); after != 0 || err != nil {
		return after, err
	}
	if !r.inSync(s) {
		return reconcile.Soon, nil
	}
	return reconcile.Steady, nil
}

// needless tells whether a person accepted a loss that is no longer to be had: a
// member that cannot be asked was named, and the group is whole without it. Left
// alone, the annotation would make that member master whenever it comes back.
func (s *state) needless(follows int) bool {
	master := s.decision.master
	return s.world.accepted != "" && s.world.accepted != master.name && follows == 0 && s.held == "" &&
		master.redis.HasData() && s.world.allFollow(*master)
}

// observeKeySlots finds out of which slots the group holds keys while slots of
// the product have no owner: the dashboard may have lost its store.
func (r *Reconciler) observeKeySlots(ctx context.Context, s *state, master member) error {
	s.group.Status.KeySlots = ""
	if s.stats.Offline() == 0 || !master.redis.HasData() {
		return nil
	}
	slots, err := s.servers.SlotsWithKeys(ctx, redisAddr(master))
	if err != nil {
		s.group.Status.KeySlots = "unknown"
		return redis.Unexpected(err)
	}
	s.group.Status.KeySlots = layout.Format(slots)
	return nil
}

// makeMaster ends the replication of a member, if it is what was observed.
func (r *Reconciler) makeMaster(ctx context.Context, s *state, m member) error {
	if err := r.stillThere(ctx, s, m); err != nil {
		return err
	}
	return s.servers.MakeMaster(ctx, redisAddr(m), m.redis)
}

// follow points a member at a master, if it is what was observed.
func (r *Reconciler) follow(ctx context.Context, s *state, m member, master string) error {
	if err := r.stillThere(ctx, s, m); err != nil {
		return err
	}
	return s.servers.Follow(ctx, redisAddr(m), m.redis, master)
}

// stillThere asks past the cache whether the address still belongs to the pod:
// that of a pod that is gone may belong to another member of another group.
func (r *Reconciler) stillThere(ctx context.Context, s *state, m member) error {
	pod := &corev1.Pod{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: s.group.Namespace, Name: m.name}, pod)
	if err == nil && pod.UID == m.uid && pod.Status.PodIP == m.ip {
		return nil
	}
	if err == nil || apierrors.IsNotFound(err) {
		return redis.ErrRestarted
	}
	return fmt.Errorf("get pod %s: %w", m.name, err)
}

// allFollow tells whether every member that can be asked follows the master.
func (w world) allFollow(master member) bool {
	return len(w.where(func(m member) bool {
		return m.known() && m.addr != master.addr && !m.redis.Follows(master.addr)
	})) == 0
}

// inSync tells whether every wanted member follows the master with its link up.
func (r *Reconciler) inSync(s *state) bool {
	if s.decision.verb != keep {
		return false
	}
	return !slices.ContainsFunc(s.world.members, func(m member) bool {
		master := s.decision.master.addr
		return m.addr != master && (!m.redis.Follows(master) || !m.redis.LinkUp)
	})
}

// clearAnnotation removes what a person asked for once it is done.
func (r *Reconciler) clearAnnotation(ctx context.Context, s *state, name string) error {
	before := s.group.DeepCopy()
	after := before.DeepCopy()
	delete(after.Annotations, name)
	if err := r.Client.Patch(ctx, after, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("remove annotation: %w", err)
	}
	return nil
}

// register tells the dashboard about the members, once the group has a master
// that takes writes. Adding sends nothing to a server. At most one server is
// taken out in a pass.
func (r *Reconciler) register(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil || s.decision.verb != keep || s.invalid.Present() || s.halfDone {
		return 0, nil
	}
	s.registration = planRegistration(s.known(), r.wantedAddresses(s))
	plan := s.registration
	if !r.addServers(ctx, s, plan) {
		return reconcile.Soon, nil
	}
	gid := int(s.group.Spec.ID)
	if len(plan.remove) > 0 {
		addr := plan.remove[0]
		if !s.try("remove "+addr, s.api.RemoveServer(ctx, gid, addr)) {
			return reconcile.Later, nil
		}
		r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonServerRemoved, "Unregister", "Removed %s from group %d", addr, gid)
		return reconcile.Soon, nil
	}
	if plan.resync && !s.try("resync the group", s.api.ResyncGroup(ctx, gid)) {
		return reconcile.Later, nil
	}
	s.registration = registration{}
	if !plan.done() {
		return reconcile.Soon, nil
	}
	return 0, nil
}

// addServers makes the group and adds servers to it, the master first, and
// tells whether the dashboard took all.
func (r *Reconciler) addServers(ctx context.Context, s *state, plan registration) bool {
	gid := int(s.group.Spec.ID)
	if plan.create && !s.try("create the group", codis.IgnoreAlreadyExists(s.api.CreateGroup(ctx, gid))) {
		return false
	}
	for _, addr := range plan.add {
		if !s.try("add "+addr, s.api.AddServer(ctx, gid, addr)) {
			return false
		}
		r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonServerRegistered, "Register", "Added %s to group %d", addr, gid)
	}
	return true
}

// wantedAddresses are the addresses that the dashboard should know, the master
// first. A master that the spec no longer asks for stays until another is.
func (r *Reconciler) wantedAddresses(s *state) []string {
	master := s.decision.master
	wanted := []string{master.addr}
	for ordinal, m := range s.world.members {
		switch {
		case m.addr == master.addr && ordinal >= s.wanted():
			s.scaleHeld = fmt.Sprintf("%s is the master and cannot be removed: set replicas to %d or more", m.name, ordinal+1)
		case m.addr != master.addr && ordinal < s.wanted() && m.redis.Reachable:
			wanted = append(wanted, m.addr)
		case m.addr != master.addr && ordinal < s.wanted() && slices.Contains(s.world.order, m.addr):
			wanted = append(wanted, m.addr) // Unknown is not gone.
		}
	}
	return wanted
}

// try keeps what the dashboard answered to an act for the conditions, and tells
// whether the act succeeded. An error of the transport is kept too: the next
// pass finds out what became of the call.
func (s *state) try(what string, err error) bool {
	if err == nil {
		return true
	}
	s.refused = fmt.Errorf("%s: %w", what, err)
	return false
}

func (r *Reconciler) event(s *state, kind, reason, action, format string, args ...any) {
	r.Recorder.Eventf(s.group, nil, kind, reason, action, format, args...)
}
