// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package apply writes the objects that a custom resource owns, by server-side
// apply, and only when there is something to write. It refuses to touch an
// object that somebody else owns, and it never deletes and recreates.
package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// ErrCollision tells that an object of the wanted name belongs to somebody else.
var ErrCollision = errors.New("name is taken")

// Applier applies objects.
type Applier struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Reader reads past the cache, which holds only objects with our label.
	Reader client.Reader
}

// Objects applies objects that owner controls, in order. It goes on after an
// object that was refused, and returns all errors.
func (a Applier) Objects(ctx context.Context, owner client.Object, objects ...client.Object) error {
	var errs []error
	for _, object := range objects {
		if err := a.object(ctx, owner, object); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a Applier) object(ctx context.Context, owner, object client.Object) error {
	scheme := a.Client.Scheme()
	gvk, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	what := gvk.Kind + " " + object.GetName()
	if err := controllerutil.SetControllerReference(owner, object, scheme); err != nil {
		return fmt.Errorf("apply %s: %w", what, err)
	}
	object.GetObjectKind().SetGroupVersionKind(gvk)
	if err := stamp(object); err != nil {
		return fmt.Errorf("apply %s: %w", what, err)
	}
	live, err := a.live(ctx, object)
	if err != nil {
		return fmt.Errorf("apply %s: %w", what, err)
	}
	if live != nil {
		if !metav1.IsControlledBy(live, owner) {
			return fmt.Errorf("apply %s: %w: it exists and does not belong to %s; delete or rename one of them",
				what, ErrCollision, owner.GetName())
		}
		if applied, err := isApplied(object, live); err != nil || applied {
			return err
		}
	}
	if err := a.apply(ctx, object); err != nil {
		return fmt.Errorf("apply %s: %w", what, err)
	}
	return nil
}

// live returns the object as it is, or nil. What the cache does not know is
// asked for at the API server, once, before it is made: the cache is filtered
// by label, and may be behind.
func (a Applier) live(ctx context.Context, object client.Object) (client.Object, error) {
	found, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return nil, fmt.Errorf("%T is not an object", object)
	}
	key := client.ObjectKeyFromObject(object)
	err := a.Client.Get(ctx, key, found)
	if apierrors.IsNotFound(err) {
		err = a.Reader.Get(ctx, key, found)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

func (a Applier) apply(ctx context.Context, object client.Object) error {
	fields, err := fieldsOf(object)
	if err != nil {
		return err
	}
	return a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: fields}),
		client.FieldOwner(naming.Operator), client.ForceOwnership)
}

// fieldsOf returns the fields of an object that an apply would write.
func fieldsOf(object client.Object) (map[string]any, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(fields, "status")
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(fields, "spec", "template", "metadata", "creationTimestamp")
	return fields, nil
}

// isApplied tells whether applying again would change nothing: the hash tells
// that the same object was applied last (so nothing is left to remove), and
// every field of it is still there (so nobody changed it since). Fields, not
// structs, are compared: in a struct a number that the API server fills in
// looks like one that was set to 0.
func isApplied(desired, live client.Object) (bool, error) {
	if desired.GetAnnotations()[v1alpha1.AnnotationApplied] != live.GetAnnotations()[v1alpha1.AnnotationApplied] {
		return false, nil
	}
	live, ok := live.DeepCopyObject().(client.Object)
	if !ok {
		return false, fmt.Errorf("%T is not an object", live)
	}
	// The client may leave the kind out of what it read.
	live.GetObjectKind().SetGroupVersionKind(desired.GetObjectKind().GroupVersionKind())
	wanted, err := fieldsOf(desired)
	if err != nil {
		return false, err
	}
	found, err := fieldsOf(live)
	if err != nil {
		return false, err
	}
	return equality.Semantic.DeepDerivative(wanted, found), nil
}

// stamp writes the hash of an object into its annotations.
func stamp(object client.Object) error {
	hash, err := Hash(object)
	if err != nil {
		return err
	}
	annotations := map[string]string{v1alpha1.AnnotationApplied: hash}
	maps.Copy(annotations, object.GetAnnotations())
	object.SetAnnotations(annotations)
	return nil
}

// Hash returns a short hash of a value as JSON.
func Hash(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
