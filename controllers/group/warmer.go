// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Warmer has the servers probed by an operator that does not lead, so that it knows
// since when a master is silent when it takes over. It writes nothing.
type Warmer struct {
	groups *Reconciler
	// elected is closed when this operator leads; from then on the reconciler itself
	// says whom to probe.
	elected <-chan struct{}
}

// NewWarmer returns a Warmer for the prober of a reconciler.
func NewWarmer(groups *Reconciler, elected <-chan struct{}) *Warmer {
	return &Warmer{groups: groups, elected: elected}
}

// SetupWithManager registers the warmer.
func (w *Warmer) SetupWithManager(mgr ctrl.Manager) error {
	options := watch.Options()
	options.NeedLeaderElection = new(false)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisGroup{}).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentServer)).
		WithOptions(options).
		Named("codisgroup-warmer").
		Complete(w)
}

// Reconcile tells the prober whom to ask of one group.
func (w *Warmer) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	select {
	case <-w.elected:
		return ctrl.Result{}, nil
	default:
	}
	group := &v1alpha1.CodisGroup{}
	if err := w.groups.Client.Get(ctx, req.NamespacedName, group); err != nil {
		if apierrors.IsNotFound(err) {
			w.groups.Prober.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := &state{group: group}
	if err := w.groups.observeObjects(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	if err := w.groups.observeDashboard(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	for ordinal := range s.pods {
		s.world.members = append(s.world.members, w.groups.identify(s, ordinal))
	}
	if w.groups.setTargets(s); s.servers == nil {
		return ctrl.Result{RequeueAfter: reconcile.Steady}, nil // Its dashboard or password is not there yet.
	}
	return ctrl.Result{}, nil
}
