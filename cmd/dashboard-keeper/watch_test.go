// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	// question is when it came back, whether it was answered, and when the keeper was last
	// seen to have stood still.
	type question struct {
		back     time.Duration
		answered bool
		stood    time.Duration
	}
	const ms = time.Millisecond
	tests := map[string]struct {
		questions []question
		want      bool
	}{
		"it answers":                       {[]question{{10 * ms, true, 0}, {270 * ms, true, 0}}, false},
		"it has never answered":            {[]question{{2000 * ms, false, 0}, {9000 * ms, false, 0}}, false},
		"it says nothing":                  {[]question{{10 * ms, true, 0}, {2260 * ms, false, 0}}, true},
		"it refused once":                  {[]question{{10 * ms, true, 0}, {261 * ms, false, 0}}, false},
		"it refuses all the time":          {[]question{{10 * ms, true, 0}, {1001 * ms, false, 0}, {2011 * ms, false, 0}}, true},
		"it came back before":              {[]question{{10 * ms, true, 0}, {1001 * ms, false, 0}, {1900 * ms, true, 0}, {2011 * ms, false, 0}}, false},
		"the keeper stood still for long":  {[]question{{10 * ms, true, 0}, {60000 * ms, false, 60000 * ms}}, false},
		"it stood still as long as that":   {[]question{{10 * ms, true, 0}, {2270 * ms, false, 2270 * ms}}, false},
		"it stood still before a question": {[]question{{10 * ms, true, 0}, {60001 * ms, false, 60000 * ms}}, false},
		"it stood still some time before":  {[]question{{10 * ms, true, 0}, {2260 * ms, false, 1000 * ms}}, false},
		"it says nothing after that":       {[]question{{10 * ms, true, 0}, {60000 * ms, false, 60000 * ms}, {62250 * ms, false, 60000 * ms}}, true},
		"it stood still before it answered": {
			[]question{{10 * ms, true, 0}, {60010 * ms, true, 60000 * ms}, {62260 * ms, false, 60000 * ms}}, true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			begin, p, got := time.Now(), pulse{silence: silence}, false
			for i, q := range tt.questions {
				if got {
					t.Fatalf("given up before question %d", i)
				}
				var stood time.Time
				if q.stood > 0 {
					stood = begin.Add(q.stood)
				}
				got = p.lost(begin.Add(q.back), stood, q.answered)
			}
			if got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestStandstill(t *testing.T) {
	const ms = time.Millisecond
	tests := map[string]struct {
		seen []time.Duration
		want time.Duration
	}{
		"it has just begun":        {[]time.Duration{0}, 0},
		"it runs":                  {[]time.Duration{0, 250 * ms, 500 * ms}, 0},
		"it was a little late":     {[]time.Duration{0, 750 * ms}, 0},
		"it stood still":           {[]time.Duration{0, 251 * ms, 1002 * ms}, 1002 * ms},
		"it stood still, and runs": {[]time.Duration{0, 2000 * ms, 2250 * ms, 2500 * ms}, 2000 * ms},
		"it stood still twice":     {[]time.Duration{0, 2000 * ms, 2250 * ms, 9000 * ms}, 9000 * ms},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			begin, got := time.Now(), time.Time{}
			s := &standstill{limit: asking + lateness}
			for _, at := range tt.seen {
				got = s.seen(begin.Add(at))
			}
			if got.IsZero() != (tt.want == 0) || !got.IsZero() && got.Sub(begin) != tt.want {
				t.Errorf("until %v", got)
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
		"killed after it served": {end{status: killed, length: lasting, served: true}, 137, "killed", true},
		"killed early":           {end{status: killed, length: lasting - 1, served: true}, 137, "killed", false},
		"hung":                   {end{status: killed, length: lasting, served: true, hung: true}, 137, "killed, since it answered nothing", true},
		"killed before it could give back a lock": {
			end{status: killed, length: lasting, served: true, unreleased: true}, 137, "killed, since its lock may be another one's", true,
		},
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
