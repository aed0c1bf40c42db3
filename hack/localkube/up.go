// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

type upOptions struct {
	nodes            int
	nodeMonitorGrace time.Duration
}

func (o upOptions) check() error {
	if o.nodes < 1 || o.nodes > maxNodes {
		return fmt.Errorf("--nodes is between 1 and %d", maxNodes)
	}
	return nil
}

// up boots a cluster. One that is there already is left alone when it is healthy and what was asked for; anything else
// of that name, an unclean end's leftovers too, is removed first.
func up(ctx context.Context, name string, o upOptions) error {
	if err := errors.Join(checkName(name), o.check()); err != nil {
		return err
	}
	if err := checkMachine(); err != nil {
		return err
	}
	unlock, err := lockCluster(name)
	if err != nil {
		return err
	}
	defer unlock()
	p := newProgress(os.Stdout)
	if c, err := loadCluster(name); err == nil && c.healthy(ctx) {
		if c.Nodes != o.nodes || c.NodeMonitorGrace != o.nodeMonitorGrace {
			return fmt.Errorf("cluster %s is up with other flags (try: localkube down --name %s)", name, name)
		}
		p.done("cluster " + name + " is up already: " + c.kubeconfig("admin"))
		return nil
	}
	if err := installPackages(ctx, p); err != nil {
		return err
	}
	binaries, err := buildAll(ctx, p)
	if err != nil {
		return err
	}
	if err := writeSystemImages(binaries); err != nil {
		return err
	}
	if err := remove(ctx, name, func() { p.step("removing what an earlier cluster %s left", name) }); err != nil {
		return err
	}
	c := &cluster{Name: name, Nodes: o.nodes, NodeMonitorGrace: o.nodeMonitorGrace, Binaries: binaries}
	if err := c.claimIndex(ctx); err != nil {
		return err
	}
	if err := c.boot(ctx, p); err != nil {
		return fmt.Errorf("%w (its logs are in %s; localkube down --name %s removes what has started)", err,
			c.path("logs"), name)
	}
	return nil
}

// healthy says whether a cluster came up completely, all its processes run and all its nodes are Ready.
func (c *cluster) healthy(ctx context.Context) bool {
	if !c.Complete || len(c.recorded()) != len(c.Processes) {
		return false
	}
	api, err := c.client()
	return err == nil && api.checkNodes(ctx, c.nodes()) == nil
}

func (c *cluster) boot(ctx context.Context, p *progress) error {
	p.step("preparing network and certificates of cluster %s (%d nodes, 10.%d.0.0/16)", c.Name, c.Nodes,
		firstOctet+c.Index)
	ctx, l, err := newLauncher(ctx, c)
	if err != nil {
		return err
	}
	prepare := func(context.Context) error {
		return errors.Join(c.writePKI(), c.writeConfigs())
	}
	if err := together(ctx, c.createBridge, prepare); err != nil {
		return err
	}
	if err := c.writeKubeconfigs(); err != nil {
		return err
	}
	p.step("starting the control plane and the nodes' containerds")
	steps := []func(context.Context) error{l.startStore}
	for _, n := range c.nodes() {
		if err := l.startSandbox(ctx, n); err != nil {
			return bootError(ctx, err)
		}
		steps = append(steps, func(ctx context.Context) error { return l.startRuntime(ctx, n) })
	}
	if err := together(ctx, steps...); err != nil {
		return bootError(ctx, err)
	}
	return bootError(ctx, l.join(ctx, p))
}

// join turns a served API and running containerds into a cluster.
func (l *launcher) join(ctx context.Context, p *progress) error {
	c := l.cluster
	p.step("starting controllers, kubelets and addons")
	if err := l.startControllers(); err != nil {
		return err
	}
	for _, n := range c.nodes() {
		if err := l.startNode(n); err != nil {
			return err
		}
	}
	if err := c.applyAddons(ctx); err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	p.step("waiting for nodes and DNS")
	err = poll(ctx, 2*time.Minute, 200*time.Millisecond, func(ctx context.Context) error {
		return errors.Join(api.checkNodes(ctx, c.nodes()), api.checkDNS(ctx, c.Nodes))
	})
	if err != nil {
		return err
	}
	c.Complete = true
	if err := c.save(); err != nil {
		return err
	}
	p.done("cluster " + c.Name + " is up: export KUBECONFIG=" + c.kubeconfig("admin"))
	return nil
}

// bootError prefers the end of a process to what followed from it.
func bootError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// claimIndex takes a network no other cluster has and writes it down at once, so that nobody else takes it.
func (c *cluster) claimIndex(ctx context.Context) error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	var used []int
	for _, name := range clusterNames() {
		if other, err := loadCluster(name); err == nil {
			used = append(used, other.Index)
		}
	}
	routes, err := hostRoutes(ctx)
	if err != nil {
		return err
	}
	if c.Index, err = freeIndex(used, hostLinks(), routes); err != nil {
		return err
	}
	return c.save()
}
