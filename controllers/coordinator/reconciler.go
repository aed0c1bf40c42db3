// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package coordinator reconciles CodisCoordinator: where dashboards keep the
// topology. A Filesystem is a choice, not a process: the dashboard has the
// volume. The members of an Etcd or a ZooKeeper are run here, and who of them votes is changed
// one at a time. An External one is looked at, and never touched.
package coordinator

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Reconciler reconciles CodisCoordinators.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Reader reads past the cache.
	Reader   client.Reader
	Recorder events.EventRecorder
	Images   podtemplate.Images
	Domain   naming.Domain
	// Namespace that the operator runs in; empty for any.
	Namespace string
}

// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators,verbs=get;list;watch
// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisCoordinator{}).
		Owns(&appsv1.StatefulSet{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentCoordinator)).
		WithOptions(watch.Options()).
		Named("codiscoordinator").
		Complete(r)
}

// Reconcile brings one coordinator a step closer to its spec.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	before := &v1alpha1.CodisCoordinator{}
	if err := r.Client.Get(ctx, req.NamespacedName, before); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if before.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // Everything it has is inside Kubernetes and goes with it.
	}
	s := &state{coordinator: before.DeepCopy(), keeper: keeperOf(before)}
	var result ctrl.Result
	var err error
	switch {
	case reconcile.Paused(before):
		set(s.coordinator, conditions.Paused())
	case before.Spec.Type == v1alpha1.CoordinatorEtcd || before.Spec.Type == v1alpha1.CoordinatorZooKeeper:
		result, err = r.runEnsemble(ctx, s)
	case before.Spec.Type == v1alpha1.CoordinatorExternal:
		result, err = r.checkExternal(ctx, s.coordinator)
	default:
		ready := filesystemCondition(s.coordinator)
		set(s.coordinator, ready, available(ready))
	}
	return reconcile.Done(result, err, conditions.Patch(ctx, r.Client, r.Recorder, before, s.coordinator,
		before.Status.Conditions, s.coordinator.Status.Conditions))
}

// runEnsemble runs the members of an Etcd or a ZooKeeper. A list of members that a quorum stands
// for is written down for the pods before anything else changes it.
func (r *Reconciler) runEnsemble(ctx context.Context, s *state) (ctrl.Result, error) {
	step := func(f func(context.Context, *state) (time.Duration, error)) reconcile.Step {
		return func(ctx context.Context) (time.Duration, error) { return f(ctx, s) }
	}
	result, err := reconcile.Run(ctx, step(r.observe), step(r.applyObjects), step(r.act))
	if s.observed { // What could not be looked at is not reported as absent.
		report(s, r.Domain)
	}
	return result, err
}

func (r *Reconciler) applyObjects(ctx context.Context, s *state) (time.Duration, error) {
	if !s.observed {
		return 0, nil
	}
	c := s.coordinator
	s.given = seats(&s.ensemble, s.keeper.founder(c, r.Domain))
	set, err := statefulSet(c, s.keeper, s.ensemble.scaleFor(s.given), r.Images, s.live)
	if err != nil {
		s.blocked = product.InvalidSpec(err)
		return 0, nil
	}
	s.applied = apply.Applier{Client: r.Client, Reader: r.Reader}.Objects(ctx, c,
		service(c, s.keeper), configMap(c, s.keeper, r.Domain, &s.ensemble, s.given), disruptionBudget(c),
		networkPolicy(c, s.keeper, r.Namespace), set)
	s.written = s.applied == nil
	return 0, reconcile.Unexpected(s.applied)
}
