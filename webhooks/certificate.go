// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// Names of objects of the installation; config/webhook and config/rbac have
// them, too.
const (
	certSecret    = "codis-operator-webhook-cert"
	serviceName   = "codis-operator-webhook-service"
	configuration = "codis-operator-validating-webhook-configuration"
)

// KeepCertificate makes the certificate that the webhooks serve with, renews it,
// writes it to a directory and tells the API server which authority signed it. The
// returned channel is closed once all of that was done.
func KeepCertificate(mgr ctrl.Manager, namespace, directory string) (<-chan struct{}, error) {
	ready := make(chan struct{})
	err := rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:      types.NamespacedName{Namespace: namespace, Name: certSecret},
		CertDir:        directory,
		CAName:         "codis-operator-ca",
		CAOrganization: "codis-operator",
		DNSName:        fmt.Sprintf("%s.%s.svc", serviceName, namespace),
		IsReady:        ready,
		FieldOwner:     "codis-operator-webhook",
		Webhooks:       []rotator.WebhookInfo{{Name: configuration, Type: rotator.Validating}},
	})
	if err != nil {
		return nil, fmt.Errorf("set up webhook certificate: %w", err)
	}
	secrets, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme:               mgr.GetScheme(),
		Mapper:               mgr.GetRESTMapper(),
		DefaultNamespaces:    map[string]cache.Config{namespace: {}},
		DefaultFieldSelector: fields.OneTermEqualSelector("metadata.name", certSecret),
	})
	if err != nil {
		return nil, fmt.Errorf("set up cache of the webhook certificate: %w", err)
	}
	return ready, mgr.Add(carrier{secrets: secrets, directory: directory})
}

// carrier brings the certificate from its Secret to where the server reads it. Kubelet
// would do that for a mounted Secret, but up to two minutes after it was written, and
// the webhooks of every operator but the first would be missing until then.
type carrier struct {
	secrets   cache.Cache
	directory string
}

// NeedLeaderElection tells that every operator serves webhooks.
func (carrier) NeedLeaderElection() bool { return false }

// Start carries until ctx ends.
func (c carrier) Start(ctx context.Context) error {
	informer, err := c.secrets.GetInformer(ctx, &corev1.Secret{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch the webhook certificate: %w", err)
	}
	carry := func(object any) {
		secret, ok := object.(*corev1.Secret)
		if !ok {
			return
		}
		if err := writeCertificate(secret, c.directory); err != nil {
			ctrl.Log.Error(err, "Serving no webhooks, or with an old certificate")
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    carry,
		UpdateFunc: func(_, object any) { carry(object) },
	})
	if err != nil {
		return fmt.Errorf("watch the webhook certificate: %w", err)
	}
	return c.secrets.Start(ctx)
}

// writeCertificate writes the certificate of a Secret, if it has one yet. Each file
// appears whole, and the certificate last: it is what others wait for.
func writeCertificate(secret *corev1.Secret, directory string) error {
	for _, key := range []string{corev1.TLSPrivateKeyKey, corev1.TLSCertKey} {
		if len(secret.Data[key]) == 0 {
			return nil
		}
		file := filepath.Join(directory, key)
		if err := os.WriteFile(file+".new", secret.Data[key], 0o600); err != nil {
			return fmt.Errorf("write webhook certificate: %w", err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			return fmt.Errorf("write webhook certificate: %w", err)
		}
	}
	return nil
}
