// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/redis"
)

// state is what one pass over a group has found and decided. Steps fill it in
// from top to bottom; a step that needs a fact checks that it is there.
type state struct {
	group *v1alpha1.CodisGroup
	// before is the group as it is stored, as far as this pass knows: what the end
	// of the pass compares with.
	before *v1alpha1.CodisGroup

	// dashboard that the group belongs to; nil if it does not exist.
	dashboard *v1alpha1.CodisDashboard
	// problem is why the dashboard cannot be used; nil if it can.
	problem *product.Problem
	// invalid is why the spec cannot be realised; nil if it can.
	invalid *product.Problem
	// api and stats of the dashboard; stats is nil while it is unknown.
	api   dashboard
	stats *codis.Stats
	// routers are the proxies that may have routes to the group, looked at only
	// where something is wrong.
	routers []router
	// unrouted is why a proxy that answers was not told who is master.
	unrouted error
	// servers is the client for the members; nil while the password is unknown.
	servers servers
	// proxies is the client for the proxies.
	proxies proxies
	// password of the product.
	password string

	// live is the StatefulSet, nil if there is none.
	live *appsv1.StatefulSet
	// pods by ordinal; nil where there is none.
	pods []*corev1.Pod
	// claims of the members that are wanted, by ordinal; nil where there is none.
	claims []*corev1.PersistentVolumeClaim
	// world that roles are decided from.
	world world

	// observed tells that everything above was looked at, looked when that ended.
	observed bool
	looked   time.Time

	// decision about the master, and what holds followers back.
	decision decision
	held     string
	// registration that was left to do after this pass.
	registration registration
	// scaleHeld says why members cannot be removed.
	scaleHeld string
	// halfDone tells that the dashboard has begun a promotion of another member,
	// and does nothing else with the group.
	halfDone bool
	// switchHeld says why a switchover waits.
	switchHeld string
	// rolloutHeld says why an outdated pod is not replaced.
	rolloutHeld string
	// refusals are why claims do not ask for the size of the spec, by ordinal.
	refusals []refusal
	// applied is the error of applying objects.
	applied error
	// refused is the last error that the dashboard answered an act with.
	refused error
	// unseen is why the sentinels could not be found.
	unseen error
	// elected tells that sentinels replaced the master since the last pass.
	elected bool
}

// known returns the group as the dashboard knows it, nil if it does not or cannot be asked.
func (s *state) known() *codis.Group {
	if s.stats == nil {
		return nil
	}
	return s.stats.GroupByID(int(s.group.Spec.ID))
}

// wanted is the number of members that the spec asks for.
func (s *state) wanted() int {
	if s.group.Spec.Replicas == nil {
		return 2
	}
	return int(*s.group.Spec.Replicas)
}

// observe finds out all that a pass is based on. Servers and the dashboard are
// asked side by side; what does not answer is unknown, which is no error.
func (r *Reconciler) observe(ctx context.Context, s *state) (time.Duration, error) {
	if err := r.observeObjects(ctx, s); err != nil {
		return 0, err
	}
	if err := r.observeDashboard(ctx, s); err != nil {
		return 0, err
	}
	if r.look(ctx, s); s.unseen != nil {
		return 0, s.unseen
	}
	return 0, r.observeClaims(ctx, s) // Last: roles need none of it.
}

// recall fills in what the status remembers of earlier passes.
func (w *world) recall(status *v1alpha1.CodisGroupStatus, now time.Time) {
	w.masterRunID, w.savedMaster, w.sinceFailover = status.MasterRunID, status.SavedMaster, coolDown
	w.holding = status.Requests == v1alpha1.RequestsHeld
	w.behind, w.guarded = status.Dashboard == v1alpha1.DashboardBehind, status.Writes == v1alpha1.WritesGuarded
	if status.Promotion != nil {
		w.promotedRunID, w.promoted = status.Promotion.RunID, status.Promotion.Member
		w.switching = status.Promotion.Cause == v1alpha1.CauseSwitchover
		w.found = status.Promotion.Cause == v1alpha1.CauseFoundMaster
		if status.Promotion.Outcome == v1alpha1.PromotionTakenBack {
			w.promotedRunID = "" // Whoever it is takes writes by mistake.
		}
	}
	// A planned switchover says nothing of the network, and what lies ahead was written by
	// somebody whose clock is: it says nothing either.
	if last := status.LastFailover; last != nil && last.Cause != v1alpha1.CauseSwitchover && !last.Time.After(now) {
		w.sinceFailover = now.Sub(last.Time.Time)
	}
	w.runIDs, w.inSync = map[string]string{}, map[string]bool{}
	for _, m := range status.Members {
		w.runIDs[m.Name] = m.RunID
	}
	for _, name := range status.InSync {
		m := w.byName(name)
		w.inSync[name] = m == nil || m.redis.RunID == "" || w.isSame(*m)
	}
}

// nameTTL is how long proxies may get a wrong answer when they look up a pod that
// is new: CoreDNS keeps answers, and that there is none, for 30 s in the usual
// configuration, and a pod takes a moment to get its address.
const nameTTL = 35 * time.Second

// takeOver is how long nobody may have watched a group, while one operator took
// over from another, for its record of who is in sync to stand.
const takeOver = 30 * time.Second

// isSame tells whether a member still is what the record says: the same process,
// whose link did not break while nobody watched, and which heard what others heard.
func (w *world) isSame(m member) bool {
	return (w.runIDs[m.name] == "" || m.redis.RunID == w.runIDs[m.name]) && m.redis.LinkDown <= w.watched+takeOver &&
		!w.outheard(m)
}

// outheard tells whether another replica of the same master heard it for so long after a
// member did that this one is not in sync: the record is older than that, where it could
// not be written.
func (w *world) outheard(m member) bool {
	return w.window > 0 && len(w.where(func(other member) bool {
		unheard := other.deaf
		if !other.redis.LinkUp {
			unheard = other.redis.LinkDown + time.Second // It is told in whole seconds.
		}
		return other.addr != m.addr && other.redis.WasInSync() && other.redis.Follows(m.redis.MasterAddr) &&
			m.redis.LinkUp && m.deaf >= unheard+2*w.window
	})) > 0
}

// watchedFor is how long this operator has looked at a group without a pause.
func (r *Reconciler) watchedFor(group types.UID) time.Duration {
	since, _ := r.watched.LoadOrStore(group, r.Clock.Now())
	began, ok := since.(time.Time)
	if !ok {
		return 0
	}
	return r.Clock.Since(began)
}

func (r *Reconciler) observeObjects(ctx context.Context, s *state) error {
	live := &appsv1.StatefulSet{}
	key := types.NamespacedName{Namespace: s.group.Namespace, Name: naming.Group(s.group.Name)}
	err := r.Client.Get(ctx, key, live)
	switch {
	case err == nil:
		s.live = live
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("get statefulset: %w", err)
	}
	count := s.wanted()
	if s.live != nil && s.live.Spec.Replicas != nil {
		count = max(count, int(*s.live.Spec.Replicas))
	}
	s.pods = make([]*corev1.Pod, count)
	for ordinal := range s.pods {
		pod := &corev1.Pod{}
		key.Name = naming.Member(s.group.Name, ordinal)
		if err := r.Client.Get(ctx, key, pod); err == nil {
			s.pods[ordinal] = pod
		} else if !apierrors.IsNotFound(err) {
			return fmt.Errorf("get pod: %w", err)
		}
	}
	return nil
}

// observeDashboard resolves the dashboard and the product password.
func (r *Reconciler) observeDashboard(ctx context.Context, s *state) error {
	dashboard, err := product.Dashboard(ctx, r.Client, s.group.Namespace, s.group.Spec.DashboardRef.Name)
	if err != nil {
		return s.toProblem(err)
	}
	s.dashboard = dashboard
	password, err := product.Password(ctx, r.Reader, s.group.Namespace, product.AuthSecret(dashboard))
	if err != nil {
		return s.toProblem(err)
	}
	s.password, s.proxies = password, codis.Proxies{Password: password}
	s.servers = &redis.Client{Password: password, Timeout: r.ProbeTimeout}
	if s.api, err = product.API(ctx, r.Client, dashboard); err != nil {
		return s.toProblem(err)
	}
	return nil
}

// toProblem keeps a Problem for the conditions and returns any other error.
func (s *state) toProblem(err error) error {
	problem := product.AsProblem(err, "")
	if problem.Reason == "" {
		return err
	}
	s.problem = problem
	return nil
}

func (r *Reconciler) observeTopology(ctx context.Context, s *state) {
	if s.problem != nil {
		return
	}
	stats, err := product.Stats(ctx, s.api)
	if err != nil {
		s.problem = product.AsProblem(err, v1alpha1.ReasonDashboardUnreachable)
		return
	}
	s.stats = stats
}

func (r *Reconciler) observeMember(ctx context.Context, s *state, ordinal int) member {
	m := r.identify(s, ordinal)
	if m.uid == "" {
		m.dead = true // The object of a pod goes when its processes have ended.
		return m
	}
	if m.ip != "" && s.servers != nil {
		r.ask(ctx, s, &m, r.probe(s, m))
	}
	m.dead = !m.redis.Reachable && (m.dead || podtemplate.Dead(s.pods[ordinal]))
	return m
}

// identify tells what Kubernetes knows of a member; without a pod it has no uid.
func (r *Reconciler) identify(s *state, ordinal int) member {
	name := naming.Member(s.group.Name, ordinal)
	m := member{name: name, addr: r.Domain.MemberAddr(s.group.Namespace, s.group.Name, name)}
	if ordinal >= len(s.pods) || s.pods[ordinal] == nil {
		return m
	}
	pod := s.pods[ordinal]
	m.uid, m.node, m.leaving = pod.UID, pod.Spec.NodeName, pod.DeletionTimestamp != nil
	if started := pod.Status.StartTime; started != nil {
		m.young = r.Clock.Since(started.Time) < nameTTL
	}
	if !podtemplate.Ended(pod) {
		m.ip = pod.Status.PodIP
	}
	return m
}

// redisAddr is where the operator itself reaches a member: by the address of
// its pod, so that a slow DNS does not look like a dead server.
func redisAddr(m member) string { return net.JoinHostPort(m.ip, serverPort) }

var serverPort = strconv.Itoa(naming.PortServer)
