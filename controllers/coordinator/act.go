// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/internal/reconcile"
)

// changeTimeout bounds a change of the ensemble, which a quorum has to agree to.
const changeTimeout = 5 * time.Second

// act takes the one act that was decided. What the ensemble refuses is told, and decided
// anew in the next pass: it has rules of its own about who may be added and
// removed. A crash after any act leaves a list of members that the next pass
// goes on from.
func (r *Reconciler) act(ctx context.Context, s *state) (time.Duration, error) {
	if !s.observed || !s.written {
		return reconcile.Later, nil // What pods may become is written down before anybody is made a member.
	}
	s.decision = decide(&s.ensemble)
	d := s.decision
	switch d.verb {
	case keep:
		return reconcile.Steady, nil
	case wait:
		return reconcile.Soon, nil
	case hold:
		return reconcile.Later, nil
	case replace:
		return reconcile.Soon, r.replacePod(ctx, s)
	case add, promote, remove, transfer, relieve:
		s.refused = s.keeper.change(ctx, r, s)
	}
	return reconcile.Soon, nil
}

func (r *Reconciler) tell(s *state, reason, format string, args ...any) {
	r.Recorder.Eventf(s.coordinator, nil, corev1.EventTypeNormal, reason, "ChangeMembers", format, args...)
}

// replacePod deletes the very pod that was looked at.
func (r *Reconciler) replacePod(ctx context.Context, s *state) error {
	pod := s.pods[s.decision.place.ordinal]
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("replace pod %s: %w", pod.Name, err)
	}
	return nil
}
