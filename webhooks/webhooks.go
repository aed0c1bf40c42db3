// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package webhooks refuses objects that no schema rule can refuse: what is
// wrong only beside another object, and pod settings that no pod could have. It
// changes nothing, and reconcilers check again what endangers data: the API
// server goes on without an answer when the operator is down.
package webhooks

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// +kubebuilder:webhook:path=/validate-codis-io-v1alpha1-codiscluster,mutating=false,failurePolicy=ignore,sideEffects=None,groups=codis.io,resources=codisclusters,verbs=create;update,versions=v1alpha1,name=codiscluster.codis.io,admissionReviewVersions=v1,timeoutSeconds=5
// +kubebuilder:webhook:path=/validate-codis-io-v1alpha1-codiscoordinator,mutating=false,failurePolicy=ignore,sideEffects=None,groups=codis.io,resources=codiscoordinators,verbs=create;update,versions=v1alpha1,name=codiscoordinator.codis.io,admissionReviewVersions=v1,timeoutSeconds=5
// +kubebuilder:webhook:path=/validate-codis-io-v1alpha1-codisdashboard,mutating=false,failurePolicy=ignore,sideEffects=None,groups=codis.io,resources=codisdashboards,verbs=create;update,versions=v1alpha1,name=codisdashboard.codis.io,admissionReviewVersions=v1,timeoutSeconds=5
// +kubebuilder:webhook:path=/validate-codis-io-v1alpha1-codisgroup,mutating=false,failurePolicy=ignore,sideEffects=None,groups=codis.io,resources=codisgroups,verbs=create;update,versions=v1alpha1,name=codisgroup.codis.io,admissionReviewVersions=v1,timeoutSeconds=5
// +kubebuilder:webhook:path=/validate-codis-io-v1alpha1-codisproxy,mutating=false,failurePolicy=ignore,sideEffects=None,groups=codis.io,resources=codisproxies,verbs=create;update,versions=v1alpha1,name=codisproxy.codis.io,admissionReviewVersions=v1,timeoutSeconds=5

// Setup registers every webhook.
func Setup(mgr ctrl.Manager) error {
	reader := mgr.GetClient()
	sizes := sizes{claims: reader, classes: mgr.GetAPIReader()}
	err := register(mgr, &v1alpha1.CodisCluster{}, func(ctx context.Context, c *v1alpha1.CodisCluster) (errs, error) {
		return validateCluster(ctx, reader, c)
	}, sizes.ofCluster)
	if err != nil {
		return err
	}
	err = register(mgr, &v1alpha1.CodisCoordinator{}, func(_ context.Context, c *v1alpha1.CodisCoordinator) (errs, error) {
		return validateCoordinator(&c.Spec.CodisCoordinatorTemplate, field.NewPath("spec")), nil
	}, nil)
	if err != nil {
		return err
	}
	err = register(mgr, &v1alpha1.CodisDashboard{}, func(ctx context.Context, d *v1alpha1.CodisDashboard) (errs, error) {
		return validateDashboard(ctx, reader, d)
	}, nil)
	if err != nil {
		return err
	}
	err = register(mgr, &v1alpha1.CodisGroup{}, func(ctx context.Context, g *v1alpha1.CodisGroup) (errs, error) {
		return validateGroup(ctx, reader, g)
	}, sizes.ofGroup)
	if err != nil {
		return err
	}
	return register(mgr, &v1alpha1.CodisProxy{}, func(_ context.Context, p *v1alpha1.CodisProxy) (errs, error) {
		return validateProxy(&p.Spec.CodisProxyTemplate, field.NewPath("spec")), nil
	}, nil)
}

// errs is everything that is wrong with an object.
type errs = field.ErrorList

// object is a pointer to one of our kinds.
type object interface {
	client.Object
	runtime.Object
}

func register[T object](
	mgr ctrl.Manager, kind T, validate func(context.Context, T) (errs, error), compare comparison[T],
) error {
	err := ctrl.NewWebhookManagedBy(mgr, kind).WithValidator(validator[T]{validate, compare}).Complete()
	if err != nil {
		return fmt.Errorf("set up webhook of %T: %w", kind, err)
	}
	return nil
}

// comparison tells what is wrong with a change, and what to warn of.
type comparison[T object] func(ctx context.Context, before, after T) (admission.Warnings, errs, error)

// validator makes one rule serve creation and update, and another one updates only;
// deletion is never refused here.
type validator[T object] struct {
	validate func(context.Context, T) (errs, error)
	compare  comparison[T] // May be nil.
}

var _ admission.Validator[*v1alpha1.CodisGroup] = validator[*v1alpha1.CodisGroup]{}

// endOfTime is later than any object is made.
var endOfTime = metav1.Unix(1<<35, 0)

// ValidateCreate implements admission.Validator. What is being created is younger
// than all there is, also than what was made in the same second.
func (v validator[T]) ValidateCreate(ctx context.Context, o T) (admission.Warnings, error) {
	o.SetCreationTimestamp(endOfTime)
	list, err := v.validate(ctx, o)
	return nil, refuse(o, list, err)
}

// ValidateUpdate implements admission.Validator.
func (v validator[T]) ValidateUpdate(ctx context.Context, before, o T) (admission.Warnings, error) {
	if o.GetDeletionTimestamp() != nil {
		return nil, nil // A finalizer must always be removable.
	}
	list, err := v.validate(ctx, o)
	if err != nil || v.compare == nil {
		return nil, refuse(o, list, err)
	}
	warnings, worse, err := v.compare(ctx, before, o)
	return warnings, refuse(o, append(list, worse...), err)
}

// ValidateDelete implements admission.Validator.
func (v validator[T]) ValidateDelete(context.Context, T) (admission.Warnings, error) { return nil, nil }

// refuse words everything that is wrong with an object as one error.
func refuse(o object, list errs, err error) error {
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	return apierrors.NewInvalid(o.GetObjectKind().GroupVersionKind().GroupKind(), o.GetName(), list)
}
