// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// down removes a cluster. It needs no state file: what a cluster puts on the machine is found by its name too.
func down(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
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
	found := false
	err = remove(ctx, name, func() {
		found = true
		p.step("removing cluster %s", name)
	})
	if err != nil {
		return err
	}
	if found {
		p.done("cluster " + name + " is gone")
	} else {
		p.done("there is no cluster " + name)
	}
	return nil
}

// remove takes a cluster away in the order in which things hold each other: processes, then what is mounted and
// connected, then cgroups and files. The namespaces of nodes and pods end with their processes. It can be repeated
// after an interruption at any point.
func remove(ctx context.Context, name string, begin func()) error {
	h, err := findHierarchies()
	if err != nil {
		return err
	}
	c, err := loadCluster(name)
	if err != nil {
		c = &cluster{Name: name}
	}
	if !c.present(h) {
		return nil
	}
	begin()
	if err := c.killAll(ctx, h); err != nil {
		return err
	}
	if err := errors.Join(c.unmount(), c.removeLinks(ctx), h.remove(ctx, c.cgroup())); err != nil {
		return err
	}
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(os.RemoveAll(c.runDir()), os.RemoveAll(c.dir())); err != nil {
		return err
	}
	removeShared(h)
	return nil
}

// present says whether anything of the cluster is on this machine.
func (c *cluster) present(h hierarchies) bool {
	places := []string{c.dir(), c.runDir()}
	for _, mount := range h.mounts {
		places = append(places, filepath.Join(mount, c.cgroup()))
	}
	exists := func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	}
	return slices.ContainsFunc(places, exists) || len(linksWithAlias(c.alias())) > 0
}

// removeShared removes what all clusters share once none is left, as far as it is empty. A directory that another
// cluster's nodes have mounted over must stay: removing it would take their mounts away.
func removeShared(h hierarchies) {
	if len(clusterNames()) > 0 {
		return
	}
	shared := append([]string{stateRoot, runRoot}, sharedMountPoints()...)
	for _, mount := range h.mounts {
		shared = append(shared, filepath.Join(mount, "localkube"))
	}
	for _, dir := range shared {
		_ = os.Remove(dir) // it is not empty when it is not only ours
	}
}

// unmount takes away mounts below the cluster's directories. Nodes mount in namespaces of their own, so there are none
// unless somebody else made them.
func (c *cluster) unmount() error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for _, target := range slices.Backward(mountsBelow(string(content), c.dir(), c.runDir())) {
		if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", target, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists the mount points in or at one of the directories, in the order they were mounted.
func mountsBelow(mountinfo string, dirs ...string) []string {
	var targets []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		for _, dir := range dirs {
			if fields[4] == dir || strings.HasPrefix(fields[4], dir+"/") {
				targets = append(targets, fields[4])
			}
		}
	}
	return targets
}
