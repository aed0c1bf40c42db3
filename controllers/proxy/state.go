// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/usage"
)

// state is what one pass over a set of proxies has found and decided.
type state struct {
	proxy     *v1alpha1.CodisProxy
	dashboard *v1alpha1.CodisDashboard
	// blocked is why no pod can be made; problem why the dashboard cannot be asked.
	blocked, problem *product.Problem

	live    *appsv1.Deployment
	proxies []proxyView
	api     codis.Dashboard
	stats   *codis.Stats

	// observed tells that everything above was looked at.
	observed bool

	applied error
	refused error
}

// wasRefused tells whether the dashboard answered an act with an error.
func (s *state) wasRefused() bool { return s.refused != nil }

// observe finds out all that a pass is based on, asking proxies and dashboard
// side by side.
func (r *Reconciler) observe(ctx context.Context, s *state) (time.Duration, error) {
	if err := r.observeObjects(ctx, s); err != nil {
		return 0, err
	}
	if err := r.observeDashboard(ctx, s); err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	for i := range s.proxies {
		wg.Go(func() { observeProxy(ctx, &s.proxies[i], r.probeTimeout()) })
	}
	if s.dashboard != nil && s.problem == nil {
		stats, err := product.Stats(ctx, s.api)
		if err != nil {
			s.problem = product.AsProblem(err, v1alpha1.ReasonDashboardUnreachable)
		}
		s.stats = stats
	}
	wg.Wait()
	s.observed = true
	return 0, nil
}

func (r *Reconciler) observeObjects(ctx context.Context, s *state) error {
	live := &appsv1.Deployment{}
	name := types.NamespacedName{Namespace: s.proxy.Namespace, Name: naming.Proxy(s.proxy.Name)}
	if err := r.Client.Get(ctx, name, live); err == nil {
		s.live = live
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get deployment: %w", err)
	}
	pods := &corev1.PodList{}
	err := r.Client.List(ctx, pods, client.InNamespace(s.proxy.Namespace),
		client.MatchingLabels(naming.Selector(naming.ComponentProxy, s.proxy.Name)))
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		if !podtemplate.Ended(&pods.Items[i]) { // A pod that was evicted stays around for good.
			s.proxies = append(s.proxies, proxyView{pod: &pods.Items[i]})
		}
	}
	slices.SortFunc(s.proxies, func(a, b proxyView) int { return strings.Compare(a.pod.Name, b.pod.Name) })
	return nil
}

func (r *Reconciler) observeDashboard(ctx context.Context, s *state) error {
	dashboard, err := product.Dashboard(ctx, r.Client, s.proxy.Namespace, s.proxy.Spec.DashboardRef.Name)
	if err != nil {
		return keepProblem(err, &s.blocked)
	}
	s.dashboard = dashboard
	if s.api, err = product.API(ctx, r.Client, dashboard); err != nil {
		if err := keepProblem(err, &s.problem); err != nil {
			return err
		}
	}
	secrets, logins := userSecrets(s.proxy)
	maps.Copy(secrets, logins)
	for _, setting := range slices.Sorted(maps.Keys(secrets)) {
		if _, err := product.Password(ctx, r.Reader, s.proxy.Namespace, secrets[setting]); err != nil {
			return keepProblem(err, &s.blocked)
		}
	}
	return nil
}

// keepProblem keeps a Problem for the conditions and returns any other error.
func keepProblem(err error, into **product.Problem) error {
	problem := product.AsProblem(err, "")
	if problem.Reason == "" {
		return err
	}
	*into = problem
	return nil
}

func observeProxy(ctx context.Context, view *proxyView, timeout time.Duration) {
	if view.pod.Status.PodIP == "" || podtemplate.Dead(view.pod) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addr := net.JoinHostPort(view.pod.Status.PodIP, strconv.Itoa(naming.PortProxyAdmin))
	model, err := codis.ProxyModel(ctx, addr)
	if err != nil || model.Hostname != view.pod.Name {
		return // Nobody, or somebody else who has the address now.
	}
	view.model = model
	if status, err := codis.ProxyStatus(ctx, addr); err == nil {
		view.status = status
	}
}

// report writes everything that a pass found into the status.
func report(s *state, domain naming.Domain, now time.Time) {
	p := s.proxy
	status := &p.Status
	status.ObservedGeneration = p.Generation
	status.Selector = labels.SelectorFromSet(naming.Selector(naming.ComponentProxy, p.Name)).String()
	status.Address = domain.ProxyService(p.Namespace, p.Name)
	status.Replicas = int32(len(s.proxies)) //nolint:gosec // A count of pods.
	status.Online = 0
	for _, view := range s.proxies {
		if view.online() && view.pod.DeletionTimestamp == nil {
			status.Online++
		}
	}
	workload, registered := workloadCondition(s), registeredCondition(s)
	available := availableCondition(s)
	ready := conditions.Summarize(v1alpha1.ConditionReady, "every proxy is online", workload, registered)
	conditions.Set(&status.Conditions, p.Generation, ready, available, workload, registered)
	reportUsage(s, now)
}

func availableCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionAvailable
	for _, view := range s.proxies {
		if view.online() && podtemplate.Ready(view.pod) {
			return conditions.True(t, v1alpha1.ReasonReady, "at least one proxy serves clients")
		}
	}
	return conditions.False(t, v1alpha1.ReasonProxyNotOnline, "no proxy serves clients")
}

func workloadCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionWorkloadReady
	if s.blocked != nil {
		return conditions.False(t, s.blocked.Reason, s.blocked.Message)
	}
	if s.applied != nil {
		reason := v1alpha1.ReasonApplyFailed
		if errors.Is(s.applied, apply.ErrCollision) {
			reason = v1alpha1.ReasonNameCollision
		}
		return conditions.False(t, reason, s.applied.Error())
	}
	for _, view := range s.proxies {
		if reason, message := podtemplate.Trouble(view.pod); reason != "" {
			return conditions.False(t, reason, message)
		}
	}
	wanted := wantedReplicas(s.proxy)
	if s.live == nil || s.live.Status.ObservedGeneration != s.live.Generation ||
		s.live.Status.UpdatedReplicas < wanted || s.live.Status.ReadyReplicas < wanted || s.live.Status.Replicas > wanted {
		return conditions.False(t, v1alpha1.ReasonPodsNotReady,
			fmt.Sprintf("waiting for %d pods to run the current template and be ready", wanted))
	}
	return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("all %d pods are ready", wanted))
}

func registeredCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionRegistered
	switch {
	case s.blocked != nil:
		return conditions.Unknown(t, s.blocked.Reason, s.blocked.Message)
	case s.problem != nil:
		return conditions.Unknown(t, s.problem.Reason, s.problem.Message)
	case s.stats == nil:
		return conditions.Unknown(t, v1alpha1.ReasonNotObserved, "not looked at yet")
	case s.refused != nil:
		return conditions.False(t, v1alpha1.ReasonDashboardRefused, "the dashboard refused to "+s.refused.Error())
	case s.stats.Offline() > 0:
		return conditions.False(t, v1alpha1.ReasonWaitingForSlots, "waiting for every slot to have an owner")
	}
	for _, view := range s.proxies {
		if view.pod.DeletionTimestamp == nil && !view.online() {
			return conditions.False(t, v1alpha1.ReasonProxyNotOnline,
				fmt.Sprintf("proxy %s is not online", view.pod.Name))
		}
	}
	return conditions.True(t, v1alpha1.ReasonReady, "the dashboard knows every proxy, and no other of them")
}

func reportUsage(s *state, now time.Time) {
	status := &s.proxy.Status
	var ops, sessions int64
	for _, view := range s.proxies {
		if view.status != nil {
			ops += view.status.Ops.QPS
			sessions += view.status.Sessions.Alive
		}
	}
	moved := usage.Moved(status.OpsPerSecond, ops) || usage.Moved(status.Sessions, sessions)
	if !moved || !usage.Due(status.UsageTime, now) {
		return
	}
	status.OpsPerSecond, status.Sessions, status.UsageTime = ops, sessions, &metav1.Time{Time: now}
}
