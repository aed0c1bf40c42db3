// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	tests := map[string]struct {
		trials  []time.Duration
		percent int
		want    time.Duration
	}{
		"of none":                      {nil, 50, 0},
		"of one":                       {[]time.Duration{7}, 50, 7},
		"the lower middle of two":      {[]time.Duration{9, 7}, 50, 7},
		"the middle of three":          {[]time.Duration{9, 7, 8}, 50, 8},
		"the last but one of hundred":  {hundred, 99, 99},
		"the worst":                    {hundred, 100, 100},
		"the worst of few for the p99": {[]time.Duration{1, 2, 3}, 99, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Percentile(tt.trials, tt.percent); got != tt.want {
				t.Errorf("Percentile() = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSummaryKeepsTheOrderOfTrials(t *testing.T) {
	t.Parallel()
	got := Summary("ready", []time.Duration{3 * time.Second, time.Second, 2500 * time.Millisecond})
	want := "ready: p50 2.50 s, p99 3.00 s, max 3.00 s of 3 trials (3.00 s, 1.00 s, 2.50 s)"
	if got != want {
		t.Errorf("Summary() = %q, want %q", got, want)
	}
}
