// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

var errDown = errors.New("the API server is down")

func reader(t *testing.T, down bool, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
	if down {
		builder = builder.WithInterceptorFuncs(interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return errDown
			},
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return errDown },
		})
	}
	return builder.Build()
}

func fieldsOf(list field.ErrorList) []string {
	var fields []string
	for _, err := range list {
		fields = append(fields, err.Field)
	}
	return fields
}

func raws(items ...string) []runtime.RawExtension {
	var list []runtime.RawExtension
	for _, item := range items {
		list = append(list, runtime.RawExtension{Raw: []byte(item)})
	}
	return list
}

func group(namespace, name, dashboard string, id int32) *v1alpha1.CodisGroup {
	g := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(1, 0),
	}}
	g.Spec.DashboardRef.Name, g.Spec.ID = dashboard, id
	return g
}

func TestValidateComponent(t *testing.T) {
	quantities := func(cpu string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	pod := func(p v1alpha1.PodSettings) v1alpha1.Component { return v1alpha1.Component{Pod: &p} }
	tests := map[string]struct {
		component v1alpha1.Component
		want      []string
	}{
		"nothing is set": {v1alpha1.Component{}, nil},
		"a request at the limit": {
			v1alpha1.Component{Resources: corev1.ResourceRequirements{Requests: quantities("1"), Limits: quantities("1000m")}}, nil,
		},
		"a request without limit": {v1alpha1.Component{Resources: corev1.ResourceRequirements{Requests: quantities("1")}}, nil},
		"a request above the limit": {
			v1alpha1.Component{Resources: corev1.ResourceRequirements{Requests: quantities("2"), Limits: quantities("1500m")}},
			[]string{"spec.resources.requests[cpu]"},
		},
		"a label of one's own": {pod(v1alpha1.PodSettings{Labels: map[string]string{"team": "storage"}}), nil},
		"a label that pods are selected by": {
			pod(v1alpha1.PodSettings{Labels: map[string]string{v1alpha1.LabelComponent: "x"}}),
			[]string{"spec.pod.labels[app.kubernetes.io/component]"},
		},
		"every label that the operator needs": {
			pod(v1alpha1.PodSettings{Labels: map[string]string{
				v1alpha1.LabelName: "", v1alpha1.LabelInstance: "", v1alpha1.LabelManagedBy: "", v1alpha1.LabelDashboard: "",
			}}),
			[]string{
				"spec.pod.labels[app.kubernetes.io/name]", "spec.pod.labels[app.kubernetes.io/instance]",
				"spec.pod.labels[app.kubernetes.io/managed-by]", "spec.pod.labels[codis.io/dashboard]",
			},
		},
		"a variable": {pod(v1alpha1.PodSettings{Env: raws(`{"name":"TZ","value":"UTC"}`)}), nil},
		"variables without name, with a taken one, with a typo": {
			pod(v1alpha1.PodSettings{Env: raws(`{"value":"x"}`, `{"name":"POD_IP"}`, `{"name":"TZ","val":"x"}`)}),
			[]string{"spec.pod.env[2]", "spec.pod.env[0].name", "spec.pod.env[1].name"},
		},
		"a container": {pod(v1alpha1.PodSettings{Containers: raws(`{"name":"exporter","image":"e:1"}`)}), nil},
		"containers with taken names and without image": {
			pod(v1alpha1.PodSettings{Containers: raws(`{"name":"server","image":"s:1"}`, `{"name":"config"}`, `{"image":"x:1"}`)}),
			[]string{
				"spec.pod.containers[0].name", "spec.pod.containers[1].name", "spec.pod.containers[1].image",
				"spec.pod.containers[2].name",
			},
		},
		"a volume": {pod(v1alpha1.PodSettings{Volumes: raws(`{"name":"extra","emptyDir":{}}`)}), nil},
		"volumes without name and with taken ones": {
			pod(v1alpha1.PodSettings{Volumes: raws(`{"emptyDir":{}}`, `{"name":"data"}`, `{"name":"secret-product-auth"}`)}),
			[]string{"spec.pod.volumes[0].name", "spec.pod.volumes[1].name", "spec.pod.volumes[2].name"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := validateComponent(&tt.component, field.NewPath("spec"))
			if diff := cmp.Diff(tt.want, fieldsOf(got)); diff != "" {
				t.Errorf("%s\n%v", diff, got.ToAggregate())
			}
		})
	}
}

func younger(g *v1alpha1.CodisGroup) *v1alpha1.CodisGroup {
	g.CreationTimestamp = metav1.Unix(2, 0)
	return g
}

func TestValidateGroup(t *testing.T) {
	tests := map[string]struct {
		reader client.Reader
		want   []string
		err    error
	}{
		"its id is free":                  {reader(t, false), nil, nil},
		"it has its id itself":            {reader(t, false, group("ns", "g", "d", 1)), nil, nil},
		"another has the id":              {reader(t, false, group("ns", "other", "d", 1)), []string{"spec.id"}, nil},
		"one that is no older has the id": {reader(t, false, younger(group("ns", "z", "d", 1))), nil, nil},
		"another has another id":          {reader(t, false, group("ns", "other", "d", 2)), nil, nil},
		"one of another dashboard has it": {reader(t, false, group("ns", "other", "e", 1)), nil, nil},
		"one of another namespace has it": {reader(t, false, group("else", "other", "d", 1)), nil, nil},
		"nobody knows":                    {reader(t, true), nil, errDown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := validateGroup(t.Context(), tt.reader, younger(group("ns", "g", "d", 1)))
			if diff := cmp.Diff(tt.want, fieldsOf(got)); diff != "" || !errors.Is(err, tt.err) {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	list, err := validateGroup(t.Context(), reader(t, false, group("ns", "other", "d", 1)), younger(group("ns", "g", "d", 1)))
	if err != nil || !strings.Contains(list.ToAggregate().Error(), `CodisGroup "other" of dashboard "d" has this id`) {
		t.Errorf("got %v, %v", list, err)
	}
}

func TestValidateDashboard(t *testing.T) {
	of := func(name, product string, made metav1.Time) *v1alpha1.CodisDashboard {
		d := &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: made}}
		d.Spec.ProductName, d.Spec.CoordinatorRef.Name = product, "c"
		return d
	}
	kept := func(in v1alpha1.CoordinatorType) client.Object {
		c := &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
		c.Spec.Type = in
		return c
	}
	older := of("a", "p", metav1.Unix(1, 0))
	tests := map[string]struct {
		dashboard *v1alpha1.CodisDashboard
		others    []client.Object
		want      []string
	}{
		"another one has its product":       {of("b", "p", endOfTime), []client.Object{older, kept(v1alpha1.CoordinatorExternal)}, []string{"spec.productName"}},
		"another one has another product":   {of("b", "q", endOfTime), []client.Object{older, kept(v1alpha1.CoordinatorExternal)}, nil},
		"each keeps it in its own place":    {of("b", "p", endOfTime), []client.Object{older, kept(v1alpha1.CoordinatorFilesystem)}, nil},
		"nobody knows where it is kept":     {of("b", "p", endOfTime), []client.Object{older}, nil},
		"it exists, and may be changed":     {of("b", "p", metav1.Unix(2, 0)), []client.Object{older, kept(v1alpha1.CoordinatorExternal)}, nil},
		"it is the only one of its product": {of("b", "p", endOfTime), []client.Object{kept(v1alpha1.CoordinatorExternal)}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := validateDashboard(t.Context(), reader(t, false, tt.others...), tt.dashboard)
			if diff := cmp.Diff(tt.want, fieldsOf(list)); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
	if _, err := validateDashboard(t.Context(), reader(t, true), of("b", "p", endOfTime)); !errors.Is(err, errDown) {
		t.Errorf("got %v", err)
	}
}

func TestValidateCluster(t *testing.T) {
	dashboard := func(cluster string) *v1alpha1.CodisDashboard {
		return &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "c", Labels: map[string]string{v1alpha1.LabelCluster: cluster},
		}}
	}
	bad := v1alpha1.Component{Pod: &v1alpha1.PodSettings{Env: raws(`{"nam":"x"}`)}}
	tests := map[string]struct {
		reader  client.Reader
		prepare func(s *v1alpha1.CodisClusterSpec)
		want    []string
		err     error
	}{
		"its names are free":                  {reader: reader(t, false)},
		"its dashboard is its own":            {reader: reader(t, false, dashboard("c"))},
		"a dashboard of its name is nobody's": {reader: reader(t, false, dashboard("")), want: []string{"metadata.name"}},
		"nobody knows":                        {reader: reader(t, true), err: errDown},
		"every component is looked at": {
			reader: reader(t, false),
			prepare: func(s *v1alpha1.CodisClusterSpec) {
				s.Dashboard.Component, s.Groups.Component, s.Proxy.Component = bad, bad, bad
				s.Dashboard.FE = &v1alpha1.FESettings{Component: bad}
			},
			want: []string{
				"spec.dashboard.pod.env[0]", "spec.dashboard.pod.env[0].name", "spec.dashboard.fe.pod.env[0]",
				"spec.dashboard.fe.pod.env[0].name", "spec.groups.pod.env[0]", "spec.groups.pod.env[0].name",
				"spec.proxy.pod.env[0]", "spec.proxy.pod.env[0].name",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
			if tt.prepare != nil {
				tt.prepare(&c.Spec)
			}
			got, err := validateCluster(t.Context(), tt.reader, c)
			if diff := cmp.Diff(tt.want, fieldsOf(got)); diff != "" || !errors.Is(err, tt.err) {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestValidator(t *testing.T) {
	refusal := field.ErrorList{field.Invalid(field.NewPath("spec", "id"), 1, "choose another")}
	validating := func(list field.ErrorList, err error) validator[*v1alpha1.CodisGroup] {
		return validator[*v1alpha1.CodisGroup]{validate: func(context.Context, *v1alpha1.CodisGroup) (field.ErrorList, error) {
			return list, err
		}}
	}
	g, deleted := group("ns", "g", "d", 1), group("ns", "g", "d", 1)
	deleted.DeletionTimestamp = &metav1.Time{}
	refusing := validating(refusal, nil)
	call := func(_ any, err error) error { return err }
	tests := map[string]struct {
		err     error
		refused bool
	}{
		"good is created":                {call(validating(nil, nil).ValidateCreate(t.Context(), g)), false},
		"good is updated":                {call(validating(nil, nil).ValidateUpdate(t.Context(), g, g)), false},
		"bad is not created":             {call(refusing.ValidateCreate(t.Context(), g)), true},
		"bad is not updated":             {call(refusing.ValidateUpdate(t.Context(), g, g)), true},
		"bad is let go of its finalizer": {call(refusing.ValidateUpdate(t.Context(), g, deleted)), false},
		"bad is deleted":                 {call(refusing.ValidateDelete(t.Context(), g)), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if (tt.err != nil) != tt.refused {
				t.Fatalf("got %v", tt.err)
			}
			if tt.refused && (!apierrors.IsInvalid(tt.err) || !strings.Contains(tt.err.Error(), "spec.id")) {
				t.Errorf("got %v", tt.err)
			}
		})
	}
	if _, err := validating(nil, errDown).ValidateCreate(t.Context(), g); !errors.Is(err, errDown) || apierrors.IsInvalid(err) {
		t.Errorf("what is not known is refused as invalid: %v", err)
	}
}

// Creation times have seconds only: of two groups made within one, the second
// is refused, whatever the names.
func TestANewGroupIsYoungerThanAll(t *testing.T) {
	there, created := group("ns", "z", "d", 1), group("ns", "a", "d", 1)
	v := validator[*v1alpha1.CodisGroup]{validate: func(ctx context.Context, g *v1alpha1.CodisGroup) (field.ErrorList, error) {
		return validateGroup(ctx, reader(t, false, there), g)
	}}
	if _, err := v.ValidateCreate(t.Context(), created); err == nil {
		t.Error("the id is taken and the group is let in")
	}
	if _, err := v.ValidateUpdate(t.Context(), there, there); err != nil {
		t.Errorf("a group collides with itself: %v", err)
	}
}
