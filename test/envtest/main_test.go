// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/controllers"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/webhooks"
)

const (
	root = "../.."
	// patience is how long a test waits for what takes a second.
	patience = 2 * time.Minute
	poll     = 50 * time.Millisecond
	// pace of the fixture: kubelet and the controllers look this often.
	pace = 100 * time.Millisecond
)

var (
	config *rest.Config
	// user reads and writes past all caches.
	user client.Client
	// pods is what runs in the pods.
	pods *fixture.Cluster
)

// silence drops what the Redis client prints about servers that are down.
type silence struct{}

// Printf implements the logger of go-redis.
func (silence) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	goredis.SetLogger(silence{})
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		fmt.Fprintln(os.Stderr, "KUBEBUILDER_ASSETS must name a directory with kube-apiserver and etcd: run `make test-env`")
		return 1
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{root + "/config/crd/bases"},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{root + "/config/webhook/manifests.yaml"}},
	}
	stop, err := start(environment)
	code := 1
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, stop(), environment.Stop()); err != nil {
		fmt.Fprintln(os.Stderr, "envtest:", err)
		return 1
	}
	return code
}

// start brings up an API server, the operator and what nodes do.
func start(environment *envtest.Environment) (stop func() error, err error) {
	nothing := func() error { return nil }
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nothing, err
	}
	if config, err = environment.Start(); err != nil {
		return nothing, err
	}
	config.QPS = -1 // The API server is ours alone.
	if user, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nothing, err
	}
	hooks := environment.WebhookInstallOptions
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Cache:   controllers.CacheOptions(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: hooks.LocalServingHost, Port: hooks.LocalServingPort, CertDir: hooks.LocalServingCertDir,
		}),
	})
	if err != nil {
		return nothing, err
	}
	err = controllers.Setup(mgr, controllers.Options{
		Images: podtemplate.Images{Codis: "codis:test", ConfigWriter: "operator:test"}, Domain: "cluster.local",
	})
	if err = errors.Join(err, webhooks.Setup(mgr)); err != nil {
		return nothing, err
	}
	return serve(mgr)
}

// serve runs the manager and the fixture until stop is called.
func serve(mgr ctrl.Manager) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var failure error
	running.Go(func() { failure = mgr.Start(ctx) })
	pods = fixture.NewCluster(user, nil)
	running.Go(func() { keepStepping(ctx, pods) })
	stop = func() error {
		cancel()
		running.Wait()
		pods.Close()
		return failure
	}
	up := mgr.GetWebhookServer().StartedChecker()
	return stop, waitFor(ctx, func() bool { return up(nil) == nil })
}

func keepStepping(ctx context.Context, cluster *fixture.Cluster) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// What cannot be done now, such as a write that met another one, is
			// done in the next step.
			_, _ = cluster.Step(ctx)
		}
	}
}

// waitFor waits until something is so.
func waitFor(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// eventually fails unless something becomes so; state is told then.
func eventually(t *testing.T, what string, done func() bool, state func() string) {
	t.Helper()
	if err := waitFor(t.Context(), done); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, state())
	}
}

// newNamespace makes a namespace of a test's own.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := user.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}
