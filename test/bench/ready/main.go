// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command ready measures how long a CodisCluster takes from its creation to
// Ready, as a watch shows it, with the operator installed and the images on the
// nodes. Each trial begins when nothing is left of the one before.
//
//	ready -count 10 -file examples/sample-1.yml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/bench/figures"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

func main() {
	count := flag.Int("count", 10, "number of trials")
	file := flag.String("file", "examples/sample-1.yml", "the CodisCluster")
	patience := flag.Duration("patience", 2*time.Minute, "give up a trial after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *count, *file, *patience)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ready:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, count int, file string, patience time.Duration) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	cluster, err := framework.Connect()
	if err != nil {
		return err
	}
	namespace, err := cluster.CreateNamespace(ctx, "bench")
	if err != nil {
		return err
	}
	var trials []time.Duration
	for range count {
		var took time.Duration
		if took, err = trial(ctx, cluster, namespace, content, patience); err != nil {
			break
		}
		fmt.Printf("trial %d: %.2f s\n", len(trials)+1, took.Seconds())
		trials = append(trials, took)
	}
	if len(trials) > 0 {
		fmt.Println(figures.Summary("create to Ready", trials))
	}
	return errors.Join(err, cluster.DeleteNamespace(context.WithoutCancel(ctx), namespace))
}

// trial creates the cluster, waits until it is ready, and removes it.
func trial(
	ctx context.Context, cluster *framework.Cluster, namespace string, manifest []byte, patience time.Duration,
) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	object := &v1alpha1.CodisCluster{}
	if err := yaml.UnmarshalStrict(manifest, object); err != nil {
		return 0, fmt.Errorf("read the CodisCluster: %w", err)
	}
	object.Namespace = namespace
	began := time.Now()
	if err := cluster.Create(ctx, object); err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	ready, err := cluster.WatchReady(ctx, namespace, object.Name)
	if err != nil {
		return 0, err
	}
	if err := cluster.Delete(ctx, object); err != nil {
		return 0, fmt.Errorf("delete: %w", err)
	}
	return ready.Sub(began), waitGone(ctx, cluster, namespace)
}

// waitGone waits until no object of ours and no pod is left.
func waitGone(ctx context.Context, cluster *framework.Cluster, namespace string) error {
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		coordinators, dashboards := &v1alpha1.CodisCoordinatorList{}, &v1alpha1.CodisDashboardList{}
		groups, proxies := &v1alpha1.CodisGroupList{}, &v1alpha1.CodisProxyList{}
		for _, list := range []client.ObjectList{coordinators, dashboards, groups, proxies} {
			if err := cluster.List(ctx, list, client.InNamespace(namespace)); err != nil {
				return false, err
			}
		}
		pods, err := cluster.Pods(ctx, namespace, nil)
		left := len(coordinators.Items) + len(dashboards.Items) + len(groups.Items) + len(proxies.Items) + len(pods)
		return left == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait until the cluster is gone: %w", err)
	}
	return nil
}
