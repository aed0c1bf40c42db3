// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package usage decides when a number that moves all the time, such as the keys
// of a server, is worth a write of the status. It refuses to know what it counts.
package usage

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Interval is the shortest time between two refreshes.
const Interval = 30 * time.Second

// Due tells whether a refresh may be written: the first at once, others at most
// once an Interval.
func Due(last *metav1.Time, now time.Time) bool {
	return last == nil || now.Sub(last.Time) >= Interval
}

// Moved tells whether a number moved by a tenth and by more than one, or from
// or to zero.
func Moved(before, now int64) bool {
	if (before == 0) != (now == 0) {
		return true
	}
	difference := before - now
	if difference < 0 {
		difference = -difference
	}
	return difference > 1 && difference*10 >= max(before, now)
}
