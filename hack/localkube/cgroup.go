// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hierarchies are the places where a cluster has cgroups: the one of version 2, or all there are on a machine that uses
// version 1. Every process of a cluster is in a cgroup below localkube/<name> of the first, which is how down finds
// them all, whoever started them.
type hierarchies struct {
	mounts  []string
	unified bool
}

const cgroupMount = "/sys/fs/cgroup"

// tracking are the version 1 controllers that processes are followed by, best first; any would do, but these are
// the ones whose groups change nothing about how a process runs.
var tracking = []string{"pids", "freezer", "cpuacct"}

func findHierarchies() (hierarchies, error) {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return hierarchies{mounts: []string{cgroupMount}, unified: true}, nil
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return hierarchies{}, fmt.Errorf("no cgroup hierarchy: %w", err)
	}
	mounts := cgroupMounts(string(mountinfo))
	if len(mounts) == 0 {
		return hierarchies{}, errors.New("no cgroup hierarchy at " + cgroupMount)
	}
	return hierarchies{mounts: mounts}, nil
}

// cgroupMounts reads the hierarchies out of a mountinfo file, the one to track by first. Those without a controller
// count: the kubelet looks for its cgroup in the named one too, and runc makes cgroups in a version 2 one beside them.
func cgroupMounts(mountinfo string) []string {
	var mounts []string
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(kind) < 1 || !strings.HasPrefix(kind[0], "cgroup") {
			continue
		}
		if !slices.Contains(mounts, fields[4]) {
			mounts = append(mounts, fields[4])
		}
	}
	rank := func(mount string) int {
		i := slices.Index(tracking, filepath.Base(mount))
		if i < 0 {
			return len(tracking)
		}
		return i
	}
	slices.SortStableFunc(mounts, func(a, b string) int { return rank(a) - rank(b) })
	return mounts
}

func (c *cluster) cgroup() string { return "localkube/" + c.Name }
func (n node) cgroup() string     { return n.cluster.cgroup() + "/" + n.nodeName() }

// create makes a cgroup in every hierarchy, such that processes and further cgroups may go into it.
func (h hierarchies) create(path string) error {
	for _, mount := range h.mounts {
		dir := mount
		for part := range strings.SplitSeq(path, "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := h.inherit(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inherit gives a new cgroup what it does not take over from its parent by itself.
func (h hierarchies) inherit(parent, dir string) error {
	if h.unified {
		controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for name := range strings.FieldsSeq(string(controllers)) {
			// A controller that cannot be handed down here is one the kubelet will not have either.
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		}
		return nil
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// processes lists who is in a cgroup or below it, in any hierarchy.
func (h hierarchies) processes(path string) []int {
	var pids []int
	h.walk(path, func(dir string) {
		content, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	})
	return pids
}

// walk visits the cgroups below path, itself included and children before parents.
func (h hierarchies) walk(path string, visit func(dir string)) {
	for _, mount := range h.mounts {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(mount, path), func(dir string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, dir)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			visit(dir)
		}
	}
}

// remove removes a cgroup and those below it; the kernel may take a moment to see that they are empty.
func (h hierarchies) remove(ctx context.Context, path string) error {
	return poll(ctx, 10*time.Second, 50*time.Millisecond, func(context.Context) error {
		var errs []error
		h.walk(path, func(dir string) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		})
		return errors.Join(errs...)
	})
}
