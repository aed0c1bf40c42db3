// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/topology"
	"github.com/codis-io/codis-operator/internal/watch"
)

// patience is how long a removal is tried: a dashboard must not stay for ever because
// its store went before it, or its node.
const patience = 2 * time.Minute

// hold keeps a dashboard from going before its product is removed, where others reach
// the store. It tells whether it had to.
func (r *Reconciler) hold(ctx context.Context, s *state) (bool, error) {
	if s.coordinator == nil {
		return false, nil // Nothing was made yet.
	}
	if kept, _ := storeOf(s.coordinator, true); !kept.shared() {
		return false, nil
	}
	return reconcile.Hold(ctx, r.Client, s.dashboard, s.dashboard.DeepCopy())
}

// finalize removes what a deleted dashboard kept in a store that outlives it, so that
// a namesake starts clean.
//
// Phases: pin the lock while it is that of this dashboard, so that nobody else can
// take the product any more; end the dashboard and see its pod gone; remove the
// product, the tombstone last; let the object go. Never in another order: a dashboard
// that runs would write on below what was removed, and one that ends releases a lock
// that is not pinned, after which nothing tells whose the product is. Each pass looks
// at everything anew, so that whoever comes after a crash goes on.
func (r *Reconciler) finalize(ctx context.Context, s *state) (time.Duration, error) {
	d := s.dashboard
	if !controllerutil.ContainsFinalizer(d, v1alpha1.Finalizer) {
		return 0, nil
	}
	kept, err := r.keptElsewhere(ctx, d)
	if err != nil {
		return 0, err
	}
	if kept == nil {
		r.tidy(ctx, d)
		return 0, r.release(ctx, d)
	}
	before := d.DeepCopy()
	r.begin(d, kept)
	t, wanted, set, err := r.look(ctx, d, kept)
	if err != nil {
		return 0, err
	}
	next, why := decide(t)
	if next == removeIt || next == pinIt {
		next, why = r.change(ctx, d, wanted, t, next)
	}
	if next == leaveIt {
		next, why = r.takeBack(ctx, wanted, &t, why)
	}
	switch next {
	case letGo:
		_ = wanted.Topology().Sweep(ctx) // Of an etcd, an empty directory may be left, which means nothing.
		return 0, r.release(ctx, d)
	case leaveIt:
		r.leave(ctx, d, t, why)
		return 0, r.release(ctx, d)
	case endIt:
		err = r.stop(ctx, set)
	case lookAgain, pinIt, removeIt: // The next pass goes on.
	}
	conditions.Set(&d.Status.Conditions, d.Generation, conditions.False(
		v1alpha1.ConditionReady, v1alpha1.ReasonRemovingTopology, "deleting: "+why))
	return reconcile.Later, errors.Join(err, r.patch(ctx, before, s))
}

// begin records when the removal was first tried, also where nothing can be recorded.
func (r *Reconciler) begin(d *v1alpha1.CodisDashboard, kept *v1alpha1.StoreStatus) {
	first, _ := r.removals.LoadOrStore(d.UID, r.Clock.Now())
	if at, ok := first.(time.Time); ok && kept.RemovalTime == nil {
		kept.RemovalTime = &metav1.Time{Time: at}
	}
	d.Status.Store = kept
}

// tidy ends what an earlier pass began in a store that goes with its coordinator since:
// its volumes may stay, and a namesake would find a lock that nobody can take. It is
// tried once, for nobody waits for members that go. What may be removed in part is
// removed; a dashboard that has not ended releases its lock itself.
func (r *Reconciler) tidy(ctx context.Context, d *v1alpha1.CodisDashboard) {
	kept := d.Status.Store.DeepCopy()
	if kept == nil || kept.Lock == nil {
		return // Nothing was pinned without it.
	}
	r.begin(d, kept)
	t, wanted, _, err := r.look(ctx, d, kept)
	switch {
	case err == nil && t.pinned() && t.process == processGone:
		err = lock.Remove(ctx, wanted, t.view)
	case err == nil && t.ownTombstone():
		err = lock.Unpin(ctx, wanted, t.view)
	}
	if err = errors.Join(err, t.problem); err != nil {
		log.FromContext(ctx).Info("Left a product in a store that goes", "why", err.Error())
	}
}

// release lets the object go.
func (r *Reconciler) release(ctx context.Context, d *v1alpha1.CodisDashboard) error {
	if err := reconcile.Release(ctx, r.Client, d); err != nil {
		return err
	}
	r.removals.Delete(d.UID)
	r.takenPods.Delete(key(d, naming.DashboardPod(d.Name)))
	return nil
}

// keptElsewhere is the store that has the topology of a dashboard and stays when it
// goes; nil if there is none. Members that the operator runs go with their
// coordinator, and that with its cluster.
func (r *Reconciler) keptElsewhere(ctx context.Context, d *v1alpha1.CodisDashboard) (*v1alpha1.StoreStatus, error) {
	coordinator := &v1alpha1.CodisCoordinator{}
	err := r.Reader.Get(ctx, key(d, d.Spec.CoordinatorRef.Name), coordinator)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get coordinator: %w", err)
	}
	exists, kept := err == nil, d.Status.Store.DeepCopy()
	if kept == nil && exists {
		inUse, _ := storeOf(coordinator, true)
		kept = inUse.status(coordinator.Spec.Type)
	}
	if kept == nil || kept.Type == v1alpha1.CoordinatorExternal {
		return kept, nil
	}
	if !exists || coordinator.DeletionTimestamp != nil {
		return nil, nil
	}
	goes, err := watch.OwnerGoes(ctx, r.Reader, coordinator)
	if err != nil {
		return nil, fmt.Errorf("get the cluster of coordinator %s: %w", coordinator.Name, err)
	}
	if goes {
		return nil, nil
	}
	return kept, nil
}

// look finds out all that the next step is based on, past the cache. The pods are
// looked at after the object was read: the garbage collector makes them orphans first,
// and takes the mark of that off the object then.
func (r *Reconciler) look(
	ctx context.Context, d *v1alpha1.CodisDashboard, kept *v1alpha1.StoreStatus,
) (t teardown, wanted lock.Lock, set *appsv1.StatefulSet, err error) {
	t = teardown{
		uid:      d.UID,
		orphaned: controllerutil.ContainsFinalizer(d, metav1.FinalizerOrphanDependents),
		retained: d.Spec.ReclaimPolicy == v1alpha1.ReclaimRetain,
		late:     r.Clock.Since(kept.RemovalTime.Time) > patience,
	}
	t.heldBy = kept.HeldBy
	if l := kept.Lock; l != nil && l.Owner == d.UID {
		t.recorded = lock.Session{Token: l.Token, StartTime: l.StartTime}
	}
	if metav1.GetControllerOf(d) != nil {
		goes, err := watch.OwnerGoes(ctx, r.Reader, d)
		if err != nil {
			return t, wanted, nil, fmt.Errorf("get the cluster of dashboard %s: %w", d.Name, err)
		}
		t.goesOn = !goes
	}
	set, pod, err := r.workload(ctx, d)
	if err != nil {
		return t, wanted, nil, err
	}
	t.orphaned = t.orphaned || stray(d, set, pod)
	t.process, t.waits = processOf(set, pod)
	if t.process == processGone {
		if why := r.mayLive(ctx, d); why != "" {
			t.process, t.waits = processEnding, why
		}
	}
	wanted, t.problem = r.lockIn(ctx, d, kept) // In a namespace that goes, Secrets go first.
	if t.problem == nil {
		t.view, t.problem = lock.Read(ctx, wanted)
	}
	return t, wanted, set, nil
}

// lockIn is the lock of the dashboard in a store.
func (r *Reconciler) lockIn(
	ctx context.Context, d *v1alpha1.CodisDashboard, kept *v1alpha1.StoreStatus,
) (lock.Lock, error) {
	wanted := lock.Lock{
		Store: strings.ToLower(string(kept.Kind)), Addr: strings.Join(kept.Endpoints, ","),
		Product: product.Name(d), Holder: r.Domain.DashboardAddr(d.Namespace, d.Name),
		Foreign: kept.Type == v1alpha1.CoordinatorExternal,
	}
	if kept.AuthSecretName == "" {
		return wanted, nil
	}
	user, password, err := product.Login(ctx, r.Reader, d.Namespace, kept.AuthSecretName)
	wanted.Auth = user + ":" + password
	return wanted, err
}

// change pins the lock, or removes what is left, and says what comes next.
func (r *Reconciler) change(
	ctx context.Context, d *v1alpha1.CodisDashboard, wanted lock.Lock, t teardown, next verdict,
) (verdict, string) {
	if next == pinIt {
		pinned, err := lock.Pin(ctx, wanted, t.view, lock.Tombstone{
			Owner: string(d.UID), Dashboard: d.Namespace + "/" + d.Name,
		})
		switch {
		case err != nil:
			return t.unless(lookAgain, err.Error())
		case pinned:
			return endIt, t.waits
		}
		return t.unless(lookAgain, "its lock was taken or released just now")
	}
	err := lock.Remove(ctx, wanted, t.view)
	switch {
	case err == nil:
		r.removed(ctx, d)
		return letGo, ""
	case errors.Is(err, topology.ErrUnfinished):
		return lookAgain, err.Error() // It gets less with each time.
	}
	return t.unless(lookAgain, err.Error())
}

// takeBack makes a lock free again that was pinned in vain, before a product is left.
// Once the dashboard is gone, some of the product may be removed: then nobody may
// start on it, unless the lock was another one's all along.
func (r *Reconciler) takeBack(ctx context.Context, wanted lock.Lock, t *teardown, why string) (verdict, string) {
	if !t.pinned() && !t.missed() {
		return leaveIt, why
	}
	if t.missed() || t.process != processGone {
		err := lock.Unpin(ctx, wanted, t.view)
		switch {
		case err == nil:
			t.view = lock.View{}
			return leaveIt, why
		case !t.late:
			return lookAgain, err.Error()
		}
	}
	return leaveIt, why + "; its lock is pinned, and no dashboard can start on it"
}

// removed tells that the product is gone.
func (r *Reconciler) removed(ctx context.Context, d *v1alpha1.CodisDashboard) {
	kept, root := d.Status.Store, topology.Root(product.Name(d))
	log.FromContext(ctx).Info("Removed a product", "root", root, "endpoints", kept.Endpoints)
	r.Recorder.Eventf(d, nil, corev1.EventTypeNormal, v1alpha1.ReasonTopologyRemoved, "Delete",
		"Removed %s from the %s at %s", root, kept.Kind, strings.Join(kept.Endpoints, ","))
}

// leave tells that the product stays. A namespace that goes takes no events, so that
// it is logged, too.
func (r *Reconciler) leave(ctx context.Context, d *v1alpha1.CodisDashboard, t teardown, why string) {
	kept, root := d.Status.Store, topology.Root(product.Name(d))
	at := strings.Join(kept.Endpoints, ",")
	log.FromContext(ctx).Info("Left a product", "root", root, "endpoints", kept.Endpoints, "why", why)
	if (t.orphaned || t.retained || t.goesOn) && !t.pinned() {
		r.Recorder.Eventf(d, nil, corev1.EventTypeNormal, v1alpha1.ReasonTopologyLeft, "Delete",
			"Left %s in the %s at %s: %s", root, kept.Kind, at, why)
		return
	}
	command := "zkCli.sh -server " + kept.Endpoints[0] + " deleteall " + root
	if kept.Kind == v1alpha1.StoreEtcd {
		command = "ETCDCTL_API=2 etcdctl --endpoints http://" + kept.Endpoints[0] + " rm --recursive " + root
	}
	r.Recorder.Eventf(d, nil, corev1.EventTypeWarning, v1alpha1.ReasonTopologyLeft, "Delete",
		"Left %s in the %s at %s: %s. Unless another dashboard serves it, remove it before a namesake is made: %s",
		root, kept.Kind, at, why, command)
}

// workload reads the StatefulSet and the pod of a dashboard past the cache; nil for none.
func (r *Reconciler) workload(
	ctx context.Context, d *v1alpha1.CodisDashboard,
) (*appsv1.StatefulSet, *corev1.Pod, error) {
	set, pod := &appsv1.StatefulSet{}, &corev1.Pod{}
	err := r.Reader.Get(ctx, key(d, naming.Dashboard(d.Name)), set)
	if apierrors.IsNotFound(err) {
		set, err = nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get statefulset: %w", err)
	}
	err = r.Reader.Get(ctx, key(d, naming.DashboardPod(d.Name)), pod)
	if apierrors.IsNotFound(err) {
		pod, err = nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get pod: %w", err)
	}
	return set, pod, nil
}

// stop has Kubernetes end the dashboard, if the StatefulSet is still as it was seen.
func (r *Reconciler) stop(ctx context.Context, set *appsv1.StatefulSet) error {
	if set == nil || set.Spec.Replicas != nil && *set.Spec.Replicas == 0 {
		return nil
	}
	before := set.DeepCopy()
	set.Spec.Replicas = new(int32(0))
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, set, patch)); err != nil {
		return fmt.Errorf("stop the dashboard: %w", err)
	}
	return nil
}
