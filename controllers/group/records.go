// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// What a pass takes down for the decisions of later ones.

// reportInSync records who is in sync while the master answers. While it does
// not, the record tells who may take over: only who was started again is dropped,
// or fell behind while the master went on.
func reportInSync(s *state) {
	if s.decision.verb != keep {
		last := s.world.byName(s.group.Status.Master)
		s.group.Status.InSync = slices.DeleteFunc(s.group.Status.InSync, func(name string) bool {
			m := s.world.byName(name)
			behind := last != nil && last.redis.IsMaster() && (m == nil || !s.world.hears(*m, last.addr))
			return !s.world.inSync[name] || behind
		})
		return
	}
	s.group.Status.InSync = s.inSyncNow()
}

// inSyncNow are the members that receive what the master sends.
func (s *state) inSyncNow() (names []string) {
	for _, m := range s.world.members {
		if s.world.hears(m, s.decision.master.addr) {
			names = append(names, m.name)
		}
	}
	return names
}

// runIDOf is the process of a member, the last one known while it does not answer.
func (s *state) runIDOf(m member) string {
	if m.redis.RunID == "" {
		return s.world.runIDs[m.name]
	}
	return m.redis.RunID
}

// reportFailover ends the promotion that was under way, once the member takes
// writes and the dashboard knows, and remembers it.
func reportFailover(s *state, now time.Time) {
	status := &s.group.Status
	if !s.settled() {
		return
	}
	master := s.decision.master
	s.reportSaved(master.redis)
	status.MasterRunID = master.redis.RunID
	p := status.Promotion
	if p == nil || s.interrupted() || s.stats == nil && p.Member != master.name {
		return // The dashboard may be at it.
	}
	status.Promotion = nil
	if p.From == "" || p.From == p.Member {
		return
	}
	if p.Member != master.name {
		failovers.WithLabelValues(string(p.Cause), resultGivenUp).Inc()
		return
	}
	took := now.Sub(p.StartTime.Time)
	status.LastFailover = &v1alpha1.FailoverRecord{
		From: p.From, To: p.Member, Cause: p.Cause, Time: metav1.NewMicroTime(now), DurationMilliseconds: took.Milliseconds(),
	}
	failovers.WithLabelValues(string(p.Cause), resultPromoted).Inc()
	failoverSeconds.Observe(took.Seconds())
}

// settled tells whether the group has a master that is recorded as such: who cannot be
// asked may have other data than one that is not trusted.
func (s *state) settled() bool {
	return s.decision.verb == keep && s.held == "" &&
		(s.world.trusted(*s.decision.master) || s.world.firstUnknown(s.decision.master) == nil)
}

// unheard tells whether a promotion that is recorded has come to its end, and nobody heard
// the dashboard say so: one that was taken over meanwhile may have sent proxies back to
// the old master, and the one that is asked now knows nothing of that.
func (s *state) unheard() bool {
	p, master := s.group.Status.Promotion, s.decision.master
	return p != nil && p.From != "" && p.Member == master.name && s.settled() && s.stats != nil && !s.halfDone &&
		!s.world.behind && len(s.world.order) > 0 && s.world.order[0] == master.addr
}

// reportSaved records whether the volume of the master is complete. One that was once
// is: that its file is written anew takes nothing from it.
func (s *state) reportSaved(master redis.Observation) {
	status, name := &s.group.Status, s.decision.master.name
	switch {
	case !appends(s.group.Spec.Config):
		status.SavedMaster = ""
	case s.world.persistent && !master.Saving:
		status.SavedMaster = name
	case status.MasterRunID != master.RunID || status.SavedMaster != name:
		status.SavedMaster = ""
	}
}

// appends tells whether every write reaches a volume within a second: nobody turned the
// append-only file off, or left it to the kernel when to write it.
func appends(directives map[string]v1alpha1.RedisValue) bool {
	return directives["appendonly"] != "no" && directives["appendfsync"] != "no"
}

// isFor tells whether a promotion is recorded already. That the old master is only silent
// has to be in the record: it may live, and the dashboard must lock the slots first.
func isFor(p *v1alpha1.Promotion, m member, cause v1alpha1.FailoverCause) bool {
	return p.Member == m.name && p.RunID == m.redis.RunID && (cause != v1alpha1.CauseMasterSilent || p.Cause == cause)
}
