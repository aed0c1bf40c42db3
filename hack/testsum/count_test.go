// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		events []string
		want   counts
		// prints is part of the output; never is not.
		prints, never string
	}{
		"a passed test counts and its output is left out": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"detail\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}`,
				`{"Action":"pass","Package":"p","Elapsed":0.2}`,
			},
			want:   counts{Passed: 1},
			prints: "ok   p 0.2s\n",
			never:  "detail",
		},
		"a test with subtests counts as its subtests": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/one"}`,
				`{"Action":"run","Package":"p","Test":"TestA/two"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/two"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			want: counts{Passed: 2},
		},
		"a failed subtest counts once and its output is shown": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/one"}`,
				`{"Action":"output","Package":"p","Test":"TestA/one","Output":"detail\n"}`,
				`{"Action":"fail","Package":"p","Test":"TestA/one"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want:   counts{Failed: 1},
			prints: "detail\n",
		},
		"a test that fails after its subtests passed counts": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/one"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: counts{Passed: 1, Failed: 1},
		},
		"a package that crashes counts as a failure and shows what it said": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want:   counts{Failed: 1},
			prints: "panic: boom\n",
		},
		"a package that does not build counts as a failure": {
			events: []string{
				`{"ImportPath":"p [p.test]","Action":"build-output","Output":"a.go:1:1: undefined: x\n"}`,
				`{"ImportPath":"p [p.test]","Action":"build-fail"}`,
				`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
			},
			want:   counts{Failed: 1},
			prints: "undefined: x",
		},
		"a Ginkgo suite counts its specs": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestE2E"}`,
				`{"Action":"output","Package":"p","Test":"TestE2E",` +
					`"Output":"FAIL! -- \u001b[1m5 Passed\u001b[0m | \u001b[1m2 Failed\u001b[0m | 1 Pending | 3 Skipped\n"}`,
				`{"Action":"fail","Package":"p","Test":"TestE2E"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: counts{Passed: 5, Failed: 2, Skipped: 4},
		},
		"packages without tests count nothing": {
			events: []string{`{"Action":"skip","Package":"p"}`},
		},
		"a line that is no event is passed on": {
			events: []string{`go: no such module`},
			prints: "go: no such module\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			c := newCounter(&out, false)
			if err := c.read(strings.NewReader(strings.Join(tt.events, "\n") + "\n")); err != nil {
				t.Fatal(err)
			}
			if c.total != tt.want {
				t.Errorf("counted %v, want %v", c.total, tt.want)
			}
			if !strings.Contains(out.String(), tt.prints) {
				t.Errorf("printed %q, want %q in it", out.String(), tt.prints)
			}
			if tt.never != "" && strings.Contains(out.String(), tt.never) {
				t.Errorf("printed %q, want %q not in it", out.String(), tt.never)
			}
		})
	}
}

func TestSummaryEndsWithTheCountsLine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stages []stage
		last   string
		failed bool
	}{
		"all passed": {
			stages: []stage{{target: "verify", took: time.Second}, {target: "unit", counts: counts{Passed: 3}}},
			last:   "3 passed, 0 failed",
		},
		"a failed check counts": {
			stages: []stage{
				{target: "verify", counts: counts{Failed: 1}, err: errors.New("dirty")},
				{target: "unit", counts: counts{Passed: 3}},
			},
			last:   "3 passed, 1 failed",
			failed: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if err := summarise(&out, tt.stages); (err != nil) != tt.failed {
				t.Errorf("summarise() = %v, want failed %v", err, tt.failed)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if got := lines[len(lines)-1]; got != tt.last {
				t.Errorf("last line %q, want %q", got, tt.last)
			}
		})
	}
}
