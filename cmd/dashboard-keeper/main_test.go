// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/internal/lock"
)

// What the test binary is when it is run again: the process of a container, or a
// dashboard, or what a dashboard leaves behind.
const (
	envRole    = "KEEPER_TEST_ROLE"
	envSetting = "KEEPER_TEST_SETTING"
	prSubreap  = 36 // PR_SET_CHILD_SUBREAPER, man 2const prctl.
)

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "keeper":
		os.Exit(runKeeper())
	case "dashboard":
		os.Exit(runDashboard())
	case "orphan":
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// setting of a container.
type setting struct {
	// Dir has the files of a test. Each line of plan is what one dashboard does, the last
	// one for all that follow; runs, seen and told are the dashboards that were started,
	// that the keeper knows as serving or not, and that were told to end.
	Dir, Addr string
	Lock      lock.Lock
	Silence   time.Duration
	Lasting   time.Duration
}

func readSetting() setting {
	var s setting
	if err := json.Unmarshal([]byte(os.Getenv(envSetting)), &s); err != nil {
		panic(err)
	}
	return s
}

// runKeeper is main with other times. It inherits orphans, as the first process of a
// container does.
func runKeeper() int {
	runtime.LockOSThread()
	if _, _, failed := syscall.RawSyscall(syscall.SYS_PRCTL, prSubreap, 1, 0); failed != 0 {
		panic(failed)
	}
	s := readSetting()
	if err := os.Setenv(envRole, "dashboard"); err != nil {
		panic(err)
	}
	k := &keeper{
		command: []string{os.Args[0]}, addr: s.Addr, lock: s.Lock,
		message: filepath.Join(s.Dir, "message"), record: filepath.Join(s.Dir, "record"),
		log: os.Stderr, fencing: 10 * time.Millisecond,
		lasting: s.Lasting, silence: s.Silence, asking: 10 * time.Millisecond, lateness: time.Minute, attempts: 3,
		firstPause: time.Millisecond, nameWait: time.Minute, lockPause: 10 * time.Millisecond,
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return k.keep(ctx)
}

// runDashboard does what the plan says: it serves, or answers without the lock, or ends
// with code 3, or leaves a process behind and ends.
func runDashboard() int {
	s := readSetting()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	runs := append(lines(s.Dir, "runs"), fmt.Sprint(os.Getpid()))
	plan := lines(s.Dir, "plan")
	write(s.Dir, "runs", runs...)
	switch act := plan[min(len(runs), len(plan))-1]; act {
	case "end":
		return 3
	case "leave":
		if err := os.Setenv(envRole, "orphan"); err != nil {
			panic(err)
		}
		orphan := exec.CommandContext(context.Background(), os.Args[0])
		if err := orphan.Start(); err != nil {
			panic(err)
		}
		write(s.Dir, "left", fmt.Sprint(orphan.Process.Pid))
		return 3
	default:
		serve(s, act == "serve")
	}
	<-stopped
	write(s.Dir, "told", fmt.Sprint(os.Getpid()))
	return 0
}

// serve answers as a dashboard with or without the lock. It is seen when it is asked for
// its model after it was asked whether it has the lock.
func serve(s setting, locked bool) {
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		panic(err)
	}
	var told atomic.Bool
	var seen sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("/topom/model", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"token":"t","start_time":"%d"}`, os.Getpid())
		if told.Load() {
			seen.Do(func() { write(s.Dir, "seen", append(lines(s.Dir, "seen"), fmt.Sprint(os.Getpid()))...) })
		}
	})
	mux.HandleFunc("/topom/stats", func(w http.ResponseWriter, _ *http.Request) {
		told.Store(true)
		if !locked {
			w.WriteHeader(800)
		}
	})
	go func() { panic(http.Serve(l, mux)) }()
}

// lines of a file that may not be there.
func lines(dir, name string) []string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		panic(err)
	}
	return strings.Fields(string(text))
}

// write replaces a file at once, so that nobody reads half of it.
func write(dir, name string, lines ...string) {
	path := filepath.Join(dir, name)
	err := errors.Join(os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")), 0o600), os.Rename(path+".new", path))
	if err != nil {
		panic(err)
	}
}
