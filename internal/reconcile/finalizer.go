// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Hold keeps an object from going before what it leaves behind is cleaned. before
// is the object as it was read; if it is as it was, nothing is written.
func Hold(ctx context.Context, c client.Client, object, before client.Object) (written bool, err error) {
	if !controllerutil.AddFinalizer(object, v1alpha1.Finalizer) {
		return false, nil
	}
	if err := c.Patch(ctx, object, client.MergeFrom(before)); err != nil {
		return false, fmt.Errorf("add finalizer: %w", err)
	}
	return true, nil
}

// Release lets an object go. That it is gone already is no error.
func Release[T interface {
	client.Object
	DeepCopy() T
}](ctx context.Context, c client.Client, object T) error {
	before := object.DeepCopy()
	controllerutil.RemoveFinalizer(object, v1alpha1.Finalizer)
	if err := client.IgnoreNotFound(c.Patch(ctx, object, client.MergeFrom(before))); err != nil {
		return fmt.Errorf("remove finalizer: %w", err)
	}
	return nil
}
