// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

//nolint:dupword // a file system and its source often have one name
const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 22 0:32 / /var/lib/localkube/demo/a rw - tmpfs tmpfs rw
37 36 0:33 / /var/lib/localkube/demo/a/b rw - tmpfs tmpfs rw
38 22 0:34 / /var/lib/localkube/demo2 rw - tmpfs tmpfs rw
`

func TestProcessesAreTrackedByTheCgroupThatChangesLeast(t *testing.T) {
	got := cgroupMounts(mountinfo)
	for i := range got {
		got[i] = filepath.Base(got[i])
	}
	if want := []string{"pids", "freezer", "cpu", "systemd", "unified"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMountsBelowADirectoryAreNotThoseOfItsNamesakes(t *testing.T) {
	got := mountsBelow(mountinfo, "/var/lib/localkube/demo", "/run/localkube/demo")
	want := []string{"/var/lib/localkube/demo/a", "/var/lib/localkube/demo/a/b"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCgroupsAreFoundAndRemovedDeepestFirst(t *testing.T) {
	h := hierarchies{mounts: []string{t.TempDir(), t.TempDir()}}
	for _, mount := range h.mounts {
		writeTestFile(t, filepath.Join(mount, "cpuset.cpus"), "0-1")
	}
	if err := h.create("localkube/demo/node-1"); err != nil {
		t.Fatal(err)
	}
	inherited, err := os.ReadFile(filepath.Join(h.mounts[1], "localkube/demo/node-1/cpuset.cpus"))
	if err != nil || string(inherited) != "0-1" {
		t.Errorf("cpuset %q, %v", inherited, err)
	}
	writeTestFile(t, filepath.Join(h.mounts[0], "localkube/demo/cgroup.procs"), "7\n")
	writeTestFile(t, filepath.Join(h.mounts[1], "localkube/demo/node-1/cgroup.procs"), "9\n7\n")
	if got := h.processes("localkube/demo"); !slices.Equal(got, []int{7, 9}) {
		t.Errorf("processes %v", got)
	}
	var visited []string
	h.walk("localkube", func(dir string) { visited = append(visited, filepath.Base(dir)) })
	if want := []string{"node-1", "demo", "localkube"}; !slices.Equal(visited[:3], want) {
		t.Errorf("visited %v, want %v first", visited, want)
	}
}

func TestParseStat(t *testing.T) {
	line := "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3"
	if started, state := parseStat(line); started != "987654" || state != "S" {
		t.Errorf("started %q, state %q", started, state)
	}
	if started, _ := parseStat("4242 (short) S 1"); started != "" {
		t.Errorf("a short line started at %q", started)
	}
}

func TestOnlyTheVeryProcessIsAlive(t *testing.T) {
	started, _ := procStat(os.Getpid())
	tests := map[string]struct {
		process process
		want    bool
	}{
		"this one":                        {process{PID: os.Getpid(), Started: started}, true},
		"an earlier one with this number": {process{PID: os.Getpid(), Started: "1"}, false},
		"one that never was":              {process{PID: 1 << 30, Started: started}, false},
		"one that was not written down":   {process{PID: 1 << 30}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.process.alive(); got != tt.want {
				t.Errorf("alive: %t, want %t", got, tt.want)
			}
		})
	}
}

func TestFlagsMayFollowArguments(t *testing.T) {
	tests := map[string]struct {
		args, rest []string
		name       string
	}{
		"before":               {[]string{"--name", "x", "node-1"}, []string{"node-1"}, "x"},
		"after":                {[]string{"node-1", "--name", "x"}, []string{"node-1"}, "x"},
		"not after two dashes": {[]string{"--", "get", "--name", "x"}, []string{"get", "--name", "x"}, "demo"},
		"both around them": {
			[]string{"--name", "x", "node-1", "--", "sh", "-c", "--"},
			[]string{"node-1", "sh", "-c", "--"},
			"x",
		},
		"none": {nil, nil, "demo"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			flags := flag.NewFlagSet("test", flag.ContinueOnError)
			cluster := flags.String("name", "demo", "")
			rest, err := parseAnywhere(flags, tt.args)
			if err != nil || !slices.Equal(rest, tt.rest) || *cluster != tt.name {
				t.Errorf("got %q, name %s, %v, want %q, name %s", rest, *cluster, err, tt.rest, tt.name)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"demo": true, "e2e-1": true, "a": true, "": false, "Demo": false, "1st": false, "a-": false, "../x": false,
		"a23456789012345678901": false,
	} {
		if got := checkName(name) == nil; got != valid {
			t.Errorf("%q is valid: %t, want %t", name, got, valid)
		}
	}
}

func TestPollEndsWhenItsCallerGivesUpAndSaysWhy(t *testing.T) {
	broken := errors.New("broken")
	ctx, cancel := context.WithCancelCause(t.Context())
	calls := 0
	err := poll(ctx, time.Minute, time.Millisecond, func(context.Context) error {
		if calls++; calls == 3 {
			cancel(broken)
		}
		return errors.New("not yet")
	})
	if !errors.Is(err, broken) || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestPollEndsInTimeWithTheLastError(t *testing.T) {
	last := errors.New("still not")
	if err := poll(t.Context(), 20*time.Millisecond, time.Millisecond, func(context.Context) error {
		return last
	}); !errors.Is(err, last) {
		t.Errorf("got %v, want %v", err, last)
	}
}

func TestTheFirstFailureIsTheOneReported(t *testing.T) {
	broken := errors.New("broken")
	err := together(t.Context(),
		func(context.Context) error { return broken },
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	if err := together(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("success is %v", err)
	}
}
