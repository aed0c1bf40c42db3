// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package coordinator reconciles CodisCoordinator. A coordinator of type
// Filesystem is a choice, not a process: the dashboard has the volume.
package coordinator

import (
	"context"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Reconciler reconciles CodisCoordinators.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
}

// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators,verbs=get;list;watch
// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators/status,verbs=get;update;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisCoordinator{}).
		WithOptions(watch.Options()).
		Named("codiscoordinator").
		Complete(r)
}

// Reconcile tells what the coordinator can and cannot do.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	before := &v1alpha1.CodisCoordinator{}
	if err := r.Client.Get(ctx, req.NamespacedName, before); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if before.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	after := before.DeepCopy()
	after.Status.ObservedGeneration = after.Generation
	conditions.Set(&after.Status.Conditions, after.Generation, readyCondition(after))
	return ctrl.Result{}, conditions.Patch(ctx, r.Client, r.Recorder, before, after,
		before.Status.Conditions, after.Status.Conditions)
}

func readyCondition(c *v1alpha1.CodisCoordinator) conditions.Condition {
	if reconcile.Paused(c) {
		return conditions.Paused()
	}
	message := "the topology is kept in the dashboard's pod and put back from its status when that pod is replaced"
	if c.Spec.Storage != nil {
		message = "the topology is kept on the dashboard's volume, which one node mounts at a time"
	}
	return conditions.True(v1alpha1.ConditionReady, v1alpha1.ReasonReady, message)
}
