// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// A node's files are below its directory, and bound over the standard paths inside its mount namespace: a pod with a
// hostPath sees on each node what it would see on a machine of its own. The private /run also keeps the sockets and the
// network namespaces of pods away from the host, so that nothing of them is left once the node's processes have ended.
func (n node) binds() [][2]string {
	return [][2]string{
		{n.runDir(), "/run"},
		{n.path("log"), "/var/log"},
		{n.path("kubelet"), "/var/lib/kubelet"},
		{n.path("containerd"), "/var/lib/containerd"},
		{n.path("cni-state"), "/var/lib/cni"},
	}
}

// sharedMountPoints are the directories of the host which nodes mount over; they are made where they are missing.
func sharedMountPoints() []string {
	return []string{"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni"}
}

// enter is the start of a command which runs in the node's namespaces. "ip netns exec" would not do: it mounts /sys
// anew and so hides the cgroups from the kubelet.
func (n node) enter() []string {
	pid := 0
	for _, p := range n.Processes {
		if p.Name == n.nodeName() {
			pid = p.PID
		}
	}
	return []string{"nsenter", fmt.Sprintf("--target=%d", pid), "--mount", "--net", "--"}
}

// startSandbox makes the node's namespaces and a process that holds them, and connects them.
func (l *launcher) startSandbox(ctx context.Context, n node) error {
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, bind := range n.binds() {
		source, target := bind[0], bind[1]
		if err := os.MkdirAll(source, 0o755); err != nil {
			return err
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		fmt.Fprintf(&script, "mount --no-mtab --bind %s %s\n", source, target)
	}
	// Making all mounts shared only now gives each bound directory a peer group of its own; else what is mounted
	// below it would show up below its source as well.
	script.WriteString("mount --no-mtab --make-rshared /\n" +
		"echo 1 > /proc/sys/net/ipv4/ip_forward\n" +
		"echo ready > /run/sandbox\n" +
		"exec " + n.binary("pause") + "\n")
	holder, err := l.start(n.nodeName(), "unshare", "--net", "--mount", "--propagation=slave",
		"/bin/sh", "-c", script.String())
	if err != nil {
		return err
	}
	err = poll(ctx, 10*time.Second, 10*time.Millisecond, func(context.Context) error {
		_, err := os.Stat(n.runDir() + "/sandbox")
		return err
	})
	if err != nil {
		return err
	}
	return n.connect(ctx, holder.PID)
}

// startInside starts a program in the node's namespaces.
func (l *launcher) startInside(n node, program string, args ...string) error {
	argv := append(n.enter(), n.binary(program))
	_, err := l.start(n.nodeName()+"-"+program, append(argv, args...)...)
	return err
}

// startRuntime starts the node's containerd and imports what every node needs.
func (l *launcher) startRuntime(ctx context.Context, n node) error {
	if err := l.startInside(n, "containerd", "--config", n.path("config", "containerd.toml")); err != nil {
		return err
	}
	err := poll(ctx, time.Minute, 50*time.Millisecond, func(ctx context.Context) error {
		return runQuiet(ctx, n.binary("ctr"), "--address", n.containerdSocket(), "--timeout", "1s", "version")
	})
	if err != nil {
		return err
	}
	var files []string
	for _, image := range systemImages() {
		files = append(files, systemImageFile(n.Binaries, image))
	}
	return n.importImages(ctx, files...)
}

// startNode starts what makes the node known to the cluster; the apiserver and its containerd must serve already.
func (l *launcher) startNode(n node) error {
	err := l.startInside(n, "kubelet",
		"--config="+n.path("config", "kubelet.yaml"), "--kubeconfig="+n.kubeconfig(n.nodeName()),
		"--hostname-override="+n.nodeName(), "--node-ip="+n.ip(), "--root-dir=/var/lib/kubelet",
		fmt.Sprintf("--node-labels=topology.kubernetes.io/zone=zone-%d", n.number))
	if err != nil {
		return err
	}
	return l.startInside(n, "kube-proxy", "--config="+n.path("config", "kube-proxy.yaml"),
		"--hostname-override="+n.nodeName())
}
