// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package install asks a real API server whether it takes what users give it:
// the installation manifest, object by object in its order, and the examples.
package install

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	root     = "../../.."
	manifest = root + "/deploy/manager/deployment-dev.yml"
)

func TestUsersFiles(t *testing.T) {
	t.Parallel()
	c := startServer(t)
	for _, object := range objects(t, manifest) {
		t.Run("the manifest's "+object.GetKind()+" "+object.GetName(), func(t *testing.T) {
			if err := c.Create(t.Context(), object, client.FieldValidation("Strict")); err != nil {
				t.Error(err)
			}
		})
	}
	if t.Failed() {
		t.Fatal("the examples need the kinds")
	}
	for _, file := range examples(t) {
		t.Run(strings.TrimPrefix(file, root+"/"), func(t *testing.T) {
			// Files may make the same cluster in different ways.
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "example-"}}
			if err := c.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			for _, object := range objects(t, file) {
				object.SetNamespace(namespace.Name)
				if err := createOnceServed(t, c, object); err != nil {
					t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
}

func startServer(t *testing.T) client.Client {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS must name a directory with kube-apiserver and etcd: run `make test-env`")
	}
	environment := &envtest.Environment{}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// createOnceServed creates an object; the API server needs a moment until it
// serves a kind whose definition it has just got.
func createOnceServed(t *testing.T, c client.Client, object *unstructured.Unstructured) error {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) {
			last = c.Create(ctx, object, client.FieldValidation("Strict"))
			return !meta.IsNoMatchError(last) && !apierrors.IsNotFound(last), nil
		})
	return errors.Join(err, last)
}

// examples are all the YAML files that users copy.
func examples(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root+"/examples", func(path string, entry os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && !entry.IsDir() && (ext == ".yml" || ext == ".yaml") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no examples")
	}
	return files
}

// objects reads the objects of a file, in order.
func objects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	documents := yaml.NewYAMLOrJSONDecoder(content, 4096)
	var all []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := documents.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}
