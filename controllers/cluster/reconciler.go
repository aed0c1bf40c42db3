// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster reconciles CodisCluster. It only writes and reads the objects
// of the other kinds; it talks to no Codis process.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// Reconciler reconciles CodisClusters.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Reader reads past the cache.
	Reader   client.Reader
	Recorder events.EventRecorder
}

// +kubebuilder:rbac:groups=codis.io,resources=codisclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=codis.io,resources=codisclusters/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisclusters/finalizers,verbs=update
// +kubebuilder:rbac:groups=codis.io,resources=codiscoordinators;codisdashboards;codisgroups;codisproxies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=codis.io,resources=codisgroups,verbs=delete

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.CodisCluster{}).
		Owns(&v1alpha1.CodisCoordinator{}).
		Owns(&v1alpha1.CodisDashboard{}).
		Owns(&v1alpha1.CodisGroup{}).
		Owns(&v1alpha1.CodisProxy{}).
		WithOptions(watch.Options()).
		Named("codiscluster").
		Complete(r)
}

// Reconcile brings one cluster a step closer to its spec.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	before := &v1alpha1.CodisCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, before); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if before.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // The children go with it; each cleans up after itself.
	}
	after := before.DeepCopy()
	if reconcile.Paused(before) {
		conditions.Set(&after.Status.Conditions, after.Generation, conditions.Paused())
		return ctrl.Result{}, r.patch(ctx, before, after)
	}
	s := &state{cluster: after}
	if err := r.observeSurplus(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	s.applied = apply.Applier{Client: r.Client, Reader: r.Reader}.Objects(ctx, after, children(after, s.surplus)...)
	err := r.observe(ctx, s)
	if err == nil {
		report(s)
		err = r.removeSurplus(ctx, s)
	}
	return reconcile.Done(ctrl.Result{}, reconcile.Unexpected(s.applied), err, r.patch(ctx, before, after))
}

func (r *Reconciler) patch(ctx context.Context, before, after *v1alpha1.CodisCluster) error {
	return conditions.Patch(ctx, r.Client, r.Recorder, before, after,
		before.Status.Conditions, after.Status.Conditions)
}

// state is what one pass over a cluster has found. A child that does not exist
// yet is nil.
type state struct {
	cluster     *v1alpha1.CodisCluster
	coordinator *v1alpha1.CodisCoordinator
	dashboard   *v1alpha1.CodisDashboard
	groups      []*v1alpha1.CodisGroup
	// surplus are groups that are there and more than were asked for.
	surplus []*v1alpha1.CodisGroup
	proxy   *v1alpha1.CodisProxy
	applied error
}

func (r *Reconciler) observe(ctx context.Context, s *state) error {
	c := s.cluster
	coordinator, dashboard := &v1alpha1.CodisCoordinator{}, &v1alpha1.CodisDashboard{}
	proxy := &v1alpha1.CodisProxy{}
	if found, err := r.get(ctx, c, c.Name, coordinator); err != nil {
		return err
	} else if found {
		s.coordinator = coordinator
	}
	if found, err := r.get(ctx, c, c.Name, dashboard); err != nil {
		return err
	} else if found {
		s.dashboard = dashboard
	}
	if found, err := r.get(ctx, c, c.Name, proxy); err != nil {
		return err
	} else if found {
		s.proxy = proxy
	}
	for id := int32(1); id <= groupCount(c); id++ {
		group := &v1alpha1.CodisGroup{}
		if found, err := r.get(ctx, c, naming.ClusterGroup(c.Name, id), group); err != nil {
			return err
		} else if found {
			s.groups = append(s.groups, group)
		}
	}
	return nil
}

// get reads a child and tells whether it is there and ours.
func (r *Reconciler) get(
	ctx context.Context, c *v1alpha1.CodisCluster, name string, child client.Object,
) (bool, error) {
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, child)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("get %T %s: %w", child, name, err)
	}
	return err == nil && metav1.IsControlledBy(child, c), nil
}

// report mirrors the children into the status. It is pure.
func report(s *state) {
	c := s.cluster
	status := &c.Status
	status.ObservedGeneration = c.Generation
	coordinator := mirror(v1alpha1.ConditionCoordinatorReady, "the coordinator",
		child(s.coordinator != nil, s.coordinator))
	dashboard := mirror(v1alpha1.ConditionDashboardReady, "the dashboard", child(s.dashboard != nil, s.dashboard))
	proxies := mirror(v1alpha1.ConditionProxiesReady, "the set of proxies", child(s.proxy != nil, s.proxy))
	groups, readyGroups := mirrorGroups(s)
	rebalanced := rebalancedCondition(s)
	ready := conditions.Summarize(v1alpha1.ConditionReady, "the cluster is as specified and serves clients",
		appliedCondition(s), coordinator, dashboard, groups, proxies, rebalanced)
	conditions.Set(&status.Conditions, c.Generation,
		ready, availableCondition(s), coordinator, dashboard, groups, rebalanced, proxies)
	status.Groups = fmt.Sprintf("%d/%d", readyGroups, groupCount(c))
	status.Proxies = "0/0"
	if s.proxy != nil {
		wanted := int32(2)
		if s.proxy.Spec.Replicas != nil {
			wanted = *s.proxy.Spec.Replicas
		}
		status.Proxies = fmt.Sprintf("%d/%d", s.proxy.Status.Online, wanted)
		status.Address = s.proxy.Status.Address
	}
	if s.dashboard != nil && s.dashboard.Status.Slots != nil {
		status.Slots = s.dashboard.Status.Slots.Assigned
	}
}

func appliedCondition(s *state) conditions.Condition {
	switch {
	case s.applied == nil:
		return conditions.True("", v1alpha1.ReasonReady, "")
	case errors.Is(s.applied, apply.ErrCollision):
		return conditions.False("", v1alpha1.ReasonNameCollision, s.applied.Error())
	}
	return conditions.False("", v1alpha1.ReasonApplyFailed, s.applied.Error())
}

// childView is what a cluster reads of a child.
type childView struct {
	exists     bool
	name       string
	generation int64
	list       []metav1.Condition
}

func child(exists bool, object client.Object) childView {
	if !exists {
		return childView{}
	}
	view := childView{exists: true, name: object.GetName(), generation: object.GetGeneration()}
	switch o := object.(type) {
	case *v1alpha1.CodisCoordinator:
		view.list = o.Status.Conditions
	case *v1alpha1.CodisDashboard:
		view.list = o.Status.Conditions
	case *v1alpha1.CodisGroup:
		view.list = o.Status.Conditions
	case *v1alpha1.CodisProxy:
		view.list = o.Status.Conditions
	}
	return view
}

// mirror words the Ready condition of a child as a condition of the cluster.
func mirror(conditionType, what string, view childView) conditions.Condition {
	if !view.exists {
		return conditions.False(conditionType, v1alpha1.ReasonProgressing, what+" is being created")
	}
	if conditions.IsTrue(view.list, v1alpha1.ConditionReady, view.generation) {
		return conditions.True(conditionType, v1alpha1.ReasonReady, what+" is ready")
	}
	ready := meta.FindStatusCondition(view.list, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != view.generation {
		return conditions.False(conditionType, v1alpha1.ReasonProgressing, what+" is being looked at")
	}
	return conditions.False(conditionType, ready.Reason, fmt.Sprintf("%s %s: %s", what, view.name, ready.Message))
}

func mirrorGroups(s *state) (conditions.Condition, int) {
	const t = v1alpha1.ConditionGroupsReady
	var first *conditions.Condition
	ready := 0
	for _, g := range s.groups {
		c := mirror(t, "group", child(true, g))
		if c.Status == metav1.ConditionTrue {
			ready++
		} else if first == nil {
			first = &c
		}
	}
	switch {
	case first != nil:
		return *first, ready
	case len(s.surplus) > 0:
		return conditions.False(t, v1alpha1.ReasonDraining, fmt.Sprintf(
			"group %s gives its slots to the others and is deleted then", s.surplus[0].Name)), ready
	case ready < int(groupCount(s.cluster)):
		return conditions.False(t, v1alpha1.ReasonProgressing, "groups are being created"), ready
	}
	return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("all %d groups are ready", ready)), ready
}

func named(name string) func(*v1alpha1.CodisGroup) bool {
	return func(g *v1alpha1.CodisGroup) bool { return g.Name == name }
}

// owns tells whether a group owned slots when the dashboard told last. Those of an id
// that is another group's are the other's.
func (s *state) owns(g *v1alpha1.CodisGroup) bool {
	ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Reason == v1alpha1.ReasonGroupIDTaken {
		return false
	}
	return s.dashboard != nil && slices.ContainsFunc(s.dashboard.Status.Layout, func(owner v1alpha1.GroupSlots) bool {
		return owner.Group == g.Spec.ID
	})
}

// availableCondition holds while every slot has an owner, every group has a
// master that takes writes, and a proxy serves clients.
func availableCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionAvailable
	if s.dashboard == nil || s.dashboard.Status.Slots == nil || len(s.dashboard.Status.Layout) == 0 {
		return conditions.False(t, v1alpha1.ReasonWaitingForSlots, "slots have no owner yet")
	}
	for _, owner := range s.dashboard.Status.Layout {
		name := naming.ClusterGroup(s.cluster.Name, owner.Group)
		if owner.Group <= groupCount(s.cluster) && !slices.ContainsFunc(s.groups, named(name)) {
			return conditions.False(t, v1alpha1.ReasonChildNotReady, fmt.Sprintf("group %s is missing", name))
		}
	}
	for _, g := range slices.Concat(s.groups, s.surplus) {
		if s.owns(g) && !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAvailable) {
			return conditions.False(t, v1alpha1.ReasonChildNotReady,
				fmt.Sprintf("group %s has no master that takes writes", g.Name))
		}
	}
	if s.proxy == nil || !meta.IsStatusConditionTrue(s.proxy.Status.Conditions, v1alpha1.ConditionAvailable) {
		return conditions.False(t, v1alpha1.ReasonProxyNotOnline, "no proxy serves clients")
	}
	return conditions.True(t, v1alpha1.ReasonReady, "clients are served")
}
