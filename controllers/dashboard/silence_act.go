// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// freshSilence is how long a silent node is looked at as closely as can be: about as long as
// the dashboard needs to be started elsewhere.
const freshSilence = 15 * time.Second

// longSilence is how long a node may be silent before it is looked at less often:
// Kubernetes calls it lost by then, and replaceLost sees to the rest.
const longSilence = time.Minute

// replaceSilent starts a dashboard elsewhere whose node answers nobody, before Kubernetes
// calls the node lost. Only for a store that others reach: a directory goes with its node.
//
// Phases: the pod is told to end; if its kubelet does not confirm that, and everything
// else speaks for a lost node, the node is kept free and the pod taken away, whose
// StatefulSet makes another one. After a crash in between, the next operator finds a pod
// that is ending, and waits and looks for as long as this one. A pod in a store that
// others reach does no harm where it lives on, cut off: see decision 0021.
func (r *Reconciler) replaceSilent(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats != nil {
		r.silences.Delete(s.dashboard.UID)
		return 0, nil
	}
	found, _ := r.silences.Load(s.dashboard.UID)
	memory, _ := found.(*silence)
	if s.pod == nil || s.pod.Spec.NodeName == "" || s.coordinator == nil || s.blocked.Present() || !s.store.shared() {
		if memory != nil {
			memory.since = time.Time{} // Nobody looks any more: the dashboard is asked again.
		}
		return 0, nil
	}
	addr := addressOf(s.pod)
	if !r.quiet(s.dashboard, s.pod) && !s.deaf && (addr == "" || !unanswered(r.dial(ctx, addr))) {
		return 0, nil // It is on its way up, or hung.
	}
	if memory == nil {
		memory = &silence{}
		r.silences.Store(s.dashboard.UID, memory)
	}
	seen, err := r.lookAround(ctx, s, memory)
	if err != nil {
		return 0, err
	}
	next, why := remedyFor(seen)
	switch {
	case next == tellToEnd:
		return r.tellToEnd(ctx, s, memory)
	case next == giveUp:
		return r.giveUp(ctx, s)
	case seen.quiet >= silentFor:
		s.notReplaced(why)
	}
	return lookAgainAfter(seen.quiet), nil
}

// lookAgainAfter is how soon a silent node is looked at again. A look takes most of a second
// itself. It is pure.
func lookAgainAfter(quiet time.Duration) time.Duration {
	switch {
	case quiet > longSilence:
		return reconcile.Steady
	case quiet > freshSilence:
		return reconcile.Soon
	}
	return reconcile.Closely
}

// notReplaced has users told what keeps a dashboard on a silent node from being replaced.
func (s *state) notReplaced(why string) {
	if s.problem == nil {
		return
	}
	s.problem = &product.Problem{Reason: s.problem.Reason, Message: fmt.Sprintf(
		"nothing on node %s answers, where pod %s is, and it is not replaced yet: %s", s.pod.Spec.NodeName, s.pod.Name, why)}
}

// tellToEnd deletes a pod as a person does. A kubelet that lives ends it, and says so.
func (r *Reconciler) tellToEnd(ctx context.Context, s *state, memory *silence) (time.Duration, error) {
	err := r.Client.Delete(ctx, s.pod, client.GracePeriodSeconds(endGrace),
		client.Preconditions{UID: &s.pod.UID, ResourceVersion: &s.pod.ResourceVersion})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return reconcile.Soon, nil
	}
	if err != nil {
		return 0, fmt.Errorf("tell the pod on a silent node to end: %w", err)
	}
	memory.told = true
	r.endings.Store(s.dashboard.UID, sight{what: string(s.pod.UID), since: r.Clock.Now()})
	r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeWarning, v1alpha1.ReasonDashboardToldToEnd, "Replace",
		"Told pod %s to end: nothing on node %s has answered for %s", s.pod.Name, s.pod.Spec.NodeName, silentFor)
	return reconcile.Closely, nil
}

// giveUp takes a pod away without its kubelet. The node is kept free first: Kubernetes
// takes it for a good one for half a minute yet, and would start the next pod there. A
// crash before the last call leaves that only, for a minute.
func (r *Reconciler) giveUp(ctx context.Context, s *state) (time.Duration, error) {
	kept, err := r.keepOut(ctx, s)
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) { // As by a quota: trying harder does not help.
		s.notReplaced(err.Error())
		return reconcile.Later, nil
	}
	if err != nil || !kept {
		return reconcile.Soon, err
	}
	err = r.Client.Delete(ctx, s.pod, client.GracePeriodSeconds(0),
		client.Preconditions{UID: &s.pod.UID, ResourceVersion: &s.pod.ResourceVersion})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return reconcile.Soon, nil
	}
	if err != nil {
		return 0, fmt.Errorf("give up the pod on a silent node: %w", err)
	}
	r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeWarning, v1alpha1.ReasonDashboardLost, "Replace",
		"Gave up pod %s: its kubelet did not end it, and nothing else on node %s answers",
		s.pod.Name, s.pod.Spec.NodeName)
	return reconcile.Soon, nil
}
