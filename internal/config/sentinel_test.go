// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

func TestMonitorHasTheDefaultsOfTheAPI(t *testing.T) {
	tests := map[string]struct {
		spec v1alpha1.SentinelSettings
		want Monitor
	}{
		"nothing is set": {
			v1alpha1.SentinelSettings{}, Monitor{Quorum: 2, DownAfter: 5 * time.Second, FailoverTimeout: time.Minute, ParallelSyncs: 1},
		},
		"five sentinels": {
			v1alpha1.SentinelSettings{Replicas: new(int32(5))},
			Monitor{Quorum: 3, DownAfter: 5 * time.Second, FailoverTimeout: time.Minute, ParallelSyncs: 1},
		},
		"everything is set": {
			v1alpha1.SentinelSettings{
				Quorum: new(int32(1)), DownAfterMilliseconds: new(int32(700)), FailoverTimeoutSeconds: new(int32(9)), ParallelSyncs: new(int32(4)),
			},
			Monitor{Quorum: 1, DownAfter: 700 * time.Millisecond, FailoverTimeout: 9 * time.Second, ParallelSyncs: 4},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, MonitorOf(&tt.spec)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The dashboard tells sentinels the same as the operator, or they would be told in turns.
func TestDashboardTellsSentinelsTheSame(t *testing.T) {
	spec := &v1alpha1.SentinelSettings{DownAfterMilliseconds: new(int32(700))}
	got := settings(t, Dashboard("p", Store{Name: "filesystem", Addr: "/d"}, 1, nil, spec), " = ")
	want := map[string]string{
		"sentinel_quorum": "2", "sentinel_parallel_syncs": "1", "sentinel_down_after": `"700ms"`,
		"sentinel_failover_timeout": `"60000ms"`, "sentinel_client_timeout": `"2000ms"`,
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %s, want %s", name, got[name], value)
		}
	}
}

func TestSentinelHasNoMonitorAndNoPassword(t *testing.T) {
	text := Sentinel("/data", 26379)
	if strings.Contains(text, "sentinel") || strings.Contains(text, "pass") {
		t.Errorf("the file says %q", text)
	}
	want := "bind 0.0.0.0\nport 26379\nprotected-mode no\ndaemonize no\nlogfile /dev/null\ndir /data\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}

func TestIdentityOfASentinel(t *testing.T) {
	const identity = "sentinel myid id\nsentinel announce-ip ip\n"
	tests := map[string]struct{ before, want string }{
		"no file":               {"", identity},
		"an election":           {"sentinel current-epoch 12\n", identity + "sentinel current-epoch 12\n"},
		"no number":             {"sentinel current-epoch x\n", identity},
		"whom it watched":       {"sentinel monitor a 10.0.0.1 6379 2\nsentinel leader-epoch a 3\n", identity},
		"who it was once":       {"sentinel myid other\nsentinel announce-ip other\n", identity},
		"an election, indented": {"\tsentinel current-epoch 3\r\n", identity + "sentinel current-epoch 3\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff("text\n"+tt.want, WithIdentity("text\n", tt.before, "id", "ip")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
