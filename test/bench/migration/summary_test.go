// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/client/workload"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

func TestSummaryComparesSpeeds(t *testing.T) {
	t.Parallel()
	codis := []trial{{took: 9 * time.Second, slots: 300}, {took: 10 * time.Second, slots: 250}, {took: 12 * time.Second, slots: 300}}
	operator := []trial{{took: 10 * time.Second, slots: 250}, {took: 10 * time.Second, slots: 200}, {took: 20 * time.Second, slots: 400}}
	text, ratio := summary(codis, operator)
	if ratio < 0.799 || ratio > 0.801 {
		t.Errorf("the ratio is %v", ratio)
	}
	for _, part := range []string{
		"Codis's own rebalance, 1000 slots: p50 40.00 s", "the operator's plan, 1000 slots: p50 50.00 s", "beside Codis: 0.80",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in %q", part, text)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	outcome := func(failed, lost int64) (o framework.Outcome) {
		o.Summary, o.Verification = workload.Summary{}, workload.Verification{}
		o.Failed, o.Lost = failed, lost
		return o
	}
	tests := map[string]struct {
		ratio   float64
		outcome framework.Outcome
		failed  bool
	}{
		"fast enough":                   {0.9, outcome(0, 0), false},
		"too slow":                      {0.89, outcome(0, 0), true},
		"a client got an error":         {1, outcome(1, 0), true},
		"a write was lost":              {1, outcome(0, 1), true},
		"faster than what it is beside": {1.3, outcome(0, 0), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := verdict(tt.ratio, 0.9, tt.outcome); (err != nil) != tt.failed {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFirstMove(t *testing.T) {
	t.Parallel()
	at := func(second int64, moving int, slots, problem string) observer.Observation {
		return observer.Observation{
			Time: time.Unix(second, 0), Moving: moving, Slots: map[int]string{extraID: slots}, Problem: problem,
		}
	}
	still, silent, moving, come := at(1, 0, "", ""), at(2, 3, "", "no answer"), at(3, 1, "", ""), at(4, 0, "7", "")
	for second, seen := range map[int64][]observer.Observation{3: {still, silent, moving, come}, 4: {still, come}} {
		if got := firstMove(seen); got.Unix() != second {
			t.Errorf("got %v, want second %d", got, second)
		}
	}
	if got := firstMove([]observer.Observation{still, silent}); !got.IsZero() {
		t.Errorf("got %v where nothing moved", got)
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	at := func(second int64, moving int, slots string) observer.Observation {
		return observer.Observation{Time: time.Unix(second, 0), Moving: moving, Slots: map[int]string{extraID: slots}}
	}
	silent := at(4, 0, "0-1")
	silent.Problem = "no answer"
	tests := map[string]struct {
		seen  []observer.Observation
		at    int64
		slots int
	}{
		"nothing moved yet":              {[]observer.Observation{at(1, 0, "")}, 0, 0},
		"slots are on their way":         {[]observer.Observation{at(1, 0, ""), at(2, 9, "5")}, 0, 1},
		"all have come":                  {[]observer.Observation{at(1, 0, ""), at(2, 9, "5"), at(3, 0, "5,7-8"), at(5, 0, "5,7-8")}, 3, 3},
		"a pause before the last":        {[]observer.Observation{at(1, 0, "1-3"), at(2, 1, "1-3"), at(3, 0, "1-4")}, 3, 4},
		"it does not say while it fails": {[]observer.Observation{at(1, 0, "0-3"), silent}, 1, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when, slots := settled(tt.seen, 2)
			if tt.at == 0 && !when.IsZero() || tt.at > 0 && when.Unix() != tt.at || slots != tt.slots {
				t.Errorf("at %v with %d slots", when, slots)
			}
		})
	}
}
