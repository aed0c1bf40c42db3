// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Monitor is how sentinels watch each group of a product.
type Monitor struct {
	// Quorum of sentinels that must find a master down.
	Quorum int
	// DownAfter is how long a master must not answer.
	DownAfter time.Duration
	// FailoverTimeout is how long a change of master may take.
	FailoverTimeout time.Duration
	// ParallelSyncs is how many replicas copy a new master's data at a time.
	ParallelSyncs int
}

// Sentinels is how many sentinels run, with the default of the API.
func Sentinels(s *v1alpha1.SentinelSettings) int { return valueOr(s.Replicas, 3) }

// Majority is how many of n sentinels must answer for them to decide anything.
func Majority(n int) int { return n/2 + 1 }

// SentinelsNeeded is how many sentinels it takes to replace a master: a majority votes,
// once the quorum finds it down.
func SentinelsNeeded(s *v1alpha1.SentinelSettings) int {
	return max(Majority(Sentinels(s)), MonitorOf(s).Quorum)
}

// MonitorOf reads it from a spec, with the defaults of the API.
func MonitorOf(s *v1alpha1.SentinelSettings) Monitor {
	return Monitor{
		Quorum:          valueOr(s.Quorum, Majority(Sentinels(s))),
		DownAfter:       time.Duration(valueOr(s.DownAfterMilliseconds, 5000)) * time.Millisecond,
		FailoverTimeout: time.Duration(valueOr(s.FailoverTimeoutSeconds, 60)) * time.Second,
		ParallelSyncs:   valueOr(s.ParallelSyncs, 1),
	}
}

func valueOr(value *int32, otherwise int) int {
	if value == nil {
		return otherwise
	}
	return int(*value)
}

// sentinelTimeout bounds what the dashboard does with sentinels in one go. A
// promotion asks them to forget the group while its clients wait: Codis's own default
// is 10 s, which one sentinel on a lost node would take.
const sentinelTimeout = 2 * time.Second

// sentinelSettings have a dashboard give sentinels the same settings as the operator.
func sentinelSettings(m Monitor) map[string]string {
	return map[string]string{
		"sentinel_client_timeout":   milliseconds(sentinelTimeout),
		"sentinel_quorum":           strconv.Itoa(m.Quorum),
		"sentinel_parallel_syncs":   strconv.Itoa(m.ParallelSyncs),
		"sentinel_down_after":       milliseconds(m.DownAfter),
		"sentinel_failover_timeout": milliseconds(m.FailoverTimeout),
	}
}

// milliseconds words a duration for Codis, which takes one number and one unit.
func milliseconds(d time.Duration) string {
	return strconv.Quote(strconv.FormatInt(d.Milliseconds(), 10) + "ms")
}

// Sentinel renders sentinel.conf without what is particular to a pod. It names no
// master: who may be watched is told later, by whoever knows the addresses of today.
func Sentinel(directory string, port int) string {
	settings := [][2]string{
		{"bind", "0.0.0.0"},
		{"port", strconv.Itoa(port)},
		{"protected-mode", "no"}, // The dashboard and the proxies have no password to give.
		{"daemonize", "no"},
		// codis-server 3.2 logs each setting that it is told, the password in it.
		{"logfile", "/dev/null"},
		{"dir", directory},
	}
	var out strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&out, "%s %s\n", s[0], s[1])
	}
	return out.String()
}

// currentEpoch begins the line with the number of the last election.
const currentEpoch = "sentinel current-epoch "

// WithIdentity completes the text of a sentinel.conf. id stays the same for as long as
// the pod has its name: the others then know that a new address is the same sentinel,
// and the old one no other that is down. Of the file that the pod had before, only the
// number of the last election is kept. Whom it watched is not: addresses of pods that
// were replaced meanwhile may belong to servers of other groups, which it would make
// copy the wrong data within seconds.
func WithIdentity(text, before, id, ip string) string {
	text += fmt.Sprintf("sentinel myid %s\nsentinel announce-ip %s\n", id, ip)
	for line := range strings.Lines(before) {
		number, found := strings.CutPrefix(strings.TrimSpace(line), currentEpoch)
		if _, err := strconv.ParseUint(number, 10, 64); found && err == nil {
			text += currentEpoch + number + "\n"
		}
	}
	return text
}
