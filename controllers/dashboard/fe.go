// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/network"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
)

const (
	listVolume = "dashboards"
	listFile   = "dashboards.json"
	listDir    = "/etc/codis/fe"
)

func feMeta(d *v1alpha1.CodisDashboard) metav1.ObjectMeta {
	return objectMeta(d, naming.ComponentFE, naming.FE(d.Name))
}

// page is the wanted web page of a dashboard, in objects.
func (r *Reconciler) page(ctx context.Context, s *state) ([]client.Object, error) {
	d := s.dashboard
	if d.Spec.FE == nil {
		return nil, nil
	}
	all := &v1alpha1.CodisDashboardList{}
	if err := r.Client.List(ctx, all, client.InNamespace(d.Namespace)); err != nil {
		return nil, fmt.Errorf("list dashboards: %w", err)
	}
	list, err := feConfigMap(d, all.Items, r.Domain)
	if err != nil {
		return nil, err
	}
	deployment, err := feDeployment(d, list, r.Images, s.fe)
	if err != nil {
		s.blocked = product.InvalidSpec(err)
		return nil, nil
	}
	objects := []client.Object{list, feService(d), fePolicy(d), deployment}
	if d.Spec.FE.Ingress != nil {
		objects = append(objects, feIngress(d))
	}
	return objects, nil
}

// removePage deletes what is not asked for any more of the web page.
func (r *Reconciler) removePage(ctx context.Context, s *state) error {
	fe := s.dashboard.Spec.FE
	var unwanted []client.Object
	if fe == nil {
		unwanted = append(unwanted,
			&corev1.Service{}, &corev1.ConfigMap{}, &networkingv1.NetworkPolicy{}, &appsv1.Deployment{})
	}
	if fe == nil || fe.Ingress == nil {
		unwanted = append(unwanted, &networkingv1.Ingress{})
	}
	for _, object := range unwanted {
		err := r.Client.Get(ctx, key(s.dashboard, naming.FE(s.dashboard.Name)), object)
		if err == nil && isOwned(object, s.dashboard) {
			err = r.Client.Delete(ctx, object)
		}
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete web page: %w", err)
		}
	}
	return nil
}

// feConfigMap lists the dashboards of the same coordinator, its own first. codis-fe
// reads the list again when a browser asks for it. Of two dashboards of one product,
// only one can have the lock; the page could not tell them apart.
func feConfigMap(
	d *v1alpha1.CodisDashboard, all []v1alpha1.CodisDashboard, domain naming.Domain,
) (*corev1.ConfigMap, error) {
	type entry struct {
		Dashboard string `json:"dashboard"`
		Name      string `json:"name"`
	}
	entries := []entry{{domain.DashboardAddr(d.Namespace, d.Name), product.Name(d)}}
	slices.SortFunc(all, func(a, b v1alpha1.CodisDashboard) int { return cmp.Compare(a.Name, b.Name) })
	for _, other := range all {
		name := product.Name(&other)
		if other.Spec.CoordinatorRef == d.Spec.CoordinatorRef && other.DeletionTimestamp == nil &&
			!slices.ContainsFunc(entries, func(e entry) bool { return e.Name == name }) {
			entries = append(entries, entry{domain.DashboardAddr(other.Namespace, other.Name), name})
		}
	}
	list, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	return &corev1.ConfigMap{ObjectMeta: feMeta(d), Data: map[string]string{listFile: string(list)}}, nil
}

// fePolicy lets only the namespace reach the page, which has no login, unless the user
// asked for a way in from outside.
func fePolicy(d *v1alpha1.CodisDashboard) *networkingv1.NetworkPolicy {
	var from []networkingv1.NetworkPolicyPeer
	if fe := d.Spec.FE; fe.Ingress == nil && (fe.Service.Type == "" || fe.Service.Type == corev1.ServiceTypeClusterIP) {
		from = append(from, network.Namespace())
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: feMeta(d),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentFE, d.Name)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{network.Allow(naming.PortFE, from...)},
		},
	}
}

func feIngress(d *v1alpha1.CodisDashboard) *networkingv1.Ingress {
	asked, meta := d.Spec.FE.Ingress, feMeta(d)
	meta.Annotations = asked.Annotations
	ingress := &networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{
		Rules: []networkingv1.IngressRule{{
			Host: asked.Host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{
					Path: "/", PathType: new(networkingv1.PathTypePrefix),
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
						Name: meta.Name, Port: networkingv1.ServiceBackendPort{Name: "http"},
					}},
				}},
			}},
		}},
	}}
	if asked.ClassName != "" {
		ingress.Spec.IngressClassName = new(asked.ClassName)
	}
	if asked.TLSSecretName != "" {
		ingress.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{asked.Host}, SecretName: asked.TLSSecretName}}
	}
	return ingress
}

func feService(d *v1alpha1.CodisDashboard) *corev1.Service {
	meta := feMeta(d)
	meta.Annotations = d.Spec.FE.Service.Annotations
	return &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type:     d.Spec.FE.Service.Type,
			Selector: naming.Selector(naming.ComponentFE, d.Name),
			Ports:    []corev1.ServicePort{{Name: "http", Port: naming.PortFE, TargetPort: intstr.FromString("http")}},
		},
	}
}

func feDeployment(
	d *v1alpha1.CodisDashboard, list *corev1.ConfigMap, images podtemplate.Images, live *appsv1.Deployment,
) (*appsv1.Deployment, error) {
	settings := d.Spec.FE.Component
	if settings.Image == "" {
		settings.Image = d.Spec.Image
	}
	template, err := podtemplate.Template(podtemplate.Pod{
		Component: naming.ComponentFE,
		Instance:  d.Name,
		Dashboard: d.Name,
		Settings:  settings,
		Images:    images,
		Container: corev1.Container{
			Name:           naming.ComponentFE,
			Command:        []string{"codis-fe", "--listen=0.0.0.0:8080", "--dashboard-list=" + listDir + "/" + listFile},
			Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: naming.PortFE}},
			VolumeMounts:   []corev1.VolumeMount{{Name: listVolume, MountPath: listDir, ReadOnly: true}},
			ReadinessProbe: podtemplate.HTTPProbe("/list", naming.PortFE, 2, 3),
			LivenessProbe:  podtemplate.HTTPProbe("/", naming.PortFE, 10, 3),
		},
		Volumes: []corev1.Volume{{Name: listVolume, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: list.Name},
			},
		}}},
		GracePeriodSeconds: 5,
	}, podtemplate.LiveOfDeployment(live))
	if err != nil {
		return nil, err
	}
	return &appsv1.Deployment{
		ObjectMeta: feMeta(d),
		Spec: appsv1.DeploymentSpec{
			Replicas:             d.Spec.FE.Replicas,
			Selector:             &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentFE, d.Name)},
			Template:             template,
			RevisionHistoryLimit: new(int32(3)),
		},
	}, nil
}
