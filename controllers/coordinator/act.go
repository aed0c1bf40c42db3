// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// changeTimeout bounds a change of the ensemble, which a quorum has to agree to.
const changeTimeout = 5 * time.Second

// act takes the one act that was decided. What etcd refuses is told, and decided
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
	case relieve:
		s.refused = s.relieve(ctx)
	case add, promote, remove, transfer:
		s.refused = r.change(ctx, s)
	}
	return reconcile.Soon, nil
}

// change asks the leader for a change of the ensemble.
func (r *Reconciler) change(ctx context.Context, s *state) error {
	d := s.decision
	leading := s.leading()
	if leading == nil {
		return fmt.Errorf("nobody leads")
	}
	c := s.client(leading)
	c.Timeout = changeTimeout
	switch d.verb {
	case add:
		m, err := c.AddLearner(ctx, d.place.peerURL)
		if err != nil {
			return fmt.Errorf("add %s: %w", d.place.pod, err)
		}
		r.tell(s, v1alpha1.ReasonMemberAdded, "Added %s as member %s", d.place.pod, m.ID)
	case remove:
		if err := c.Remove(ctx, d.id); err != nil {
			return fmt.Errorf("remove %s: %w", d.place.pod, err)
		}
		r.tell(s, v1alpha1.ReasonMemberRemoved, "Removed %s, which was member %s", d.place.pod, d.id)
	case promote:
		if err := c.Promote(ctx, d.id); err != nil {
			return fmt.Errorf("give %s a vote: %w", d.place.pod, err)
		}
	case transfer:
		if err := c.TransferLeadership(ctx, d.id); err != nil {
			return fmt.Errorf("let %s lead: %w", d.place.pod, err)
		}
	case keep, wait, hold, replace, relieve: // No change of the ensemble.
	}
	return nil
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

// relieve makes room on every member and takes the alarms back. Codis has no
// keys where the room is counted, so there is always some to make.
func (s *state) relieve(ctx context.Context) error {
	var errs []error
	for i := range s.ensemble.places {
		if p := &s.ensemble.places[i]; p.status != nil {
			c := s.client(p)
			c.Timeout = changeTimeout
			errs = append(errs, c.Compact(ctx), c.Defragment(ctx))
		}
	}
	if leading := s.leading(); leading != nil && errors.Join(errs...) == nil {
		for _, alarm := range s.ensemble.alarms {
			errs = append(errs, s.client(leading).Disarm(ctx, alarm))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make room: %w", err)
	}
	return nil
}
