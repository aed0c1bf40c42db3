// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/topology"
)

// patience is how long a deletion waits for a pod to end and for a store to
// answer: a dashboard must not stay for ever because its store went before it.
const patience = 2 * time.Minute

// finalize removes what the dashboard kept in a store that outlives it, so that a
// namesake starts clean.
//
// Phases: end the dashboard and see its pod gone; take the lock, so that nobody
// starts meanwhile; remove the product; let the object go. Never in another order:
// a dashboard that runs would write on below what was removed. Whatever another
// dashboard has locked is its own. After a crash the next pass finds what is left.
func (r *Reconciler) finalize(ctx context.Context, s *state) (time.Duration, error) {
	if !controllerutil.ContainsFinalizer(s.dashboard, v1alpha1.Finalizer) {
		return 0, nil
	}
	kept, err := r.keptElsewhere(ctx, s.dashboard)
	if err != nil {
		return 0, err
	}
	if kept == nil {
		return 0, reconcile.Release(ctx, r.Client, s.dashboard)
	}
	s.store.Name = strings.ToLower(string(kept.Kind))
	waits, err := r.end(ctx, s)
	if err != nil {
		return 0, err
	}
	if waits == "" {
		if err = r.removeTopology(ctx, s.dashboard, kept); err == nil {
			return 0, reconcile.Release(ctx, r.Client, s.dashboard)
		}
		waits = err.Error()
	}
	if r.Clock.Since(s.dashboard.DeletionTimestamp.Time) > patience {
		r.left(s.dashboard, kept, waits)
		return 0, reconcile.Release(ctx, r.Client, s.dashboard)
	}
	before := s.dashboard.DeepCopy()
	conditions.Set(&s.dashboard.Status.Conditions, s.dashboard.Generation, conditions.False(
		v1alpha1.ConditionReady, v1alpha1.ReasonRemovingTopology, "deleting: "+waits))
	return reconcile.Later, r.patch(ctx, before, s)
}

// keptElsewhere is the store that has the topology of a dashboard and stays when it
// goes; nil if there is none. Members that the operator runs go with their
// coordinator.
func (r *Reconciler) keptElsewhere(ctx context.Context, d *v1alpha1.CodisDashboard) (*v1alpha1.StoreStatus, error) {
	kept := d.Status.Store
	if kept == nil || kept.Type == v1alpha1.CoordinatorExternal {
		return kept, nil
	}
	coordinator := &v1alpha1.CodisCoordinator{}
	err := r.Reader.Get(ctx, key(d, d.Spec.CoordinatorRef.Name), coordinator)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get coordinator: %w", err)
	case coordinator.DeletionTimestamp != nil:
		return nil, nil
	}
	return kept, nil
}

// end stops the dashboard, and says what it waits for; nothing once it is seen
// gone, past the cache.
func (r *Reconciler) end(ctx context.Context, s *state) (waits string, err error) {
	d, set, pod := s.dashboard, &appsv1.StatefulSet{}, &corev1.Pod{}
	err = r.Reader.Get(ctx, key(d, naming.Dashboard(d.Name)), set)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return "", fmt.Errorf("get statefulset: %w", err)
	case err == nil && !isOwned(set, d):
		return "", nil // The pod is not the dashboard's either.
	case err == nil && ptr.Deref(set.Spec.Replicas, 1) > 0:
		before := set.DeepCopy()
		set.Spec.Replicas = new(int32(0))
		if err := client.IgnoreNotFound(r.Client.Patch(ctx, set, client.MergeFrom(before))); err != nil {
			return "", fmt.Errorf("stop the dashboard: %w", err)
		}
	}
	err = r.Reader.Get(ctx, key(d, naming.DashboardPod(d.Name)), pod)
	if err != nil {
		return "", client.IgnoreNotFound(err)
	}
	s.pod = pod
	if _, err := r.replaceLost(ctx, s); err != nil {
		return "", err
	}
	return fmt.Sprintf("pod %s on node %s has not ended", pod.Name, pod.Spec.NodeName), nil
}

// removeTopology removes the product from its store, or leaves it and says so. An
// error is for what may pass.
func (r *Reconciler) removeTopology(
	ctx context.Context, d *v1alpha1.CodisDashboard, kept *v1alpha1.StoreStatus,
) error {
	own, err := r.lockOf(ctx, d, kept)
	if err != nil {
		problem := product.AsProblem(err, "")
		if problem.Reason == "" {
			return err
		}
		r.left(d, kept, problem.Message)
		return nil // In a namespace that goes, Secrets go first.
	}
	found, err := lock.Take(ctx, own)
	switch {
	case err != nil:
		return err
	case found.Present():
		r.left(d, kept, "the dashboard at "+found.Addr+" has its lock")
		return nil
	}
	if err := own.Store.Remove(ctx, topology.Root(product.Name(d))); err != nil {
		return err
	}
	r.Recorder.Eventf(d, nil, corev1.EventTypeNormal, v1alpha1.ReasonTopologyRemoved, "Delete",
		"Removed %s from the %s at %s", topology.Root(product.Name(d)), kept.Kind, own.Store.Addr)
	return nil
}

// lockOf is the lock of the dashboard in a store.
func (r *Reconciler) lockOf(
	ctx context.Context, d *v1alpha1.CodisDashboard, kept *v1alpha1.StoreStatus,
) (lock.Lock, error) {
	store := topology.Store{Kind: strings.ToLower(string(kept.Kind)), Addr: strings.Join(kept.Endpoints, ",")}
	if kept.AuthSecretName != "" {
		user, password, err := product.Login(ctx, r.Reader, d.Namespace, kept.AuthSecretName)
		if err != nil {
			return lock.Lock{}, err
		}
		store.Auth = user + ":" + password
	}
	return lock.Lock{Store: store, Product: product.Name(d), Holder: r.Domain.DashboardAddr(d.Namespace, d.Name)}, nil
}

// left tells that the topology stays behind.
func (r *Reconciler) left(d *v1alpha1.CodisDashboard, kept *v1alpha1.StoreStatus, why string) {
	r.Recorder.Eventf(d, nil, corev1.EventTypeWarning, v1alpha1.ReasonTopologyLeft, "Delete",
		"Left %s in the %s at %s: %s; remove it before the product is made again, unless another dashboard serves it",
		topology.Root(product.Name(d)), kept.Kind, strings.Join(kept.Endpoints, ","), why)
}
