// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/client/workload"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// at is a moment, in milliseconds after the fault.
func at(ms int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func gap(from, to int) workload.Gap { return workload.Gap{From: at(from), To: at(to)} }

func TestStall(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		gaps []workload.Gap
		want workload.Gap
	}{
		"none":                                  {},
		"the longest one":                       {[]workload.Gap{gap(10, 50), gap(60, 400), gap(500, 600)}, gap(60, 400)},
		"one before the fault does not count":   {[]workload.Gap{gap(-900, -100), gap(10, 50)}, gap(10, 50)},
		"one that the fault fell into does":     {[]workload.Gap{gap(-20, 300), gap(310, 400)}, gap(-20, 300)},
		"one that ended when the fault came":    {gaps: []workload.Gap{gap(-500, 0)}},
		"the first of those that are as long":   {[]workload.Gap{gap(10, 50), gap(60, 100)}, gap(10, 50)},
		"one that went on when the load ended":  {[]workload.Gap{gap(10, 50), gap(60, 90000)}, gap(60, 90000)},
		"a longer one before, a shorter behind": {[]workload.Gap{gap(-9000, -1), gap(0, 30)}, gap(0, 30)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := stall(tt.gaps, at(0)); got != tt.want {
				t.Errorf("stall() = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		lost        int64
		written     [][2]int
		lag, beyond int64
	}{
		"none":                                      {},
		"a second before the fault, at most":        {3, [][2]int{{-1010, -1000}, {-510, -500}, {-10, 0}}, 3, 0},
		"longer before the fault":                   {2, [][2]int{{-1011, -1001}, {-60010, -60000}}, 0, 2},
		"until another master had taken over":       {2, [][2]int{{190, 200}, {390, 400}}, 2, 0},
		"a little after that":                       {1, [][2]int{{1400, 1410}}, 1, 0},
		"by an old master that went on":             {1, [][2]int{{1401, 1411}}, 0, 1},
		"before, and a cut network held the answer": {1, [][2]int{{-10, 20000}}, 1, 0},
		"nobody knows when they were":               {5, nil, 0, 5},
		"of some it is known, and of others not":    {3, [][2]int{{-20, -10}, {-2010, -2000}}, 1, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var written []workload.Span
			for _, w := range tt.written {
				written = append(written, wrote(w[0], w[1]))
			}
			lag, beyond := classify(tt.lost, written, at(0), at(400))
			if lag != tt.lag || beyond != tt.beyond {
				t.Errorf("classify() = %d, %d, want %d, %d", lag, beyond, tt.lag, tt.beyond)
			}
		})
	}
}

func TestPromotions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		servers [][]string
		want    int
	}{
		"nothing seen":                      {},
		"it stays":                          {[][]string{{"a", "b"}, {"a", "b"}}, 0},
		"another one":                       {[][]string{{"a", "b"}, {"b", "a"}, {"b", "a"}}, 1},
		"there and back":                    {[][]string{{"b", "a"}, {"a", "b"}}, 2},
		"a group without servers is no one": {[][]string{{"a", "b"}, {}, {"a", "b"}}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []observer.Observation
			for _, servers := range tt.servers {
				seen = append(seen, observer.Observation{Groups: map[int][]string{1: servers, 2: {"x"}}})
			}
			if got := promotions("a", 1, seen); got != tt.want {
				t.Errorf("promotions() = %d, want %d", got, tt.want)
			}
		})
	}
}

// view is what a witness sees of two groups: of the first the members in the
// dashboard's order, the one that takes writes, and whether the other follows it.
func view(when int, servers [2]string, master string, linked bool) observer.Observation {
	members := map[string]observer.Member{"x": {Role: "master"}, "y": {Role: "slave", Master: "x", LinkUp: true}}
	for _, addr := range servers {
		if members[addr] = (observer.Member{Problem: "refused"}); addr == master {
			members[addr] = observer.Member{Role: "master"}
		} else if linked {
			members[addr] = observer.Member{Role: "slave", Master: master, LinkUp: true}
		}
	}
	return observer.Observation{
		Time: at(when), Groups: map[int][]string{1: servers[:], 2: {"x", "y"}}, Members: members,
	}
}

func wrote(sent, acknowledged int) workload.Span {
	return workload.Span{Sent: at(sent), Acknowledged: at(acknowledged)}
}

func TestJudgeAFailover(t *testing.T) {
	t.Parallel()
	e := evidence{
		at: at(0), well: at(5000), group: 1, promotes: true, exposed: []int{1},
		masters: map[int]string{1: "a", 2: "x"}, struck: []string{"q"},
		seen: []observer.Observation{
			view(100, [2]string{"a", "b"}, "", false), view(300, [2]string{"a", "b"}, "b", false),
			view(350, [2]string{"b", "a"}, "b", false), view(4000, [2]string{"b", "a"}, "b", true),
		},
		outcome: framework.Outcome{
			Summary: workload.Summary{Acknowledged: 900, HeldUp: []workload.Gap{gap(-900, -300), gap(40, 120), gap(200, 230)}, Writers: []workload.WriterSummary{
				{Address: "p", First: at(-3000), Gaps: []workload.Gap{gap(-10, 410)}, Errors: map[string]int64{"reset": 1}},
				{Address: "p", First: at(-3000), Gaps: []workload.Gap{gap(5, 320)}, Errors: map[string]int64{"reset": 2}},
				{Address: "q", First: at(-3000), Gaps: []workload.Gap{gap(5, 2005)}, Errors: map[string]int64{"refused": 50}},
			}},
			Verification: workload.Verification{Lost: 3, LostWritten: []workload.Span{wrote(-9, -5), wrote(-9, -1), wrote(-1509, -1500)}},
		},
	}
	got := trial{}
	got.judge(e)
	want := trial{
		group: 1, old: "a", master: "b", demoted: true, promotes: true, promotions: 1,
		stall: ms(420), stallFrom: ms(-10), struckStall: ms(2000), heldUp: ms(80), seen: ms(300), back: ms(320), well: ms(5000),
		errors: map[string]int64{"reset": 3}, struckErrors: map[string]int64{"refused": 50},
		acknowledged: 900, lostLag: 2, lostReal: 1,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(trial{}), cmpopts.IgnoreFields(trial{}, "texts", "notes")); diff != "" {
		t.Error(diff)
	}
}

func TestJudgeClientsBesideTheOldMaster(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		gaps   []workload.Gap
		until  time.Duration
		failed bool
	}{
		"it stops before another one takes over": {[]workload.Gap{gap(900, 950), gap(3900, 16000)}, ms(3900), false},
		"it goes on for long":                    {[]workload.Gap{gap(4900, 16000)}, 0, true},
		"it never stops":                         {[]workload.Gap{gap(900, 950)}, 0, true},
		"it takes one before the node is back":   {[]workload.Gap{gap(3900, 9000), gap(9000, 16000)}, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := trial{}
			got.judge(evidence{
				at: at(0), group: 1, promotes: true, exposed: []int{1}, masters: map[int]string{1: "a", 2: "x"},
				seen: []observer.Observation{view(4200, [2]string{"b", "a"}, "b", true)},
				beside: &framework.Outcome{
					Summary:      workload.Summary{Writers: []workload.WriterSummary{{Address: "q", First: at(-9), Gaps: tt.gaps}}},
					Verification: workload.Verification{Lost: 3, LostWritten: []workload.Span{wrote(-9, -5), wrote(3890, 3900), wrote(8900, 9000)}},
				},
			})
			if got.besideUntil != tt.until || got.failed() != tt.failed || got.besideLost != 2 || got.lostReal != 1 {
				t.Errorf("judge() = %+v", got)
			}
		})
	}
}

func TestJudgeWhatCallsForNoFailover(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		promotes          bool
		seen              []observer.Observation
		missing, needless int
	}{
		"nothing is promoted":          {false, []observer.Observation{view(9, [2]string{"a", "b"}, "a", true)}, 0, 0},
		"a promotion all the same":     {false, []observer.Observation{view(9, [2]string{"b", "a"}, "b", true)}, 0, 1},
		"a promotion that was wanted":  {true, []observer.Observation{view(9, [2]string{"b", "a"}, "b", true)}, 0, 0},
		"none where one was wanted":    {true, []observer.Observation{view(9, [2]string{"a", "b"}, "a", true)}, 1, 0},
		"two where but one was wanted": {true, []observer.Observation{view(9, [2]string{"b", "a"}, "b", true), view(19, [2]string{"a", "b"}, "a", true)}, 0, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := trial{}
			got.judge(evidence{
				at: at(0), group: 1, promotes: tt.promotes, exposed: []int{1},
				masters: map[int]string{1: "a", 2: "x"}, seen: tt.seen,
			})
			if got.missing != tt.missing || got.needless != tt.needless {
				t.Errorf("judge() = %+v", got)
			}
		})
	}
}

func TestAConnectionThatNeverWroteFailsTheTrial(t *testing.T) {
	t.Parallel()
	for first, want := range map[time.Time]bool{at(-1): false, at(1): true, {}: true} {
		got := trial{}
		got.judge(evidence{at: at(0), outcome: framework.Outcome{
			Summary: workload.Summary{Writers: []workload.WriterSummary{{Address: "p", First: first}}},
		}})
		if got.failed() != want {
			t.Errorf("first acknowledged %v: %+v", first, got)
		}
		if !want && got.stall != workload.MinGap {
			t.Errorf("a stall too short to be told counts as %s", got.stall)
		}
		if got.heldUp != workload.MinGap {
			t.Errorf("times too short to be told, in which clients were held up, count as %s", got.heldUp)
		}
	}
}
