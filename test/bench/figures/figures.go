// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package figures sums up the trials of a benchmark.
package figures

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Percentile is the smallest of the trials that at least so many in a hundred
// do not exceed.
func Percentile(trials []time.Duration, percent int) time.Duration {
	if len(trials) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(trials))
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Summary words p50, p99, the worst and every trial, in the order they came.
func Summary(name string, trials []time.Duration) string {
	each := make([]string, len(trials))
	for i, trial := range trials {
		each[i] = seconds(trial)
	}
	return fmt.Sprintf("%s: p50 %s, p99 %s, max %s of %d trials (%s)", name,
		seconds(Percentile(trials, 50)), seconds(Percentile(trials, 99)), seconds(Percentile(trials, 100)),
		len(trials), strings.Join(each, ", "))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
