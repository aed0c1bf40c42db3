// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// reportElection remembers a change of master that sentinels made and the dashboard
// followed by itself. It is pure, and asked before the status names the new master.
func reportElection(s *state, now time.Time) {
	status := &s.group.Status
	if !s.led() || s.decision.verb != keep || status.Promotion != nil || s.held != "" {
		return
	}
	from, to := status.Master, s.decision.master.name
	if from == "" || from == to || !s.world.chosen(*s.decision.master) {
		return
	}
	took := time.Duration(0)
	before := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionMasterReachable)
	if before != nil && before.Status != metav1.ConditionTrue {
		took = now.Sub(before.LastTransitionTime.Time)
	}
	status.LastFailover = &v1alpha1.FailoverRecord{
		From: from, To: to, Cause: v1alpha1.CauseSentinel, Time: metav1.NewMicroTime(now),
		DurationMilliseconds: took.Milliseconds(),
	}
	s.elected = true
}

// tellElection sends what reportElection remembered, once it is stored.
func (r *Reconciler) tellElection(s *state) {
	if !s.elected {
		return
	}
	last := s.group.Status.LastFailover
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonPromoted, "Follow",
		"%s is master instead of %s: %s", last.To, last.From, last.Cause)
	failovers.WithLabelValues(string(last.Cause), resultPromoted).Inc()
	failoverSeconds.Observe(float64(last.DurationMilliseconds) / 1000)
}
