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
	// savedMaster is the pod of the last master, if its volume was seen to be complete.
	savedMaster string
	// switching tells that this is a switchover.
	switching bool
	// runIDs of the members, as they were last seen.
	runIDs map[string]string
	// window is how long a master must be silent before that means anything.
	window time.Duration
	// watched is how long this operator has looked at the group without a pause.
	watched time.Duration
	// sinceFailover is how long ago the last failover was; planned switchovers do not count.
	sinceFailover time.Duration
	// deafProxies are registered proxies that do not answer the dashboard.
	deafProxies []string
	// blind tells that the dashboard cannot be asked: order is what it last was.
	blind bool
	// routes is what proxies tell of theirs while it is blind and somebody is, or was, to
	// be made master.
	routes routesSeen
	// found tells that the one promoted took writes already.
	found bool
	// refusing tells that the dashboard does not promote now: a move of slots runs.
	refusing bool
	// behind tells that proxies may know more than the dashboard.
	behind bool
	// holding tells that proxies may hold the requests for a failover that waits.
	holding bool
	// guarded tells that the master refuses writes while no replica keeps up with it.
	guarded bool
	// persistent tells that every write reaches a volume within a second.
	persistent bool
	// lookouts are the sentinels, where the dashboard has some.
	lookouts lookouts
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
	// locks tells that the proxies hold the requests of the group while this waits.
	locks bool
	// reason and message for fence, wait and hold.
	reason, message string
}

// decideMaster chooses the master. It is pure. What it protects: a member that
// is empty, loading or was never in sync does not become master while another
// member has data; and nobody is chosen while a member that cannot be asked may
// hold newer data than those that can.
func decideMaster(w world) decision {
	decided := chooseMaster(w)
	if decided.verb != promote {
		return decided
	}
	f := failover{world: w, candidate: decided.master}
	for _, g := range routeGuards {
		if instead := g.stops(f); instead != nil {
			return *instead
		}
	}
	return decided
}

func chooseMaster(w world) decision {
	if len(w.order) == 0 {
		return w.leaveElection(decideFirstMaster(w))
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
	if w.lookouts.decide() {
		return decideWatched(w, current)
	}
	switch routed := w.routedTo(); {
	case routed != nil && routed != current:
		return decision{verb: promote, master: routed, cause: v1alpha1.CauseFoundMaster}
	case w.tookOver() != nil:
		current = w.tookOver()
	case current.redis.IsMaster() && !w.overtaken(current):
		return decision{verb: keep, master: current}
	case w.forgotten(current) != nil:
		return followElected(w, current, w.forgotten(current))
	}
	if w.behind && current.addr == w.order[0] && w.tookOver() == nil {
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

// tookOver returns the member that took writes while the dashboard did not know, and
// does not any more: what it took counts, unless it is lost. The dashboard may call it
// the master by now.
func (w world) tookOver() *member {
	m := w.byName(w.promoted)
	if !w.behind || !w.found || m == nil || m.redis.IsMaster() {
		return nil
	}
	if lost := m.dead || m.redis.Reachable; lost && !w.persistent {
		return nil
	}
	return m
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
	if elected := w.elected(); elected != nil && elected.redis.IsMaster() && w.chosen(*elected) {
		return decision{verb: keep, master: elected}
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
// the last master, that master itself if nobody can have newer data, or who has most.
func decideAmongReplicas(w world, last *member) decision {
	if last != nil {
		if survivor := w.bestSurvivor(last); survivor != nil && w.inSync[survivor.name] {
			return decision{verb: lift, master: survivor}
		}
	}
	if last != nil && (last.hasWholeData() && !w.mayLack(last) || !w.anyData()) {
		return decision{verb: lift, master: last}
	}
	best := w.mostKeys()
	if best == nil || !best.redis.HasData() && w.anyData() {
		return waitForCopy()
	}
	return decision{verb: lift, master: best}
}

// mayLack tells whether a last master may lack what another member has: its volume was
// not complete yet, or another one was about to take over, and somebody has more.
func (w world) mayLack(last *member) bool {
	taken := w.promotedRunID != "" && w.promoted != last.name
	return (taken || w.persistent && w.savedMaster != last.name) && !w.hasMost(last)
}

// waitForCopy waits where only members that are being copied to have data:
// whether it is whole shows when the copy has ended.
func waitForCopy() decision {
	return decision{
		verb: wait, reason: v1alpha1.ReasonProgressing, message: "waiting for a copy under way to end",
	}
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
	return w.find(func(m *member) bool { return m.addr == addr })
}

func (w world) byName(name string) *member {
	return w.find(func(m *member) bool { return name != "" && m.name == name })
}

// find returns the first member that matches, nil if none does.
func (w world) find(matches func(*member) bool) *member {
	for i := range w.members {
		if matches(&w.members[i]) {
			return &w.members[i]
		}
	}
	return nil
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
