// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import "github.com/codis-io/codis-operator/apis/v1alpha1"

// ablation takes protection away, to show that it is needed.
type ablation struct {
	// startFence: servers start as masters. processCheck: commands reach whatever
	// process has the address. lock: proxies ignore locks. refusal: masters that are
	// to refuse writes without a replica take them.
	startFence, processCheck, lock, refusal bool
	// intent: no promotion is recorded. finishHeld: a promotion that was left
	// half-done is finished whatever became of its candidate.
	intent, finishHeld bool
	// masterRecord, memberRecord: which processes the master and the members were.
	masterRecord, memberRecord bool
	// holdRecord: that requests are held. lateLocks: that a lock may be on its way.
	holdRecord, lateLocks bool
}

// forgets tells whether anything of a status is left out.
func (a ablation) forgets() bool {
	return a.masterRecord || a.memberRecord
}

// forget drops what the operator took down of the processes of members.
func (a ablation) forget(status *v1alpha1.CodisGroupStatus) {
	if a.masterRecord {
		status.MasterRunID = ""
	}
	for i := range status.Members {
		if a.memberRecord {
			status.Members[i].RunID = ""
		}
	}
}
