// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// What this operator remembers of sentinels from one pass to the next. Another one knows
// nothing of it: it tells them the password once more, which changes nothing.

// toldAnewFor is for how long a sentinel that is answered errors is not told anew again.
const toldAnewFor = 5 * time.Minute

// told is what a sentinel was told of a group.
type told struct {
	// password is its hash: no copy of it is kept.
	password [sha256.Size]byte
	// anew is when it was told to watch the group, and not of the password alone.
	anew time.Time
}

// recallTold fills in which sentinels may know another password. They do not tell which
// they know.
func (r *Reconciler) recallTold(s *state) {
	known, present := r.toldSentinels(s.group.UID), map[types.UID]told{}
	if s.password == "" {
		return
	}
	now := sha256.Sum256([]byte(s.password))
	for i := range s.world.lookouts.all {
		o := &s.world.lookouts.all[i]
		last, ok := known[o.uid]
		if ok {
			present[o.uid] = last
		}
		same := ok && last.password == now
		o.untold = o.Watches && !same
		o.toldAnew = same && r.Clock.Since(last.anew) < toldAnewFor
	}
	r.storeTold(s.group.UID, present) // Pods that are gone are forgotten.
}

// rememberTold notes that a sentinel was told the password, or to watch the group anew
// with it.
func (r *Reconciler) rememberTold(s *state, o lookout, anew bool) {
	all := maps.Clone(r.toldSentinels(s.group.UID))
	now := told{password: sha256.Sum256([]byte(s.password))}
	if anew {
		now.anew = r.Clock.Now()
	}
	if all == nil {
		all = map[types.UID]told{}
	}
	all[o.uid] = now
	r.storeTold(s.group.UID, all)
}

func (r *Reconciler) toldSentinels(group types.UID) map[types.UID]told {
	stored, _ := r.told.Load(group)
	all, _ := stored.(map[types.UID]told)
	return all
}

func (r *Reconciler) storeTold(group types.UID, all map[types.UID]told) {
	if len(all) == 0 {
		r.told.Delete(group)
		return
	}
	r.told.Store(group, all)
}

// muteGrace is for how long a sentinel that does not answer the operator holds up a
// switchover although the dashboard does not say that it hangs: it looks once a second.
const muteGrace = 5 * time.Second

// muteSentinel names a sentinel that runs, does not answer, and is known to the
// dashboard, which waits two seconds for it in the middle of a promotion; "" for none.
// It is taken out of the dashboard within some seconds, as long as enough others answer;
// where it is not, nobody waits for that.
func (r *Reconciler) muteSentinel(s *state) string {
	mute, hangs := s.quietSentinel(func(ordinal int) string {
		return r.Domain.SentinelAddr(s.group.Namespace, s.dashboard.Name, ordinal)
	})
	if mute == "" {
		r.quiet.Delete(s.group.UID)
		return ""
	}
	first, _ := r.quiet.LoadOrStore(s.group.UID, r.Clock.Now())
	if since, ok := first.(time.Time); hangs || ok && r.Clock.Since(since) < muteGrace {
		return mute
	}
	return ""
}

// quietSentinel names a sentinel that does not answer and is to be taken out of the
// dashboard if it hangs, which the dashboard tells. It is pure.
func (s *state) quietSentinel(addrOf func(ordinal int) string) (pod string, hangs bool) {
	if s.stats == nil || !s.watchedBySpec() || reconcile.Paused(s.dashboard) {
		return "", false
	}
	answer := 0
	l := s.world.lookouts
	for ordinal, o := range l.all[:min(l.wanted, len(l.all))] {
		addr := addrOf(ordinal)
		switch {
		case !slices.Contains(s.stats.Sentinels.Model.Servers, addr):
		case o.Answers:
			answer++
		case o.addr != "" && !hangs:
			pod, hangs = o.pod, hung(s.stats, addr)
		}
	}
	if answer < config.SentinelsNeeded(s.dashboard.Spec.Sentinel) {
		return "", false
	}
	return pod, hangs
}

// hung tells whether the dashboard waited for an answer in vain when it looked last.
func hung(stats *codis.Stats, addr string) bool { return stats.Sentinels.Stats[addr].Timeout }
