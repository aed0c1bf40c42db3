// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package reconcile holds what all reconcilers do alike: running steps, and how
// soon to look again. It refuses to know any kind.
package reconcile

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
)

// How soon a reconciler looks again at what sends no events.
const (
	// Closely is for a master that does not answer, since clients wait, and for a node where
	// nothing does.
	Closely = 100 * time.Millisecond
	// Soon is for work whose next step only waits for a process to answer.
	Soon = 300 * time.Millisecond
	// Later is for work that waits for something slow or somebody else.
	Later = time.Second
	// Steady is for a converged object.
	Steady = 2 * time.Second
)

// Step is a part of a reconciliation. It returns how soon it wants to be run
// again, 0 for never; an error is for what was not expected.
type Step func(ctx context.Context) (time.Duration, error)

// Run runs the steps in order. A failing step does not stop the next ones: a
// quota error must not block a promotion. A step that needs what an earlier one
// found checks that it is there. The soonest wish wins.
func Run(ctx context.Context, steps ...Step) (ctrl.Result, error) {
	var errs []error
	var soonest time.Duration
	for _, step := range steps {
		after, err := step(ctx)
		if err != nil {
			errs = append(errs, err)
		}
		soonest = Soonest(soonest, after)
	}
	return ctrl.Result{RequeueAfter: soonest}, errors.Join(errs...)
}

// Soonest returns the shorter of two wishes, where 0 means none.
func Soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Paused tells whether a person asked the operator to leave an object alone.
func Paused(object client.Object) bool {
	return object.GetAnnotations()[v1alpha1.AnnotationPaused] == "true"
}

// Unexpected drops errors that a person has to mend and a retry does not: they
// are told by a condition, and a change of the objects wakes the reconciler.
func Unexpected(err error) error {
	if errors.Is(err, apply.ErrCollision) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// Done is the end of a pass. A conflict says that the cache was behind: it is
// retried soon and is no error to tell. With an error the queue's back-off
// decides when to look again.
func Done(result ctrl.Result, errs ...error) (ctrl.Result, error) {
	err := errors.Join(errs...)
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: Soon}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	return result, nil
}
