// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package lock

// Tenure is what one run of a dashboard is known to have of its lock. Nothing but that
// tells it that another run took its place: a dashboard never looks at its lock again,
// and both have the same address where both are pods of the same name.
type Tenure struct {
	// Own is the run; the zero value for one that is not known yet.
	Own Session

	held  bool
	rival Session
}

// Serves notes that the run answers as only one does that has taken the lock: another one
// may have it before it was ever looked at.
func (t *Tenure) Serves() { t.held = true }

// Lost takes in what the lock was seen as, and tells whether another run has it that this
// one had. It is pure but for what it remembers. A lock that nobody has, or that is
// pinned, is no rival's. A rival has to be seen twice in a row: a member of a ZooKeeper
// may be a moment behind, and show who had it before.
func (t *Tenure) Lost(v View) bool {
	last := t.rival
	t.rival = Session{}
	if v.State != Taken || !t.Own.Known() || !v.Session.Known() {
		return false
	}
	if v.Session == t.Own {
		t.held = true
		return false
	}
	t.rival = v.Session
	return t.held && last == v.Session
}

// Doubtful tells that a rival was seen once, which the next look says more of.
func (t *Tenure) Doubtful() bool { return t.rival.Known() }

// Others tells whether a lock is that of another run than this one.
func (t *Tenure) Others(v View) bool {
	return v.State == Taken && t.Own.Known() && v.Session.Known() && v.Session != t.Own
}
