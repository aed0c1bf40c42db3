// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// lockPeriod is how often a lock that keeps the dashboard from starting is looked at.
const lockPeriod = 5 * time.Second

// lasting is how long a dashboard must have run, and served in that time, for its end
// to be an accident.
const lasting = 10 * time.Second

// startAgain spares a dashboard the pause before its next start, which grows to
// minutes, where there is no reason for it. Nothing runs in the pod that goes. A
// directory of the pod's own would go with it.
func (r *Reconciler) startAgain(ctx context.Context, s *state) (time.Duration, error) {
	if s.coordinator == nil || !s.store.shared() && s.store.storage == nil {
		return 0, nil
	}
	ended := needlessPause(s.pod, s.coordinator)
	if ended == nil {
		return 0, nil
	}
	if err := r.replacePaused(ctx, s.pod); err != nil {
		return 0, err
	}
	r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeWarning, v1alpha1.ReasonDashboardRestarted, "Restart",
		"Replaced pod %s, where the dashboard ended after %s: %s, exit code %d", s.pod.Name,
		ended.FinishedAt.Sub(ended.StartedAt.Time), ended.Reason, ended.ExitCode)
	return reconcile.Soon, nil
}

// needlessPause returns how a dashboard ended that waits for its next start, if the
// store that it gave up on has come back since, or it ended by accident; nil if not.
// It is pure.
func needlessPause(pod *corev1.Pod, c *v1alpha1.CodisCoordinator) *corev1.ContainerStateTerminated {
	serves := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAvailable)
	if pod == nil || pod.DeletionTimestamp != nil || !pauses(pod.Status.ContainerStatuses, naming.ComponentDashboard) ||
		serves == nil || serves.Status != metav1.ConditionTrue {
		return nil
	}
	for _, status := range pod.Status.ContainerStatuses {
		ended := status.LastTerminationState.Terminated
		if ended == nil || status.Name != naming.ComponentDashboard || lock.Parse(ended.Message).Present() {
			continue // One that may not start waits for the lock.
		}
		if ended.FinishedAt.Before(&serves.LastTransitionTime) || accident(pod, ended) {
			return ended
		}
	}
	return nil
}

// accident tells whether a dashboard served before it ended: its pod was ready in that
// run. One that cannot take its lock runs for half a minute and is never ready.
func accident(pod *corev1.Pod, ended *corev1.ContainerStateTerminated) bool {
	return ended.FinishedAt.Sub(ended.StartedAt.Time) >= lasting &&
		slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse &&
				ended.StartedAt.Before(&c.LastTransitionTime)
		})
}

// retryLock spares a dashboard that was kept from starting by a lock the pause before
// it looks again, once the lock is free. It looks itself before it takes it; where it
// sees the lock otherwise than the operator, it is not asked again for a while.
func (r *Reconciler) retryLock(ctx context.Context, s *state) (time.Duration, error) {
	if s.pod == nil || s.pod.DeletionTimestamp != nil || s.blocked.Present() || s.coordinator == nil ||
		!s.store.shared() || s.store.Addr == "" || lockProblem(s.pod, product.Name(s.dashboard)) == nil || !bides(s.pod) {
		return 0, nil
	}
	now := r.Clock.Now()
	if next, ok := r.asked.Load(s.dashboard.UID); ok {
		due, _ := next.(time.Time)
		if left := due.Sub(now); left > 0 {
			return left, nil
		}
	}
	r.asked.Store(s.dashboard.UID, now.Add(lockPeriod))
	wanted, err := r.lockIn(ctx, s.dashboard, s.store.status(s.coordinator.Spec.Type))
	if _, told := errors.AsType[*product.Problem](err); told {
		return lockPeriod, nil // The coordinator tells of it.
	}
	if err != nil {
		return 0, err
	}
	if found, err := lock.Check(ctx, wanted); err != nil || found.Present() {
		return lockPeriod, nil //nolint:nilerr // The coordinator tells of a store that is silent.
	}
	r.asked.Store(s.dashboard.UID, now.Add(time.Minute))
	return reconcile.Soon, r.replacePaused(ctx, s.pod)
}

// replacePaused deletes a pod in which nothing runs.
func (r *Reconciler) replacePaused(ctx context.Context, pod *corev1.Pod) error {
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("start the dashboard again: %w", err)
	}
	return nil
}

// bides tells whether whoever looks at the lock waits for its next start.
func bides(pod *corev1.Pod) bool {
	return pauses(pod.Status.InitContainerStatuses, podtemplate.ConfigContainer) ||
		pauses(pod.Status.ContainerStatuses, naming.ComponentDashboard)
}

// pauses tells whether a container waits for its next start.
func pauses(statuses []corev1.ContainerStatus, name string) bool {
	return slices.ContainsFunc(statuses, func(s corev1.ContainerStatus) bool {
		return s.Name == name && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
	})
}
