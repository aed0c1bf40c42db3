// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/internal/lock"
)

const (
	// never is longer than a test takes.
	never = time.Hour
	// patience is what a test waits for something at most: machines may stand still.
	patience = 5 * time.Minute
)

// container runs a keeper.
type container struct {
	*setting
	keeper *exec.Cmd
	ended  chan error
}

// startKeeper runs a keeper whose dashboards do what the plan says.
func startKeeper(t *testing.T, change func(s *setting), plan ...string) *container {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &setting{Dir: t.TempDir(), Addr: l.Addr().String(), Silence: never}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	write(s.Dir, "plan", plan...)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	c := &container{setting: s, ended: make(chan error, 1)}
	c.keeper = exec.Command(os.Args[0])
	c.keeper.Env = append(os.Environ(), envRole+"=keeper", envSetting+"="+string(text))
	c.keeper.Stdout, c.keeper.Stderr = log, log
	if err := c.keeper.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.keeper.Wait() }()
	t.Cleanup(func() {
		_ = c.keeper.Process.Kill()
		<-c.ended
		if t.Failed() {
			t.Logf("the keeper said:\n%s", c.read("log"))
		}
	})
	return c
}

// runs counts the dashboards that were started.
func (c *container) runs() int { return len(lines(c.Dir, "runs")) }

// awaitRun waits until the keeper has looked at the n-th dashboard, and returns its process.
func (c *container) awaitRun(t *testing.T, n int) int {
	t.Helper()
	var pid string
	eventually(t, fmt.Sprintf("dashboard %d is seen", n), func() bool {
		runs := lines(c.Dir, "runs")
		if len(runs) != n {
			return false
		}
		pid = runs[n-1]
		return slices.Contains(lines(c.Dir, "seen"), pid)
	})
	return number(t, pid)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitEnd waits for the end of the keeper, and returns its exit code.
func (c *container) awaitEnd(t *testing.T) int {
	t.Helper()
	select {
	case err := <-c.ended:
		c.ended <- err
		return c.keeper.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("the keeper does not end")
	}
	return 0
}

func (c *container) message() string { return c.read("message") }

// read returns what is in a file, which may not be there.
func (c *container) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(c.Dir, name))
	return string(text)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// send signals a process.
func send(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

// state of a process as the kernel says it, such as S or Z; empty if there is none.
func stateOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[0]
}

func TestADashboardThatIsKilledIsStartedAgain(t *testing.T) {
	t.Parallel()
	c := startKeeper(t, nil, "serve")
	for n := 1; n <= 10; n++ { // It had served each time, so that this is no failure.
		send(t, c.awaitRun(t, n), syscall.SIGKILL)
	}
	c.awaitRun(t, 11)
	if len(c.ended) > 0 {
		t.Error("the keeper has ended")
	}
}

func TestADashboardThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	c := startKeeper(t, func(s *setting) { s.Silence = 500 * time.Millisecond }, "serve")
	hangs := c.awaitRun(t, 1)
	send(t, hangs, syscall.SIGSTOP)
	eventually(t, "another one is started", func() bool { return c.runs() > 1 })
	if got := stateOf(hangs); got != "" {
		t.Errorf("the one that hung is in state %s", got)
	}
	if !strings.Contains(c.read("log"), "killed, since it answered nothing") {
		t.Error("the log does not say why")
	}
}

func TestADashboardIsToldToEndAndWaitedFor(t *testing.T) {
	t.Parallel()
	c := startKeeper(t, nil, "serve")
	c.awaitRun(t, 1)
	send(t, c.keeper.Process.Pid, syscall.SIGTERM)
	if code := c.awaitEnd(t); code != 0 || len(lines(c.Dir, "told")) == 0 || c.runs() != 1 {
		t.Errorf("ended with %d, told %v, %d runs", code, lines(c.Dir, "told"), c.runs())
	}
}

func TestADashboardDoesNotOutliveItsKeeper(t *testing.T) {
	t.Parallel()
	c := startKeeper(t, nil, "serve")
	pid := c.awaitRun(t, 1)
	send(t, c.keeper.Process.Pid, syscall.SIGKILL)
	c.awaitEnd(t)
	eventually(t, "the dashboard is gone", func() bool { return strings.Trim(stateOf(pid), "ZX") == "" })
	if len(lines(c.Dir, "told")) > 0 {
		t.Error("it was told to end")
	}
}

func TestWhatADashboardLeavesBehindIsReaped(t *testing.T) {
	t.Parallel()
	c := startKeeper(t, nil, "leave", "serve")
	c.awaitRun(t, 2)
	left := lines(c.Dir, "left")
	eventually(t, "the process it left is gone", func() bool { return stateOf(number(t, left[0])) == "" })
}

func TestDashboardsThatDoNotComeToServeAreLeftToKubelet(t *testing.T) {
	tests := map[string]struct {
		plan    []string
		lasting time.Duration
		kill    bool
		runs    int
		code    int
	}{
		"they end at once":            {[]string{"end"}, 0, false, 3, 3},
		"they are killed unlocked":    {[]string{"unlocked"}, 0, true, 3, 128 + 9},
		"they are killed soon":        {[]string{"serve"}, never, true, 3, 128 + 9},
		"one that served starts anew": {[]string{"end", "end", "serve", "end"}, 0, true, 6, 3},
		"one that did not, does not":  {[]string{"end", "unlocked", "end", "serve"}, 0, true, 3, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startKeeper(t, func(s *setting) { s.Lasting = tt.lasting }, tt.plan...)
			for n, act := range append(tt.plan, tt.plan[0], tt.plan[0]) {
				if n < tt.runs && tt.kill && act != "end" {
					send(t, c.awaitRun(t, n+1), syscall.SIGKILL)
				}
			}
			if code := c.awaitEnd(t); code != tt.code || c.runs() != tt.runs {
				t.Errorf("ended with %d after %d runs", code, c.runs())
			}
			if said := c.message(); !strings.HasPrefix(said, "3 dashboards in a row ended") || lock.Parse(said).Present() {
				t.Errorf("the message is %q", said)
			}
		})
	}
}
