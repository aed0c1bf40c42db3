// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/planner"
)

// recording is a dashboard that refuses some calls and notes all of them without
// their xauth.
func recording(t *testing.T, refuse func(call string) bool) (codis.Dashboard, *[]string) {
	t.Helper()
	calls := &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := strings.Replace(strings.TrimPrefix(r.URL.Path, "/api/topom/"), "/"+codis.XAuth("p"), "", 1)
		*calls = append(*calls, call)
		if refuse != nil && refuse(call) {
			w.WriteHeader(800)
			fmt.Fprint(w, `{"Cause":"no"}`)
			return
		}
		fmt.Fprint(w, `"OK"`)
	}))
	t.Cleanup(server.Close)
	return codis.Dashboard{Addr: strings.TrimPrefix(server.URL, "http://"), Product: "p"}, calls
}

// reading is a reconciler to whom the API server shows one group.
func reading(t *testing.T, promoting bool) *Reconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	g := &v1alpha1.CodisGroup{}
	g.Namespace, g.Name, g.Spec.DashboardRef.Name = "ns", "g", "d"
	if promoting {
		g.Status.Promotion = &v1alpha1.Promotion{}
	}
	return &Reconciler{Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(g).Build()}
}

// What a restarted dashboard forgot is put back, and a pause that somebody needs is not ended.
func TestRestoreSettings(t *testing.T) {
	moving := func(s *state) { act(s.stats, "pending", 2, 5) }
	failing := func(s *state) { s.balance.failing = "group 1 gets another master" }
	pausedNow := func(s *state) { s.stats.SlotAction.Disabled = true }
	tests := map[string]struct {
		prepare   []func(s *state)
		paused    bool
		promoting bool
		want      []string
	}{
		"all is as wanted":     {},
		"the interval is lost": {prepare: []func(*state){func(s *state) { s.dashboard.Spec.Migration = &v1alpha1.Migration{IntervalMicroseconds: new(int32(9))} }}, want: []string{"slots/action/interval/9"}},
		"an interval that nobody asked for": {
			prepare: []func(*state){func(s *state) { s.stats.SlotAction.Interval = 9 }}, want: []string{"slots/action/interval/0"},
		},
		"a person paused moves":                    {paused: true, want: []string{"slots/action/disabled/1"}},
		"a person paused moves, and it is known":   {paused: true, prepare: []func(*state){pausedNow}},
		"a group fails over while slots move":      {prepare: []func(*state){moving, failing}, want: []string{"slots/action/disabled/1"}},
		"a group fails over and nothing moves":     {prepare: []func(*state){failing}},
		"a group still fails over":                 {prepare: []func(*state){failing, pausedNow}},
		"nobody needs the pause any more":          {prepare: []func(*state){moving, pausedNow}, want: []string{"slots/action/disabled/0"}},
		"a promotion that the cache does not show": {prepare: []func(*state){moving, pausedNow}, promoting: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &state{dashboard: &v1alpha1.CodisDashboard{}, stats: stats(layout.Even([]int{1, 2}), 1, 2)}
			s.dashboard.Namespace, s.dashboard.Name = "ns", "d"
			for _, prepare := range tt.prepare {
				prepare(s)
			}
			var calls *[]string
			s.api, calls = recording(t, nil)
			if err := reading(t, tt.promoting).restoreSettings(t.Context(), s, wanting{paused: tt.paused}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *calls, cmp.Transformer("len", func(in []string) string { return strings.Join(in, " ") })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A move that has begun cannot be cancelled, which is no trouble; one that is
// refused ends the batch, and the next pass plans anew.
func TestCarryOut(t *testing.T) {
	s := &state{}
	s.balance.cancel = []planner.Move{{Slot: 1, From: 1, To: 2}, {Slot: 2, From: 1, To: 2}}
	s.balance.move.Moves = []planner.Move{
		{Slot: 10, From: 1, To: 3}, {Slot: 11, From: 1, To: 3}, {Slot: 20, From: 2, To: 3}, {Slot: 30, From: 2, To: 4},
	}
	var calls *[]string
	s.api, calls = recording(t, func(call string) bool {
		return call == "slots/action/remove/1" || call == "slots/action/create-range/20/20/3"
	})
	err := (&Reconciler{}).carryOut(t.Context(), s)
	if err == nil || err.Error() != "move slots 20 to 20 to group 3: no" {
		t.Errorf("got %v", err)
	}
	want := []string{
		"slots/action/remove/1", "slots/action/remove/2", "slots/action/create-range/10/11/3", "slots/action/create-range/20/20/3",
	}
	if diff := cmp.Diff(want, *calls); diff != "" {
		t.Error(diff)
	}
	s.api.Addr = "127.0.0.1:1"
	if err := (&Reconciler{}).carryOut(t.Context(), s); err == nil || !strings.HasPrefix(err.Error(), "cancel the move of slot 1: ") {
		t.Errorf("a dashboard that is not there: %v", err)
	}
}
