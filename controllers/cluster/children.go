// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// children builds the objects of a cluster: the same that a user would write by
// hand, from the same templates. Groups beyond the count that are still there
// are kept like all others, but for their slots, until they are empty.
func children(c *v1alpha1.CodisCluster, surplus []*v1alpha1.CodisGroup) []client.Object {
	objects := []client.Object{coordinator(c), dashboard(c)}
	for id := int32(1); id <= groupCount(c); id++ {
		objects = append(objects, group(c, id))
	}
	for _, g := range surplus {
		if g.DeletionTimestamp == nil {
			drained := group(c, g.Spec.ID)
			drained.Spec.SlotPolicy = v1alpha1.SlotsDrain
			objects = append(objects, drained)
		}
	}
	return append(objects, proxy(c))
}

func groupCount(c *v1alpha1.CodisCluster) int32 {
	if c.Spec.Groups.Count == nil {
		return 1
	}
	return *c.Spec.Groups.Count
}

func objectMeta(c *v1alpha1.CodisCluster, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: c.Namespace,
		Name:      name,
		Labels: map[string]string{
			v1alpha1.LabelName:      naming.Application,
			v1alpha1.LabelManagedBy: naming.Operator,
			v1alpha1.LabelCluster:   c.Name,
		},
	}
}

// withImage gives a component the image of the cluster unless it names its own.
func withImage(c *v1alpha1.CodisCluster, component v1alpha1.Component) v1alpha1.Component {
	if component.Image == "" {
		component.Image = c.Spec.Image
	}
	if component.ImagePullPolicy == "" {
		component.ImagePullPolicy = c.Spec.ImagePullPolicy
	}
	return component
}

func coordinator(c *v1alpha1.CodisCluster) *v1alpha1.CodisCoordinator {
	return &v1alpha1.CodisCoordinator{
		ObjectMeta: objectMeta(c, c.Name),
		Spec:       v1alpha1.CodisCoordinatorSpec{CodisCoordinatorTemplate: c.Spec.Coordinator},
	}
}

// dashboard names every group of the cluster for the first layout, so that the
// order in which they become ready does not decide who owns what.
func dashboard(c *v1alpha1.CodisCluster) *v1alpha1.CodisDashboard {
	template := *c.Spec.Dashboard.DeepCopy()
	template.Component = withImage(c, template.Component)
	if template.FE != nil {
		template.FE.Component = withImage(c, template.FE.Component)
	}
	if template.Sentinel != nil {
		template.Sentinel.Component = withImage(c, template.Sentinel.Component)
	}
	var groups []int32
	for id := int32(1); id <= groupCount(c); id++ {
		groups = append(groups, id)
	}
	return &v1alpha1.CodisDashboard{
		ObjectMeta: objectMeta(c, c.Name),
		Spec: v1alpha1.CodisDashboardSpec{
			CodisDashboardTemplate: template,
			CoordinatorRef:         v1alpha1.LocalReference{Name: c.Name},
			InitialGroups:          groups,
		},
	}
}

func group(c *v1alpha1.CodisCluster, id int32) *v1alpha1.CodisGroup {
	template := *c.Spec.Groups.CodisGroupTemplate.DeepCopy()
	template.Component = withImage(c, template.Component)
	return &v1alpha1.CodisGroup{
		ObjectMeta: objectMeta(c, naming.ClusterGroup(c.Name, id)),
		Spec: v1alpha1.CodisGroupSpec{
			CodisGroupTemplate: template,
			DashboardRef:       v1alpha1.LocalReference{Name: c.Name},
			ID:                 id,
			SlotPolicy:         v1alpha1.SlotsShare,
		},
	}
}

func proxy(c *v1alpha1.CodisCluster) *v1alpha1.CodisProxy {
	template := *c.Spec.Proxy.DeepCopy()
	template.Component = withImage(c, template.Component)
	if template.Autoscaling != nil {
		template.Replicas = nil // The autoscaler's.
	}
	return &v1alpha1.CodisProxy{
		ObjectMeta: objectMeta(c, c.Name),
		Spec: v1alpha1.CodisProxySpec{
			CodisProxyTemplate: template,
			DashboardRef:       v1alpha1.LocalReference{Name: c.Name},
		},
	}
}
