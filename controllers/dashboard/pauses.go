// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
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

// startAgain spares a dashboard the pause before its next start where there is no
// reason for it. Nothing runs in the pod that goes.
func (r *Reconciler) startAgain(ctx context.Context, s *state) (time.Duration, error) {
	if s.coordinator == nil || !s.store.shared() && s.store.storage == nil || !needlessPause(s.pod, s.coordinator) {
		return 0, nil
	}
	return reconcile.Soon, r.replacePaused(ctx, s.pod)
}

// retryLock spares a dashboard that was kept from starting by a lock the pause before
// it looks again, once the lock is free. It looks itself before it takes it.
func (r *Reconciler) retryLock(ctx context.Context, s *state) (time.Duration, error) {
	if s.pod == nil || s.pod.DeletionTimestamp != nil || s.coordinator == nil || !s.store.shared() ||
		lockProblem(s.pod, product.Name(s.dashboard)) == nil ||
		!pauses(s.pod.Status.InitContainerStatuses, podtemplate.ConfigContainer) {
		return 0, nil
	}
	if asked, ok := r.asked.Load(s.dashboard.UID); ok {
		last, _ := asked.(time.Time)
		if left := lockPeriod - r.Clock.Since(last); left > 0 {
			return left, nil
		}
	}
	r.asked.Store(s.dashboard.UID, r.Clock.Now())
	wanted, err := r.lockOf(ctx, s.dashboard, s.store.status(s.coordinator.Spec.Type))
	if err != nil {
		return lockPeriod, client.IgnoreNotFound(err)
	}
	if found, err := lock.Check(ctx, wanted); err != nil || found.Present() {
		return lockPeriod, nil //nolint:nilerr // The coordinator tells of a store that is silent.
	}
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

// pauses tells whether a container waits for its next start.
func pauses(statuses []corev1.ContainerStatus, name string) bool {
	return slices.ContainsFunc(statuses, func(s corev1.ContainerStatus) bool {
		return s.Name == name && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
	})
}

// lasting is how long a dashboard must have run for its end to be an accident: one
// that cannot start ends sooner.
const lasting = 10 * time.Second

// needlessPause tells whether a dashboard waits for its next start although the
// store that it gave up on has come back since, or it ended by accident: the pause
// between starts grows to minutes. A directory of the pod's own would go with it.
func needlessPause(pod *corev1.Pod, c *v1alpha1.CodisCoordinator) bool {
	serves := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAvailable)
	if pod == nil || pod.DeletionTimestamp != nil || podtemplate.Ended(pod) || !podtemplate.Dead(pod) ||
		serves == nil || serves.Status != metav1.ConditionTrue {
		return false
	}
	for _, status := range pod.Status.ContainerStatuses {
		ended := status.LastTerminationState.Terminated
		if ended == nil || status.Name != naming.ComponentDashboard {
			continue
		}
		return ended.FinishedAt.Before(&serves.LastTransitionTime) || ended.FinishedAt.Sub(ended.StartedAt.Time) >= lasting
	}
	return false
}
