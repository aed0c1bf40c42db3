// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/product"
)

// proofPeriod is how often a store that cannot be read is asked again.
const proofPeriod = 30 * time.Second

// proof is what was found out of one run of a dashboard.
type proof struct {
	// run of the dashboard, and where it keeps its topology.
	run string
	// due is when a store that could not be read is asked again.
	due time.Time
	// found is what there is to record; nil before the store could be read.
	found *v1alpha1.StoreStatus
}

// proveLock records by what the lock of the product is known as that of this
// dashboard, while it answers and has the lock: when it is deleted, that alone tells
// that the product is its own. Each run is looked at once. That another one has the
// lock is recorded as well, and never forgotten.
func (r *Reconciler) proveLock(ctx context.Context, s *state) (time.Duration, error) {
	d := s.dashboard
	s.recordHolder(r.Domain.DashboardAddr(d.Namespace, d.Name))
	if d.Status.Store != nil && s.pod != nil && lockProblem(s.pod, product.Name(d)) != nil {
		d.Status.Store.Lock = nil
		return 0, nil //nolint:nilerr // That it is another's is recorded.
	}
	if s.stats == nil || s.model == nil || s.pod == nil || s.coordinator == nil ||
		!s.store.shared() || s.store.Addr == "" {
		return 0, nil
	}
	now, run := r.Clock.Now(), runOf(s.pod, s.model).String()+" "+s.store.Addr
	last, _ := r.proofs.Load(d.UID)
	known, _ := last.(proof)
	switch {
	case known.run == run && known.found != nil:
		d.Status.Store = heldAlso(known.found, d.Status.Store) // The write of an earlier pass may have met a conflict.
		return 0, nil
	case known.run == run && now.Before(known.due):
		return known.due.Sub(now), nil
	}
	r.proofs.Store(d.UID, proof{run: run, due: now.Add(proofPeriod)})
	kept, err := r.heldLock(ctx, s)
	if err != nil {
		return proofPeriod, nil //nolint:nilerr // The coordinator tells of a store that is silent.
	}
	d.Status.Store = heldAlso(kept, d.Status.Store)
	r.proofs.Store(d.UID, proof{run: run, found: kept.DeepCopy()})
	return 0, nil
}

// recordHolder remembers another dashboard that keeps, or kept, the pod of this one, which
// is at own, from the lock.
func (s *state) recordHolder(own string) {
	status := &s.dashboard.Status
	if s.pod == nil || s.coordinator == nil || status.Store != nil && status.Store.HeldBy != "" {
		return
	}
	holder := holderSeen(s.pod, own)
	if holder == "" {
		return
	}
	if status.Store == nil {
		status.Store = s.store.status(s.coordinator.Spec.Type)
	}
	if status.Store != nil {
		status.Store.HeldBy, s.heldAnew = holder, true
	}
}

// heldAlso is what was found out of a store, and whose lock it was before.
func heldAlso(found, before *v1alpha1.StoreStatus) *v1alpha1.StoreStatus {
	found = found.DeepCopy()
	if before != nil && before.HeldBy != "" {
		found.HeldBy = before.HeldBy
	}
	return found
}

// heldLock compares what the dashboard says of itself with the lock in the store.
func (r *Reconciler) heldLock(ctx context.Context, s *state) (*v1alpha1.StoreStatus, error) {
	kept := s.store.status(s.coordinator.Spec.Type)
	wanted, err := r.lockIn(ctx, s.dashboard, kept)
	if err != nil {
		return nil, err
	}
	view, err := lock.Read(ctx, wanted)
	if err != nil {
		return nil, err
	}
	model := s.model // The dashboard was asked before the store.
	session := lock.Session{Token: model.Token, StartTime: model.StartTime}
	// Its address may be that of another pod by now, which says where it is itself.
	own := session.Known() && model.AdminAddr == wanted.Holder && model.Product == wanted.Product
	switch {
	case view.State != lock.Taken || !own:
	case view.Addr != wanted.Holder:
		kept.HeldBy = view.Addr
	case session == view.Session:
		kept.Lock = &v1alpha1.StoreLock{Owner: s.dashboard.UID, Token: session.Token, StartTime: session.StartTime}
	}
	return kept, nil
}

// stray tells whether the pods of a dashboard are not its own any more. It is pure.
func stray(d *v1alpha1.CodisDashboard, set *appsv1.StatefulSet, pod *corev1.Pod) bool {
	if set != nil {
		return !isOwned(set, d)
	}
	return pod != nil && pod.DeletionTimestamp == nil && metav1.GetControllerOf(pod) == nil
}

// processOf tells whether a dashboard is seen gone, and what that waits for. That its
// pod is not there says nothing while a StatefulSet makes another one. It is pure.
func processOf(set *appsv1.StatefulSet, pod *corev1.Pod) (process, string) {
	wanted := set != nil && set.DeletionTimestamp == nil && ptr.Deref(set.Spec.Replicas, 1) > 0
	switch {
	case pod != nil && !wanted:
		return processEnding, fmt.Sprintf("pod %s on node %s has not ended", pod.Name, pod.Spec.NodeName)
	case pod != nil:
		return processRunning, fmt.Sprintf("pod %s on node %s is told to end", pod.Name, pod.Spec.NodeName)
	case wanted:
		return processRunning, "the dashboard's StatefulSet is told to start no pod"
	}
	return processGone, ""
}
