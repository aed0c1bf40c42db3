// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/prober"
	"github.com/codis-io/codis-operator/internal/redis"
)

// slowDashboard answers after a while.
type slowDashboard struct {
	dashboard

	after time.Duration
	stats *codis.Stats
}

func (d slowDashboard) Stats(ctx context.Context) (*codis.Stats, error) {
	select {
	case <-time.After(d.after):
		return d.stats, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// oneSilent are servers of which the one at an address gives no answer.
type oneSilent struct {
	servers

	addr string
}

func (o oneSilent) Observe(_ context.Context, addr string) redis.Observation {
	if addr == o.addr {
		<-time.After(dashboardImpatience)
		return redis.Observation{Problem: "no answer in time"}
	}
	return redis.Observation{Reachable: true, RunID: "run", Role: redis.RoleReplica}
}

// fallsSilent is a prober to which a member stops to answer after a while.
type fallsSilent struct {
	watcher

	name  string
	since time.Time
	uid   types.UID
	addr  string
}

func (f fallsSilent) Set(types.NamespacedName, prober.Settings, []prober.Target) {}

func (f fallsSilent) Results(types.NamespacedName) map[string]prober.Result {
	if f.name == "" || time.Now().Before(f.since) {
		return nil
	}
	return map[string]prober.Result{f.name: {UID: f.uid, Addr: f.addr, State: prober.Silent, Since: f.since}}
}

// lookFor looks once and tells how long it took.
func lookFor(t *testing.T, r *Reconciler, s *state) time.Duration {
	t.Helper()
	began := time.Now()
	s.stats, s.problem = nil, nil
	r.look(t.Context(), s)
	return time.Since(began)
}

func TestAPassWaitsForTheDashboardWhileTheMasterAnswers(t *testing.T) {
	const answers = 5 * time.Second
	tests := map[string]struct {
		master    string
		silent    string
		fallsLate time.Duration
		takes     time.Duration
		blind     bool
	}{
		"all answer":                                {master: "g-0", takes: answers},
		"there was no master yet":                   {silent: "g-0", takes: answers},
		"a replica is silent":                       {master: "g-0", silent: "g-1", takes: answers},
		"the master is silent, too":                 {master: "g-0", silent: "g-0", takes: dashboardPatience, blind: true},
		"the master falls silent while it is asked": {master: "g-0", fallsLate: 3 * time.Second, takes: 3 * time.Second, blind: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stateOfWorld(masterData, syncedData)
				stats := s.stats
				s.stats, s.world, s.group.Status.Master = nil, world{}, tt.master
				r := &Reconciler{Clock: clock.RealClock{}, Domain: "cluster.local"}
				for i, pod := range s.pods {
					pod.UID, pod.Status.PodIP = types.UID(pod.Name), fmt.Sprintf("10.0.0.%d", i)
				}
				addr := func(name string) string {
					for i := range s.pods {
						if m := r.identify(s, i); m.name == name {
							return redisAddr(m)
						}
					}
					return ""
				}
				probes := fallsSilent{}
				if tt.fallsLate > 0 {
					probes = fallsSilent{name: "g-0", since: time.Now().Add(tt.fallsLate), uid: s.pods[0].UID, addr: addr("g-0")}
				}
				r.Prober = probes
				s.servers, s.api = oneSilent{addr: addr(tt.silent)}, slowDashboard{after: answers, stats: stats}
				if took := lookFor(t, r, s); took < tt.takes || took > tt.takes+dashboardPoll {
					t.Errorf("it took %s, want %s", took, tt.takes)
				}
				if blind := s.stats == nil; blind != tt.blind {
					t.Errorf("the dashboard answered: %t", !blind)
				}
				again := tt.takes
				if tt.blind {
					again = dashboardImpatience
				}
				if took := lookFor(t, r, s); took < again || took > again+dashboardPoll {
					t.Errorf("the next pass took %s, want %s", took, again)
				}
				s.api = slowDashboard{stats: stats}
				lookFor(t, r, s)
				if got := r.patience(s); got != dashboardPatience {
					t.Errorf("once it has answered a pass waits %s, want %s", got, dashboardPatience)
				}
			})
		})
	}
}
