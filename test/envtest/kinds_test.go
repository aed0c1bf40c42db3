// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// shown is what kubectl shows of a kind.
type shown struct {
	short   string
	columns []string
	scale   bool
}

func kinds() map[string]shown {
	return map[string]shown{
		"codisclusters":     {"cc", []string{"Name", "Ready", "Available", "Groups", "Proxies", "Slots", "Address", "Age"}, false},
		"codiscoordinators": {"cco", []string{"Name", "Type", "Ready", "Members", "Leader", "Reason", "Age"}, false},
		"codisdashboards":   {"cda", []string{"Name", "Product", "Ready", "Slots", "Migrating", "Balanced", "Left", "Sentinels", "Moved", "Seconds", "Balance", "Reason", "Age"}, false},
		"codisgroups":       {"cg", []string{"Name", "ID", "Master", "Ready", "Slots", "Keys", "Memory", "State", "Age"}, true},
		"codisproxies":      {"cpx", []string{"Name", "Desired", "Online", "Ops", "Sessions", "Ready", "Age"}, true},
	}
}

func TestWhatKubectlShows(t *testing.T) {
	t.Parallel()
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]metav1.APIResource{}
	for _, r := range list.APIResources {
		served[r.Name] = r
	}
	for name, want := range kinds() {
		r, found := served[name]
		if !found || !r.Namespaced || !slices.Equal(r.ShortNames, []string{want.short}) || !slices.Equal(r.Categories, []string{"codis"}) {
			t.Errorf("%s is served as %+v", name, r)
		}
		if _, status := served[name+"/status"]; !status {
			t.Errorf("%s has no status of its own", name)
		}
		if _, scale := served[name+"/scale"]; scale != want.scale {
			t.Errorf("%s can be scaled: %v, want %v", name, scale, want.scale)
		}
		body, err := d.RESTClient().Get().AbsPath("/apis/codis.io/v1alpha1/"+name).
			SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		table := metav1.Table{}
		if err := json.Unmarshal(body, &table); err != nil {
			t.Fatal(err)
		}
		var columns []string
		for _, c := range table.ColumnDefinitions {
			columns = append(columns, c.Name)
		}
		if !slices.Equal(columns, want.columns) {
			t.Errorf("%s has the columns %q, want %q", name, columns, want.columns)
		}
	}
	if len(served) == 0 {
		t.Error("nothing is served")
	}
}

// What `kubectl explain` says of a field is the description in its schema.
func TestEveryFieldIsExplained(t *testing.T) {
	t.Parallel()
	for name := range kinds() {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		if err := user.Get(t.Context(), client.ObjectKey{Name: name + ".codis.io"}, crd); err != nil {
			t.Fatal(err)
		}
		all, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		if err != nil || len(all) != 1 {
			t.Fatalf("%s has %d versions, %v", name, len(all), err)
		}
		properties, found, err := unstructured.NestedMap(all[0].(map[string]any), "schema", "openAPIV3Schema", "properties")
		if err != nil || !found {
			t.Fatalf("%s has no schema: %v", name, err)
		}
		delete(properties, "metadata") // Explained by Kubernetes itself.
		fields := 0
		walk(name, properties, func(path, description string) {
			fields++
			if len(strings.TrimSpace(description)) < 10 {
				t.Errorf("%s is explained by %q", path, description)
			}
		})
		if fields < 15 {
			t.Errorf("%s has %d fields", name, fields)
		}
	}
}

// walk visits every field of a schema.
func walk(path string, properties map[string]any, visit func(path, description string)) {
	for name, property := range properties {
		field, ok := property.(map[string]any)
		if !ok {
			continue
		}
		description, _ := field["description"].(string)
		visit(path+"."+name, description)
		for _, inner := range []map[string]any{field, nested(field, "items"), nested(field, "additionalProperties")} {
			walk(path+"."+name, nested(inner, "properties"), visit)
		}
	}
}

func nested(field map[string]any, name string) map[string]any {
	inner, _ := field[name].(map[string]any)
	return inner
}
