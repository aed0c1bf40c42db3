// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package watch maps events of one object to the objects that care. It refuses
// to do anything about them.
package watch

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
)

// Workers of each controller: a pass waits for servers and dashboards most of its time.
const workers = 16

// Options are the options of every controller. The longest back-off is short: a
// group whose API calls failed for a while must not wait minutes to be healed.
func Options() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
			50*time.Millisecond, 15*time.Second),
	}
}

// PodsOf maps a pod of a component to the object that runs it.
func PodsOf(component string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		labels := object.GetLabels()
		if labels[v1alpha1.LabelComponent] != component {
			return nil
		}
		return []reconcile.Request{request(object.GetNamespace(), labels[v1alpha1.LabelInstance])}
	})
}

// Dependants lists the names of objects that refer to a dashboard.
type Dependants func(ctx context.Context, c client.Reader, namespace, dashboard string) ([]string, error)

// Dashboards maps a CodisDashboard to the objects that refer to it.
func Dashboards(c client.Reader, dependants Dependants) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		return requests(ctx, c, dependants, object.GetNamespace(), object.GetName())
	})
}

// DashboardPods maps the pod of a dashboard to the objects that refer to it.
func DashboardPods(c client.Reader, dependants Dependants) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		pod, ok := object.(*corev1.Pod)
		if !ok || pod.Labels[v1alpha1.LabelComponent] != naming.ComponentDashboard {
			return nil
		}
		return requests(ctx, c, dependants, pod.Namespace, pod.Labels[v1alpha1.LabelInstance])
	})
}

// DashboardOf maps a CodisGroup or CodisProxy to its dashboard.
func DashboardOf() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		switch o := object.(type) {
		case *v1alpha1.CodisGroup:
			return []reconcile.Request{request(o.Namespace, o.Spec.DashboardRef.Name)}
		case *v1alpha1.CodisProxy:
			return []reconcile.Request{request(o.Namespace, o.Spec.DashboardRef.Name)}
		}
		return nil
	})
}

// Coordinators maps a CodisCoordinator to the dashboards that refer to it.
func Coordinators(c client.Reader) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		list := &v1alpha1.CodisDashboardList{}
		if err := c.List(ctx, list, client.InNamespace(object.GetNamespace())); err != nil {
			return nil
		}
		var found []reconcile.Request
		for _, d := range list.Items {
			if d.Spec.CoordinatorRef.Name == object.GetName() {
				found = append(found, request(d.Namespace, d.Name))
			}
		}
		return found
	})
}

// Neighbours maps a CodisDashboard to those whose web pages list it, and to those that
// wait for its product.
func Neighbours(c client.Reader) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		changed, ok := object.(*v1alpha1.CodisDashboard)
		list := &v1alpha1.CodisDashboardList{}
		if !ok || c.List(ctx, list, client.InNamespace(object.GetNamespace())) != nil {
			return nil
		}
		var found []reconcile.Request
		for _, d := range list.Items {
			if d.Spec.FE != nil && d.Spec.CoordinatorRef == changed.Spec.CoordinatorRef || sameProduct(&d, changed) {
				found = append(found, request(d.Namespace, d.Name))
			}
		}
		return found
	})
}

func requests(
	ctx context.Context, c client.Reader, dependants Dependants, namespace, dashboard string,
) []reconcile.Request {
	names, err := dependants(ctx, c, namespace, dashboard)
	if err != nil {
		return nil // The cache is not there; every object is reconciled once it is.
	}
	found := make([]reconcile.Request, 0, len(names))
	for _, name := range names {
		found = append(found, request(namespace, name))
	}
	return found
}

// GroupsOf lists the CodisGroups that refer to a dashboard.
func GroupsOf(ctx context.Context, c client.Reader, namespace, dashboard string) ([]string, error) {
	groups, err := Groups(ctx, c, namespace, dashboard)
	names := make([]string, 0, len(groups))
	for i := range groups {
		names = append(names, groups[i].Name)
	}
	return names, err
}

// Groups returns the CodisGroups that refer to a dashboard.
func Groups(ctx context.Context, c client.Reader, namespace, dashboard string) ([]v1alpha1.CodisGroup, error) {
	list := &v1alpha1.CodisGroupList{}
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var found []v1alpha1.CodisGroup
	for _, g := range list.Items {
		if g.Spec.DashboardRef.Name == dashboard {
			found = append(found, g)
		}
	}
	return found, nil
}

// ProxiesOf lists the CodisProxies that refer to a dashboard.
func ProxiesOf(ctx context.Context, c client.Reader, namespace, dashboard string) ([]string, error) {
	proxies, err := Proxies(ctx, c, namespace, dashboard)
	var names []string
	for i := range proxies {
		names = append(names, proxies[i].Name)
	}
	return names, err
}

// Proxies returns the CodisProxies that refer to a dashboard.
func Proxies(ctx context.Context, c client.Reader, namespace, dashboard string) ([]v1alpha1.CodisProxy, error) {
	list := &v1alpha1.CodisProxyList{}
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p v1alpha1.CodisProxy) bool {
		return p.Spec.DashboardRef.Name != dashboard
	}), nil
}

// GroupWithSameID names an older CodisGroup of the same dashboard that has the
// id of the given one, or "". Of two groups made at the same moment the one
// whose name comes first counts as older.
func GroupWithSameID(ctx context.Context, c client.Reader, group *v1alpha1.CodisGroup) (string, error) {
	groups, err := Groups(ctx, c, group.Namespace, group.Spec.DashboardRef.Name)
	if err != nil {
		return "", err
	}
	return olderNamesake(groups, group), nil
}

// olderNamesake names an older one of some groups that has the id of the given one.
func olderNamesake(groups []v1alpha1.CodisGroup, group *v1alpha1.CodisGroup) string {
	for i := range groups {
		other := &groups[i]
		if other.Name == group.Name || other.Spec.ID != group.Spec.ID {
			continue
		}
		if older(other.ObjectMeta, group.ObjectMeta) {
			return other.Name
		}
	}
	return ""
}

// older tells whether a was made before b, or at the same moment with a name that comes first.
func older(a, b metav1.ObjectMeta) bool {
	return a.CreationTimestamp.Before(&b.CreationTimestamp) ||
		a.CreationTimestamp.Equal(&b.CreationTimestamp) && a.Name < b.Name
}

// DashboardOfSameProduct names an older CodisDashboard that keeps the same product in
// the same CodisCoordinator as the given one, or "".
func DashboardOfSameProduct(ctx context.Context, c client.Reader, d *v1alpha1.CodisDashboard) (string, error) {
	list := &v1alpha1.CodisDashboardList{}
	if err := c.List(ctx, list, client.InNamespace(d.Namespace)); err != nil {
		return "", err
	}
	for i := range list.Items {
		if other := &list.Items[i]; sameProduct(other, d) && older(other.ObjectMeta, d.ObjectMeta) {
			return other.Name, nil
		}
	}
	return "", nil
}

// sameProduct tells whether two dashboards would have one product.
func sameProduct(a, b *v1alpha1.CodisDashboard) bool {
	return a.Name != b.Name && a.Spec.CoordinatorRef == b.Spec.CoordinatorRef && product.Name(a) == product.Name(b)
}

// OfOwnID leaves out the groups of a dashboard whose id an older one has: what the
// dashboard knows by an id is the older group.
func OfOwnID(groups []v1alpha1.CodisGroup) []v1alpha1.CodisGroup {
	var own []v1alpha1.CodisGroup
	for i := range groups {
		if olderNamesake(groups, &groups[i]) == "" {
			own = append(own, groups[i])
		}
	}
	return own
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// TopologyGoes tells whether what an object has in a dashboard goes anyway: the
// dashboard, or the cluster that owns both, is gone or being deleted. Ask past
// the cache: a cluster that is deleted deletes everything at once.
func TopologyGoes(ctx context.Context, reader client.Reader, object client.Object, dashboard string) (bool, error) {
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: dashboard}
	if gone, err := goes(ctx, reader, key, &v1alpha1.CodisDashboard{}); gone || err != nil {
		return gone, err
	}
	return OwnerGoes(ctx, reader, object)
}

// OwnerGoes tells whether an object goes because the cluster that owns it is gone or
// being deleted. Ask past the cache.
func OwnerGoes(ctx context.Context, reader client.Reader, object client.Object) (bool, error) {
	owner := metav1.GetControllerOf(object)
	if owner == nil {
		return false, nil
	}
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: owner.Name}
	cluster := &v1alpha1.CodisCluster{}
	gone, err := goes(ctx, reader, key, cluster)
	// A namesake that was made since is not the owner.
	return gone || err == nil && cluster.UID != owner.UID, err
}

func goes(ctx context.Context, reader client.Reader, key types.NamespacedName, object client.Object) (bool, error) {
	err := reader.Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && object.GetDeletionTimestamp() != nil, err
}
