// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/watch"
)

// ensurePassword checks the Secret that the user named, or makes one with a
// random password, once. Two operators that try at once are told apart by the
// API server: the second finds the Secret of the first. Nobody changes the password
// of servers that run, so that none is made while groups have another one: a dashboard
// that is deleted and made anew would lock itself out.
func (r *Reconciler) ensurePassword(ctx context.Context, s *state, groups []v1alpha1.CodisGroup) error {
	name := product.AuthSecret(s.dashboard)
	secret, err := product.PasswordSecret(ctx, r.Reader, s.dashboard.Namespace, name)
	if err == nil {
		return r.keepPassword(ctx, s, secret, groups)
	}
	var problem *product.Problem
	if !errors.As(err, &problem) {
		return err
	}
	if s.dashboard.Spec.AuthSecretRef != nil {
		s.blocked = problem
		return nil
	}
	if users := serversOf(groups); s.dashboard.Status.AuthSecretName != "" || len(users) > 0 {
		// Everything that runs uses the old one; another would lock it all out.
		s.blocked = &product.Problem{Reason: v1alpha1.ReasonSecretMissing, Message: fmt.Sprintf(
			"Secret %q with the product password was deleted: restore it with the old password", name)}
		if len(users) > 0 {
			s.blocked.Message += ", which the servers of " + strings.Join(users, ", ") + " have"
		}
		return nil
	}
	owners, err := r.passwordOwners(ctx, s.dashboard, groups)
	if err != nil {
		return err
	}
	secret = &corev1.Secret{
		ObjectMeta: objectMeta(s.dashboard, naming.ComponentDashboard, name),
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{naming.PasswordKey: []byte(rand.Text())},
	}
	secret.OwnerReferences = owners
	err = r.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		s.blocked = problem // Somebody's Secret without the key.
		return nil
	}
	if err != nil {
		return fmt.Errorf("make secret %s: %w", name, err)
	}
	return nil
}

// serversOf names the groups that ever had a master, whose servers have a password.
func serversOf(groups []v1alpha1.CodisGroup) []string {
	var names []string
	for i := range groups {
		if groups[i].Status.Master != "" {
			names = append(names, groups[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// keepPassword makes a Secret of the operator's go no sooner than the last of those who
// use it. One that somebody else made is theirs. That it went just now is an error: the
// next pass makes another one, if nobody has the password.
func (r *Reconciler) keepPassword(
	ctx context.Context, s *state, secret *corev1.Secret, groups []v1alpha1.CodisGroup,
) error {
	if s.dashboard.Spec.AuthSecretRef != nil || secret.Labels[v1alpha1.LabelManagedBy] != naming.Operator {
		return nil
	}
	owners, err := r.passwordOwners(ctx, s.dashboard, groups)
	if err != nil {
		return err
	}
	before := secret.DeepCopy()
	secret.OwnerReferences = withOwners(secret.OwnerReferences, owners)
	if slices.EqualFunc(before.OwnerReferences, secret.OwnerReferences, sameOwner) {
		return nil
	}
	// Owners are merged by their UIDs, so that two who add some do not undo each other's.
	err = r.Client.Patch(ctx, secret, client.StrategicMergeFrom(before))
	if err != nil {
		err = fmt.Errorf("keep secret %s: %w", secret.Name, err)
	}
	if apierrors.IsNotFound(err) {
		return err
	}
	s.unkept = err
	return nil
}

// passwordOwners are those who use the password of a dashboard. A cluster stands for what
// it makes anew, and the dashboard for itself as well: it ends after its cluster.
func (r *Reconciler) passwordOwners(
	ctx context.Context, d *v1alpha1.CodisDashboard, groups []v1alpha1.CodisGroup,
) ([]metav1.OwnerReference, error) {
	proxies, err := watch.Proxies(ctx, r.Client, d.Namespace, d.Name)
	if err != nil {
		return nil, fmt.Errorf("list proxies: %w", err)
	}
	owners := withOwners([]metav1.OwnerReference{referTo(d, "CodisDashboard")},
		[]metav1.OwnerReference{ownerFor(d, "CodisDashboard")})
	for i := range groups {
		owners = withOwners(owners, []metav1.OwnerReference{ownerFor(&groups[i], "CodisGroup")})
	}
	for i := range proxies {
		owners = withOwners(owners, []metav1.OwnerReference{ownerFor(&proxies[i], "CodisProxy")})
	}
	return owners, nil
}

// ownerFor refers to the controller of an object, or to the object if it has none.
func ownerFor(object metav1.Object, kind string) metav1.OwnerReference {
	if c := metav1.GetControllerOf(object); c != nil {
		return metav1.OwnerReference{APIVersion: c.APIVersion, Kind: c.Kind, Name: c.Name, UID: c.UID}
	}
	return referTo(object, kind)
}

func referTo(object metav1.Object, kind string) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: object.GetName(), UID: object.GetUID(),
	}
}

// withOwners adds owners that are not there. Who has gone is left to Kubernetes. It is pure.
func withOwners(owners, more []metav1.OwnerReference) []metav1.OwnerReference {
	all := slices.Clone(owners)
	for _, owner := range more {
		if !slices.ContainsFunc(all, func(o metav1.OwnerReference) bool { return sameOwner(o, owner) }) {
			all = append(all, owner)
		}
	}
	return all
}

func sameOwner(a, b metav1.OwnerReference) bool { return a.UID == b.UID }
