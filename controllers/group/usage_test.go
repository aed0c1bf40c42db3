// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"testing"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
	"github.com/codis-io/codis-operator/internal/usage"
)

func TestMemoryThatWaversIsWrittenOnce(t *testing.T) {
	const half = 3 << 19 // 1.5 Mi, where rounding turns
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	group := &v1alpha1.CodisGroup{Status: v1alpha1.CodisGroupStatus{Master: "g-0"}}
	written := 0
	for step := range int64(10) {
		now = now.Add(usage.Interval)
		before := group.Status.UsageTime
		server := redis.Observation{Reachable: true, Role: redis.RoleMaster, UsedMemory: half - 1 + 2*(step%2)}
		reportUsage(&state{group: group, world: world{members: []member{{name: "g-0", redis: server}}}}, now)
		if group.Status.UsageTime != before {
			written++
		}
	}
	if written != 1 || group.Status.Memory != "1Mi" {
		t.Errorf("memory was written %d times, and is %s", written, group.Status.Memory)
	}
}
