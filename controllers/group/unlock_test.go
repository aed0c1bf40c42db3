// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/redis"
)

// A slot that moved while it was locked must not be sent back to where it was.
func TestUnlockFollowsTheDashboard(t *testing.T) {
	type route struct {
		ID     int  `json:"id"`
		Group  int  `json:"backend_addr_group_id"`
		Locked bool `json:"locked"`
	}
	tests := map[string]struct {
		dashboard bool
		want      []route
	}{
		"slot 1 moved to group 2":       {true, []route{{0, 1, false}, {1, 2, false}}},
		"the dashboard cannot be asked": {false, []route{{0, 1, false}, {1, 1, false}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var told []route
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
						t.Error(err)
					}
					_, _ = w.Write([]byte(`"OK"`))
					return
				}
				if !tt.dashboard {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				now := make([]route, codis.Slots)
				for id := range now {
					now[id] = route{ID: id, Group: 1 + id%2}
				}
				_ = json.NewEncoder(w).Encode(now)
			}))
			defer server.Close()
			addr := strings.TrimPrefix(server.URL, "http://")
			var locked []codis.Route
			const given = `[{"id":0,"backend_addr_group_id":1,"locked":true},{"id":1,"backend_addr_group_id":1,"locked":true}]`
			if err := json.Unmarshal([]byte(given), &locked); err != nil {
				t.Fatal(err)
			}
			s := stateOfWorld(masterData, syncedData)
			s.proxies, s.api = codis.Proxies{}, codis.Dashboard{Addr: addr}
			s.stats.Proxy.Models = []codis.Proxy{{AdminAddr: addr}}
			s.group.Status.Promotion = &v1alpha1.Promotion{StartTime: metav1.NowMicro()}
			r := &Reconciler{Clock: clock.RealClock{}}
			if err := r.unlock(t.Context(), s, locked); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, told); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// lockedProxies have one route each, by their addresses.
type lockedProxies struct{ routingProxies }

func (lockedProxies) Model(context.Context, string) (*codis.Proxy, error) { return &codis.Proxy{}, nil }

// A dashboard that ends right after it locked the slots for a promotion leaves them so.
// The master goes on until the candidate is in sync, which may take hours.
func TestClientsDoNotWaitForAHandOverThatIsHeld(t *testing.T) {
	tests := map[string]struct {
		route  codis.Route
		change func(s *state)
		want   int
	}{
		"the slots are locked":     {codis.Route{Group: 1, Locked: true}, func(*state) {}, 1},
		"they are not":             {codis.Route{Group: 1}, func(*state) {}, 0},
		"those of another group":   {codis.Route{Group: 2, Locked: true}, func(*state) {}, 0},
		"a slot is being moved":    {codis.Route{Group: 1, FromGroup: 2, Locked: true}, func(*state) {}, 0},
		"the operator was held up": {codis.Route{Group: 1, Locked: true}, func(s *state) { s.looked = now.Add(-2 * passLimit) }, 0},
		"by a switchover under way": {codis.Route{Group: 1, Locked: true}, func(s *state) {
			s.group.Status.Promotion = &v1alpha1.Promotion{
				Member: "g-1", Cause: v1alpha1.CauseSwitchover, StartTime: metav1.NewMicroTime(now),
			}
		}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, cutOffData)
			r, _ := writer(t, s)
			api := &resyncingDashboard{}
			s.api, s.proxies = api, lockedProxies{routingProxies{routes: map[string][]codis.Route{"a": {tt.route}}}}
			s.stats.Proxy.Models = []codis.Proxy{{AdminAddr: "a"}}
			s.known().Promoting.State, s.known().Promoting.Index = "preparing", 1
			s.servers = toldServers{follow: map[string]string{}}
			tt.change(s)
			if _, err := r.assignRoles(t.Context(), s); err != nil && !errors.Is(err, errHeldUp) {
				t.Fatal(err)
			}
			if api.asked != tt.want {
				t.Errorf("the routes were sent %d times, want %d", api.asked, tt.want)
			}
			if !strings.Contains(s.switchHeld, "not in sync") {
				t.Errorf("held %q", s.switchHeld)
			}
		})
	}
}

// finishingDashboard lets no move of slots hold up a promotion, and takes it.
type finishingDashboard struct {
	resyncingDashboard

	promotions int
}

func (*finishingDashboard) HoldMoves(context.Context, *codis.Stats) (idle bool, err error) {
	return true, nil
}

func (d *finishingDashboard) Promote(context.Context, int, string) error {
	d.promotions++
	return nil
}

// A person may have promoted a member without the data, and the proxies lead to it: who
// has the data does not copy it for that.
func TestPromotionThatIsFinishedVouchesForNobodyWhoLacksData(t *testing.T) {
	tests := map[string]struct {
		in    []situation
		vouch bool
	}{
		"it was in sync":                        {[]situation{masterData, fencedData}, true},
		"it is empty, and another one has data": {[]situation{masterEmpty, fencedData}, false},
		"the old master was not told yet":       {[]situation{masterData, masterData}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.world.inSync = map[string]bool{"g-0": strings.HasPrefix(name, "it was in sync")}
			s.world.masterRunID = s.world.members[1].redis.RunID
			r, _ := writer(t, s)
			s.api = &finishingDashboard{}
			known := s.known()
			known.Promoting.State = "finished"
			if _, err := r.finishPromotion(t.Context(), s, known); err != nil {
				t.Fatal(err)
			}
			if got := s.group.Status.Promotion; (got != nil) != tt.vouch {
				t.Errorf("recorded %+v", got)
			}
		})
	}
}

// Who does not answer just now is asked again before its promotion is finished: what is not
// recorded cannot be told later from a master that somebody else made. The proxies hear of
// it from the dashboard, which is not behind any more.
func TestPromotionIsFinishedWithARecord(t *testing.T) {
	tests := map[string]struct {
		change   func(m *member)
		finished bool
		recorded bool
	}{
		"it answers":                       {func(*member) {}, true, true},
		"it does not answer":               {func(m *member) { m.redis, m.silent = redis.Observation{}, defaultSilence-1 }, false, false},
		"it has not answered for too long": {func(m *member) { m.redis, m.silent = redis.Observation{}, defaultSilence }, true, false},
		"its process has ended":            {func(m *member) { m.redis, m.dead = redis.Observation{}, true }, true, false},
		"it wants another password":        {func(m *member) { m.redis = redis.Observation{Denied: true} }, true, false},
		"its pod does not run":             {func(m *member) { m.redis, m.ip = redis.Observation{}, "" }, true, false},
		"it loads its data":                {func(m *member) { m.redis.Loading = true }, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			s.world.window, s.world.watched = defaultSilence, time.Hour
			s.world.order = addrs(1, 0)
			s.group.Status.Dashboard = v1alpha1.DashboardBehind
			tt.change(&s.world.members[1])
			known := s.known()
			known.Promoting.State = "finished"
			known.Servers[0], known.Servers[1] = known.Servers[1], known.Servers[0]
			r, _ := writer(t, s)
			api := &finishingDashboard{}
			s.api = api
			if _, err := r.finishPromotion(t.Context(), s, known); err != nil {
				t.Fatal(err)
			}
			if got := api.promotions == 1; got != tt.finished {
				t.Errorf("finished %t", got)
			}
			recorded, behind := s.group.Status.Promotion, s.group.Status.Dashboard != ""
			if (recorded != nil) != tt.recorded || behind == tt.recorded {
				t.Errorf("recorded %+v, behind %t", recorded, behind)
			}
		})
	}
}

// A server that takes no more connections answers the prober, and nobody else: clients are
// not left waiting for it.
func TestPromotionDoesNotWaitForAnAnswerForEver(t *testing.T) {
	s := stateOfWorld(masterData, unreachable)
	s.world.window, s.world.order = defaultSilence, addrs(1, 0)
	known := s.known()
	known.Promoting.State = "finished"
	known.Servers[0], known.Servers[1] = known.Servers[1], known.Servers[0]
	r, _ := writer(t, s)
	clock := clocktesting.NewFakePassiveClock(now)
	r.Clock = clock
	api := &finishingDashboard{}
	s.api = api
	passes := []struct {
		after time.Duration
		want  int
	}{{0, 0}, {takeOver - 1, 0}, {1, 1}, {0, 1}, {takeOver, 1}, {takeOver - 1, 1}, {1, 2}}
	for _, pass := range passes {
		clock.SetTime(clock.Now().Add(pass.after))
		s.looked = clock.Now()
		if _, err := r.finishPromotion(t.Context(), s, known); err != nil {
			t.Fatal(err)
		}
		if api.promotions != pass.want {
			t.Errorf("finished %d times, want %d after %s", api.promotions, pass.want, pass.after)
		}
	}
}
