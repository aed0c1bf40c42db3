// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
)

// observeSurplus finds the groups that the cluster made and no longer asks for,
// by id.
func (r *Reconciler) observeSurplus(ctx context.Context, s *state) error {
	list := &v1alpha1.CodisGroupList{}
	if err := r.Client.List(ctx, list, client.InNamespace(s.cluster.Namespace)); err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	for i := range list.Items {
		g := &list.Items[i]
		ours := metav1.IsControlledBy(g, s.cluster) && g.Name == naming.ClusterGroup(s.cluster.Name, g.Spec.ID)
		if ours && g.Spec.ID > groupCount(s.cluster) {
			s.surplus = append(s.surplus, g)
		}
	}
	slices.SortFunc(s.surplus, func(a, b *v1alpha1.CodisGroup) int { return cmp.Compare(a.Spec.ID, b.Spec.ID) })
	return nil
}

// removeSurplus deletes the groups that were drained. What it goes by may be old,
// and that is safe: a group that is being deleted still drains, and its finalizer
// looks for slots and keys itself before anything of it goes.
func (r *Reconciler) removeSurplus(ctx context.Context, s *state) error {
	for _, g := range s.surplus {
		if g.DeletionTimestamp != nil || !drained(s, g) {
			continue
		}
		uid := client.Preconditions{UID: &g.UID, ResourceVersion: &g.ResourceVersion}
		if err := r.Client.Delete(ctx, g, uid); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete group %s: %w", g.Name, err)
		}
	}
	return nil
}

// drained tells whether a group was asked to give its slots away, and neither the
// dashboard nor the group knows of any that it has. It is pure.
func drained(s *state, g *v1alpha1.CodisGroup) bool {
	told := g.Spec.SlotPolicy == v1alpha1.SlotsDrain && g.Status.ObservedGeneration == g.Generation
	return told && g.Status.Slots == 0 && s.dashboard != nil && len(s.dashboard.Status.Layout) > 0 && !s.owns(g)
}

// rebalancedCondition mirrors the dashboard, and waits for groups that just came.
func rebalancedCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionRebalanced
	if s.dashboard == nil {
		return conditions.False(t, v1alpha1.ReasonProgressing, "the dashboard is being created")
	}
	for _, c := range s.dashboard.Status.Conditions {
		if c.Type != t {
			continue
		}
		if c.Status == metav1.ConditionTrue && c.Reason != v1alpha1.ReasonDisabled {
			for _, g := range s.groups {
				if !s.owns(g) {
					return conditions.False(t, v1alpha1.ReasonRebalancing, fmt.Sprintf("group %s has no slots yet", g.Name))
				}
			}
		}
		return conditions.Condition{Type: t, Status: c.Status, Reason: c.Reason, Message: c.Message}
	}
	return conditions.False(t, v1alpha1.ReasonProgressing, "the dashboard is being looked at")
}
