// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
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
// Invariants: while the dashboard cannot be asked, its last order stands, which says
// who the proxies write to; each command reaches only the process that was observed
// (run id and command on one connection). After a crash behind any line the next
// pass observes again and goes on; each call is safe to repeat.
func (r *Reconciler) assignRoles(ctx context.Context, s *state) (time.Duration, error) {
	if s.servers == nil || s.invalid.Present() || s.stats == nil && !s.recallOrder() {
		return reconcile.Later, nil
	}
	known := s.known()
	promoting := known != nil && known.Promoting.State != ""
	if promoting {
		if to := s.handOverLeft(known); to != nil {
			return r.finishHandOver(ctx, s, to)
		}
	}
	s.decision = decideMaster(s.world)
	if promoting || s.decision.verb != keep || s.world.behind || s.world.holding {
		if err := r.observeProxies(ctx, s); err != nil {
			return 0, err
		}
		s.decision = decideMaster(s.world)
	}
	if promoting && !s.cutOff() {
		if to := s.handOverTaken(known); to != nil {
			return r.finishHandOver(ctx, s, to)
		}
		return r.finishPromotion(ctx, s, known)
	}
	s.halfDone = promoting
	return r.carryOut(ctx, s)
}

// carryOut does what was decided about the master.
func (r *Reconciler) carryOut(ctx context.Context, s *state) (time.Duration, error) {
	if unseen, err := r.unseenSentinels(ctx, s); unseen || err != nil {
		return reconcile.Soon, err
	}
	switch s.decision.verb {
	case lift:
		return r.lift(ctx, s)
	case promote:
		if s.cutOff() {
			return r.promoteDirectly(ctx, s, s.decision.master)
		}
		return r.promote(ctx, s, s.decision.master)
	case keep:
		return r.settle(ctx, s)
	case fence:
		return r.fence(ctx, s)
	case wait:
		return r.wait(ctx, s)
	case hold:
		return reconcile.Later, nil
	}
	return 0, nil
}

// wait says how soon to look again. Clients wait with a master that does not answer.
func (r *Reconciler) wait(ctx context.Context, s *state) (time.Duration, error) {
	switch {
	case s.decision.locks:
		return reconcile.Closely, r.holdRequests(ctx, s)
	case s.decision.reason == v1alpha1.ReasonMasterUnreachable:
		r.releaseRequests(ctx, s)
		return reconcile.Closely, nil
	}
	return reconcile.Soon, nil
}

// fence deletes the pod of a silent master with the shortest grace that lets
// the API server wait for kubelet: the object goes when the process has ended.
// The promotion is recorded first, with the cause that is known only now, unless one of
// another member is: that one may have taken over, and is asked for before anybody else
// is promoted (routed).
func (r *Reconciler) fence(ctx context.Context, s *state) (time.Duration, error) {
	m, heir := s.decision.master, s.decision.heir
	if p := s.group.Status.Promotion; p == nil || p.Member == heir.name {
		if err := r.intend(ctx, s, *heir, m.name, v1alpha1.CauseMasterSilent); err != nil {
			return 0, err
		}
	}
	if err := r.heldUp(s); err != nil {
		return reconcile.Closely, err
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
	s.world.recall(&s.group.Status, r.Clock.Now())
	if next := routed(failover{world: s.world, master: m, candidate: heir}); next != nil && next.locks {
		return reconcile.Closely, r.holdRequests(ctx, s) // The next pass may be too late.
	}
	return reconcile.Closely, nil
}

// settle points the other members at the master and clears what a person
// accepted once it is so.
func (r *Reconciler) settle(ctx context.Context, s *state) (time.Duration, error) {
	master := s.decision.master
	if s.interrupted() {
		return reconcile.Later, r.undoSwitchover(ctx, s)
	}
	if s.world.behind || s.world.holding {
		r.straighten(ctx, s)
	}
	follows, held := decideFollowers(s.world, *master)
	follows = s.world.readdress(follows, held, *master, s.masterAddr(*master))
	s.held = held
	if s.unheard() && !s.try("resync the group", s.api.ResyncGroup(ctx, int(s.group.Spec.ID))) {
		s.group.Status.Dashboard = v1alpha1.DashboardBehind // Then it is tried until it succeeds.
	}
	if err := r.observeKeySlots(ctx, s, *master); err != nil {
		return reconcile.Later, err
	}
	for _, m := range follows {
		if stale, err := r.behindOthers(ctx, s, m); stale || err != nil {
			return reconcile.Soon, err
		}
		if err := r.follow(ctx, s, m, s.masterAddr(*master)); err != nil {
			return reconcile.Soon, redis.Unexpected(fmt.Errorf("point %s at %s: %w", m.name, master.name, err))
		}
	}
	if err := r.guardWrites(ctx, s, s.guardsWrites("")); err != nil {
		return reconcile.Soon, redis.Unexpected(fmt.Errorf("guard writes: %w", err))
	}
	if s.needed(len(follows)) {
		return reconcile.Soon, r.clearAnnotation(ctx, s, v1alpha1.AnnotationAcceptDataLoss)
	}
	if s.needless(len(follows)) {
		r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonPromoted, "Ignore",
			"%s is master and nothing is held: the annotation %s=%s is removed unused",
			master.name, v1alpha1.AnnotationAcceptDataLoss, s.world.accepted)
		return reconcile.Soon, r.clearAnnotation(ctx, s, v1alpha1.AnnotationAcceptDataLoss)
	}
	return r.goOnSettled(ctx, s)
}

// goOnSettled does what is asked of a group whose members are in their roles, and
// says how soon to look again.
func (r *Reconciler) goOnSettled(ctx context.Context, s *state) (time.Duration, error) {
	if s.cutOff() || s.world.behind || s.world.holding {
		return reconcile.Later, nil
	}
	if !s.halfDone && s.group.DeletionTimestamp == nil {
		if after, err := r.requested(ctx, s); after != 0 || err != nil {
			return after, err
		}
	}
	if !r.inSync(s) {
		return reconcile.Soon, nil
	}
	return reconcile.Steady, nil
}

// needed tells whether the loss that a person accepted has come to pass.
func (s *state) needed(follows int) bool {
	master := s.decision.master
	return follows == 0 && s.held == "" && s.world.accepted == master.name && s.world.allFollow(*master)
}

// needless tells whether a person accepted a loss that is no longer to be had: a
// member that cannot be asked was named, and the group is whole without it. Left
// alone, the annotation would make that member master whenever it comes back.
func (s *state) needless(follows int) bool {
	master := s.decision.master
	if chosen := s.world.byName(s.world.accepted); chosen != nil && chosen.redis.Loading {
		return false // It is about to answer.
	}
	return s.world.accepted != "" && s.world.accepted != master.name && follows == 0 && s.held == "" &&
		master.redis.HasData() && s.world.allFollow(*master)
}

// observeKeySlots finds out of which slots the group holds keys while slots of
// the product have no owner: the dashboard may have lost its store.
func (r *Reconciler) observeKeySlots(ctx context.Context, s *state, master member) error {
	s.group.Status.KeySlots = ""
	if s.stats == nil || s.stats.Offline() == 0 || !master.redis.HasData() {
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

// passLimit is how long a pass may go on acting on what it observed. Another operator
// takes over no sooner than 2 s after this one was held up, for the lease lasts 6 s and
// who could not renew it for 4 s has ended: then it finds here that it has to look again.
const passLimit = 2 * time.Second

// errHeldUp tells that a pass went on for too long.
var errHeldUp = errors.New("the operator was held up and looks again")

// heldUp is asked after the last answer before each act that another operator, which
// took over meanwhile, may have made wrong.
func (r *Reconciler) heldUp(s *state) error {
	if r.Clock.Since(s.looked) > passLimit {
		return errHeldUp
	}
	return nil
}

// stillThere asks past the cache whether the address still belongs to the pod:
// that of a pod that is gone may belong to another member of another group.
func (r *Reconciler) stillThere(ctx context.Context, s *state, m member) error {
	pod := &corev1.Pod{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: s.group.Namespace, Name: m.name}, pod)
	if late := r.heldUp(s); late != nil {
		return late
	}
	if err == nil && pod.UID == m.uid && pod.Status.PodIP == m.ip {
		return nil
	}
	if err == nil || apierrors.IsNotFound(err) {
		return redis.ErrRestarted
	}
	return fmt.Errorf("get pod %s: %w", m.name, err)
}

// behindOthers tells whether a second master must be left alone since the group was
// changed and this pass does not know: it may have been made master for good.
func (r *Reconciler) behindOthers(ctx context.Context, s *state, m member) (bool, error) {
	if !m.redis.IsMaster() {
		return false, nil
	}
	now := &v1alpha1.CodisGroup{}
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(s.group), now); err != nil {
		return false, fmt.Errorf("get the group past the cache: %w", err)
	}
	return now.ResourceVersion != s.group.ResourceVersion, nil
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
