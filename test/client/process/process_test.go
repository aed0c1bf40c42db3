// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var (
	one = strings.Repeat("1a", 32)
	two = strings.Repeat("2b", 32)
)

// fakeProc holds processes by pid: their parent, when they began, and the
// container they are in.
func fakeProc(t *testing.T, processes map[int][3]string) string {
	t.Helper()
	proc := t.TempDir()
	for pid, p := range processes {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string]string{
			"stat":   strconv.Itoa(pid) + " (a (b) c) S " + p[0] + strings.Repeat(" 0", 17) + " " + p[1] + " 0 0\n",
			"cgroup": "0::/kubepods/pod1/" + p[2] + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

func TestFind(t *testing.T) {
	t.Parallel()
	three := strings.Repeat("3c", 32)
	proc := fakeProc(t, map[int][3]string{
		10: {"1", "90", ""}, 20: {"10", "100", one}, 21: {"20", "200", one},
		30: {"10", "100", "cri-containerd-" + two + ".scope"},
		5:  {"0", "999", three}, 6: {"5", "1000", three}, 40: {"10", "100", three}, 41: {"0", "300", three},
	})
	tests := map[string]struct {
		container string
		want      int
		err       error
	}{
		"the parent of the others":       {container: one, want: 20},
		"an id inside a name":            {container: two, want: 30},
		"not a later probe's, lower pid": {container: three, want: 40},
		"a container without processes":  {container: strings.Repeat("0", 64), err: ErrNotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid, err := Find(proc, tt.container)
			if pid != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Find() = %d, %v", pid, err)
			}
		})
	}
}

func TestChild(t *testing.T) {
	t.Parallel()
	proc := fakeProc(t, map[int][3]string{
		20: {"10", "100", one}, 22: {"20", "200", one}, 21: {"20", "300", one}, 23: {"22", "150", one},
		30: {"10", "100", two}, 31: {"10", "200", two},
	})
	tests := map[string]struct {
		container string
		want      int
		err       error
	}{
		"the child, and not its own":     {container: one, want: 22},
		"one that keeps none, probed":    {container: two, err: ErrNotFound},
		"a container without any at all": {container: strings.Repeat("0", 64), err: ErrNotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid, err := Child(proc, tt.container)
			if pid != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Child() = %d, %v", pid, err)
			}
		})
	}
}

func TestPartOfAnIDIsRefused(t *testing.T) {
	t.Parallel()
	if pid, err := Find(fakeProc(t, nil), one[:12]); err == nil {
		t.Errorf("Find() = %d", pid)
	}
}

func TestSignalReachesTheProcess(t *testing.T) {
	t.Parallel()
	sleeper := exec.CommandContext(t.Context(), "sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	if err := Signal(sleeper.Process.Pid, "HUP"); err == nil {
		t.Error("an unknown signal was sent")
	}
	if err := Signal(sleeper.Process.Pid, "KILL"); err != nil {
		t.Error(err)
	}
	if err := sleeper.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process ended with %v", err)
	}
}

func TestEmptyKeepsTheDirectoryItself(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	data := filepath.Join(proc, "7", "root", "data")
	if err := os.MkdirAll(filepath.Join(data, "appendonlydir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"dump.rdb", "appendonlydir/1.aof"} {
		if err := os.WriteFile(filepath.Join(data, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Empty(proc, 7, "/data"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(data); err != nil || len(entries) > 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
}
