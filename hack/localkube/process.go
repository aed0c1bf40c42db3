// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a process that outlives the command which started it. Its start time tells it from a later process with
// the same number.
type process struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Started string `json:"started"`
}

// alive says whether the process runs; one that ended and was not waited for does not.
func (p process) alive() bool {
	started, state := procStat(p.PID)
	return started != "" && started == p.Started && state != "Z"
}

// procStat reads a process's start time and state, or nothing when it does not exist.
func procStat(pid int) (started, state string) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", ""
	}
	return parseStat(string(content))
}

// parseStat reads a line whose second field is a program's name in brackets, which may hold blanks and brackets.
func parseStat(line string) (started, state string) {
	_, after, found := cutLast(line, ") ")
	fields := strings.Fields(after)
	if !found || len(fields) < 20 {
		return "", ""
	}
	return fields[19], fields[0]
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// launcher starts a cluster's processes and notices which of them end while the cluster boots.
type launcher struct {
	cluster *cluster
	cgroup  string
	mutex   sync.Mutex
	failed  context.CancelCauseFunc
}

// newLauncher makes the cgroup its processes start in. The context it returns is cancelled when one of them ends.
func newLauncher(ctx context.Context, c *cluster) (context.Context, *launcher, error) {
	h, err := findHierarchies()
	if err != nil {
		return ctx, nil, err
	}
	daemons := c.cgroup() + "/daemons"
	groups := []string{daemons}
	for _, n := range c.nodes() {
		groups = append(groups, n.cgroup())
	}
	for _, group := range groups {
		if err := h.create(group); err != nil {
			return ctx, nil, err
		}
	}
	ctx, failed := context.WithCancelCause(ctx)
	return ctx, &launcher{cluster: c, cgroup: filepath.Join(h.mounts[0], daemons), failed: failed}, nil
}

// start runs a program in the background, in the cluster's cgroup from its first instruction on, and writes it down
// before anything can go wrong.
func (l *launcher) start(name string, argv ...string) (process, error) {
	logPath := l.cluster.path("logs", name+".log")
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return process{}, err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return process{}, err
	}
	defer log.Close()
	const joinAndExec = `echo $$ >"$0/cgroup.procs" && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", joinAndExec, l.cgroup}, argv...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + l.cluster.Binaries + ":" + os.Getenv("PATH"), "HOME=" + l.cluster.dir()}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := cmd.Start(); err != nil {
		return process{}, fmt.Errorf("start %s: %w", name, err)
	}
	started, _ := procStat(cmd.Process.Pid)
	p := process{Name: name, PID: cmd.Process.Pid, Started: started}
	l.cluster.Processes = append(l.cluster.Processes, p)
	go l.watch(cmd, name, logPath)
	return p, l.cluster.save()
}

func (l *launcher) watch(cmd *exec.Cmd, name, logPath string) {
	err := cmd.Wait()
	if err == nil {
		err = errors.New("without an error")
	}
	said, _ := os.ReadFile(logPath)
	l.failed(fmt.Errorf("%s ended: %w: %s", name, err, lastLines(string(said), 2)))
}

// killAll ends every process of a cluster: those in its cgroups and those its state file names.
func (c *cluster) killAll(ctx context.Context, h hierarchies) error {
	killed := map[int]bool{}
	err := poll(ctx, 20*time.Second, 20*time.Millisecond, func(context.Context) error {
		var left []int
		for _, pid := range append(h.processes(c.cgroup()), c.recorded()...) {
			if _, state := procStat(pid); state == "" || state == "Z" || slices.Contains(left, pid) {
				continue
			}
			left = append(left, pid)
			killed[pid] = true
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("processes %v do not end", left)
		}
		return nil
	})
	if err == nil {
		awaitReaped(ctx, slices.Collect(maps.Keys(killed)))
	}
	return err
}

// awaitReaped waits until the machine's init has collected processes that have
// ended: until then a list of processes shows them. Nothing depends on it.
func awaitReaped(ctx context.Context, pids []int) {
	_ = poll(ctx, 5*time.Second, 20*time.Millisecond, func(context.Context) error {
		for _, pid := range pids {
			if _, state := procStat(pid); state == "Z" {
				return fmt.Errorf("process %d is not collected", pid)
			}
		}
		return nil
	})
}

func (c *cluster) recorded() []int {
	var pids []int
	for _, p := range c.Processes {
		if p.alive() {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
