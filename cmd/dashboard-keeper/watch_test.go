// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	type question struct {
		asked, back time.Duration
		answered    bool
	}
	const ms = time.Millisecond
	tests := map[string]struct {
		questions []question
		want      bool
	}{
		"it answers":                   {[]question{{0, 10 * ms, true}, {260 * ms, 270 * ms, true}}, false},
		"it has never answered":        {[]question{{0, 2000 * ms, false}, {2250 * ms, 9000 * ms, false}}, false},
		"it says nothing":              {[]question{{0, 10 * ms, true}, {260 * ms, 2260 * ms, false}}, true},
		"it refused once":              {[]question{{0, 10 * ms, true}, {260 * ms, 261 * ms, false}}, false},
		"it refuses all the time":      {[]question{{0, 10 * ms, true}, {1000 * ms, 1001 * ms, false}, {2010 * ms, 2011 * ms, false}}, true},
		"it came back before":          {[]question{{0, 10 * ms, true}, {1000 * ms, 1001 * ms, false}, {1300 * ms, 1900 * ms, true}, {2010 * ms, 2011 * ms, false}}, false},
		"the keeper stood still":       {[]question{{0, 10 * ms, true}, {260 * ms, 60000 * ms, false}}, false},
		"it says nothing after that":   {[]question{{0, 10 * ms, true}, {260 * ms, 60000 * ms, false}, {60250 * ms, 62250 * ms, false}}, true},
		"the keeper was a little late": {[]question{{0, 10 * ms, true}, {260 * ms, 2700 * ms, false}}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			begin, p, got := time.Now(), pulse{silence: silence, lateness: lateness}, false
			for i, q := range tt.questions {
				if got {
					t.Fatalf("given up before question %d", i)
				}
				got = p.lost(begin.Add(q.asked), begin.Add(q.back), q.answered)
			}
			if got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestPauses(t *testing.T) {
	var all time.Duration
	for failures := range attempts {
		pause := pauseAfter(failures, firstPause)
		if failures == 0 && pause != 0 || failures > 1 && pause != 2*pauseAfter(failures-1, firstPause) {
			t.Errorf("%s after %d failures", pause, failures)
		}
		all += pause
	}
	if all != 3*time.Second {
		t.Errorf("kubelet is left to it after %s", all)
	}
}

// A keeper ends as its last dashboard did, for whoever reads the status of its pod.
func TestEnds(t *testing.T) {
	const killed, failed = syscall.WaitStatus(syscall.SIGKILL), syscall.WaitStatus(3 << 8)
	tests := map[string]struct {
		end      end
		code     int
		how      string
		accident bool
	}{
		"killed after it served":    {end{status: killed, length: lasting, served: true}, 137, "killed", true},
		"killed early":              {end{status: killed, length: lasting - 1, served: true}, 137, "killed", false},
		"hung":                      {end{status: killed, length: lasting, served: true, hung: true}, 137, "killed, since it answered nothing", true},
		"failed":                    {end{status: failed, length: time.Hour}, 3, "exit code 3", false},
		"ended by somebody's order": {end{length: lasting, served: true}, 0, "exit code 0", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := tt.end
			if e.code() != tt.code || e.how() != tt.how || e.accident(lasting) != tt.accident {
				t.Errorf("%d, %s, accident: %t", e.code(), e.how(), e.accident(lasting))
			}
		})
	}
}
