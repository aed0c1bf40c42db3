// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import "github.com/codis-io/codis-operator/apis/v1alpha1"

// ablation takes protection away, to show that it is needed.
type ablation struct {
	startFence, processCheck, intent, finishHeld, lock, masterRecord, memberRecord bool
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
