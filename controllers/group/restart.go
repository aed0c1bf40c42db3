// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"sort"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// decideAfterRestart chooses when the master answers but takes no writes: its
// process was started again, so it is fenced, with what its disk held.
func decideAfterRestart(w world, current *member) decision {
	unknown := w.firstUnknown(current)
	masters := w.where(func(m member) bool { return m.known() && m.redis.IsMaster() })
	if len(masters) == 1 && w.goesOn(masters[0], current) {
		return decision{verb: promote, master: masters[0], cause: v1alpha1.CauseFoundMaster}
	}
	if w.blind && w.usurped() {
		return decision{verb: wait, reason: v1alpha1.ReasonMasterUnreachable, message: fmt.Sprintf(
			"master %s was restarted and another member takes writes, and the dashboard, which may have made it master, "+
				"cannot be asked", current.name)}
	}
	if w.neverMade(current) {
		return decision{verb: lift, master: current}
	}
	// A replica that was in sync until the master went has everything that was
	// acknowledged, but for what was in flight; the disk may be older. One whose
	// link was down before that is older than a disk that gets every write.
	if survivor := w.bestSurvivor(current); survivor != nil && w.outdoes(survivor, current, unknown) {
		return decision{verb: promote, master: survivor, cause: v1alpha1.CauseMasterRestarted}
	}
	if heir := w.unknownHeir(current); heir != nil {
		unknown = heir
	} else if current.hasWholeData() && w.mayLift(current, unknown) {
		return decision{verb: lift, master: current}
	}
	if unknown != nil {
		return decision{verb: hold, reason: v1alpha1.ReasonPromotionHeld, message: fmt.Sprintf(
			"master %s was restarted and %s, which may hold newer data, cannot be asked (%s): "+
				"bring it back, or annotate the group with %s=<pod whose data is kept>",
			current.name, unknown.name, problem(*unknown), v1alpha1.AnnotationAcceptDataLoss)}
	}
	if best := w.mostKeys(); best != nil && best.redis.HasData() {
		return decision{verb: promote, master: best, cause: v1alpha1.CauseMasterRestarted}
	}
	if w.anyData() {
		return waitForCopy()
	}
	return decision{verb: lift, master: current}
}

// neverMade tells whether a member was promoted, is the process still that was chosen, and
// was not made master all the same: a dashboard goes on where it cannot reach the one that
// it promotes, or ends before. The proxies write to it, so that whoever it follows has
// nothing newer.
func (w world) neverMade(current *member) bool {
	m := current.redis
	recorded := m.RunID != "" && (m.RunID == w.masterRunID || m.RunID == w.promotedRunID && !w.switching)
	return recorded && !w.blind && !w.behind && !m.Fenced() && m.WasInSync() && w.masters() == 0 &&
		(m.HasData() || !w.anyData())
}

// mayLift tells whether a master that was started again goes on with what it has: its
// volume is complete and nobody took over since, or nobody has more.
func (w world) mayLift(current, unknown *member) bool {
	taken := w.promotedRunID != "" && w.promoted != current.name // By one that was started again, too.
	complete := w.persistent && w.savedMaster == current.name && !taken
	return complete || unknown == nil && w.hasMost(current)
}

// unknownHeir returns the member that was about to become master instead, or was it
// already, and cannot be asked: it may have taken writes that no disk has.
func (w world) unknownHeir(current *member) *member {
	if heir := w.byName(w.promoted); heir != nil && heir.addr != current.addr && !heir.known() {
		return heir
	}
	return nil
}

// goesOn tells whether the only member that takes writes shall be what the
// dashboard calls master. A promotion makes the server master before it tells
// the dashboard, and may have stopped in between: who was in sync goes on. So
// does the process that the operator knows as the master, whatever somebody told the
// dashboard since. Where the operator told it, clients write to the new master already.
// That of a switchover which was not carried out goes on while nobody has more, or where
// proxies lead to it.
func (w world) goesOn(m, current *member) bool {
	switch made := w.promotedRunID != "" && m.redis.RunID == w.promotedRunID; {
	case w.masterRunID != "" && m.redis.RunID == w.masterRunID && w.promoted != current.name:
		return true
	case made && w.carriedOut(m, current):
		return m.redis.HasData() || !w.anyData()
	case made && !w.hasMost(m) && !w.handedOver(*m):
		return false // It was in sync with the old master, which went on.
	}
	return w.hasAll(m, current)
}

// hasAll tells whether a member that takes writes has what anybody may have of the one that
// was started again: it was in sync with that, or all others can be asked and have less.
func (w world) hasAll(m, current *member) bool {
	survivor := w.bestSurvivor(current)
	switch {
	case w.inSync[m.name]:
	case !w.hasMost(m), w.heirUnknown(current), current.hasWholeData(), survivor != nil && w.inSync[survivor.name]:
		return false
	}
	return m.redis.HasData() || w.firstUnknown(current) == nil && !w.anyData()
}

// heirUnknown tells whether a member that was in sync with the given one cannot be asked.
func (w world) heirUnknown(current *member) bool {
	return len(w.where(func(m member) bool { return m.addr != current.addr && w.inSync[m.name] && !m.known() })) > 0
}

// carriedOut tells whether a member that was made master took the place of the one that
// was started again. A dashboard that refuses a switchover lets the old master go on
// before the operator records that it is taken back: then others have more.
func (w world) carriedOut(m, current *member) bool {
	return !w.switching || current.redis.Follows(m.addr) || m.redis.Keys > current.redis.Keys && w.hasMost(m)
}

// bestSurvivor returns the member that followed the given one, in sync, without
// a restart since, and has received most.
func (w world) bestSurvivor(current *member) *member {
	survivors := w.where(func(m member) bool {
		// A 3.2 replica forgets how far it was as soon as the restarted master
		// refuses it, and would look as if it never was in sync. That it still
		// follows tells that it is the process that was recorded: another one
		// would be fenced.
		whole := m.redis.WasInSync() || w.inSync[m.name] && m.known() && !m.redis.Syncing
		return m.addr != current.addr && m.redis.Follows(current.addr) && whole &&
			m.redis.HasData() && !m.leaving
	})
	received := amountReceived(survivors)
	sort.SliceStable(survivors, func(i, j int) bool {
		a, b := survivors[i], survivors[j]
		if w.inSync[a.name] != w.inSync[b.name] {
			return w.inSync[a.name]
		}
		return received(a) > received(b)
	})
	return first(survivors)
}

// amountReceived tells what replicas are compared by: how far they were in the stream of
// their master or, once one of them forgot that (bestSurvivor), how many keys they have.
func amountReceived(replicas []*member) func(m *member) int64 {
	if slices.ContainsFunc(replicas, func(m *member) bool { return !m.redis.IsMaster() && !m.redis.WasInSync() }) {
		return func(m *member) int64 { return m.redis.Keys }
	}
	return func(m *member) int64 { return m.redis.Offset }
}

// outdoes tells whether a survivor has what every other member has: it was in sync,
// or everybody can be asked, and no volume holds more.
func (w world) outdoes(survivor, current, unknown *member) bool {
	switch {
	case w.inSync[survivor.name]:
		return true
	case unknown != nil || w.persistent && current.hasWholeData():
		return false
	}
	return len(w.where(func(m member) bool {
		return m.addr != current.addr && m.hasWholeData() && m.redis.Keys > survivor.redis.Keys
	})) == 0
}

// hasMost tells whether no other member is known to have more keys.
func (w world) hasMost(m *member) bool {
	most := w.mostKeys()
	return most == nil || most.redis.Keys <= m.redis.Keys
}
