// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// overdue is how long after the grace of a pod a kubelet may take to say that it
// has ended: one that lives kills what is left at the end of the grace.
const overdue = 5 * time.Second

// reasonTaint is the reason of the condition DisruptionTarget of a pod that was deleted
// for a taint (kubernetes.io/docs/concepts/workloads/pods/disruptions).
const reasonTaint = "DeletionByTaintManager"

// leaveLostNodes has Kubernetes take the pod away as soon as it calls the node
// unreachable, instead of after five minutes. What the user says of that counts.
func leaveLostNodes(spec *corev1.PodSpec) {
	if slices.ContainsFunc(spec.Tolerations, func(t corev1.Toleration) bool {
		return t.Key == "" || t.Key == corev1.TaintNodeUnreachable
	}) {
		return
	}
	spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
		Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists,
		Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(0)),
	})
}

// replaceLost frees the name of a pod whose node is lost, so that the dashboard is
// started elsewhere: nobody there says that it has ended, and nobody will.
//
// The old one may live. It has been taken away, its kubelet is silent beyond its
// grace, and so is the dashboard itself; what it would do it has to store, where
// others hold the majority. With a directory of its own it would not have to, so
// that its pod is waited for. A crash before the call changes nothing.
func (r *Reconciler) replaceLost(ctx context.Context, s *state) (time.Duration, error) {
	if s.pod == nil || s.pod.DeletionTimestamp == nil || s.blocked.Present() || !s.store.shared() || !takenAway(s.pod) {
		return 0, nil
	}
	if left := overdue - r.graceOver(s.dashboard, s.pod, r.Clock.Now()); left > 0 {
		return left, nil
	}
	if answers(ctx, s) {
		return reconcile.Later, nil
	}
	err := r.Client.Delete(ctx, s.pod, client.GracePeriodSeconds(0),
		client.Preconditions{UID: &s.pod.UID, ResourceVersion: &s.pod.ResourceVersion})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return reconcile.Soon, nil
	}
	if err != nil {
		return 0, fmt.Errorf("give up the pod of a lost node: %w", err)
	}
	r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeWarning, v1alpha1.ReasonDashboardLost, "Replace",
		"Gave up pod %s on node %s: neither kubelet there nor the dashboard answers", s.pod.Name, s.pod.Spec.NodeName)
	return reconcile.Soon, nil
}

// graceOver is how long the grace of a pod that is ending is over, since the operator saw
// that first: by its own clock, which that of the API server may be far behind or ahead of. It is negative
// while the grace lasts.
func (r *Reconciler) graceOver(d *v1alpha1.CodisDashboard, pod *corev1.Pod, now time.Time) time.Duration {
	first := sight{what: string(pod.UID), since: now}
	if known, ok := r.endings.Load(d.UID); ok {
		if last, ok := known.(sight); ok && last.what == first.what {
			first = last
		}
	}
	r.endings.Store(d.UID, first)
	return now.Sub(first.since) - time.Duration(ptr.Deref(pod.DeletionGracePeriodSeconds, 0))*time.Second
}

// takenAway tells whether Kubernetes itself deleted the pod for a taint of its node, as
// that of a node it has not heard of. A kubelet that is only slow to end a pod which
// somebody else deleted lives, and so may the dashboard.
func takenAway(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == reasonTaint
	})
}

// answers tells whether the dashboard of a pod that was taken away says anything.
func answers(ctx context.Context, s *state) bool {
	if s.pod.Status.PodIP == "" {
		return false
	}
	api := codis.Dashboard{Addr: net.JoinHostPort(s.pod.Status.PodIP, strconv.Itoa(naming.PortDashboard))}
	_, _, err := api.Version(ctx)
	_, refused := errors.AsType[*codis.RemoteError](err)
	return err == nil || refused
}
