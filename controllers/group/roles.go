// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// member is a codis-server of the group, and what it said about itself.
type member struct {
	// name of the pod, and addr under which the dashboard knows it.
	name, addr string
	// ip of the pod, empty while it has none.
	ip string
	// uid and node of the pod.
	uid  types.UID
	node string
	// leaving tells that the pod is being deleted.
	leaving bool
	// young tells that the pod is so new that caches of names may not know it.
	young bool
	// redis is what the server said; not reachable claims nothing.
	redis redis.Observation
	// dead tells that the process has ended: nobody listens at its address.
	dead bool
	// silent is how long the member has not answered, 0 where that is not known.
	silent time.Duration
	// deaf is how long a replica that answers has heard nothing from its master.
	deaf time.Duration
}

// known tells whether the member's dataset can be judged.
func (m member) known() bool { return m.redis.Reachable && !m.redis.Loading }

// hasWholeData tells whether the member holds data that is no copy under way.
func (m member) hasWholeData() bool { return m.known() && m.redis.HasData() && !m.redis.Syncing }

// world is everything that roles are decided from.
type world struct {
	// members by ordinal.
	members []member
	// order of addresses in the dashboard, master first; empty while the group
	// has no servers there.
	order []string
	// lastMaster is the pod that was master when the operator last looked.
	lastMaster string
	// accepted is the pod that a person named as master, whatever is lost.
	accepted string
	// inSync names the members that were in sync when the master last answered.
	inSync map[string]bool
	// masterRunID is the process that was master when the operator last looked, and
	// promotedRunID the one that it was about to make master, of the member promoted.
	masterRunID, promotedRunID, promoted string
	// switching tells that this is a switchover.
	switching bool
	// runIDs of the members, as they were last seen.
	runIDs map[string]string
	// window is how long a master must be silent before that means anything.
	window time.Duration
	// watched is how long this operator has looked at the group without a pause.
	watched time.Duration
	// sinceFailover is how long ago the last failover was.
	sinceFailover time.Duration
	// deafProxies are registered proxies that do not answer the dashboard.
	deafProxies []string
	// blind tells that the dashboard cannot be asked: order is what it last was.
	blind bool
	// behind tells that proxies may know more than the dashboard.
	behind bool
	// guarded tells that the master refuses writes while no replica keeps up with it.
	guarded bool
	// persistent tells that every write reaches a volume within a second.
	persistent bool
}

// verb is what shall happen to the member that a decision names.
type verb string

const (
	// keep: the member is master, as it should be.
	keep verb = "Keep"
	// lift: the member shall end its replication; the dashboard need not know.
	lift verb = "Lift"
	// promote: the dashboard shall make the member master.
	promote verb = "Promote"
	// fence: the master shall be killed, since it may take writes unseen.
	fence verb = "Fence"
	// wait: something is on its way; look again.
	wait verb = "Wait"
	// hold: nothing safe can be chosen; a person has to look.
	hold verb = "Hold"
)

// decision names the master of the group, or says why there is none.
type decision struct {
	verb   verb
	master *member
	// cause of a promotion.
	cause v1alpha1.FailoverCause
	// heir takes the place of a master that is to be fenced.
	heir *member
	// reason and message for fence, wait and hold.
	reason, message string
}

// decideMaster chooses the master. It is pure. What it protects: a member that
// is empty, loading or was never in sync does not become master while another
// member has data; and nobody is chosen while a member that cannot be asked may
// hold newer data than those that can.
func decideMaster(w world) decision {
	if len(w.order) == 0 {
		return decideFirstMaster(w)
	}
	current := w.byAddr(w.order[0])
	if current == nil {
		return decision{verb: hold, reason: v1alpha1.ReasonPromotionHeld, message: fmt.Sprintf(
			"the dashboard calls %s the master, which is not a member of this group: "+
				"remove that server from the group, or promote a member", w.order[0])}
	}
	if chosen := w.byName(w.accepted); chosen != nil && chosen.known() {
		switch {
		case chosen != current:
			return decision{verb: promote, master: chosen, cause: v1alpha1.CauseDataLossAccepted}
		case !chosen.redis.IsMaster():
			return decision{verb: lift, master: chosen}
		}
	}
	switch routed := w.routedTo(); {
	case routed != nil && routed != current:
		return decision{verb: promote, master: routed, cause: v1alpha1.CauseFoundMaster}
	case current.redis.IsMaster():
		return decision{verb: keep, master: current}
	}
	if w.behind {
		current = w.lastOf(current)
	}
	switch {
	case !current.redis.Reachable:
		return decideFailover(w, current)
	case current.redis.Loading:
		return decision{
			verb: wait, reason: v1alpha1.ReasonMasterUnreachable,
			message: fmt.Sprintf("master %s is loading its data", current.name),
		}
	}
	return decideAfterRestart(w, current)
}

// lastOf returns who was master last where the dashboard was not told of it: who was
// about to be, if it cannot be asked, or the one that is recorded.
func (w world) lastOf(current *member) *member {
	if m := w.byName(w.promoted); m != nil && !m.redis.Reachable && !w.switching {
		return m
	}
	if m := w.byName(w.lastMaster); m != nil && !m.redis.IsMaster() {
		return m
	}
	return current
}

// decideFirstMaster chooses the master of a group that the dashboard does not
// know: a new one, one whose volumes were kept, or one whose dashboard lost its
// store. Every member must have been asked, unless a person chose.
func decideFirstMaster(w world) decision {
	if chosen := w.byName(w.accepted); chosen != nil && chosen.known() {
		if chosen.redis.IsMaster() {
			return decision{verb: keep, master: chosen}
		}
		return decision{verb: lift, master: chosen}
	}
	last := w.byName(w.lastMaster)
	if last != nil && last.redis.IsMaster() && last.redis.HasData() && w.masters() == 1 {
		// It serves: only the dashboard forgot. Nobody else need be asked.
		return decision{verb: keep, master: last}
	}
	if unknown := w.firstUnknown(nil); unknown != nil {
		return decision{
			verb: wait, reason: v1alpha1.ReasonProgressing,
			message: fmt.Sprintf("waiting for %s to answer (%s), which may have data: bring it back, "+
				"or annotate the group with %s=<pod whose data is kept>",
				unknown.name, problem(*unknown), v1alpha1.AnnotationAcceptDataLoss),
		}
	}
	if masters := w.where(func(m member) bool { return m.redis.IsMaster() }); len(masters) > 0 {
		return decideAmongMasters(w, masters)
	}
	return decideAmongReplicas(w, last)
}

// decideAmongMasters chooses where some take writes already.
func decideAmongMasters(w world, masters []*member) decision {
	switch {
	case len(masters) > 1:
		return decision{verb: hold, reason: v1alpha1.ReasonPromotionHeld, message: "more than one member is master " +
			"and the dashboard knows none of them: annotate the group with " +
			v1alpha1.AnnotationAcceptDataLoss + "=<pod whose data is kept>"}
	case masters[0].redis.HasData() || !w.anyData():
		return decision{verb: keep, master: masters[0]}
	}
	return decision{verb: hold, reason: v1alpha1.ReasonPromotionHeld, message: fmt.Sprintf(
		"%s is master and empty while another member has data: annotate the group with %s=<pod whose data is kept>",
		masters[0].name, v1alpha1.AnnotationAcceptDataLoss)}
}

// decideAmongReplicas chooses where nobody takes writes: who was in sync with
// the last master, that master itself, or who has most.
func decideAmongReplicas(w world, last *member) decision {
	if last != nil {
		if survivor := w.bestSurvivor(last); survivor != nil && w.inSync[survivor.name] {
			return decision{verb: lift, master: survivor}
		}
	}
	if last != nil && (last.hasWholeData() || !w.anyData()) {
		return decision{verb: lift, master: last}
	}
	best := w.mostKeys()
	if best == nil || !best.redis.HasData() && w.anyData() {
		return waitForCopy()
	}
	return decision{verb: lift, master: best}
}

// decideAfterRestart chooses when the master answers but takes no writes: its
// process was started again, so it is fenced, with what its disk held.
func decideAfterRestart(w world, current *member) decision {
	unknown := w.firstUnknown(current)
	masters := w.where(func(m member) bool { return m.known() && m.redis.IsMaster() })
	if len(masters) == 1 && w.goesOn(masters[0], current) {
		return decision{verb: promote, master: masters[0], cause: v1alpha1.CauseFoundMaster}
	}
	// A replica that was in sync until the master went has everything that was
	// acknowledged, but for what was in flight; the disk may be older. One whose
	// link was down before that is older than a disk that gets every write.
	if survivor := w.bestSurvivor(current); survivor != nil && w.outdoes(survivor, current, unknown) {
		return decision{verb: promote, master: survivor, cause: v1alpha1.CauseMasterRestarted}
	}
	if heir := w.unknownHeir(current); heir != nil {
		unknown = heir
	} else if current.hasWholeData() && (unknown == nil || w.persistent) {
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
func (w world) goesOn(m, current *member) bool {
	if w.masterRunID != "" && m.redis.RunID == w.masterRunID && w.promoted != current.name {
		return true
	}
	if survivor := w.bestSurvivor(current); !w.inSync[m.name] &&
		(current.hasWholeData() || survivor != nil && w.inSync[survivor.name]) {
		return false
	}
	return m.redis.HasData() || w.firstUnknown(current) == nil && !w.anyData()
}

// waitForCopy waits where only members that are being copied to have data:
// whether it is whole shows when the copy has ended.
func waitForCopy() decision {
	return decision{
		verb: wait, reason: v1alpha1.ReasonProgressing, message: "waiting for a copy under way to end",
	}
}

// decideFollowers tells who shall be pointed at the master now, and what holds
// others back. It is pure. A member with data never copies an empty master; and
// where there is data to copy, one member copies at a time.
func decideFollowers(w world, master member) (follows []member, held string) {
	if !master.redis.IsMaster() || master.redis.Loading {
		return nil, ""
	}
	syncing := len(w.where(func(m member) bool {
		return m.redis.Follows(master.addr) && !m.redis.LinkUp && !m.redis.WasInSync()
	})) > 0
	for _, m := range w.members {
		if m.addr == master.addr || !m.known() || m.leaving || m.redis.Follows(master.addr) {
			continue
		}
		if reason := w.heldBack(m, master); reason != "" {
			held = reason
			continue
		}
		if syncing && master.redis.HasData() {
			continue
		}
		follows = append(follows, m)
		syncing = true
	}
	if held != "" {
		return nil, held // Nobody copies what may turn out to be the wrong data.
	}
	return follows, ""
}

// heldBack says why a member must not copy a master, "" if it may.
func (w world) heldBack(m, master member) string {
	const wayOut = "annotate the group with " + v1alpha1.AnnotationAcceptDataLoss + "=<pod whose data is kept>"
	switch {
	case w.blind && !w.behind && m.redis.IsMaster():
		return fmt.Sprintf("%s takes writes as well, and the dashboard, which may have made it master, cannot be asked", m.name)
	case !m.redis.HasData() || w.accepted == master.name:
		return ""
	case !master.redis.HasData():
		return fmt.Sprintf("%s has data and would lose it by copying %s, which is empty: %s", m.name, master.name, wayOut)
	case !w.trusted(master):
		return fmt.Sprintf("somebody made %s master, and %s would lose its data by copying it: %s",
			master.name, m.name, wayOut)
	}
	return ""
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
	sort.SliceStable(survivors, func(i, j int) bool {
		a, b := survivors[i], survivors[j]
		if w.inSync[a.name] != w.inSync[b.name] {
			return w.inSync[a.name]
		}
		return a.redis.Offset > b.redis.Offset
	})
	if len(survivors) == 0 {
		return nil
	}
	return survivors[0]
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
	most := w.mostKeys()
	return !w.persistent || most == nil || most.redis.Keys <= survivor.redis.Keys
}

// mostKeys returns the member with most keys, the first of equals. A copy under
// way is no dataset.
func (w world) mostKeys() *member {
	whole := w.where(func(m member) bool { return m.known() && !m.redis.Syncing })
	if len(whole) == 0 {
		return nil
	}
	sort.SliceStable(whole, func(i, j int) bool { return whole[i].redis.Keys > whole[j].redis.Keys })
	return whole[0]
}

// masters counts the members that take writes.
func (w world) masters() int {
	return len(w.where(func(m member) bool { return m.redis.IsMaster() }))
}

func (w world) anyData() bool {
	return len(w.where(func(m member) bool { return m.redis.HasData() })) > 0
}

// firstUnknown returns a member whose dataset cannot be judged, other than except.
func (w world) firstUnknown(except *member) *member {
	unknown := w.where(func(m member) bool { return !m.known() && (except == nil || m.addr != except.addr) })
	if len(unknown) == 0 {
		return nil
	}
	return unknown[0]
}

func (w world) where(matches func(member) bool) []*member {
	var found []*member
	for i := range w.members {
		if matches(w.members[i]) {
			found = append(found, &w.members[i])
		}
	}
	return found
}

func (w world) byAddr(addr string) *member {
	return first(w.where(func(m member) bool { return m.addr == addr }))
}

func (w world) byName(name string) *member {
	return first(w.where(func(m member) bool { return name != "" && m.name == name }))
}

func first(members []*member) *member {
	if len(members) == 0 {
		return nil
	}
	return members[0]
}

// problem says why a member's dataset cannot be judged.
func problem(m member) string {
	switch {
	case m.ip == "":
		return "its pod does not run"
	case m.redis.Loading:
		return "it is loading its data"
	case m.redis.Problem == "":
		return "it was not asked"
	}
	return m.redis.Problem
}
