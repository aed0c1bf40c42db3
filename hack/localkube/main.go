// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command localkube runs a real multi-node Kubernetes on one Linux machine, built from Go modules and Debian packages:
// no container engine and no image registry. Each node is a network and a mount namespace with its own containerd,
// kubelet and kube-proxy; the control plane runs beside them. docs/localkube.md says how to use it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "localkube:", err)
		os.Exit(1)
	}
}

type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"up", "[--name N] [--nodes 3]", "boot a cluster, or do nothing if it is up and healthy", runUp},
		{"down", "[--name N]", "remove a cluster and everything it put on this machine", runDown},
		{"load-image", "[--name N] FILE.tar...", "import docker-archives into every node", runLoadImage},
		{"kubeconfig", "[--name N]", "print the path of the administrator's kubeconfig", runKubeconfig},
		{"kubectl", "[--name N] -- ARGS...", "run kubectl against the cluster", runKubectl},
		{"cut-node", "[--name N] NODE", "cut a node off the network; its pods keep running", runCutNode},
		{"heal-node", "[--name N] NODE", "connect a node again", runHealNode},
		{"signal", "[--name N] PROCESS SIGNAL", "stop a process of the cluster (STOP) or let it go on (CONT)", runSignal},
		{"node-exec", "[--name N] NODE -- ARGS...", "run a program in a node's namespaces", runNodeExec},
		{"status", "[--name N]", "print a cluster's nodes and processes", runStatus},
		{"list", "", "print the names of the clusters on this machine", runList},
		{"audit-log", "[--name N]", "print the path of the apiserver's audit log", runAuditLog},
		{"binaries", "", "build if needed; print the directory of kube-apiserver, etcd and kubectl", runBinaries},
		{"build", "", "build everything without booting", runBuild},
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage()
		return flag.ErrHelp
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	return fmt.Errorf("unknown command %q (try: localkube help)", args[0])
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: localkube COMMAND [flags]")
	for _, c := range commands() {
		fmt.Fprintf(os.Stderr, "  %-40s %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
}
