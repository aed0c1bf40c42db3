// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestLineOfATrial(t *testing.T) {
	t.Parallel()
	took := trial{
		fault: "crash+proxy", number: 3, group: 1, old: "s-1-0.s-1:6379", master: "s-1-1.s-1:6379", demoted: true,
		promotes: true, promotions: 1, stall: ms(420), stallFrom: ms(100), struckStall: ms(2000), heldUp: ms(80), seen: ms(300), back: ms(320), well: ms(5000),
		errors: map[string]int64{"reset": 3}, struckErrors: map[string]int64{"refused": 50},
		texts: map[string]string{"reset": "connection reset"}, acknowledged: 900, lostLag: 2,
	}
	strange := took
	strange.demoted, strange.needless, strange.lostReal = false, 1, 4
	strange.fail("this")
	strange.fail("and that")
	tests := map[string]struct {
		trial trial
		want  string
	}{
		"a failover": {took, "crash+proxy 3: s-1-1 took over group 1 from s-1-0, now its replica, longest stall 0.420 s from 0.100 s, clients held up by their machine for at most 0.080 s, " +
			"through the proxy struck 2.000 s, new master seen after 0.300 s, took writes after 0.320 s, well after 5.000 s, " +
			`errors 3 reset ("connection reset"), through the proxy struck 50 refused, ` +
			"900 writes acknowledged, 2 lost within the lag, 0 lost beyond it"},
		"a dashboard": {
			trial{fault: "dashboard", number: 2, usable: ms(1200), well: ms(1300)},
			"dashboard 2: dashboard usable again after 1.200 s, well after 1.300 s, errors 0, " +
				"0 writes acknowledged, 0 lost within the lag, 0 lost beyond it",
		},
		"an API server that was away": {
			trial{
				fault: "api", number: 1, group: 1, old: "s-1-0.s-1:6379", master: "s-1-0.s-1:6379",
				stall: ms(31), stallFrom: ms(2000), heldUp: ms(25), well: ms(303000), acknowledged: 121000,
			},
			"api 1: s-1-0 stays master of group 1, longest stall 0.031 s from 2.000 s, clients held up by their machine for at most 0.025 s, well after 303.000 s, errors 0, " +
				"121000 writes acknowledged, 0 lost within the lag, 0 lost beyond it",
		},
		"nobody saw anything": {
			trial{fault: "api", number: 1, group: 1, old: "s-1-0.s-1:6379", failure: "the log broke off"},
			"api 1: nobody saw who is master of group 1, errors 0, " +
				"0 writes acknowledged, 0 lost within the lag, 0 lost beyond it, FAILED: the log broke off",
		},
		"not run": {trial{fault: "node", number: 1, notRun: "no place"}, "node 1: NOT RUN: no place"},
		"a failure": {strange, "crash+proxy 3: s-1-1 took over group 1 from s-1-0, which is NOT its replica, " +
			"1 promotions NEEDLESS, longest stall 0.420 s from 0.100 s, clients held up by their machine for at most 0.080 s, through the proxy struck 2.000 s, new master seen after 0.300 s, " +
			`took writes after 0.320 s, well after 5.000 s, errors 3 reset ("connection reset"), ` +
			"through the proxy struck 50 refused, 900 writes acknowledged, 2 lost within the lag, 4 lost beyond it, " +
			"FAILED: this; and that"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.trial.String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	trials := []trial{
		{stall: ms(400), heldUp: ms(25), back: ms(350), promotions: 1, acknowledged: 100, lostLag: 1, errors: map[string]int64{"reset": 2}},
		{stall: ms(100), heldUp: ms(60), acknowledged: 200, missing: 1, errors: map[string]int64{"reset": 1, "closed": 1}},
		{stall: ms(900), heldUp: ms(700), back: ms(800), promotions: 1, needless: 1, acknowledged: 300, lostReal: 2, failure: "bad"},
		{notRun: "no place", stall: ms(99999)},
		{failure: "nothing was struck"},
	}
	want := "crash: 4 trials run, 1 not run, 2 failed; longest stall p50 0.400 s, p99 0.900 s, max 0.900 s of 3; " +
		"clients held up by their machine for at most p50 0.060 s, p99 0.700 s, max 0.700 s of 3; " +
		"new master took writes after p50 0.350 s, p99 0.800 s, max 0.800 s of 2; 2 promotions, 1 missing, 1 needless; " +
		"errors 1 closed + 3 reset; 600 writes acknowledged, 1 lost within the lag, 2 lost beyond it"
	if got := summary("crash", trials); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	usable := []trial{{usable: ms(900)}, {usable: ms(1900)}, {failure: "never"}}
	if got, want := summary("dashboard", usable), "; dashboard usable again after p50 0.900 s, p99 1.900 s, max 1.900 s of 2; "; !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := summary("node", nil); !strings.HasPrefix(got, "node: 0 trials run, 0 not run, 0 failed; longest stall (no trial);") {
		t.Errorf("without a trial: %s", got)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		trial trial
		bad   bool
	}{
		"all well":                      {trial{promotions: 1, acknowledged: 100}, false},
		"what the lag explains":         {trial{lostLag: 9}, false},
		"a missing promotion":           {trial{missing: 1}, false},
		"what was not run":              {trial{notRun: "no place"}, false},
		"what was interrupted":          {trial{notRun: interrupted, failure: "not well", missing: 1, needless: 1}, false},
		"a failed trial":                {trial{failure: "not well"}, true},
		"writes that no failover loses": {trial{lostReal: 1}, true},
		"a needless promotion":          {trial{needless: 1}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := verdict([]trial{{}, tt.trial, {}}); (err != nil) != tt.bad {
				t.Errorf("verdict() = %v", err)
			}
		})
	}
}
