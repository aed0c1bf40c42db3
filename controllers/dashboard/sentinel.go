// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

// maxSentinels is the greatest number that the API allows.
const maxSentinels = 9

// sentinels is what a pass has found of the sentinels, and decided about them.
type sentinels struct {
	live *appsv1.StatefulSet
	// pods by ordinal, as far as there are any, and what each watches.
	pods  map[int]*corev1.Pod
	looks map[int]sentinel.Survey
	// ending are pods that may still watch a group while no sentinel is wanted.
	ending []string
	plan   sentinelPlan
	// held says why the dashboard does not tell all sentinels and proxies anew; "" if
	// it need not or may. untold is why a proxy could not be told without it.
	held   string
	untold error
	// refused is what the dashboard answered to the last act.
	refused error
}

// sentinelPlan is what the dashboard has to be told about sentinels.
type sentinelPlan struct {
	add, remove []string
	// mute are those of remove that hang: they are added again once they answer.
	mute []string
	// foreign are those that somebody else registered. They are left alone.
	foreign []string
}

// planSentinels compares the sentinels that a dashboard knows with those that shall
// be. It is pure. One is added once it answers, and removed while it hangs, or
// whatever its pod does if it goes.
func planSentinels(
	known []string, wanted int, addrOf func(ordinal int) string, ready, mute func(ordinal int) bool,
) sentinelPlan {
	var plan sentinelPlan
	ours := map[string]bool{}
	for ordinal := range maxSentinels {
		addr := addrOf(ordinal)
		ours[addr] = true
		registered := slices.Contains(known, addr)
		switch {
		case ordinal < wanted && !registered && ready(ordinal):
			plan.add = append(plan.add, addr)
		case ordinal < wanted && registered && mute(ordinal):
			plan.remove, plan.mute = append(plan.remove, addr), append(plan.mute, addr)
		case ordinal >= wanted && registered:
			plan.remove = append(plan.remove, addr)
		}
	}
	for _, addr := range known {
		if !ours[addr] {
			plan.foreign = append(plan.foreign, addr)
		}
	}
	return plan
}

// sentinelsToRun is how many sentinels must run: one that goes is taken out of the
// dashboard first.
func sentinelsToRun(wanted int, known []string, addrOf func(ordinal int) string, running int, asked bool) int {
	if !asked {
		return max(wanted, running)
	}
	replicas := wanted
	for ordinal := wanted; ordinal < running; ordinal++ {
		if slices.Contains(known, addrOf(ordinal)) {
			replicas = ordinal + 1
		}
	}
	return replicas
}

// sentinelsWanted is how many sentinels the spec asks for.
func sentinelsWanted(d *v1alpha1.CodisDashboard) int {
	if d.Spec.Sentinel == nil {
		return 0
	}
	return config.Sentinels(d.Spec.Sentinel)
}

// announceSentinels stores that there may be sentinels before the first is made, so
// that whoever finds the status knows that they have to be removed.
func (r *Reconciler) announceSentinels(ctx context.Context, s *state) (time.Duration, error) {
	d := s.dashboard
	if d.Spec.Sentinel == nil || d.Status.Sentinel != nil {
		return 0, nil
	}
	stored := d.DeepCopy()
	stored.Status.Sentinel = &v1alpha1.SentinelStatus{}
	patch := client.MergeFromWithOptions(d, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, stored, patch); err != nil {
		return 0, fmt.Errorf("record that there are sentinels: %w", err)
	}
	d.ResourceVersion, d.Status.Sentinel = stored.ResourceVersion, &v1alpha1.SentinelStatus{}
	return 0, nil
}

// sentinelObjects returns the wanted objects of the sentinels, once it is stored that
// there may be some.
func (r *Reconciler) sentinelObjects(s *state) ([]client.Object, error) {
	d := s.dashboard
	if d.Spec.Sentinel == nil || d.Status.Sentinel == nil {
		return nil, nil
	}
	running := 0
	if live := s.sentinels.live; live != nil && live.Spec.Replicas != nil {
		running = int(*live.Spec.Replicas)
	}
	replicas := sentinelsToRun(sentinelsWanted(d), s.knownSentinels(), r.sentinelAddr(d), running, s.stats != nil)
	return sentinelObjects(d, replicas, r.Namespace, r.Images, s.sentinels.live)
}

func (r *Reconciler) sentinelAddr(d *v1alpha1.CodisDashboard) func(ordinal int) string {
	return func(ordinal int) string { return r.Domain.SentinelAddr(d.Namespace, d.Name, ordinal) }
}

// knownSentinels are the addresses that the dashboard knows.
func (s *state) knownSentinels() []string {
	if s.stats == nil {
		return nil
	}
	return s.stats.Sentinels.Model.Servers
}

// keepSentinels makes the dashboard know the sentinels that shall be, and has it tell
// the proxies. What the sentinels watch is the business of each group.
//
// Phases: that there may be sentinels is stored in the status before the dashboard
// knows the first of them; those that are ready are added, those that go removed; then
// all sentinels and proxies are told anew, once every group is settled, since that
// takes back what sentinels decided a moment ago, and fails for all where one master
// has no address. After a crash the next pass compares again; every call is safe to
// repeat.
func (r *Reconciler) keepSentinels(ctx context.Context, s *state) (time.Duration, error) {
	d := s.dashboard
	waiting := false
	if s.stats != nil {
		var mute func(ordinal int) bool
		mute, waiting = r.muteSentinels(s)
		s.sentinels.plan = planSentinels(s.knownSentinels(), sentinelsWanted(d), r.sentinelAddr(d), s.sentinelReady, mute)
	}
	if !s.sentinelsConcern() {
		return 0, nil
	}
	if s.stats == nil || d.Status.Sentinel == nil {
		return reconcile.Later, nil
	}
	if plan := s.sentinels.plan; len(plan.add)+len(plan.remove) > 0 {
		return r.registerSentinels(ctx, s, plan), nil
	}
	if err := r.forgetGroups(ctx, s); err != nil {
		return reconcile.Later, nil //nolint:nilerr // It does not answer, which the condition tells.
	}
	after := r.resyncSentinels(ctx, s)
	if waiting {
		after = min(after, reconcile.Later)
	}
	if d.Spec.Sentinel != nil {
		return after, nil
	}
	return reconcile.Soon, r.removeSentinels(ctx, s)
}

// registerSentinels carries a plan out, and returns when to look again.
func (r *Reconciler) registerSentinels(ctx context.Context, s *state, plan sentinelPlan) time.Duration {
	for _, addr := range plan.add {
		if !s.tried("add sentinel "+addr, s.api.AddSentinel(ctx, addr)) {
			return reconcile.Later
		}
		r.sentinelEvent(s, v1alpha1.ReasonSentinelAdded, "Register", "Added sentinel %s", addr)
	}
	for _, addr := range plan.remove {
		if !s.tried("remove sentinel "+addr, s.api.RemoveSentinel(ctx, addr, true)) {
			return reconcile.Later
		}
		said := "Removed sentinel %s"
		if slices.Contains(plan.mute, addr) {
			said += ", which hangs, until it answers: the dashboard would wait for it while clients do"
		}
		r.sentinelEvent(s, v1alpha1.ReasonSentinelRemoved, "Unregister", said, addr)
	}
	return reconcile.Soon
}

// forgetGroups has sentinels watch no group that there is not any more: the addresses
// of its members may belong to others at any time.
func (r *Reconciler) forgetGroups(ctx context.Context, s *state) error {
	name := product.Name(s.dashboard)
	var errs []error
	for ordinal, look := range s.sentinels.looks {
		for _, monitor := range slices.Sorted(maps.Keys(look.Flags)) {
			group, found := strings.CutPrefix(monitor, name+"-")
			id, err := strconv.Atoi(group)
			if found && err == nil && s.isGone(id) {
				errs = append(errs, tower.Forget(ctx, s.sentinelDial(ordinal), monitor))
			}
		}
	}
	return errors.Join(errs...)
}

// isGone tells whether there is no group of an id: not in the dashboard, which may have
// lost its store, nor as a CodisGroup.
func (s *state) isGone(id int) bool {
	return s.stats.GroupByID(id) == nil && !slices.ContainsFunc(s.groups, func(g groupView) bool { return g.id == id })
}

// removeSentinels deletes what is left of the sentinels once the dashboard knows none
// of them any more. Their status goes when their processes have ended for certain:
// then, and not before, the operator replaces masters again.
func (r *Reconciler) removeSentinels(ctx context.Context, s *state) error {
	d := s.dashboard
	for _, object := range []client.Object{
		&appsv1.StatefulSet{}, &corev1.Service{}, &corev1.ConfigMap{}, &networkingv1.NetworkPolicy{},
		&policyv1.PodDisruptionBudget{},
	} {
		err := r.sentinelReader(d).Get(ctx, key(d, naming.Sentinel(d.Name)), object)
		if err == nil && isOwned(object, d) && object.GetDeletionTimestamp() == nil {
			err = r.Client.Delete(ctx, object)
		}
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete sentinels: %w", err)
		}
	}
	return nil
}

// sentinelReady tells whether a sentinel can be added: the dashboard asks it first, and
// does nothing else until it answers.
func (s *state) sentinelReady(ordinal int) bool {
	pod := s.sentinels.pods[ordinal]
	return pod != nil && podtemplate.Ready(pod) && s.sentinels.looks[ordinal].Answers
}

// tried keeps what the dashboard answered for the condition.
func (s *state) tried(what string, err error) bool {
	if err != nil {
		s.sentinels.refused = fmt.Errorf("%s: %w", what, err)
	}
	return err == nil
}

func (r *Reconciler) sentinelEvent(s *state, reason, action, format, addr string) {
	r.Recorder.Eventf(s.dashboard, nil, corev1.EventTypeNormal, reason, action, format, addr)
}
