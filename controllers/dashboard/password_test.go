// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/watch"
)

// household is a dashboard and those who use its password.
type household struct {
	t      *testing.T
	client client.WithWatch
	writes int
	// refuse is what a patch of a Secret is answered.
	refuse error
}

func newHousehold(t *testing.T, objects ...client.Object) *household {
	t.Helper()
	h := &household{t: t}
	h.client = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.CodisGroup{}).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.writes++
			if h.refuse != nil {
				return h.refuse
			}
			return c.Patch(ctx, o, p, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			h.writes++
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	return h
}

func owned(object client.Object, by types.UID) client.Object {
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "CodisCluster", Name: "cc", UID: by, Controller: new(true),
	}})
	return object
}

func named(object client.Object, name string, uid types.UID) client.Object {
	object.SetNamespace("ns")
	object.SetName(name)
	object.SetUID(uid)
	return object
}

func aDashboard(uid types.UID) client.Object { return named(&v1alpha1.CodisDashboard{}, "d", uid) }

func aGroup(master string) client.Object {
	g := &v1alpha1.CodisGroup{}
	g.Spec.DashboardRef.Name = "d"
	g.Status.Master, g.Status.Members = master, []v1alpha1.MemberStatus{{Name: "g-0", Role: v1alpha1.RoleUnknown}}
	return named(g, "g", "group")
}

func aProxy(dashboard string) client.Object {
	p := &v1alpha1.CodisProxy{}
	p.Spec.DashboardRef.Name = dashboard
	return named(p, "p", types.UID("proxy of "+dashboard))
}

// ensure runs a pass of the dashboard.
func (h *household) ensure() (*state, error) {
	h.t.Helper()
	s := &state{dashboard: &v1alpha1.CodisDashboard{}}
	if err := h.client.Get(context.Background(), client.ObjectKey{Namespace: "ns", Name: "d"}, s.dashboard); err != nil {
		h.t.Fatal(err)
	}
	groups, err := watch.Groups(context.Background(), h.client, "ns", "d")
	if err != nil {
		h.t.Fatal(err)
	}
	r := &Reconciler{Client: h.client, Reader: h.client}
	return s, r.ensurePassword(context.Background(), s, groups)
}

func (h *household) mustEnsure() *state {
	h.t.Helper()
	s, err := h.ensure()
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// secret with the password; nil for none.
func (h *household) secret() *corev1.Secret {
	h.t.Helper()
	secret := &corev1.Secret{}
	err := h.client.Get(context.Background(), client.ObjectKey{Namespace: "ns", Name: "d-auth"}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

func (h *household) owners() []string {
	h.t.Helper()
	var all []string
	if secret := h.secret(); secret != nil {
		for _, owner := range secret.OwnerReferences {
			all = append(all, owner.Kind+" "+string(owner.UID))
		}
	}
	slices.Sort(all)
	return all
}

// goes deletes an object, and what nobody owns any more, as Kubernetes does.
func (h *household) goes(object client.Object) {
	h.t.Helper()
	if err := h.client.Delete(context.Background(), object); err != nil {
		h.t.Fatal(err)
	}
	secret := h.secret()
	secret.OwnerReferences = slices.DeleteFunc(secret.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == object.GetUID() })
	err := h.client.Update(context.Background(), secret)
	if len(secret.OwnerReferences) == 0 {
		err = errors.Join(err, h.client.Delete(context.Background(), secret))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestThePasswordStaysWhileAnybodyUsesIt(t *testing.T) {
	h := newHousehold(t, aDashboard("first"), aGroup(""), aProxy("d"), named(&v1alpha1.CodisProxy{}, "other", "other"))
	h.mustEnsure()
	before := string(h.secret().Data["password"])
	if diff := cmp.Diff([]string{"CodisDashboard first", "CodisGroup group", "CodisProxy proxy of d"}, h.owners()); diff != "" || before == "" {
		t.Error(diff)
	}
	h.goes(aDashboard("first"))
	if err := h.client.Create(t.Context(), aDashboard("second")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.writes = 0
		h.mustEnsure()
	}
	if got := string(h.secret().Data["password"]); got != before || h.writes > 0 {
		t.Errorf("the dashboard that was made anew has the password %q, not %q, after %d writes in a steady pass", got, before, h.writes)
	}
	if diff := cmp.Diff([]string{"CodisDashboard second", "CodisGroup group", "CodisProxy proxy of d"}, h.owners()); diff != "" {
		t.Error(diff)
	}
	for _, object := range []client.Object{aGroup(""), aProxy("d"), aDashboard("second")} {
		if h.secret() == nil {
			t.Fatalf("before %s went, the Secret did", object.GetName())
		}
		h.goes(object)
	}
	if h.secret() != nil {
		t.Error("nobody is there, and the Secret is")
	}
}

func TestWhoKeepsThePassword(t *testing.T) {
	secret := func(labels map[string]string, owners ...metav1.OwnerReference) client.Object {
		s := &corev1.Secret{Data: map[string][]byte{"password": []byte("x")}}
		s.Labels, s.OwnerReferences = labels, owners
		return named(s, "d-auth", "secret")
	}
	made := map[string]string{v1alpha1.LabelManagedBy: "codis-operator"}
	old := metav1.OwnerReference{APIVersion: "codis.io/v1alpha1", Kind: "CodisDashboard", Name: "d", UID: "uid", Controller: new(true)}
	gone := metav1.OwnerReference{APIVersion: "codis.io/v1alpha1", Kind: "CodisDashboard", Name: "d", UID: "before"}
	named := aDashboard("uid")
	if d, ok := named.(*v1alpha1.CodisDashboard); ok {
		d.Spec.AuthSecretRef = &v1alpha1.SecretReference{Name: "d-auth"}
	}
	tests := map[string]struct {
		objects []client.Object
		want    []string
	}{
		"a cluster, for all of it":             {[]client.Object{owned(aDashboard("uid"), "cc"), owned(aGroup(""), "cc"), owned(aProxy("d"), "cc")}, []string{"CodisCluster cc", "CodisDashboard uid"}},
		"a cluster, and a group of nobody":     {[]client.Object{owned(aDashboard("uid"), "cc"), aGroup("")}, []string{"CodisCluster cc", "CodisDashboard uid", "CodisGroup group"}},
		"a group that came later":              {[]client.Object{aDashboard("uid"), aGroup("g-0"), secret(made, old)}, []string{"CodisDashboard uid", "CodisGroup group"}},
		"a Secret of a dashboard that is gone": {[]client.Object{aDashboard("uid"), secret(made, gone)}, []string{"CodisDashboard before", "CodisDashboard uid"}},
		"a Secret that was restored":           {[]client.Object{aDashboard("uid"), secret(made)}, []string{"CodisDashboard uid"}},
		"whoever made it":                      {[]client.Object{aDashboard("uid"), aGroup("g-0"), secret(nil)}, nil},
		"whoever named it":                     {[]client.Object{named, aGroup("g-0"), secret(made)}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHousehold(t, tt.objects...)
			if s := h.mustEnsure(); s.blocked.Present() || s.unkept != nil {
				t.Errorf("%v, %v", s.blocked, s.unkept)
			}
			if diff := cmp.Diff(tt.want, h.owners()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoPasswordIsMadeForServersThatHaveOne(t *testing.T) {
	h := newHousehold(t, aDashboard("uid"), aGroup("g-0"))
	s := h.mustEnsure()
	if !s.blocked.Present() || s.blocked.Reason != v1alpha1.ReasonSecretMissing || !strings.HasSuffix(s.blocked.Message, "which the servers of g have") {
		t.Errorf("it says %+v", s.blocked)
	}
	if h.secret() != nil {
		t.Error("there is another password")
	}
}

func TestAPasswordThatCannotBeKept(t *testing.T) {
	tests := map[string]struct {
		answer       error
		fails, tells bool
	}{
		"it went just now":    {apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "d-auth"), true, false},
		"somebody refuses it": {errors.New("a policy says no"), false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHousehold(t, aDashboard("uid"))
			h.mustEnsure()
			if err := h.client.Create(t.Context(), aGroup("")); err != nil {
				t.Fatal(err)
			}
			h.refuse = tt.answer
			s, err := h.ensure()
			if (err != nil) != tt.fails || (s.unkept != nil) != tt.tells || s.blocked.Present() {
				t.Errorf("%v, %v, %v", err, s.unkept, s.blocked)
			}
		})
	}
}
