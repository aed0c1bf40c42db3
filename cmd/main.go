// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command manager is the Codis operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/controllers"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/webhooks"
)

// version is set at build time.
var version = "dev"

type options struct {
	codisImage, configWriterImage string
	etcdImage, zooKeeperImage     string
	domain                        string
	metricsAddr, probeAddr        string
	leaderElect                   bool
	webhookCertDir                string
}

func main() {
	var o options
	flag.StringVar(&o.codisImage, "codis-image", "", "Image with the Codis 3.2 binaries, for objects that name none.")
	flag.StringVar(&o.etcdImage, "etcd-image", "quay.io/coreos/etcd:v3.5.21",
		"Image with etcd 3.5, for coordinators that name none.")
	flag.StringVar(&o.zooKeeperImage, "zookeeper-image", "zookeeper:3.8",
		"Image with ZooKeeper 3.8 or newer, for coordinators that name none.")
	flag.StringVar(&o.configWriterImage, "config-writer-image", "",
		"Image with /config-writer and /member-gate: the operator's own.")
	flag.StringVar(&o.domain, "cluster-domain", "cluster.local", "DNS domain of the Kubernetes cluster.")
	flag.StringVar(&o.metricsAddr, "metrics-bind-address", ":8443", "Address of the metrics endpoint, 0 for none.")
	flag.StringVar(&o.probeAddr, "health-probe-bind-address", ":8081", "Address of the health endpoint.")
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "Elect one of several operators that acts.")
	flag.StringVar(&o.webhookCertDir, "webhook-cert-dir", "",
		"Directory to keep the webhook certificate in; empty for no webhooks.")
	zapOptions := zap.Options{}
	zapOptions.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&zapOptions)))
	ctx := ctrl.SetupSignalHandler()
	err := run(ctx, o)
	if errors.Is(err, errStopped) && ctx.Err() == nil {
		err = errors.Join(err, startOver(ctx))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "codis-operator:", err)
		os.Exit(1)
	}
}

// errStopped tells that an operator that had begun its work could not go on.
var errStopped = errors.New("stopped")

// restartPause keeps an operator that cannot go on from starting over all the time.
const restartPause = time.Second

// startOver replaces the process by a new one; it returns only if it cannot. An
// operator that could not renew its lease must forget all that it was about to do.
// Were it to end, kubelet would let it wait for up to five minutes after a few times:
// when the API server has been away, all operators would be then. One that can never
// go on does not pass its liveness probe, and kubelet ends it.
func startOver(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(restartPause):
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start over: %w", err)
	}
	return fmt.Errorf("start over: %w", syscall.Exec(self, os.Args, os.Environ())) //nolint:gosec // The same program.
}

func run(ctx context.Context, o options) error {
	if o.codisImage == "" || o.configWriterImage == "" {
		return fmt.Errorf("--codis-image and --config-writer-image must be set")
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	hooks := webhook.NewServer(webhook.Options{CertDir: o.webhookCertDir})
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), managerOptions(scheme, hooks, o))
	if err != nil {
		return fmt.Errorf("create manager: %w", err)
	}
	err = controllers.Setup(mgr, controllers.Options{
		Images: podtemplate.Images{
			Codis: o.codisImage, Etcd: o.etcdImage, ZooKeeper: o.zooKeeperImage, ConfigWriter: o.configWriterImage,
		},
		Domain: naming.Domain(o.domain), Namespace: os.Getenv("POD_NAMESPACE"),
	})
	if err != nil {
		return err
	}
	ready, err := setupWebhooks(ctx, mgr, hooks, o)
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("webhooks", ready); err != nil {
		return err
	}
	ctrl.Log.Info("Starting the Codis operator", "version", version)
	if err := mgr.Start(ctx); err != nil {
		ctrl.Log.Error(err, "Starting over")
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	return nil
}

// setupWebhooks registers the webhooks as soon as their certificate is there:
// reconcilers do not wait for it, and an operator that is not ready may lead. The
// check passes once the webhooks are served: an operator that is not ready gets no
// requests, and whoever waits for it can rely on its refusals.
func setupWebhooks(ctx context.Context, mgr ctrl.Manager, server webhook.Server, o options) (healthz.Checker, error) {
	if o.webhookCertDir == "" {
		return healthz.Ping, nil
	}
	ready, err := webhooks.KeepCertificate(mgr, os.Getenv("POD_NAMESPACE"), o.webhookCertDir)
	if err != nil {
		return nil, err
	}
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-ready:
		}
		if err := webhooks.Setup(mgr); err != nil {
			ctrl.Log.Error(err, "Going on without webhooks")
		}
	}()
	return server.StartedChecker(), nil
}

// The lease of the operator that leads. A node may be lost with it and a master on it:
// another one has to lead, and to promote, before the 7.5 s have passed after which
// proxies dial the lost node once more, for 5 s. It leads after leaseDuration and up to
// three times retryPeriod. Who could not renew for renewDeadline ends what it does, 2 s
// before another one may begin.
const (
	leaseDuration = 5 * time.Second
	renewDeadline = 3 * time.Second
	retryPeriod   = 500 * time.Millisecond
)

func managerOptions(scheme *runtime.Scheme, server webhook.Server, o options) ctrl.Options {
	lease, renew, retry := leaseDuration, renewDeadline, retryPeriod
	return ctrl.Options{
		Scheme:                        scheme,
		HealthProbeBindAddress:        o.probeAddr,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "codis-operator.codis.io",
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		Metrics: metricsserver.Options{
			BindAddress:    o.metricsAddr,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		WebhookServer: server,
		Cache:         controllers.CacheOptions(),
	}
}
