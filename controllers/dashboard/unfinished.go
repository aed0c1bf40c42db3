// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"slices"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

// reportUnfinished records what a dashboard that answers has begun. What is recorded stays
// while it does not answer: nobody knows what became of it.
func reportUnfinished(s *state) {
	if s.stats != nil {
		s.dashboard.Status.Unfinished = unfinished(s.stats, s.groups)
	}
}

// unfinished is what a dashboard does to servers, or is about to. One that is cut off, or
// stands still, may go on with it when it is back, and send what it knew then to servers
// that have another master since. A promotion that the operator carries out may be one that
// the dashboard was asked for. Moves of slots are counted elsewhere. It is pure.
func unfinished(stats *codis.Stats, groups []groupView) []v1alpha1.DashboardWork {
	var work []v1alpha1.DashboardWork
	if stats.Promoting() || changing(groups) {
		work = append(work, v1alpha1.WorkPromotion)
	}
	if stats.Syncing() {
		work = append(work, v1alpha1.WorkSync)
	}
	return work
}

// changing tells whether a group changes its master right now. One whose change the
// dashboard has still to be told of waits for a dashboard, and is no reason against one.
func changing(groups []groupView) bool {
	return slices.ContainsFunc(groups, func(g groupView) bool { return g.changing })
}
