// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

func TestImageOfTheWebPage(t *testing.T) {
	d := example()
	d.Spec.Image = "own:1"
	for fe, want := range map[string]string{"": "own:1", "fe:1": "fe:1"} {
		d.Spec.FE.Image = fe
		deployment, err := feDeployment(d, &corev1.ConfigMap{}, images, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := deployment.Spec.Template.Spec.Containers[0].Image; got != want {
			t.Errorf("image %q of fe gives %q, want %q", fe, got, want)
		}
	}
}

func TestWebPageListsTheDashboardsOfItsCoordinator(t *testing.T) {
	d := example()
	other := func(name, coordinator, product string) v1alpha1.CodisDashboard {
		o := v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		o.Spec.CoordinatorRef.Name, o.Spec.ProductName = coordinator, product
		return o
	}
	own := d.Spec.CoordinatorRef.Name
	leaving := other("leaving", own, "")
	leaving.DeletionTimestamp = new(metav1.Now())
	all := []v1alpha1.CodisDashboard{
		other("z", own, ""), other("elsewhere", "c2", ""), other("b", own, "own-name"), leaving, *d, other("twin", own, "own-name"),
	}
	list, err := feConfigMap(d, all, domain)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"dashboards.json": `[` +
		`{"dashboard":"d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080","name":"ns.d"},` +
		`{"dashboard":"b-dashboard-0.b-dashboard.ns.svc.cluster.local:18080","name":"own-name"},` +
		`{"dashboard":"z-dashboard-0.z-dashboard.ns.svc.cluster.local:18080","name":"ns.z"}]`}
	if diff := cmp.Diff(want, list.Data); diff != "" {
		t.Error(diff)
	}
}

func TestWebPageIsOpenOnlyWhereAsked(t *testing.T) {
	tests := map[string]struct {
		service v1alpha1.ServiceSettings
		ingress *v1alpha1.FEIngress
		open    bool
	}{
		"nothing asked":  {},
		"a ClusterIP":    {service: v1alpha1.ServiceSettings{Type: corev1.ServiceTypeClusterIP}},
		"a LoadBalancer": {service: v1alpha1.ServiceSettings{Type: corev1.ServiceTypeLoadBalancer}, open: true},
		"an ingress":     {ingress: &v1alpha1.FEIngress{Host: "codis.example.com"}, open: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := example()
			d.Spec.FE.Service, d.Spec.FE.Ingress = tt.service, tt.ingress
			from := fePolicy(d).Spec.Ingress[0].From
			want := []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}
			if tt.open {
				want = nil
			}
			if diff := cmp.Diff(want, from); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIngress(t *testing.T) {
	d := example()
	d.Spec.FE.Service.Annotations = map[string]string{"internal": "true"}
	if s := feService(d); s.Annotations["internal"] != "true" {
		t.Errorf("annotations of the Service: %v", s.Annotations)
	}
	d.Spec.FE.Ingress = &v1alpha1.FEIngress{
		Host: "codis.example.com", ClassName: "nginx", TLSSecretName: "cert", Annotations: map[string]string{"auth": "yes"},
	}
	got := feIngress(d)
	rule := got.Spec.Rules[0]
	backend := rule.HTTP.Paths[0].Backend.Service
	if rule.Host != "codis.example.com" || backend.Name != feService(d).Name || backend.Port.Name != feService(d).Spec.Ports[0].Name {
		t.Errorf("rule %+v leads to %+v", rule, backend)
	}
	tls := []networkingv1.IngressTLS{{Hosts: []string{"codis.example.com"}, SecretName: "cert"}}
	if diff := cmp.Diff(tls, got.Spec.TLS); diff != "" || *got.Spec.IngressClassName != "nginx" || got.Annotations["auth"] != "yes" {
		t.Errorf("%+v", got)
	}
	d.Spec.FE.Ingress = &v1alpha1.FEIngress{Host: "codis.example.com"}
	if got := feIngress(d); got.Spec.IngressClassName != nil || got.Spec.TLS != nil {
		t.Errorf("nobody asked for a class or TLS: %+v", got.Spec)
	}
}

// What is not asked for any more goes, and what belongs to somebody else stays.
func TestWebPageIsRemoved(t *testing.T) {
	d := example()
	d.UID = "1"
	meta := func(owner string) metav1.ObjectMeta {
		m := feMeta(d)
		if owner != "" {
			m.OwnerReferences = []metav1.OwnerReference{{UID: d.UID, Controller: new(true)}}
		}
		return m
	}
	tests := map[string]struct {
		fe    *v1alpha1.FESettings
		kinds []string
	}{
		"nothing is asked for":    {nil, []string{"ConfigMap"}},
		"no ingress any more":     {&v1alpha1.FESettings{}, []string{"ConfigMap", "NetworkPolicy", "Service"}},
		"everything is asked for": {&v1alpha1.FESettings{Ingress: &v1alpha1.FEIngress{}}, []string{"ConfigMap", "Ingress", "NetworkPolicy", "Service"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(
				&networkingv1.Ingress{ObjectMeta: meta("own")}, &networkingv1.NetworkPolicy{ObjectMeta: meta("own")},
				&corev1.Service{ObjectMeta: meta("own")}, &corev1.ConfigMap{ObjectMeta: meta("")},
			).Build()
			asked := d.DeepCopy()
			asked.Spec.FE = tt.fe
			if err := (&Reconciler{Client: c}).removePage(t.Context(), &state{dashboard: asked}); err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for kind, object := range map[string]client.Object{
				"ConfigMap": &corev1.ConfigMap{}, "Ingress": &networkingv1.Ingress{},
				"NetworkPolicy": &networkingv1.NetworkPolicy{}, "Service": &corev1.Service{},
			} {
				if c.Get(t.Context(), client.ObjectKey{Namespace: d.Namespace, Name: meta("").Name}, object) == nil {
					kinds = append(kinds, kind)
				}
			}
			if diff := cmp.Diff(tt.kinds, slices.Sorted(slices.Values(kinds))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
