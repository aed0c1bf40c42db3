// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// Bounds of a switchover. Clients of the group wait from the lock to the end.
const (
	// stopTimeout bounds how long a step of a move may go on, which takes milliseconds.
	stopTimeout = time.Second
	// stopPoll is the time between two looks whether it does.
	stopPoll = 20 * time.Millisecond
	// lockTimeout bounds the lock, which waits for requests that are under way.
	lockTimeout = 500 * time.Millisecond
	// catchUpTimeout bounds how long the replica may take to receive the last writes.
	catchUpTimeout = 300 * time.Millisecond
	// lockLimit is how long after its record a switchover may lock, make master, or
	// unlock: an operator that was held up for longer may no longer be the one that leads.
	lockLimit = passLimit
	// takeBackTimeout bounds how long clients wait for each of the two steps with which a
	// switchover is taken back. Both together leave time to unlock in the same pass.
	takeBackTimeout = 700 * time.Millisecond
	// catchUpPoll is the time between two looks at the offsets.
	catchUpPoll = 5 * time.Millisecond
)

// errNotCaughtUp tells that the replica did not receive the last writes in time.
var errNotCaughtUp = errors.New("the replica did not catch up in time")

// errMovesRun tells that a slot of some group was still being moved.
var errMovesRun = errors.New("a move of slots does not stop")

// errProxiesChanged tells that a proxy came or went during the lock.
var errProxiesChanged = errors.New("a proxy or a slot came or went meanwhile")

// switchoverHeld says why the master cannot be switched to a member now, "" if
// it can. It is pure. Everything has to be in order: there is no hurry.
func switchoverHeld(w world, stats *codis.Stats, group int, master, to *member) string {
	held := handOverHeld(w, master, to)
	if held == "" && to.name != master.name && stats.Moving(group) {
		return "slots of the group are on their way"
	}
	return held
}

// handOverHeld says the same where slots of the group may be on their way.
func handOverHeld(w world, master, to *member) string {
	switch {
	case to == nil:
		return "no such member"
	case to.name == master.name:
		return ""
	case !slices.Contains(w.order, to.addr):
		return "the dashboard does not know " + to.name
	case !w.hears(*to, master.addr) || to.redis.Syncing || to.leaving || !w.inSync[to.name]:
		return to.name + " is not in sync with " + master.name
	case w.persistent && to.redis.Saving:
		return to.name + " has not written what it copied to its volume yet"
	case to.young:
		return "proxies may not find " + to.name + " yet, whose pod is less than 35 s old"
	case w.lookouts.threaten():
		return "sentinels find " + master.name + " down, and may be making another member master"
	case w.lookouts.mute != "":
		return w.lookouts.mute + " hangs, and clients would wait for it: it is taken out of the dashboard in some seconds"
	case len(w.deafProxies) > 0:
		return "proxies do not answer the dashboard: " + fmt.Sprint(w.deafProxies)
	}
	return ""
}

// successor returns the member that the master is switched to when its own pod
// has to be replaced: in sync, and ahead of the others.
func (w world) successor(master *member) *member {
	candidates := w.where(func(m member) bool {
		return w.registered(m) && m.redis.Follows(master.addr) && m.redis.LinkUp && !m.leaving
	})
	sort.SliceStable(candidates, func(i, j int) bool { return candidates[i].redis.Offset > candidates[j].redis.Offset })
	return first(candidates)
}

// switchOver makes another member the master, without an error for any client
// and without a lost write.
//
// Phases: the intent is recorded; the group's slots are locked on every proxy,
// which then holds requests; the replica receives the last writes; it is made
// master, and the dashboard promotes it, which unlocks the slots with the new
// route. What fails before the member is made master unlocks them with the old route.
// What fails later leaves that to the next pass, which finds out who is master, as it
// does after a crash: if that is the old one, it records that the switchover is taken
// back, and then unlocks (undoSwitchover).
func (r *Reconciler) switchOver(ctx context.Context, s *state, to *member) (time.Duration, error) {
	if r.justGivenUp(s) {
		s.switchHeld = fmt.Sprintf("the switchover to %s was given up a moment ago and is tried again", to.name)
		return reconcile.Later, nil
	}
	master := s.decision.master
	if err := r.intend(ctx, s, *to, master.name, v1alpha1.CauseSwitchover); err != nil {
		return 0, err
	}
	ctx, done := uninterrupted(ctx)
	defer done()
	told, err := r.handOver(ctx, s, *master, *to)
	if err == nil && s.try("promote "+to.name, s.api.Promote(ctx, int(s.group.Spec.ID), to.addr)) {
		r.event(s, corev1.EventTypeNormal, v1alpha1.ReasonPromoted, "SwitchOver",
			"%s is master instead of %s, as asked for", to.name, master.name)
		s.promoted(to)
		return reconcile.Soon, nil
	}
	if err != nil {
		s.switchHeld = fmt.Sprintf("the switchover to %s was given up and is tried again: %s", to.name, cause(err))
	}
	if told {
		to.redis.LinkUp = false // It may have been made master: the next pass looks, and may need the intent.
	}
	r.givenUp.Store(s.group.UID, r.Clock.Now())
	return reconcile.Closely, nil
}

// retryAfter is how long clients are left alone after a switchover that was given up.
const retryAfter = 10 * time.Second

// justGivenUp tells whether a switchover was given up a moment ago. It is kept
// in memory: another operator may try at once, which costs a short stall.
func (r *Reconciler) justGivenUp(s *state) bool {
	last, tried := r.givenUp.Load(s.group.UID)
	at, ok := last.(time.Time)
	return tried && ok && r.Clock.Since(at) < retryAfter
}

// cause words an error so that it stays the same from one try to the next.
func cause(err error) string {
	switch {
	case errors.Is(err, errNotCaughtUp), errors.Is(err, errProxiesChanged), errors.Is(err, errMovesRun),
		errors.Is(err, redis.ErrRestarted), errors.Is(err, errHeldUp):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "a proxy took too long to lock the slots"
	}
	return "a proxy, or a member, did not answer"
}

// handOver locks the slots of the group, waits until the member has received
// everything, and makes it master; told says whether it was told to be. One that was
// not is in sync still, whatever else went wrong: where the master is lost at that very
// moment, it is who takes its place. What can be asked before the lock is.
func (r *Reconciler) handOver(ctx context.Context, s *state, master, to member) (told bool, err error) {
	if err := s.stopMoves(ctx); err != nil {
		return false, err
	}
	if err := r.stillThere(ctx, s, to); err != nil {
		return false, err
	}
	routes, err := s.api.Routes(ctx)
	if err != nil {
		return false, err
	}
	routes = slices.DeleteFunc(routes, func(route codis.Route) bool { return !route.Concerns(int(s.group.Spec.ID)) })
	for i := range routes {
		if s.world.behind {
			routes[i] = routes[i].To(int(s.group.Spec.ID), master.addr)
		}
		routes[i].Locked = true
	}
	if err := r.inTime(s); err != nil {
		return false, err // Another operator may have ended it, and nobody would unlock.
	}
	if err = s.tell(ctx, routes); err == nil {
		err = r.catchUp(ctx, s, master, to)
	}
	if err == nil {
		err = r.inTime(s)
	}
	if err != nil {
		return false, errors.Join(err, r.unlock(ctx, s, routes))
	}
	if err := s.takeOver(ctx, to); err != nil {
		return true, err
	}
	return true, r.inTime(s)
}

// inTime fails when the switchover that is recorded is so old that another operator
// may have taken over, and may have ended it.
func (r *Reconciler) inTime(s *state) error {
	if p := s.group.Status.Promotion; p == nil || r.Clock.Since(p.StartTime.Time) > lockLimit {
		return errNotCaughtUp
	}
	return nil
}

// stopMoves waits until no step of a move runs, of whichever groups: the dashboard
// would refuse the promotion, and clients would have waited for nothing. It looks at
// the slots again then, since some have moved meanwhile.
func (s *state) stopMoves(ctx context.Context) error {
	if !s.stats.AnyMove() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for idle := false; !idle; {
		var err error
		if idle, err = s.api.HoldMoves(ctx, s.stats); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errMovesRun
		case <-time.After(stopPoll):
		}
	}
	stats, err := s.api.Stats(ctx)
	if err != nil {
		return err
	}
	if stats.Moving(int(s.group.Spec.ID)) && !s.halfDone {
		return errProxiesChanged
	}
	s.stats = stats
	return nil
}

// unlock gives the proxies back the slots that were locked, with the routes that
// the dashboard has by now: one may have moved to another group meanwhile, which a
// resync of this group would not reach. While the dashboard cannot be asked nothing
// moves, so that the old routes still hold.
func (r *Reconciler) unlock(ctx context.Context, s *state, locked []codis.Route) error {
	routes := slices.Clone(locked)
	for i := range routes {
		routes[i].Locked = false
	}
	if now, err := s.api.Routes(ctx); err == nil {
		for i := range routes {
			at := slices.IndexFunc(now, func(route codis.Route) bool { return route.ID == routes[i].ID })
			if at >= 0 && now[at].Concerns(int(s.group.Spec.ID)) && s.world.behind {
				now[at] = now[at].To(int(s.group.Spec.ID), s.decision.master.addr)
			}
			if at >= 0 {
				routes[i] = now[at]
			}
		}
	}
	if err := r.inTime(s); err != nil {
		return err // Who took over may have made another member master.
	}
	return s.tell(ctx, routes)
}

// takeOver makes the member master, and makes sure that every proxy knows of the
// lock by then: the old one still takes the writes of a proxy that does not.
func (s *state) takeOver(ctx context.Context, to member) error {
	var wg sync.WaitGroup
	var changed, refused error
	wg.Go(func() { changed = s.sameProxies(ctx) })
	wg.Go(func() { refused = s.servers.MakeMaster(ctx, redisAddr(to), to.redis) })
	wg.Wait()
	return errors.Join(changed, refused)
}

// tell tells routes to every registered proxy, side by side.
func (s *state) tell(ctx context.Context, routes []codis.Route) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	failed := make([]error, len(s.stats.Proxy.Models))
	var wg sync.WaitGroup
	for i, proxy := range s.stats.Proxy.Models {
		wg.Go(func() { failed[i] = s.proxies.FillSlots(ctx, proxy, routes) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

// sameProxies fails if a proxy was registered since the pass began, which does
// not know of the lock, or a slot changed, which the group's unlock would not reach.
func (s *state) sameProxies(ctx context.Context) error {
	now, err := s.api.Stats(ctx)
	if err == nil && (!slices.Equal(now.Proxy.Models, s.stats.Proxy.Models) || !slices.Equal(now.Slots, s.stats.Slots)) {
		err = errProxiesChanged
	}
	return err
}

// catchUp waits until the replica has received all that the master has sent.
func (r *Reconciler) catchUp(ctx context.Context, s *state, master, to member) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	for {
		sent := s.servers.Observe(ctx, redisAddr(master))
		received := s.servers.Observe(ctx, redisAddr(to))
		if sent.RunID != master.redis.RunID || received.RunID != to.redis.RunID {
			return redis.ErrRestarted
		}
		if received.LinkUp && received.Offset >= sent.Offset {
			return nil
		}
		select {
		case <-ctx.Done():
			return errNotCaughtUp
		case <-time.After(catchUpPoll):
		}
	}
}

// requested switches over to the member that a person named.
func (r *Reconciler) requested(ctx context.Context, s *state) (time.Duration, error) {
	name, asked := s.group.Annotations[v1alpha1.AnnotationSwitchOverTo]
	if !asked {
		return 0, nil
	}
	to := s.world.byName(name)
	if held := switchoverHeld(s.world, s.stats, int(s.group.Spec.ID), s.decision.master, to); held != "" {
		s.switchHeld = fmt.Sprintf("the switchover to %q waits: %s", name, held)
		return reconcile.Later, nil
	}
	if to.name == s.decision.master.name {
		return reconcile.Soon, r.clearAnnotation(ctx, s, v1alpha1.AnnotationSwitchOverTo)
	}
	return r.switchOver(ctx, s, to)
}
