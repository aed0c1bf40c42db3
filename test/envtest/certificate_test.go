// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/codis-io/codis-operator/webhooks"
)

// Nobody but the operator brings the certificate to it here, as long as a node
// takes to notice that a mounted Secret changed. It does not lead either.
func TestOperatorFetchesItsCertificateByItself(t *testing.T) {
	t.Parallel()
	namespace, directory := newNamespace(t), t.TempDir()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "codis-operator-webhook-cert"}}
	if err := user.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	hooks := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: freePort(t), CertDir: directory})
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: user.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, WebhookServer: hooks,
		LeaderElection: true, LeaderElectionID: "nobody", LeaderElectionNamespace: "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, err := webhooks.KeepCertificate(mgr, namespace, directory)
	if err != nil {
		t.Fatal(err)
	}
	runManager(t, mgr)
	up := hooks.StartedChecker()
	if up(nil) == nil {
		t.Error("the operator is ready without a certificate")
	}
	eventually(t, "certificate", func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	}, func() string { return directory })
	if err := webhooks.Setup(mgr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "webhook server", func() bool { return up(nil) == nil }, func() string { return up(nil).Error() })
	if err := user.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"tls.crt", "tls.key"} {
		got, err := os.ReadFile(filepath.Join(directory, file))
		if err != nil || string(got) != string(secret.Data[file]) {
			t.Errorf("%s is not that of the Secret: %v", file, err)
		}
	}
}

// runManager runs a manager until the test ends.
func runManager(t *testing.T, mgr ctrl.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
