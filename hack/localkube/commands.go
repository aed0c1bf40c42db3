// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// flagsFor makes the flags of one command, all of which take a cluster's name.
func flagsFor(command string) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet("localkube "+command, flag.ContinueOnError)
	return flags, flags.String("name", "demo", "the cluster's name")
}

// parseAnywhere lets flags follow arguments (cut-node node-2 --name demo), up to "--".
func parseAnywhere(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		left := flags.Args()
		if consumed := len(args) - len(left); len(left) == 0 || (consumed > 0 && args[consumed-1] == "--") {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

func runUp(ctx context.Context, args []string) error {
	flags, name := flagsFor("up")
	var o upOptions
	flags.IntVar(&o.nodes, "nodes", 3, "how many nodes")
	flags.DurationVar(&o.nodeMonitorGrace, "node-monitor-grace-period", 0,
		"how long a node may be silent before it is NotReady (default: Kubernetes' own)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return up(ctx, *name, o)
}

func runDown(ctx context.Context, args []string) error {
	flags, name := flagsFor("down")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return down(ctx, *name)
}

// loadFor parses the arguments of a command about an existing cluster.
func loadFor(command string, args []string) (*cluster, []string, error) {
	flags, name := flagsFor(command)
	rest, err := parseAnywhere(flags, args)
	if err != nil {
		return nil, nil, err
	}
	c, err := loadCluster(*name)
	return c, rest, err
}

func runLoadImage(ctx context.Context, args []string) error {
	c, files, err := loadFor("load-image", args)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("load-image needs a docker-archive to load")
	}
	return c.loadImages(ctx, files)
}

func runKubeconfig(_ context.Context, args []string) error {
	c, _, err := loadFor("kubeconfig", args)
	if err != nil {
		return err
	}
	fmt.Println(c.kubeconfig("admin"))
	return nil
}

func runAuditLog(_ context.Context, args []string) error {
	c, _, err := loadFor("audit-log", args)
	if err != nil {
		return err
	}
	fmt.Println(c.auditLog())
	return nil
}

func runKubectl(ctx context.Context, args []string) error {
	c, rest, err := loadFor("kubectl", args)
	if err != nil {
		return err
	}
	return passThrough(ctx, c.binary("kubectl"), append([]string{"--kubeconfig", c.kubeconfig("admin")}, rest...)...)
}

func runNodeExec(ctx context.Context, args []string) error {
	c, rest, err := loadFor("node-exec", args)
	if err != nil {
		return err
	}
	if len(rest) < 2 {
		return errors.New("node-exec needs a node and a command")
	}
	n, err := c.node(rest[0])
	if err != nil {
		return err
	}
	enter := n.enter()
	return passThrough(ctx, enter[0], append(enter[1:], rest[1:]...)...)
}

// passThrough runs a program in the foreground and ends with its exit code.
func passThrough(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit, ended := errors.AsType[*exec.ExitError](err); ended {
		os.Exit(max(exit.ExitCode(), 1))
	}
	return err
}

func runCutNode(ctx context.Context, args []string) error {
	return setLink(ctx, "cut-node", args, "down")
}

func runHealNode(ctx context.Context, args []string) error {
	return setLink(ctx, "heal-node", args, "up")
}

func setLink(ctx context.Context, command string, args []string, state string) error {
	c, rest, err := loadFor(command, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("%s needs the name of one node", command)
	}
	n, err := c.node(rest[0])
	if err != nil {
		return err
	}
	return runQuiet(ctx, "ip", "link", "set", n.link(), state)
}

// runSignal makes a process stand still, or lets it go on: it must not end, since
// nobody starts it again.
func runSignal(_ context.Context, args []string) error {
	c, rest, err := loadFor("signal", args)
	if err != nil {
		return err
	}
	signals := map[string]syscall.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	if len(rest) != 2 || signals[rest[1]] == 0 {
		return errors.New("signal needs the name of a process, as status prints it, and STOP or CONT")
	}
	for _, p := range c.Processes {
		if p.Name == rest[0] && p.alive() {
			return syscall.Kill(p.PID, signals[rest[1]])
		}
	}
	return fmt.Errorf("no process %q runs in cluster %s", rest[0], c.Name)
}

func runStatus(ctx context.Context, args []string) error {
	c, _, err := loadFor("status", args)
	if err != nil {
		return err
	}
	return c.printStatus(ctx)
}

func runList(context.Context, []string) error {
	for _, name := range clusterNames() {
		fmt.Println(name)
	}
	return nil
}

func runBinaries(ctx context.Context, _ []string) error {
	dir, err := buildAll(ctx, newProgress(os.Stderr), "kubernetes", "etcd")
	if err != nil {
		return err
	}
	fmt.Println(dir)
	return nil
}

func runBuild(ctx context.Context, _ []string) error {
	p := newProgress(os.Stdout)
	dir, err := buildAll(ctx, p)
	if err != nil {
		return err
	}
	if err := writeSystemImages(dir); err != nil {
		return err
	}
	p.done("everything is built in " + dir)
	return nil
}
