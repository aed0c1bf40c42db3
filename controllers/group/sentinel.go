// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

// lookout is a sentinel of the operator, and what it said about the group.
type lookout struct {
	sentinel.View
	// pod that it runs in, and addr where the operator reaches it; empty without an address.
	pod, addr string
	// absent tells that it never ran in that pod, or that there is none: it begins with
	// nobody to watch.
	absent bool
	// uid of the pod.
	uid types.UID
	// untold tells that it may know another password than that of today, and toldAnew that
	// it was told the group anew with that a while ago.
	untold, toldAnew bool
}

// lookouts is what the sentinels of the dashboard say, and what they may do.
type lookouts struct {
	// wanted is how many sentinels shall be; 0 where none are asked for. quorum is how
	// many of them must find a master down.
	wanted, quorum int
	// led tells that sentinels replace a master of the group that fails, by the record.
	led bool
	// all are those that shall be, or still run.
	all []lookout
	// electedFor is how long a member has taken writes that they made master and the
	// dashboard does not call so.
	electedFor time.Duration
	// foreign tells that the dashboard knows sentinels of somebody else.
	foreign bool
	// mute is a sentinel that hangs, and that the dashboard would wait for; "" for none.
	mute string
}

// majority is how many sentinels must agree for them to decide anything.
func (l lookouts) majority() int { return config.Majority(max(l.wanted, len(l.all))) }

// needed is how many sentinels it takes to replace a master: a majority votes, once the
// quorum finds it down.
func (l lookouts) needed() int { return max(l.majority(), l.quorum) }

// answering counts the sentinels that answered.
func (l lookouts) answering() int {
	return l.count(func(o lookout) bool { return o.Answers })
}

func (l lookouts) count(matches func(lookout) bool) int {
	n := 0
	for _, o := range l.all {
		if matches(o) {
			n++
		}
	}
	return n
}

// watchNothing tells whether no sentinel watches the group: then none of them can
// replace its master, and the operator does what is to be done. One that does not
// answer may watch it, and decide with others that do not answer.
func (l lookouts) watchNothing() bool {
	return l.count(func(o lookout) bool { return o.unknown() || o.Watches }) == 0
}

// unknown tells that a sentinel may watch the group, and cannot be asked.
func (o lookout) unknown() bool { return !o.Answers && !o.absent }

// decide tells whether it is up to the sentinels to replace a master that fails.
func (l lookouts) decide() bool { return l.led && !l.watchNothing() }

// busy tells whether a sentinel is about to replace the master, or finds it down.
func (l lookouts) busy() bool {
	return l.count(func(o lookout) bool { return o.FailingOver || o.Down }) > 0
}

// elected is the address that a majority of the sentinels calls master, unless one of
// them knows of a later election; "" if there is none.
func (l lookouts) elected() string {
	votes, latest := map[string]int{}, int64(-1)
	for _, o := range l.all {
		if o.Watches {
			votes[o.Addr]++
			latest = max(latest, o.Epoch)
		}
	}
	for _, o := range l.all {
		if o.Watches && o.Epoch == latest && votes[o.Addr] >= l.majority() {
			return o.Addr
		}
	}
	return ""
}

// byServer finds the member whose pod has an address of a server now.
func (w world) byServer(addr string) *member {
	if host, port, err := net.SplitHostPort(addr); err == nil && port == serverPort {
		return w.find(func(m *member) bool { return m.ip != "" && m.ip == host })
	}
	return nil
}

// elected is the member that the sentinels agreed on; nil if they did not, or on an
// address that is no member's now.
func (w world) elected() *member {
	if addr := w.lookouts.elected(); addr != "" {
		return w.byServer(addr)
	}
	return nil
}

// nameMasters lets a replica that follows the address of a member's pod count as one
// that follows the member: sentinels know addresses only. An address that no member
// has now, since its pod was replaced, stays what it is.
func (w *world) nameMasters() {
	for i := range w.members {
		seen := &w.members[i].redis
		if master := w.byServer(seen.MasterAddr); seen.MasterAddr != "" && master != nil {
			seen.MasterName = master.addr
		}
	}
}

// followPatience is how long the dashboard, which listens to sentinels itself, is left
// to follow them by itself. It needs no lock for that; a promotion locks slots.
const followPatience = 5 * time.Second

// decideWatched chooses the master of a group whose masters sentinels replace: whoever
// they agreed on and takes writes. It never replaces one that fails. It is pure.
func decideWatched(w world, current *member) decision {
	elected := w.elected()
	if elected != nil && elected != current && elected.redis.IsMaster() {
		return followElected(w, current, elected)
	}
	if routed := w.routedTo(); routed != nil && routed != current {
		return decision{verb: promote, master: routed, cause: v1alpha1.CauseFoundMaster}
	}
	if current.redis.IsMaster() && !w.overtaken(current) {
		return decision{verb: keep, master: current}
	}
	if found := w.successorFound(current); found != nil {
		return followElected(w, current, found)
	}
	current = w.lastWatched(current)
	if !current.redis.Reachable || current.redis.Loading {
		return w.sentinelsDecide(fmt.Sprintf("master %s does not answer (%s)", current.name, problem(*current)))
	}
	instead := decideAfterRestart(w, current)
	if instead.verb == promote || instead.verb == lift && w.lookouts.failingOver() {
		return w.sentinelsDecide(fmt.Sprintf("master %s was started again and others have newer data", current.name))
	}
	return instead
}

// lastWatched is who took writes last where the dashboard was not told: the one that
// sentinels agreed on has writes that the one before lacks. One that follows the
// dashboard's master is what they agreed on before a switchover that they missed.
func (w world) lastWatched(current *member) *member {
	if w.behind {
		current = w.lastOf(current)
	}
	if elected := w.elected(); elected != nil && !elected.redis.Follows(current.addr) {
		return elected
	}
	return current
}

// failingOver tells whether a sentinel is replacing the master right now.
func (l lookouts) failingOver() bool {
	return l.count(func(o lookout) bool { return o.FailingOver }) > 0
}

// appointed is the member that takes writes because sentinels made it master, while the
// dashboard calls another one so; nil if there is none, or the dashboard cannot be asked.
func (w world) appointed() *member {
	if !w.lookouts.led || len(w.order) == 0 {
		return nil
	}
	current := w.byAddr(w.order[0])
	if elected := w.elected(); elected != nil && elected != current && elected.redis.IsMaster() {
		return elected
	}
	if current == nil || current.redis.IsMaster() {
		return nil
	}
	return w.successorFound(current)
}

// threaten tells whether sentinels are replacing the master, or may begin to at any
// moment: as many find it down as have to, where one that cannot be asked may, too.
func (l lookouts) threaten() bool {
	against := l.count(func(o lookout) bool { return o.Down || o.unknown() })
	return l.failingOver() || l.count(func(o lookout) bool { return o.Down && o.Settings.Quorum <= against }) > 0
}

// successorFound is the only member that takes writes while the master does not, if it
// was in sync with it: a promotion by sentinels that they cannot tell of any more,
// since they were told to watch the old one anew meanwhile, or forgot everything.
func (w world) successorFound(current *member) *member {
	masters := w.where(func(m member) bool { return m.redis.IsMaster() })
	if len(masters) == 1 && masters[0].addr != current.addr && (w.inSync[masters[0].name] || w.meant(*masters[0])) {
		return masters[0]
	}
	return nil
}

// leaveElection leaves it to sentinels which replica takes the place of a master, where
// the dashboard knows none: it may have lost its store, and they still know theirs.
// That one goes on unless they are replacing it; and a person decides all the same.
func (w world) leaveElection(decided decision) decision {
	if decided.verb != lift || !w.lookouts.decide() || decided.master.name == w.accepted {
		return decided
	}
	if w.elected() == decided.master && !w.lookouts.failingOver() {
		return decided
	}
	return w.sentinelsDecide("no member takes writes, nor does the dashboard know the master")
}

// forgotten is the successor that sentinels made master before all of them forgot the
// group, nil if there is none: what it took, no replica of the old master has. One that
// the operator itself made master needs no patience.
func (w world) forgotten(current *member) *member {
	found := w.successorFound(current)
	if !w.lookouts.led || found == nil || w.meant(*found) {
		return nil
	}
	return found
}

// followElected has the dashboard know who was made master.
func followElected(w world, current, to *member) decision {
	if !w.blind && w.lookouts.electedFor < followPatience {
		return decision{verb: wait, reason: v1alpha1.ReasonSentinelDecides, message: fmt.Sprintf(
			"sentinels made %s master instead of %s, and the dashboard is about to follow", to.name, current.name)}
	}
	return decision{verb: promote, master: to, cause: v1alpha1.CauseSentinel}
}

// sentinelsDecide words a decision to leave it to sentinels.
func (w world) sentinelsDecide(what string) decision {
	l := w.lookouts
	message := fmt.Sprintf("%s; the sentinels replace the master", what)
	if l.answering() < l.needed() {
		message = fmt.Sprintf("%s, and only %d of %d sentinels answer, where %d have to agree: bring sentinels back, "+
			"or annotate the group with %s=<pod whose data is kept>",
			what, l.answering(), len(l.all), l.needed(), v1alpha1.AnnotationAcceptDataLoss)
	}
	return decision{verb: wait, reason: v1alpha1.ReasonSentinelDecides, message: message}
}

// disputed says why a second master must not be made a replica yet, "" if it may: the
// sentinels may have made it master a moment ago. Those that watch the group count even
// where it is not recorded that they lead it: what was read may be old.
func (w world) disputed(m, master member) string {
	l := w.lookouts
	if !m.redis.IsMaster() || !l.decide() && l.count(func(o lookout) bool { return o.Watches }) == 0 {
		return ""
	}
	elected := w.elected()
	if elected != nil && elected.addr == master.addr && l.answering() == len(l.all) && !l.busy() {
		return ""
	}
	return fmt.Sprintf("%s takes writes as well, and the sentinels do not agree on %s yet", m.name, master.name)
}

// chosen tells whether the sentinels agreed on a master: who they chose is followed,
// whatever the operator knew of it.
func (w world) chosen(master member) bool {
	elected := w.elected()
	return w.lookouts.led && elected != nil && elected.addr == master.addr
}

// readdress adds to the members to be pointed at the master one that follows it by the
// other kind of address than it shall: a copy of all data each time, so one at a time,
// and when nothing else is to be done. By name is right without sentinels; these take
// a name for another server, and have all such replicas copy at once.
func (w world) readdress(follows []member, held string, master member, by string) []member {
	if len(follows) > 0 || held != "" || !master.redis.IsMaster() {
		return follows
	}
	var other []member
	for _, m := range w.members {
		switch {
		case m.addr == master.addr:
		case !m.redis.Follows(master.addr) || !m.redis.LinkUp:
			return nil
		case m.redis.MasterAddr != by:
			other = append(other, m)
		}
	}
	return other[:min(1, len(other))]
}
