// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// clientImage is test/client.
const clientImage = "codis-testclient:dev"

// grace lets a load read back all that it wrote before its pod goes.
const grace = 600

// clientPod runs test/client. It bears the labels of a part of the product,
// which network policies let in.
func clientPod(namespace, name, dashboard string, args ...string) *corev1.Pod {
	yes, no, seconds := true, false, int64(grace)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: name + "-",
			Labels: map[string]string{"app.kubernetes.io/name": "codis", "codis.io/dashboard": dashboard},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &seconds,
			AutomountServiceAccountToken:  &no,
			SecurityContext:               &corev1.PodSecurityContext{RunAsNonRoot: &yes},
			Containers: []corev1.Container{{
				Name: "client", Image: clientImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
				Resources: clientResources(),
			}},
		},
	}
}

// clientResources are some of a processor: a client that a busy node keeps waiting would
// measure that.
func clientResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}
}

// addPassword mounts a Secret and tells the client where its password is.
func addPassword(pod *corev1.Pod, secret string) {
	if secret == "" {
		return
	}
	const dir = "/run/password"
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name: "password", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}},
	})
	main := &pod.Spec.Containers[0]
	main.Args = append(main.Args, "-password-file", dir+"/password")
	main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "password", MountPath: dir, ReadOnly: true})
}

// RunClient runs test/client to its end and returns what it printed.
func (c *Cluster) RunClient(ctx context.Context, namespace, dashboard string, args ...string) (string, error) {
	pod := clientPod(namespace, args[0], dashboard, args...)
	return c.runPod(ctx, pod)
}

// runPod runs a pod to its end, removes it, and returns what it printed.
func (c *Cluster) runPod(ctx context.Context, pod *corev1.Pod) (string, error) {
	if err := c.Create(ctx, pod); err != nil {
		return "", fmt.Errorf("create pod: %w", err)
	}
	defer func() {
		// The namespace goes anyway.
		_ = c.Delete(context.WithoutCancel(ctx), pod, client.GracePeriodSeconds(0))
	}()
	err := until(ctx, "pod "+pod.Name+" to end", func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, err
	})
	if err != nil {
		return "", err
	}
	text, err := c.clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err == nil && pod.Status.Phase == corev1.PodFailed {
		err = errors.New("it failed")
	}
	if err != nil {
		return string(text), fmt.Errorf("pod %s: %w: %s", pod.Name, err, text)
	}
	return string(text), nil
}

// waitStarted waits until the main container of a pod runs, or has run.
func (c *Cluster) waitStarted(ctx context.Context, pod *corev1.Pod) error {
	return until(ctx, "pod "+pod.Name+" to start", func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return pod.Status.Phase != corev1.PodPending && pod.Status.Phase != "", err
	})
}
