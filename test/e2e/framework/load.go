// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/test/client/workload"
)

// Load is a client that writes numbered values all the while.
type Load struct {
	cluster  *Cluster
	follower *follower[loadLine]
}

// loadLine is what client load prints.
type loadLine struct {
	Report       *workload.Report       `json:"report"`
	Summary      *workload.Summary      `json:"summary"`
	Verification *workload.Verification `json:"verification"`
}

// Outcome of a load: what became of every write, and of reading back all that
// were acknowledged.
type Outcome struct {
	workload.Summary
	workload.Verification
}

// StartLoad starts a client of the given proxies.
func (c *Cluster) StartLoad(ctx context.Context, namespace, proxy string) (*Load, error) {
	pod := clientPod(namespace, "load", proxy,
		"load", "-addr", proxy+"-proxy:19000", "-rate", "200", "-report", "200ms", "-verify", "-patience", "5m")
	f, err := follow[loadLine](ctx, c, pod)
	if err != nil {
		return nil, fmt.Errorf("start load: %w", err)
	}
	l := &Load{cluster: c, follower: f}
	return l, until(ctx, "the first acknowledged write", func(context.Context) (bool, error) {
		report, err := l.Report()
		return report.Acknowledged > 0, err
	})
}

// Report is the last word of the load.
func (l *Load) Report() (workload.Report, error) {
	lines, err := l.follower.all()
	if len(lines) == 0 || lines[len(lines)-1].Report == nil {
		return workload.Report{}, err
	}
	return *lines[len(lines)-1].Report, err
}

// Stop ends the writes, reads back what was acknowledged, and tells.
func (l *Load) Stop(ctx context.Context) (Outcome, error) {
	stopErr := l.follower.stop(ctx, l.cluster)
	lines, err := l.follower.all()
	if err := errors.Join(stopErr, err); err != nil {
		return Outcome{}, err
	}
	var outcome Outcome
	verified := false
	for _, line := range lines {
		if line.Summary != nil {
			outcome.Summary = *line.Summary
		}
		if line.Verification != nil {
			outcome.Verification, verified = *line.Verification, true
		}
	}
	if !verified {
		return outcome, errors.New("the load ended without reading back what it wrote")
	}
	return outcome, nil
}

// Verify reads back all that a former load acknowledged, from what it printed.
func (c *Cluster) Verify(ctx context.Context, namespace, proxy, printed string) (string, error) {
	const dir, file = "/run/input", "load.log"
	input := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "load-"},
		Data:       map[string]string{file: printed},
	}
	if err := c.Create(ctx, input); err != nil {
		return "", fmt.Errorf("keep what was written: %w", err)
	}
	pod := clientPod(namespace, "verify", proxy,
		"verify", "-addr", proxy+"-proxy:19000", "-input", dir+"/"+file)
	source := &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: input.Name}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "input", VolumeSource: corev1.VolumeSource{ConfigMap: source}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "input", MountPath: dir, ReadOnly: true}}
	said, err := c.runPod(ctx, pod)
	return strings.TrimSpace(said), err
}
