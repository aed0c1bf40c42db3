// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Warmer watches the dashboards by an operator that does not lead, so that it knows since
// when a node is silent when it takes over. It writes nothing, and ends as soon as the
// reconciler begins.
type Warmer struct {
	dashboards *Reconciler
}

// NewWarmer returns a Warmer for the vigil of a reconciler.
func NewWarmer(dashboards *Reconciler) *Warmer { return &Warmer{dashboards: dashboards} }

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

// Reconcile looks whether one dashboard can be reached, and at its node if it cannot.
func (w *Warmer) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r := w.dashboards
	known, over := r.vigil.load(req.NamespacedName)
	if over {
		return ctrl.Result{}, nil
	}
	dashboard := &v1alpha1.CodisDashboard{}
	if err := r.Client.Get(ctx, req.NamespacedName, dashboard); err != nil {
		r.vigil.keep(req.NamespacedName, sighting{})
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := &state{dashboard: dashboard.DeepCopy()}
	if err := r.observeObjects(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.observeCoordinator(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	if !toWatch(s) {
		r.vigil.keep(req.NamespacedName, sighting{})
		return ctrl.Result{RequeueAfter: reconcile.Steady}, nil
	}
	seen, after, err := r.watchOver(ctx, s, known)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.vigil.keep(req.NamespacedName, seen)
	return ctrl.Result{RequeueAfter: after}, nil
}

// toWatch tells whether whoever leads next may have to replace the pod of a dashboard. One
// that is ending is given its grace by each operator anew, which is longer than the
// silence. It is pure.
func toWatch(s *state) bool {
	d, pod := s.dashboard, s.pod
	return d.DeletionTimestamp == nil && !reconcile.Paused(d) && s.coordinator != nil && !s.blocked.Present() &&
		s.store.shared() && pod != nil && pod.DeletionTimestamp == nil && pod.Spec.NodeName != "" && addressOf(pod) != ""
}

// watchOver tries to connect to a dashboard, and looks at its node, as the reconciler does,
// while it does not accept that. It needs no password. What it sees where it may be cut off
// itself counts for nothing, nor does what took too long.
func (r *Reconciler) watchOver(ctx context.Context, s *state, known sighting) (sighting, time.Duration, error) {
	now := r.Clock.Now()
	if !known.goesOn(s.pod, now) {
		known = sighting{pod: s.pod.UID}
		if !unanswered(r.dial(ctx, addressOf(s.pod))) {
			return known, reconcile.Steady, nil
		}
		s.asked = now
	}
	seen, err := r.lookAround(ctx, s, &known.silence)
	if err != nil {
		return sighting{}, 0, err
	}
	if operatorCutOff(seen) != "" || shutOut(seen) != "" {
		known.since, seen.quiet = time.Time{}, 0
	}
	known.looked = r.Clock.Now()
	if known.since.IsZero() {
		return known, reconcile.Steady, nil
	}
	return known, lookAgainAfter(seen.quiet), nil
}

// sighting is what an operator that does not lead knows of the silence of a dashboard.
type sighting struct {
	silence
	// pod that was watched: another one was not.
	pod types.UID
	// looked is when the last look at its node was over.
	looked time.Time
}

// goesOn tells whether a silence lasts if the next look finds it. It does not for another
// pod, nor if nobody looked for as long as a look may take: the operator may have stood
// still, or was busy, while something answered. It is pure.
func (k sighting) goesOn(pod *corev1.Pod, now time.Time) bool {
	return !k.since.IsZero() && pod != nil && k.pod == pod.UID && k.node == pod.Spec.NodeName &&
		now.Sub(k.looked) <= lookTimeout
}

// vigil is what an operator has seen of dashboards before it led. The warmer adds to it,
// until the reconciler makes its first pass, which may be before the manager says that
// this operator leads, and while the warmer looks.
type vigil struct {
	mu    sync.Mutex
	over  bool
	known map[types.NamespacedName]sighting
}

// load returns what is known of a dashboard, and whether the vigil is over.
func (v *vigil) load(name types.NamespacedName) (known sighting, over bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known[name], v.over
}

// keep remembers what was seen of a dashboard, unless the vigil is over by now: what ends
// after the first pass may be older than what that has seen.
func (v *vigil) keep(name types.NamespacedName, seen sighting) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over || seen.since.IsZero() {
		delete(v.known, name)
		return
	}
	if v.known == nil {
		v.known = map[types.NamespacedName]sighting{}
	}
	v.known[name] = seen
}

// take ends the vigil for all dashboards, and returns what is known of one, once.
func (v *vigil) take(name types.NamespacedName) sighting {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	known := v.known[name]
	delete(v.known, name)
	return known
}

// adopt makes what this operator saw before it led the memory of the reconciler, which
// need not ask the dashboard then, and looks at its node at once. It has told no pod to end.
func (r *Reconciler) adopt(s *state) {
	if known := s.watched; known.goesOn(s.pod, r.Clock.Now()) {
		r.silences.LoadOrStore(s.dashboard.UID, &known.silence)
	}
}
