// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package product resolves what belongs to a product from the Kubernetes side:
// its dashboard, the address of that dashboard's pod, its password. It refuses
// to act on any of them.
package product

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
)

// Problem is why something cannot go on, worded for a condition.
type Problem struct {
	Reason  string
	Message string
}

// Present tells whether there is a problem; nil is none.
func (p *Problem) Present() bool { return p != nil }

// InvalidSpec words an error of the spec that only its owner can mend: the
// object wakes the reconciler when it is changed.
func InvalidSpec(err error) *Problem {
	return &Problem{Reason: v1alpha1.ReasonInvalidSpec, Message: err.Error()}
}

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Message }

// AsProblem words any error for a condition.
func AsProblem(err error, reason string) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	return &Problem{Reason: reason, Message: err.Error()}
}

// Dashboard returns the CodisDashboard that is referred to.
func Dashboard(ctx context.Context, c client.Reader, namespace, name string) (*v1alpha1.CodisDashboard, error) {
	dashboard := &v1alpha1.CodisDashboard{}
	err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, dashboard)
	if apierrors.IsNotFound(err) {
		return nil, &Problem{
			Reason: v1alpha1.ReasonDashboardMissing,
			Message: fmt.Sprintf(
				"CodisDashboard %q does not exist in this namespace: create it, or correct spec.dashboardRef", name),
		}
	}
	if err != nil {
		return nil, fmt.Errorf("get dashboard: %w", err)
	}
	return dashboard, nil
}

// Name returns the product name of a dashboard.
func Name(dashboard *v1alpha1.CodisDashboard) string {
	if dashboard.Spec.ProductName != "" {
		return dashboard.Spec.ProductName
	}
	return naming.Product(dashboard.Namespace, dashboard.Name)
}

// AuthSecret names the Secret with the product password.
func AuthSecret(dashboard *v1alpha1.CodisDashboard) string {
	if ref := dashboard.Spec.AuthSecretRef; ref != nil {
		return ref.Name
	}
	return naming.Auth(dashboard.Name)
}

// API returns a client of the dashboard. It dials the pod itself: DNS may be
// behind, and the pod that the API server knows is the one that counts.
func API(ctx context.Context, c client.Reader, dashboard *v1alpha1.CodisDashboard) (codis.Dashboard, error) {
	pod := &corev1.Pod{}
	key := types.NamespacedName{Namespace: dashboard.Namespace, Name: naming.DashboardPod(dashboard.Name)}
	err := c.Get(ctx, key, pod)
	if err != nil && !apierrors.IsNotFound(err) {
		return codis.Dashboard{}, fmt.Errorf("get dashboard pod: %w", err)
	}
	if err != nil || pod.Status.PodIP == "" || pod.DeletionTimestamp != nil {
		return codis.Dashboard{}, &Problem{
			Reason:  v1alpha1.ReasonDashboardUnreachable,
			Message: fmt.Sprintf("the dashboard's pod %s does not run yet", key.Name),
		}
	}
	return codis.Dashboard{
		Addr:    net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(naming.PortDashboard)),
		Product: Name(dashboard),
	}, nil
}

// Stats asks the dashboard for the topology.
func Stats(ctx context.Context, api interface {
	Stats(ctx context.Context) (*codis.Stats, error)
},
) (*codis.Stats, error) {
	stats, err := api.Stats(ctx)
	var remote *codis.RemoteError
	switch {
	case errors.As(err, &remote):
		return nil, &Problem{Reason: v1alpha1.ReasonDashboardUnreachable, Message: "the dashboard answers: " + remote.Cause}
	case err != nil:
		return nil, Silent()
	}
	return stats, nil
}

// Silent is what is wrong with a dashboard that says nothing.
func Silent() *Problem {
	return &Problem{Reason: v1alpha1.ReasonDashboardUnreachable, Message: "the dashboard does not answer yet"}
}

// DefaultUser is whose login it is where a Secret names nobody; the config writer
// knows the same one.
const DefaultUser = "root"

// Login reads the user name and the password in a Secret, as Password does.
func Login(ctx context.Context, reader client.Reader, namespace, name string) (user, password string, err error) {
	secret, err := secretWith(ctx, reader, namespace, name, naming.PasswordKey)
	if err != nil {
		return "", "", err
	}
	user = string(secret.Data[naming.UsernameKey])
	if user == "" {
		user = DefaultUser
	}
	return user, string(secret.Data[naming.PasswordKey]), nil
}

// Password reads the password in a Secret, past the cache: the operator keeps
// no copy of Secrets that it does not own.
func Password(ctx context.Context, reader client.Reader, namespace, name string) (string, error) {
	secret, err := PasswordSecret(ctx, reader, namespace, name)
	if err != nil {
		return "", err
	}
	return string(secret.Data[naming.PasswordKey]), nil
}

// PasswordSecret reads a Secret with a password, as Password does.
func PasswordSecret(ctx context.Context, reader client.Reader, namespace, name string) (*corev1.Secret, error) {
	return secretWith(ctx, reader, namespace, name, naming.PasswordKey)
}

// secretWith reads a Secret that has a value under a key.
func secretWith(ctx context.Context, reader client.Reader, namespace, name, key string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get secret %s: %w", name, err)
	}
	if len(secret.Data[key]) == 0 {
		return nil, &Problem{
			Reason: v1alpha1.ReasonSecretMissing,
			Message: fmt.Sprintf("Secret %q with a value under the key %q does not exist in this namespace: create it",
				name, key),
		}
	}
	return secret, nil
}
