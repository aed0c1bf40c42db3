// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

// run is one run of a dashboard. A keeper starts dashboards in one container, so that
// what Kubernetes says of that does not tell them apart; their start times do, to the
// nanosecond.
type run struct {
	pod types.UID
	// token and since are what the dashboard says of itself.
	token, since string
}

func runOf(pod *corev1.Pod, model *codis.Topom) run {
	return run{pod: pod.UID, token: model.Token, since: model.StartTime}
}

// String tells runs apart.
func (r run) String() string { return fmt.Sprintf("%s/%s/%s", r.pod, r.token, r.since) }

// follows tells whether a run came after another one in the same pod.
func (r run) follows(before run) bool {
	return r.pod == before.pod && r.since != before.since
}

// tellRestart tells that the dashboard ended and was started again where it was, which
// Kubernetes does not know where its keeper did it. What an operator that has just started has not seen it
// does not tell.
func (r *Reconciler) tellRestart(_ context.Context, s *state) (time.Duration, error) {
	if s.model == nil || s.model.StartTime == "" || s.pod == nil {
		return 0, nil
	}
	now := runOf(s.pod, s.model)
	last, known := r.runs.Swap(s.dashboard.UID, now)
	if before, ok := last.(run); known && ok && now.follows(before) {
		r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeWarning, v1alpha1.ReasonDashboardRestarted, "Restart",
			"The dashboard ended or hung, and was started again in pod %s: its log says how it ended", s.pod.Name)
	}
	return 0, nil
}
