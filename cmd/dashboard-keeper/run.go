// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// end of a dashboard.
type end struct {
	status syscall.WaitStatus
	// length is how long it ran.
	length time.Duration
	// served tells that it had the lock and answered.
	served bool
	// hung tells that it was killed because it answered nothing.
	hung bool
	// fenced tells that it was killed because another run has its lock, at rival.
	fenced bool
	rival  string
	// unreleased tells that it was killed instead of told to end, so that it gives back
	// no lock of another run.
	unreleased bool
}

// accident tells whether the dashboard had served before it ended, and for long enough.
func (e end) accident(lasting time.Duration) bool { return e.served && e.length >= lasting }

// code that the keeper ends with in its place.
func (e end) code() int {
	if e.status.Signaled() {
		return 128 + int(e.status.Signal())
	}
	return e.status.ExitStatus()
}

func (e end) how() string {
	switch {
	case e.hung:
		return "killed, since it answered nothing"
	case e.fenced:
		return "killed, since another one has its lock"
	case e.unreleased:
		return "killed, since its lock may be another one's"
	case e.status.Signaled():
		return e.status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", e.status.ExitStatus())
}

// run runs a dashboard until it has ended. One that hangs is killed, and one whose lock
// another run has; when the context ends it is told to end, and waited for: it gives its
// lock back. The container's end is the limit of that.
func (k *keeper) run(ctx context.Context) (end, error) {
	started := time.Now()
	child, err := start(k.command)
	if err != nil {
		return end{}, err
	}
	ended := make(chan syscall.WaitStatus, 1)
	go func() { ended <- reap(child.Pid) }()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var served atomic.Bool
	hung := make(chan struct{})
	go func() {
		if k.watch(watching, &served) {
			close(hung)
		}
	}()
	tenure := &tenure{}
	fenced := make(chan struct{})
	go func() {
		if k.fence(watching, tenure, &served) {
			close(fenced)
		}
	}()
	e := end{}
	for told := ctx.Done(); ; {
		select {
		case e.status = <-ended:
			e.length, e.served = time.Since(started).Round(time.Millisecond), served.Load()
			return e, nil
		case <-hung:
			hung, e.hung = nil, true
			_ = child.Kill() // One that has just ended is no matter.
		case <-fenced:
			fenced, e.fenced, e.rival = nil, true, tenure.holder()
			_ = child.Kill()
		case <-told:
			told = nil
			if e.unreleased = !k.mayRelease(ctx, tenure); e.unreleased {
				_ = child.Kill()
				continue
			}
			_ = child.Signal(syscall.SIGTERM)
		}
	}
}

// start starts a command that dies with the thread that calls.
func start(command []string) (*os.Process, error) {
	if len(command) == 0 {
		return nil, fmt.Errorf("no command is given")
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return nil, err
	}
	return os.StartProcess(path, command, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
}

// reap waits for a child, and takes away every other process that ended meanwhile and
// has nobody else: the main process of a container inherits them. Nobody else may wait
// for children.
func reap(child int) syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == nil && pid == child || errors.Is(err, syscall.ECHILD) {
			return status
		}
	}
}
