// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// closely is how often it is asked whether the dashboard is of use: what that
// adds to a trial.
const closely = 50 * time.Millisecond

// untilUsable strikes the dashboard and waits until it is of use again.
func untilUsable(do strike) strike {
	return func(ctx context.Context, b *bench, s *scene) (time.Time, error) {
		struck, err := b.dashboardSince()
		if err != nil {
			return time.Now(), err
		}
		at, err := do(ctx, b, s)
		if err == nil {
			err = b.waitUsable(ctx, s, struck)
		}
		return at, err
	}
}

// cutDashboardNode cuts the dashboard's node off until the dashboard is of use
// elsewhere, and connects it again.
func cutDashboardNode(ctx context.Context, b *bench, s *scene) (at time.Time, err error) {
	at = time.Now()
	struck, err := b.dashboardSince()
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, framework.Localkube(context.WithoutCancel(ctx), "heal-node", s.node)) }()
	if err := framework.Localkube(ctx, "cut-node", s.node); err != nil {
		return at, err
	}
	return at, b.waitUsable(ctx, s, struck)
}

// dashboardSince is when the process of the dashboard was started that answers now: its
// pod and container do not tell that, since it is started again in place.
func (b *bench) dashboardSince() (string, error) {
	seen, err := b.witness.Last()
	if err == nil && (seen.Problem != "" || seen.Since == "") {
		err = fmt.Errorf("the dashboard does not say since when it runs: %s", seen.Problem)
	}
	return seen.Since, err
}

// waitUsable waits until a dashboard that is another process than the one that was
// struck has the lock and answers, and its status says so.
func (b *bench) waitUsable(ctx context.Context, s *scene, struck string) error {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	pod := s.pods[roleDashboard]
	var last string
	err := wait.PollUntilContextCancel(ctx, closely, true, func(ctx context.Context) (bool, error) {
		problem := b.useless(ctx, client.ObjectKeyFromObject(&pod), struck)
		if ctx.Err() == nil {
			last = problem
		}
		return problem == "", nil
	})
	if err != nil {
		return fmt.Errorf("the dashboard is not of use again: %w: %s", err, last)
	}
	s.usable = time.Now()
	return nil
}

// useless is why the dashboard is of no use; it is empty if it is.
func (b *bench) useless(ctx context.Context, name client.ObjectKey, struck string) string {
	seen, err := b.witness.Last()
	switch {
	case err != nil:
		return err.Error()
	case seen.Problem != "": // It has no statistics to show before it has the lock.
		return "it does not answer: " + seen.Problem
	case seen.Since == struck:
		return "it is the process that was struck"
	}
	pod, d := &corev1.Pod{}, &v1alpha1.CodisDashboard{}
	if err := b.cluster.Get(ctx, name, pod); err != nil {
		return err.Error()
	}
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if !ready {
		return "its pod is not ready"
	}
	if err := b.cluster.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: product}, d); err != nil {
		return err.Error()
	}
	said := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
	if said == nil || said.Status != "True" || said.ObservedGeneration != d.Generation {
		return fmt.Sprintf("the CodisDashboard is not Ready: %+v", said)
	}
	return ""
}
