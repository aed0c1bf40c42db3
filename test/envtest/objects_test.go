// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/codis-io/codis-operator/internal/fixture"
)

// parse reads the objects of a YAML text.
func parse(t *testing.T, namespace, text string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		object.SetNamespace(namespace)
		objects = append(objects, object)
	}
	return objects
}

// file reads the objects of a file of the repository.
func file(t *testing.T, namespace, name string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, namespace, string(text))
}

func create(t *testing.T, objects ...*unstructured.Unstructured) {
	t.Helper()
	for _, object := range objects {
		if err := user.Create(t.Context(), object, client.FieldValidation("Strict")); err != nil {
			t.Fatalf("create %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// versions maps every object of a namespace, events included, to its version.
func versions(t *testing.T, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, list := range append(fixture.Kinds(), &eventsv1.EventList{}) {
		if err := user.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		for _, object := range fixture.Items(list) {
			found[fmt.Sprintf("%T %s", object, object.GetName())] = object.GetResourceVersion()
		}
	}
	return found
}

// difference tells which objects have other versions.
func difference(before, after map[string]string) []string {
	var changed []string
	for name, version := range after {
		if before[name] != version {
			changed = append(changed, fmt.Sprintf("%s: %q, was %q", name, version, before[name]))
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			changed = append(changed, name+" is gone")
		}
	}
	slices.Sort(changed)
	return changed
}

// describe tells of all conditions in a namespace.
func describe(t *testing.T, namespace string) string {
	t.Helper()
	var out strings.Builder
	for _, list := range fixture.Kinds() {
		if err := user.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			return err.Error()
		}
		for _, object := range fixture.Items(list) {
			text, err := yaml.Marshal(object)
			if err != nil {
				return err.Error()
			}
			_, status, _ := strings.Cut(string(text), "\nstatus:")
			fmt.Fprintf(&out, "%T %s:%s\n", object, object.GetName(), status)
		}
	}
	return out.String()
}
