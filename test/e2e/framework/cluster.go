// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package framework is what end-to-end tests and benchmarks reach a Kubernetes
// cluster with: kubectl as a user has it, an API client for what is watched or
// timed, and pods of test/client for everything that happens inside the
// cluster. It runs on any cluster that a kubeconfig leads to. It refuses to
// judge what it sees.
package framework

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// poll is the time between two looks of whatever is waited for.
const poll = 100 * time.Millisecond

// Cluster is a Kubernetes cluster.
type Cluster struct {
	client.WithWatch
	// clientset streams logs, which Client cannot.
	clientset kubernetes.Interface
}

// Connect reaches the cluster that kubectl talks to.
func Connect() (*Cluster, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	withWatch, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Cluster{WithWatch: withWatch, clientset: clientset}, nil
}

// Kubectl runs kubectl as a user does and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlWith(ctx, "", args...)
}

// KubectlWith runs kubectl with an input. What it complained about is in the error.
func (c *Cluster) KubectlWith(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// CreateNamespace makes a namespace of a name that nobody has.
func (c *Cluster) CreateNamespace(ctx context.Context, prefix string) (string, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: prefix + "-",
		// The agent that signals processes is privileged.
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"},
	}}
	if err := c.Create(ctx, namespace); err != nil {
		return "", fmt.Errorf("create namespace: %w", err)
	}
	return namespace.Name, nil
}

// DeleteNamespace deletes a namespace; it does not wait until it is gone.
func (c *Cluster) DeleteNamespace(ctx context.Context, name string) error {
	return client.IgnoreNotFound(c.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

// Pods of a namespace that have the given labels.
func (c *Cluster) Pods(ctx context.Context, namespace string, labels map[string]string) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	err := c.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels(labels))
	return list.Items, err
}

// until asks again until it is told yes, the error is one that stays, or the
// context ends; the last problem is in the error.
func until(ctx context.Context, what string, ask func(ctx context.Context) (bool, error)) error {
	if err := wait.PollUntilContextCancel(ctx, poll, true, ask); err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}

// Setting returns an environment variable, or what counts without it.
func Setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
