// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/internal/lock"
)

// process is what is known of the pod of a deleted dashboard.
type process int

// What is known of the pod.
const (
	// processGone: it was seen gone, and nothing makes it anew.
	processGone process = iota
	// processEnding: it was told to end.
	processEnding
	// processRunning: nobody told it to end.
	processRunning
)

// teardown is what a pass over a deleted dashboard has found out, past the cache.
type teardown struct {
	uid types.UID

	// orphaned tells that its pods were to stay, as with --cascade=orphan.
	orphaned bool
	// retained tells that the product is to stay.
	retained bool
	// goesOn tells that the cluster of the dashboard stays, which makes it anew.
	goesOn  bool
	process process
	// waits names what the pod waits for.
	waits string

	// recorded is the run of the dashboard that was last seen with the lock.
	recorded lock.Session
	// heldBy is another dashboard that once had the lock; "" for none.
	heldBy string

	// problem is why the store cannot be looked at; else view is what it has.
	problem error
	view    lock.View
	// late tells that the removal has been tried for long enough.
	late bool
}

// verdict is what is done next about the product of a deleted dashboard.
type verdict int

// Verdicts.
const (
	// letGo lets the object go: nothing is there.
	letGo verdict = iota
	// leaveIt lets the object go, and says what stays.
	leaveIt
	// lookAgain does nothing.
	lookAgain
	// endIt ends the dashboard.
	endIt
	// pinIt makes sure that nobody takes the lock, or lets go of it.
	pinIt
	// removeIt removes the product.
	removeIt
)

// decide tells what to do next, and why. It is pure.
//
// A product is removed only if its lock was that of this dashboard when it was
// pinned, and its process is gone since. That nobody has a lock is no proof: another
// dashboard may be on its way up. Neither is an address: that of a namesake in another
// Kubernetes cluster is the same. The product of a cluster that stays is kept: its
// proxies serve by that layout, and a new one would lose what they write meanwhile.
func decide(t teardown) (next verdict, why string) {
	switch {
	case t.pinned() && t.process == processGone:
		return removeIt, ""
	case t.orphaned:
		return leaveIt, "its pods are not its own any more, and the dashboard goes on"
	case t.retained:
		return leaveIt, "spec.reclaimPolicy is Retain"
	case t.goesOn:
		return leaveIt, "its CodisCluster stays, makes the dashboard anew and goes on with it"
	case t.problem != nil:
		return t.unless(lookAgain, t.problem.Error())
	}
	switch t.view.State {
	case lock.Nothing:
		if t.process == processGone {
			return letGo, ""
		}
		return t.unless(endIt, t.waits)
	case lock.Pinned:
		return t.decidePinned()
	case lock.Taken:
		switch {
		case t.heldBy != "":
			return leaveIt, fmt.Sprintf("the dashboard at %s had its lock once, and it may be that one's", t.heldBy)
		case t.recorded.Known() && t.recorded == t.view.Session:
			return pinIt, ""
		}
		return leaveIt, fmt.Sprintf("the dashboard at %s has its lock, in a run that this one does not know", t.view.Addr)
	case lock.Free:
	}
	return leaveIt, "nobody has its lock, which does not say whose it is"
}

// pinned tells whether the lock is pinned for this dashboard, missed whether it is and
// was another one's.
func (t teardown) pinned() bool { return t.ownTombstone() && !t.view.Missed }
func (t teardown) missed() bool { return t.ownTombstone() && t.view.Missed }

func (t teardown) ownTombstone() bool {
	return t.problem == nil && t.view.State == lock.Pinned &&
		t.view.Tombstone != nil && t.view.Tombstone.Owner == string(t.uid)
}

func (t teardown) decidePinned() (next verdict, why string) {
	switch {
	case t.pinned():
		return t.unless(endIt, t.waits)
	case t.missed():
		return leaveIt, "another dashboard took its lock when it was to be pinned"
	case t.view.Tombstone != nil:
		return leaveIt, "it is being removed for CodisDashboard " + t.view.Tombstone.Dashboard
	}
	return leaveIt, "its lock is pinned for something else"
}

// unless is what is done next while there is time.
func (t teardown) unless(next verdict, why string) (verdict, string) {
	if t.late {
		return leaveIt, why
	}
	return next, why
}
