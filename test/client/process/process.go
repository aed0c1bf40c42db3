// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package process finds and signals the main process of a container, or the one that
// it keeps running, from a pod
// that shares the process namespace of its node. It knows a container by its
// whole id only, never by the name of a program.
package process

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ErrNotFound says that no process belongs to the container.
var ErrNotFound = errors.New("no process of the container")

// containerID is what every container runtime uses.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Find returns the main process of a container: of those whose parent is not in
// the container, the one that began first. What was executed in it later, such
// as a probe, has a parent outside too, and any pid: they start over at pid_max.
func Find(proc, container string) (int, error) {
	inside, err := processes(proc, container)
	if err != nil {
		return 0, err
	}
	return first(inside, container, func(s stat) bool {
		_, within := inside[s.parent]
		return !within
	})
}

// Child returns the process that the main process of a container keeps running: the
// first of its children.
func Child(proc, container string) (int, error) {
	main, err := Find(proc, container)
	if err != nil {
		return 0, err
	}
	inside, err := processes(proc, container)
	if err != nil {
		return 0, err
	}
	return first(inside, container, func(s stat) bool { return s.parent == main })
}

// processes are those of a container by their pids.
func processes(proc, container string) (map[int]stat, error) {
	if !containerID.MatchString(container) {
		return nil, fmt.Errorf("%q is not the whole id of a container", container)
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	inside := map[int]stat{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || !belongs(filepath.Join(proc, entry.Name(), "cgroup"), container) {
			continue
		}
		if s, ok := readStat(proc, pid); ok {
			inside[pid] = s
		}
	}
	return inside, nil
}

// first returns the one that began first of those that are wanted.
func first(inside map[int]stat, container string, wanted func(s stat) bool) (int, error) {
	var found []int
	for pid, s := range inside {
		if wanted(s) {
			found = append(found, pid)
		}
	}
	if len(found) == 0 {
		return 0, fmt.Errorf("%w %s", ErrNotFound, container)
	}
	return slices.MinFunc(found, func(a, b int) int { return cmp.Compare(inside[a].began, inside[b].began) }), nil
}

func belongs(file, container string) bool {
	content, err := os.ReadFile(file)
	return err == nil && strings.Contains(string(content), container)
}

// stat is what the kernel says of a process.
type stat struct {
	parent int
	// began is when it was started, in ticks since the start of the machine.
	began int
}

// readStat reads the fields 4 and 22 of stat (man 5 proc_pid_stat); the second
// one, the name, may hold anything. A process that ended has none.
func readStat(proc string, pid int) (stat, bool) {
	content, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, false
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, false
	}
	parent, parentErr := strconv.Atoi(fields[1])
	began, beganErr := strconv.Atoi(fields[19])
	return stat{parent: parent, began: began}, errors.Join(parentErr, beganErr) == nil
}

// signals that tests send.
var signals = map[string]syscall.Signal{
	"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM,
}

// Signal sends a signal by its name.
func Signal(pid int, name string) error {
	signal, known := signals[name]
	if !known {
		return fmt.Errorf("no signal %q: it is KILL, STOP, CONT or TERM", name)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("signal %d: %w", pid, err)
	}
	return nil
}

// Empty removes everything in a directory as the process sees it.
func Empty(proc string, pid int, dir string) error {
	root, err := os.OpenRoot(filepath.Join(proc, strconv.Itoa(pid), "root"))
	if err != nil {
		return fmt.Errorf("open the files of %d: %w", pid, err)
	}
	defer root.Close()
	relative := strings.TrimPrefix(filepath.Clean(dir), "/")
	entries, err := os.ReadDir(filepath.Join(root.Name(), relative))
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	var errs []error
	for _, entry := range entries {
		errs = append(errs, root.RemoveAll(filepath.Join(relative, entry.Name())))
	}
	return errors.Join(errs...)
}
