// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"fmt"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Names of objects of the installation; config/webhook and config/rbac have
// them, too.
const (
	certSecret    = "codis-operator-webhook-cert"
	serviceName   = "codis-operator-webhook-service"
	configuration = "codis-operator-validating-webhook-configuration"
)

// KeepCertificate makes the certificate that the webhooks serve with, renews it
// and tells the API server which authority signed it. The returned channel is
// closed once the certificate is mounted.
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
	return ready, nil
}
