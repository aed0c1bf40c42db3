// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// undoSwitchover records that the old master goes on, unlocks the slots of the group
// with the route to it, and forgets the intent once no lock can be on its way any more:
// a proxy that is starved may take the lock after the unlock, and another operator,
// which took over from this one, may be about to make the member master.
func (r *Reconciler) undoSwitchover(ctx context.Context, s *state) error {
	if err := r.heldUp(s); err != nil || !r.ended(s) {
		return err
	}
	if s.stats == nil {
		return r.endBlindly(ctx, s)
	}
	if err := r.takeBack(ctx, s); err != nil {
		return err
	}
	// A dashboard that carried it out would send them to the new one, and one that lost
	// its store knows no slot of the group.
	if len(s.world.order) == 0 || s.world.order[0] != s.decision.master.addr {
		if err := errors.Join(r.observeProxies(ctx, s), r.route(ctx, s, *s.decision.master)); err != nil {
			return err
		}
	} else if !s.try("resync the group", s.api.ResyncGroup(ctx, int(s.group.Spec.ID))) {
		return nil
	}
	if p := s.group.Status.Promotion; p == nil || r.ageOf(s, p) < lockLimit {
		return nil
	}
	return r.remember(ctx, s, nil)
}

// takeBack makes sure that the member that was to be switched to is not the master, though
// it may take writes, before the old one takes the next: it is recorded, and the member
// is fenced. Clients wait meanwhile: only where somebody else changed the group do they
// wait for the next pass, and not for an API server or a member that does not answer.
func (r *Reconciler) takeBack(ctx context.Context, s *state) error {
	p := s.group.Status.Promotion
	if p == nil {
		return nil
	}
	recorded, err := r.recordTakenBack(ctx, s, *p)
	if err != nil {
		return err
	}
	s.world.promotedRunID = ""
	to := s.world.byName(p.Member)
	if to == nil || to == s.decision.master || !to.redis.IsMaster() || to.redis.RunID != p.RunID {
		return nil
	}
	fence := r.follow
	if !recorded { // Nor could the API server be asked for its pod. The server compares its process all the same.
		fence = func(ctx context.Context, s *state, m member, master string) error {
			return s.servers.Follow(ctx, redisAddr(m), m.redis, master)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, takeBackTimeout)
	defer cancel()
	if s.try("fence "+to.name, fence(ctx, s, *to, redis.FenceAddr)) {
		to.redis.Role, to.redis.MasterAddr = redis.RoleReplica, redis.FenceAddr
	}
	return nil
}

// recordTakenBack records that a switchover is taken back, and tells whether that is
// stored. It fails only where somebody else changed the group.
func (r *Reconciler) recordTakenBack(ctx context.Context, s *state, p v1alpha1.Promotion) (stored bool, err error) {
	if p.Outcome == v1alpha1.PromotionTakenBack {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, takeBackTimeout)
	defer cancel()
	p.Outcome = v1alpha1.PromotionTakenBack
	if err = r.remember(ctx, s, &p); apierrors.IsConflict(err) {
		return false, err
	}
	return err == nil, nil
}

// ended tells whether nobody carries out the switchover any more that was recorded:
// this operator gave it up, or any other would have given it up by now.
func (r *Reconciler) ended(s *state) bool {
	p := s.group.Status.Promotion
	if p == nil || r.ageOf(s, p) >= lockLimit {
		return true
	}
	last, tried := r.givenUp.Load(s.group.UID)
	at, ok := last.(time.Time)
	return tried && ok && !at.Before(p.StartTime.Time)
}

// sighting is when an operator saw what began at a time.
type sighting struct{ began, seen time.Time }

// ageOf is how old a switchover is at least: by its record or, where the clock of whoever
// recorded it is ahead, by how long this operator has known it. Clients may wait.
func (r *Reconciler) ageOf(s *state, p *v1alpha1.Promotion) time.Duration {
	first := sighting{p.StartTime.Time, r.Clock.Now()}
	if last, known := r.switchovers.Load(s.group.UID); known {
		if last, ok := last.(sighting); ok && last.began.Equal(first.began) {
			first = last
		}
	}
	r.switchovers.Store(s.group.UID, first)
	return max(r.Clock.Since(first.began), r.Clock.Since(first.seen))
}

// endBlindly ends a switchover while the dashboard cannot be asked how far it came. The
// slots are unlocked as for a promotion that the dashboard does not know of.
func (r *Reconciler) endBlindly(ctx context.Context, s *state) error {
	if err := r.observeProxies(ctx, s); err != nil {
		return err
	}
	p, to := *s.group.Status.Promotion, s.world.byName(s.group.Status.Promotion.Member)
	end := s.world.switchoverEnd(p, to, s.seeRoutes(ctx))
	if end == endUnknown {
		s.switchHeld = s.world.wordUnended(p.Member, s.decision.master.name)
		return nil
	}
	if err := r.recordBehind(ctx, s); err != nil {
		return err
	}
	if end == endBack {
		if err := r.takeBack(ctx, s); err != nil {
			return err
		}
		return r.route(ctx, s, *s.decision.master)
	}
	p.Cause = v1alpha1.CauseFoundMaster
	if err := r.remember(ctx, s, &p); err != nil {
		return err
	}
	// A dashboard that is behind gives the old master to a proxy that is started again, such
	// as one that cannot be told. That master has taken no write since the lock.
	untold := r.route(ctx, s, *to)
	s.try("fence "+s.decision.master.name, r.follow(ctx, s, *s.decision.master, redis.FenceAddr))
	return untold
}

// switchoverEnd is what became of a switchover that stopped midway.
type switchoverEnd string

const (
	// endUnknown: who would know cannot be asked.
	endUnknown switchoverEnd = ""
	// endBack: the old master goes on.
	endBack switchoverEnd = "Back"
	// endForward: the new one took over, or may as well: it has everything.
	endForward switchoverEnd = "Forward"
)

// switchoverEnd tells what became of a switchover while the dashboard cannot be asked.
// The proxies know: if one of them has the new route, the new master took writes. If all
// of them hold the requests nobody took any since the lock, and the dashboard may have
// the name of the new one by now: that one goes on, if it can be asked. A proxy that
// cannot be asked may have the new route, and the old master must not go on beside it,
// unless a person accepts that. It is pure.
func (w world) switchoverEnd(p v1alpha1.Promotion, to *member, seen routesSeen) switchoverEnd {
	if to == nil || p.Outcome == v1alpha1.PromotionTakenBack || w.accepted != "" && w.accepted == p.From {
		return endBack
	}
	isMaster := to.redis.IsMaster() && to.redis.RunID == p.RunID
	another := to.dead || to.redis.Reachable && to.redis.RunID != p.RunID
	unknown := !to.dead && !to.redis.Reachable || another && w.persistent // It may have taken writes, and have them.
	switch {
	case !isMaster && !unknown:
		return endBack
	case seen.leadTo(to.addr):
		return endForward
	case len(seen.to) > 0:
		return endBack
	case seen.silent:
		return endUnknown
	case isMaster:
		return endForward
	}
	return endBack
}

// wordUnended says what is waited for where nobody can tell how a switchover ended.
func (w world) wordUnended(to, from string) string {
	return fmt.Sprintf("a switchover to %s stopped midway, and whether it took over cannot be asked: bring the dashboard "+
		"or the proxies back that do not answer %v, or annotate the group with %s=%s to give up what %s may have taken",
		to, w.deafProxies, v1alpha1.AnnotationAcceptDataLoss, from, to)
}

// switchedBack says why a switchover that the dashboard has only begun must not be
// finished: the proxies may have gone on with the old master, and whoever has what it took
// cannot be asked, or has more. That the member was in sync before, and was made master by
// the operator, proves nothing then. It is pure.
func (w world) switchedBack() string {
	old := w.byAddr(w.order[0])
	if !w.switching || old == nil || old.name == w.promoted || w.accepted == w.promoted {
		return ""
	}
	heir, to, most := w.silentHeir(w.promoted), w.byName(w.promoted), w.mostKeys()
	switch {
	case !old.known():
		return fmt.Sprintf("a switchover to %s was taken back and %s, which took writes since, cannot be asked (%s): "+
			"bring it back, or annotate the group with %s=%s",
			w.promoted, old.name, problem(*old), v1alpha1.AnnotationAcceptDataLoss, w.promoted)
	case heir != nil:
		return fmt.Sprintf("a switchover to %s stopped midway, %s may have gone on, and %s, which was in sync with it, "+
			"cannot be asked (%s): bring it back, or annotate the group with %s=%s",
			w.promoted, old.name, heir.name, problem(*heir), v1alpha1.AnnotationAcceptDataLoss, w.promoted)
	case to != nil && most != nil && most.redis.Keys > to.redis.Keys:
		return fmt.Sprintf("a switchover to %s stopped midway and %s has more keys: "+
			"annotate the group with %s=%s to go on without them",
			w.promoted, most.name, v1alpha1.AnnotationAcceptDataLoss, w.promoted)
	}
	return ""
}

// interrupted tells whether a switchover was recorded and the old master still
// is the dashboard's: slots may be locked.
func (s *state) interrupted() bool {
	return s.handingOver() && s.group.Status.Promotion.Member != s.decision.master.name
}
