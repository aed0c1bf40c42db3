// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/watch"
)

// validateCluster refuses a cluster whose children would bear names that other
// objects have.
func validateCluster(ctx context.Context, reader client.Reader, c *v1alpha1.CodisCluster) (field.ErrorList, error) {
	spec := field.NewPath("spec")
	list := validateDashboardTemplate(&c.Spec.Dashboard, spec.Child("dashboard"))
	list = append(list, validateCoordinator(&c.Spec.Coordinator, spec.Child("coordinator"))...)
	list = append(list, validateComponent(&c.Spec.Groups.Component, spec.Child("groups"))...)
	list = append(list, validateProxy(&c.Spec.Proxy, spec.Child("proxy"))...)
	dashboard := &v1alpha1.CodisDashboard{}
	err := reader.Get(ctx, client.ObjectKeyFromObject(c), dashboard)
	if err == nil && dashboard.Labels[v1alpha1.LabelCluster] != c.Name {
		list = append(list, field.Invalid(field.NewPath("metadata", "name"), c.Name,
			"a CodisDashboard of this name exists and belongs to no cluster: choose another name, or delete that dashboard"))
	}
	return list, client.IgnoreNotFound(err)
}

func validateCoordinator(c *v1alpha1.CodisCoordinatorTemplate, path *field.Path) field.ErrorList {
	list := validateComponent(&v1alpha1.Component{Resources: c.Resources, Pod: c.Pod}, path)
	if c.External == nil {
		return list
	}
	for i, endpoint := range c.External.Endpoints {
		_, port, err := net.SplitHostPort(endpoint)
		if number, parseErr := strconv.Atoi(port); err != nil || parseErr != nil || number < 1 || number > 65535 {
			list = append(list, field.Invalid(path.Child("external", "endpoints").Index(i), endpoint,
				"must be host:port with a port from 1 to 65535"))
		}
	}
	return list
}

// validateDashboard refuses a second dashboard of a product in one store. One that
// exists may be changed: neither its product nor its coordinator can.
func validateDashboard(ctx context.Context, reader client.Reader, d *v1alpha1.CodisDashboard) (field.ErrorList, error) {
	list := validateDashboardTemplate(&d.Spec.CodisDashboardTemplate, field.NewPath("spec"))
	if !d.CreationTimestamp.Equal(&endOfTime) {
		return list, nil
	}
	coordinator := &v1alpha1.CodisCoordinator{}
	key := client.ObjectKey{Namespace: d.Namespace, Name: d.Spec.CoordinatorRef.Name}
	err := reader.Get(ctx, key, coordinator)
	if err != nil || coordinator.Spec.Type == "" || coordinator.Spec.Type == v1alpha1.CoordinatorFilesystem {
		return list, client.IgnoreNotFound(err)
	}
	other, err := watch.DashboardOfSameProduct(ctx, reader, d)
	if err != nil {
		return nil, fmt.Errorf("list dashboards: %w", err)
	}
	if other != "" {
		list = append(list, field.Invalid(field.NewPath("spec", "productName"), product.Name(d), fmt.Sprintf(
			"CodisDashboard %q has this product in CodisCoordinator %q: choose another one", other, coordinator.Name)))
	}
	return list, nil
}

func validateDashboardTemplate(d *v1alpha1.CodisDashboardTemplate, path *field.Path) field.ErrorList {
	list := validateComponent(&d.Component, path)
	if d.FE != nil {
		list = append(list, validateComponent(&d.FE.Component, path.Child("fe"))...)
	}
	if d.Sentinel != nil {
		list = append(list, validateComponent(&d.Sentinel.Component, path.Child("sentinel"))...)
	}
	return list
}

// validateProxy refuses an autoscaler that could never scale: utilization is a part
// of what is requested.
func validateProxy(p *v1alpha1.CodisProxyTemplate, path *field.Path) field.ErrorList {
	list := validateComponent(&p.Component, path)
	if p.Autoscaling == nil {
		return list
	}
	for _, name := range utilized(p.Autoscaling) {
		_, requested := p.Resources.Requests[name]
		_, limited := p.Resources.Limits[name]
		if !requested && !limited {
			example := exampleRequest[name]
			list = append(list, field.Required(path.Child("resources", "requests").Key(string(name)), fmt.Sprintf(
				"autoscaling compares the use of %s with what is requested: request some, for example %s",
				example.resource, example.request)))
		}
	}
	metrics := path.Child("autoscaling", "metrics")
	for i := range p.Autoscaling.Metrics {
		list = append(list, validateMetric(&p.Autoscaling.Metrics[i], metrics.Index(i))...)
	}
	return list
}

// validateGroup refuses an id that another group of the dashboard has.
func validateGroup(ctx context.Context, reader client.Reader, g *v1alpha1.CodisGroup) (field.ErrorList, error) {
	list := validateComponent(&g.Spec.Component, field.NewPath("spec"))
	other, err := watch.GroupWithSameID(ctx, reader, g)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	if other != "" {
		list = append(list, field.Invalid(field.NewPath("spec", "id"), g.Spec.ID, fmt.Sprintf(
			"CodisGroup %q of dashboard %q has this id: choose one that no other group of the dashboard has",
			other, g.Spec.DashboardRef.Name)))
	}
	return list, nil
}

// reservedLabels are those that the operator selects pods by.
var reservedLabels = []string{
	v1alpha1.LabelName, v1alpha1.LabelInstance, v1alpha1.LabelComponent,
	v1alpha1.LabelManagedBy, v1alpha1.LabelDashboard,
}

// validateComponent refuses settings that no pod could have.
func validateComponent(c *v1alpha1.Component, path *field.Path) field.ErrorList {
	list := validateResources(c.Resources, path.Child("resources"))
	if c.Pod == nil {
		return list
	}
	pod := path.Child("pod")
	for _, label := range reservedLabels {
		if _, set := c.Pod.Labels[label]; set {
			list = append(list, field.Forbidden(pod.Child("labels").Key(label),
				"the operator selects pods by this label: use another key"))
		}
	}
	extra, undecoded := podtemplate.DecodeAt(c.Pod, pod)
	list = append(list, undecoded...)
	return append(list, validateExtra(extra, pod)...)
}

// validateExtra refuses what would clash with what the operator itself adds.
func validateExtra(extra podtemplate.Extra, pod *field.Path) field.ErrorList {
	var list field.ErrorList
	for i, env := range extra.Env {
		if env.Name == "" || env.Name == "POD_IP" || env.Name == "POD_NAME" {
			list = append(list, field.Invalid(pod.Child("env").Index(i).Child("name"), env.Name,
				"a name other than POD_IP and POD_NAME, which the operator sets, is needed"))
		}
	}
	for i := range extra.Containers {
		container := &extra.Containers[i]
		at := pod.Child("containers").Index(i)
		if container.Name == "" || isComponent(container.Name) {
			list = append(list, field.Invalid(at.Child("name"), container.Name,
				"a name other than config, gate, etcd, zookeeper, dashboard, fe, sentinel, server and proxy, "+
					"which the operator uses, is needed"))
		}
		if container.Image == "" {
			list = append(list, field.Required(at.Child("image"), "an added container needs an image of its own"))
		}
	}
	for i := range extra.Volumes {
		if name := extra.Volumes[i].Name; name == "" || isVolume(name) {
			list = append(list, field.Invalid(pod.Child("volumes").Index(i).Child("name"), name,
				"a name other than config, config-template, data, seats, probe, topology, dashboards, secret-* and login-*, "+
					"which the operator uses, is needed"))
		}
	}
	return list
}

func isVolume(name string) bool {
	return strings.HasPrefix(name, "secret-") || strings.HasPrefix(name, "login-") ||
		slices.Contains([]string{"config", "config-template", "data", "seats", "probe", "topology", "dashboards"}, name)
}

func isComponent(name string) bool {
	return slices.Contains([]string{
		"config", "gate", "etcd", "zookeeper",
		naming.ComponentDashboard, naming.ComponentFE, naming.ComponentSentinel, naming.ComponentServer,
		naming.ComponentProxy,
	}, name)
}

func validateResources(r corev1.ResourceRequirements, path *field.Path) field.ErrorList {
	var list field.ErrorList
	for name, limit := range r.Limits {
		request, set := r.Requests[name]
		if set && request.Cmp(limit) > 0 {
			list = append(list, field.Invalid(path.Child("requests").Key(string(name)), request.String(),
				fmt.Sprintf("must not be more than the limit of %s: lower the request or raise the limit", limit.String())))
		}
	}
	return list
}
