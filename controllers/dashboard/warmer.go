// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Warmer looks at dashboards for an operator that does not lead, so that it knows since
// when one is silent, and everything else on its node, when it takes over from an operator
// that was lost with that node. It writes nothing. A dashboard that answers costs an
// operator a connection every two seconds.
type Warmer struct {
	dashboards *Reconciler
	// elected is closed when this operator leads; from then on the reconciler looks itself.
	elected <-chan struct{}
}

// NewWarmer returns a Warmer for the memory of a reconciler.
func NewWarmer(dashboards *Reconciler, elected <-chan struct{}) *Warmer {
	return &Warmer{dashboards: dashboards, elected: elected}
}

// SetupWithManager registers the warmer.
func (w *Warmer) SetupWithManager(mgr ctrl.Manager) error {
	options := watch.Options()
	options.NeedLeaderElection = new(false)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisDashboard{}).
		Watches(&corev1.Pod{}, watch.PodsOf(naming.ComponentDashboard)).
		WithOptions(options).
		Named("codisdashboard-warmer").
		Complete(w)
}

// Reconcile looks at one dashboard.
func (w *Warmer) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if w.leads() {
		return ctrl.Result{}, nil
	}
	d := &v1alpha1.CodisDashboard{}
	if err := w.dashboards.Client.Get(ctx, req.NamespacedName, d); err != nil {
		if apierrors.IsNotFound(err) {
			w.dashboards.warmth.Delete(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	after, err := w.look(ctx, req.NamespacedName, &state{dashboard: d})
	return ctrl.Result{RequeueAfter: after}, err
}

func (w *Warmer) leads() bool {
	select {
	case <-w.elected:
		return true
	default:
		return false
	}
}

// look remembers what answers of a dashboard and its node, and says how soon to look again.
// What is remembered is replaced, and never changed: the reconciler may have taken it over.
func (w *Warmer) look(ctx context.Context, name types.NamespacedName, s *state) (time.Duration, error) {
	r := w.dashboards
	if err := r.observeObjects(ctx, s); err != nil {
		return 0, err
	}
	if err := r.observeCoordinator(ctx, s); err != nil {
		return 0, err
	}
	if s.pod == nil || s.pod.Spec.NodeName == "" || s.coordinator == nil || !s.store.shared() {
		r.warmth.Delete(name)
		return reconcile.Steady, nil
	}
	s.asked = r.Clock.Now()
	known := r.warm(name, s.dashboard.UID)
	addr := addressOf(s.pod)
	if known.since.IsZero() && (addr == "" || !unanswered(r.dial(ctx, addr))) {
		r.warmth.Delete(name)
		return reconcile.Steady, nil
	}
	seen, err := r.lookAround(ctx, s, &known)
	if err != nil {
		return 0, err
	}
	w.remember(name, warmth{uid: s.dashboard.UID, at: r.Clock.Now(), silence: known})
	return lookAgainAfter(seen.quiet), nil
}

// remember keeps what was seen, unless this operator leads by now: what it has taken over
// must not come back.
func (w *Warmer) remember(name types.NamespacedName, seen warmth) {
	w.dashboards.warming.Lock()
	defer w.dashboards.warming.Unlock()
	if !w.leads() {
		w.dashboards.warmth.Store(name, seen)
	}
}

// warmth is what an operator that does not lead knows of a silent dashboard.
type warmth struct {
	uid types.UID
	// at is the end of the last look.
	at      time.Time
	silence silence
}

// warm returns what is known of a silent dashboard; nothing where nobody looked for so
// long that it may have answered meanwhile, as when the operator stood still.
func (r *Reconciler) warm(name types.NamespacedName, uid types.UID) silence {
	found, _ := r.warmth.Load(name)
	known, ok := found.(warmth)
	if !ok || known.uid != uid || r.Clock.Since(known.at) > lookTimeout {
		return silence{}
	}
	return known.silence
}

// takeOver has the reconciler go on with what this operator saw before it led.
func (r *Reconciler) takeOver(name types.NamespacedName, uid types.UID) {
	r.warming.Lock()
	defer r.warming.Unlock()
	known := r.warm(name, uid)
	r.warmth.Delete(name)
	if !known.since.IsZero() {
		r.silences.LoadOrStore(uid, &known)
	}
}
