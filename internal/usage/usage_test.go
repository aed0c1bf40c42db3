// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"math"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		last *metav1.Time
		want bool
	}{
		"the first at once":     {nil, true},
		"not right after":       {&metav1.Time{Time: now}, false},
		"not before its time":   {&metav1.Time{Time: now.Add(time.Nanosecond - Interval)}, false},
		"at its time":           {&metav1.Time{Time: now.Add(-Interval)}, true},
		"not for a clock ahead": {&metav1.Time{Time: now.Add(time.Hour)}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Due(tt.last, now); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func TestMoved(t *testing.T) {
	tests := map[string]struct {
		before, now int64
		want        bool
	}{
		"nothing":              {0, 0, false},
		"from zero":            {0, 1, true},
		"to zero":              {1, 0, true},
		"by one":               {2, 3, false},
		"by two of few":        {2, 4, true},
		"by a tenth up":        {90, 100, true},
		"by a tenth down":      {100, 90, true},
		"by less up":           {92, 101, false},
		"by less down":         {100, 91, false},
		"much":                 {1000, 1, true},
		"little of very much":  {math.MaxInt64 / 16, math.MaxInt64/16 + 5, false},
		"the same":             {7, 7, false},
		"by two of twenty-one": {21, 19, false},
		"by two of twenty":     {20, 18, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Moved(tt.before, tt.now); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
