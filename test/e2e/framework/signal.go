// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Agent signals processes of its node.
type Agent struct {
	cluster *Cluster
	pod     *corev1.Pod
}

// StartAgent starts an agent in a namespace, on a node.
func (c *Cluster) StartAgent(ctx context.Context, namespace, node string) (*Agent, error) {
	pod := clientPod(namespace, "agent", "", "agent")
	yes, root := true, int64(0)
	pod.Labels = nil
	pod.Spec.NodeName, pod.Spec.HostPID, pod.Spec.SecurityContext = node, true, nil
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes, RunAsUser: &root}
	if err := c.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	return &Agent{cluster: c, pod: pod}, c.waitStarted(ctx, pod)
}

// Signal sends a signal (KILL, STOP, CONT, TERM) to the main process of a
// container, the way a crash comes: nobody in Kubernetes is told. It returns
// when. Where a directory is given, the process is stopped and the directory
// emptied just before.
func (a *Agent) Signal(ctx context.Context, pod *corev1.Pod, container, signal, empty string) (time.Time, error) {
	return a.signal(ctx, pod, container, "-signal", signal, "-empty", empty)
}

// SignalAt sends a signal at a moment, so that several agents strike at once.
// Where a length is given, it sends CONT after that time.
func (a *Agent) SignalAt(
	ctx context.Context, pod *corev1.Pod, container, signal string, moment time.Time, length time.Duration,
) (time.Time, error) {
	return a.signal(ctx, pod, container,
		"-signal", signal, "-at", moment.Format(time.RFC3339Nano), "-for", length.String())
}

// SignalChildAt is SignalAt for the process that the main process of a container keeps
// running.
func (a *Agent) SignalChildAt(
	ctx context.Context, pod *corev1.Pod, container, signal string, moment time.Time, length time.Duration,
) (time.Time, error) {
	return a.signal(ctx, pod, container, "-child",
		"-signal", signal, "-at", moment.Format(time.RFC3339Nano), "-for", length.String())
}

func (a *Agent) signal(ctx context.Context, pod *corev1.Pod, container string, args ...string) (time.Time, error) {
	id := containerID(pod, container)
	if id == "" {
		return time.Time{}, fmt.Errorf("container %s of pod %s does not run", container, pod.Name)
	}
	said, err := a.cluster.Kubectl(ctx, append([]string{
		"exec", "-n", a.pod.Namespace, a.pod.Name, "--", "/client", "signal", "-container-id", id,
	}, args...)...)
	if err != nil {
		return time.Time{}, fmt.Errorf("signal container %s of pod %s: %w", container, pod.Name, err)
	}
	var sent struct {
		Time time.Time `json:"time"`
	}
	if err := json.Unmarshal([]byte(said), &sent); err != nil {
		return time.Time{}, fmt.Errorf("signal container %s of pod %s: %w", container, pod.Name, err)
	}
	return sent.Time, nil
}

// Stop ends the agent at once.
func (a *Agent) Stop(ctx context.Context) error {
	return client.IgnoreNotFound(a.cluster.Delete(ctx, a.pod, client.GracePeriodSeconds(0)))
}

// containerID is the id of a running container, without the name of the runtime.
func containerID(pod *corev1.Pod, container string) string {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container && status.State.Running != nil {
			_, id, _ := strings.Cut(status.ContainerID, "://")
			return id
		}
	}
	return ""
}
