// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// refusalTime is how long a guarded master must not have answered, nor its
// replicas have heard from it, until it certainly takes no writes.
const refusalTime = redis.GuardTime + 100*time.Millisecond

// refusesWrites tells whether a master that does not answer takes no writes,
// wherever it is: they were guarded, and no replica was with it for long enough. One
// that cannot be asked may be. It is pure.
func (w *world) refusesWrites(master *member) bool {
	if !w.guards(master) || master.redis.Reachable {
		return false
	}
	return !w.heardLately(master) && w.allElseKnown(master)
}

// allElseKnown tells whether every member but a master answers, or is dead: nobody else
// can be with it.
func (w *world) allElseKnown(master *member) bool {
	return len(w.where(func(m member) bool {
		return m.addr != master.addr && !m.redis.Reachable && !m.dead
	})) == 0
}

// heardLately tells whether a master that does not answer may have been with a replica
// a moment ago, or did answer then: its writes are not refused yet, and soon may be.
func (w *world) heardLately(master *member) bool {
	return master.silent < refusalTime || len(w.where(func(m member) bool {
		return m.redis.Follows(master.addr) && m.unheard() < refusalTime
	})) > 0
}

// unheard is how long a replica has certainly heard nothing of its master: by what the
// prober saw, or by what the replica says since its link broke. Until about then the
// master heard of it, too: the operator may have lost the master long before.
func (m member) unheard() time.Duration {
	if m.redis.LinkUp {
		return m.deaf
	}
	return max(m.deaf, m.redis.LinkDown)
}

// guards tells whether a member that does not answer guards its writes if it is master:
// that was seen of the last one, and not of one that was about to take over.
func (w *world) guards(m *member) bool {
	return w.guarded && w.runIDs[m.name] == w.masterRunID
}

// guardsWrites tells whether the writes of a group's master shall be guarded: it is
// asked for, and a replica is in sync, other than one that is about to go.
func (s *state) guardsWrites(leaving string) bool {
	protection := v1alpha1.ProtectionAuto
	if f := s.group.Spec.Failover; f != nil && f.SplitBrainProtection != "" {
		protection = f.SplitBrainProtection
	}
	if protection == v1alpha1.ProtectionDisabled || protection == v1alpha1.ProtectionAuto && s.wanted() < 3 {
		return false
	}
	return len(s.world.where(func(m member) bool {
		return s.world.hears(m, s.decision.master.addr) && !m.leaving && m.name != leaving
	})) > 0
}

// guardWrites makes the master refuse writes while no replica keeps up with it,
// or takes that back. What the status says is never more than what is so: it is
// written after the one and before the other.
func (r *Reconciler) guardWrites(ctx context.Context, s *state, on bool) error {
	master := s.decision.master
	if !on && s.group.Status.Writes == v1alpha1.WritesGuarded {
		err := r.record(ctx, s, func(status *v1alpha1.CodisGroupStatus) { status.Writes = "" })
		if err != nil {
			return fmt.Errorf("record that writes are not guarded: %w", err)
		}
	}
	if on == master.redis.WritesGuarded {
		return nil
	}
	if err := r.stillThere(ctx, s, *master); err != nil {
		return err
	}
	if err := s.servers.GuardWrites(ctx, redisAddr(*master), master.redis, on); err != nil {
		return err
	}
	if !on {
		master.redis.WritesGuarded = false // That they are guarded is believed when it was seen.
	}
	return nil
}

// reportGuard records whether the master was seen to guard its writes.
func (s *state) reportGuard() {
	if s.decision.verb != keep {
		return
	}
	s.group.Status.Writes = ""
	if s.decision.master.redis.WritesGuarded && s.guardsWrites("") {
		s.group.Status.Writes = v1alpha1.WritesGuarded
	}
}
