// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/prober"
)

// look asks the members, the dashboard and its sentinels.
func (r *Reconciler) look(ctx context.Context, s *state) {
	asking, giveUp := context.WithCancel(ctx)
	defer giveUp()
	dashboard := make(chan struct{})
	go func() {
		defer close(dashboard)
		r.observeTopology(asking, s)
	}()
	patient := time.After(r.patience(s))
	var wg sync.WaitGroup
	var watching lookouts
	wg.Go(func() { watching, s.unseen = r.observeSentinels(ctx, s) })
	members := make([]member, max(s.wanted(), len(s.pods)))
	for ordinal := range members {
		wg.Go(func() { members[ordinal] = r.observeMember(ctx, s, ordinal) })
	}
	wg.Wait()
	r.awaitDashboard(s, members, dashboard, patient, giveUp)
	s.looked = r.Clock.Now()
	s.world = world{
		members:    members,
		order:      addressesOf(s.known()),
		lastMaster: s.group.Status.Master,
		accepted:   s.group.Annotations[v1alpha1.AnnotationAcceptDataLoss],
		persistent: s.group.Spec.Storage != nil,
		lookouts:   watching,
		window:     probingOf(s.group.Spec.Failover).window,
	}
	s.world.nameMasters()
	s.world.watched = r.watchedFor(s.group.UID)
	s.world.recall(&s.group.Status, r.Clock.Now())
	r.completeLookouts(s)
	if s.stats != nil {
		s.world.deafProxies = s.stats.DeafProxies()
	}
	r.setTargets(s)
	s.observed = s.unseen == nil
}

const (
	// dashboardPatience is how long a pass waits for the dashboard while the master
	// does not answer. Both may be on a node that is lost, where nothing breaks the
	// connection, and a failover does without the dashboard. It answers within
	// milliseconds, unless it promotes.
	dashboardPatience = 500 * time.Millisecond
	// dashboardImpatience is the same where it gave no answer to the pass before: the
	// seconds until a guarded master refuses writes are counted pass by pass.
	dashboardImpatience = 200 * time.Millisecond
	// dashboardPoll is the time between two looks whether the master still answers,
	// where the dashboard takes longer.
	dashboardPoll = 100 * time.Millisecond
)

// patience is how long a pass waits for the dashboard while the master does not answer.
// Where clients have waited for that one for long already, another operator has ended.
func (r *Reconciler) patience(s *state) time.Duration {
	_, silent := r.silentDashboards.Load(s.group.UID)
	if silent || r.masterSilent(s) >= refusalTime {
		return dashboardImpatience
	}
	return dashboardPatience
}

// masterSilent is how long the last master has not answered the prober.
func (r *Reconciler) masterSilent(s *state) time.Duration {
	if r.Prober == nil {
		return 0
	}
	last := r.Prober.Results(client.ObjectKeyFromObject(s.group))[s.group.Status.Master]
	if last.State != prober.Silent {
		return 0
	}
	return r.Clock.Since(last.Since)
}

// awaitDashboard waits for its answer, and gives up where the master does not answer
// either once patience has ended.
func (r *Reconciler) awaitDashboard(
	s *state, members []member, answered <-chan struct{}, patient <-chan time.Time, giveUp func(),
) {
	for !closed(answered) {
		select {
		case <-answered:
		case <-patient:
			if !closed(answered) && !r.masterAnswers(s, members) {
				r.silentDashboards.Store(s.group.UID, true)
				giveUp()
				<-answered
				return
			}
			patient = time.After(dashboardPoll)
		}
	}
	r.silentDashboards.Delete(s.group.UID)
}

// closed tells whether a channel is, though another one may be ready, too.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// masterAnswers tells whether the last master answered when it was asked, and has
// answered the prober since.
func (r *Reconciler) masterAnswers(s *state, members []member) bool {
	for _, m := range members {
		if m.name == s.group.Status.Master {
			probe := r.probe(s, m)
			return m.redis.Reachable && probe.State != prober.Silent && probe.State != prober.Dead
		}
	}
	return true // There is none to be replaced.
}

// mayAnswerYet tells whether a member that did not answer just now may do so in a moment:
// no process has refused to, and it has not been silent for the whole window.
func (w world) mayAnswerYet(m member) bool {
	return m.ip != "" && !m.redis.Reachable && !m.redis.Denied && !m.dead && m.silent < w.window
}

// awaits tells whether the candidate of a promotion is waited for still. Clients wait, too:
// for no longer than takeOver, though the prober may hear it for longer, as a server that
// takes no more connections. Looks that fail by chance are over by then. It is kept in
// memory: another operator begins anew, and so does this one after a pause.
func (r *Reconciler) awaits(s *state) bool {
	now := r.Clock.Now()
	awaited := sighting{began: now, seen: now}
	if last, known := r.awaited.Load(s.group.UID); known {
		if last, ok := last.(sighting); ok && now.Sub(last.seen) < takeOver {
			awaited.began = last.began
		}
	}
	r.awaited.Store(s.group.UID, awaited)
	return now.Sub(awaited.began) < takeOver
}
