// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	return c.startLoad(ctx, clientPod(namespace, "load", proxy, loadArgs(proxy, "-rate", "200")...))
}

// Pinned tells where a load comes from and goes to.
type Pinned struct {
	// Node that the client runs on.
	Node string
	// Proxies are the addresses of proxies that connections are spread over.
	Proxies []string
	// Connections of the client, all proxies together, and what it writes a
	// second on each of them.
	Connections, Rate int
	// Slots that are written to.
	Slots string
	// Prefix of the keys, which no other load shares.
	Prefix string
}

// StartPinnedLoad starts a client whose connections are each to one proxy. What
// it wrote is read back through the Service in the end.
func (c *Cluster) StartPinnedLoad(ctx context.Context, namespace, proxy string, p Pinned) (*Load, error) {
	pod := clientPod(namespace, "load", proxy, loadArgs(proxy,
		"-pin", strings.Join(p.Proxies, ","), "-writers", strconv.Itoa(p.Connections),
		"-rate", strconv.Itoa(p.Rate*p.Connections), "-slots", p.Slots, "-prefix", p.Prefix)...)
	pod.Spec.NodeName = p.Node
	return c.startLoad(ctx, pod)
}

// Pooled tells how a client of the Service uses connections. One that was closed
// without an answer is replaced, and the write repeated.
type Pooled struct {
	// Connections of the client, and what it writes a second on all of them.
	Connections, Rate int
	// Lifetime after which each connection is replaced; 0 keeps it.
	Lifetime time.Duration
	// Prefix of the keys, which no other load shares.
	Prefix string
}

// StartPooledLoad starts a client that opens connections as often as it has to.
func (c *Cluster) StartPooledLoad(ctx context.Context, namespace, proxy string, p Pooled) (*Load, error) {
	return c.startLoad(ctx, clientPod(namespace, "load", proxy, loadArgs(proxy, "-reconnect",
		"-writers", strconv.Itoa(p.Connections), "-rate", strconv.Itoa(p.Rate),
		"-lifetime", p.Lifetime.String(), "-prefix", p.Prefix)...))
}

func loadArgs(proxy string, more ...string) []string {
	return append([]string{
		"load", "-addr", proxy + "-proxy:19000", "-report", "200ms", "-verify", "-patience", "5m",
	}, more...)
}

func (c *Cluster) startLoad(ctx context.Context, pod *corev1.Pod) (*Load, error) {
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

// FirstFailure is when the first failed write was reported, and zero if none was.
func (l *Load) FirstFailure() (time.Time, error) {
	lines, err := l.follower.all()
	for _, line := range lines {
		if line.Report != nil && line.Report.Failed > 0 {
			return line.Report.Time, err
		}
	}
	return time.Time{}, err
}

// Abandon ends the client at once; nobody asks what became of its writes.
func (l *Load) Abandon(ctx context.Context) error {
	return l.follower.stop(ctx, l.cluster, client.GracePeriodSeconds(0))
}

// Stop ends the writes, reads back what was acknowledged, and tells; after an
// error it tells what is known.
func (l *Load) Stop(ctx context.Context) (Outcome, error) {
	stopErr := l.follower.stop(ctx, l.cluster)
	lines, err := l.follower.all()
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
	if err := errors.Join(stopErr, err); err != nil {
		return outcome, err
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
