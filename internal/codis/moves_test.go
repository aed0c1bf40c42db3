// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMemory(t *testing.T) {
	tests := map[string]struct {
		answer      string
		used, limit int64
		ok          bool
	}{
		"a server with a limit":    {`{"stats":{"used_memory":"1048576","maxmemory":"4194304"}}`, 1 << 20, 4 << 20, true},
		"a server without a limit": {`{"stats":{"used_memory":"1048576","maxmemory":"0"}}`, 1 << 20, 0, true},
		"a limit that is not told": {`{"stats":{"used_memory":"1048576"}}`, 1 << 20, 0, true},
		"a server that is silent":  {`{"error":{"Cause":"timeout"}}`, 0, 0, false},
		"not asked yet":            {`{}`, 0, 0, false},
		"nonsense":                 {`{"stats":{"used_memory":"much"}}`, 0, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var s ServerStats
			if err := json.Unmarshal([]byte(tt.answer), &s); err != nil {
				t.Fatal(err)
			}
			if used, limit, ok := s.Memory(); used != tt.used || limit != tt.limit || ok != tt.ok {
				t.Errorf("got %d of %d, %v", used, limit, ok)
			}
		})
	}
}

func TestHoldMoves(t *testing.T) {
	moving := func(state string, disabled bool, executor int64) *Stats {
		s := &Stats{Slots: make([]SlotMapping, Slots)}
		s.Slots[7].Action.State = state
		s.SlotAction.Disabled, s.SlotAction.Executor = disabled, executor
		return s
	}
	tests := map[string]struct {
		before, after *Stats
		refuses       string
		calls         []string
		idle          bool
	}{
		"nothing moves":                    {before: moving("", false, 0), idle: true},
		"nothing moves and it is paused":   {before: moving("", true, 0), idle: true},
		"a move waits to begin":            {before: moving("pending", false, 0), after: moving("pending", true, 0), calls: []string{"PUT", "GET"}, idle: true},
		"a step runs":                      {before: moving("migrating", false, 1), after: moving("migrating", true, 1), calls: []string{"PUT", "GET"}},
		"the step has ended":               {before: moving("migrating", true, 1), after: moving("migrating", true, 0), calls: []string{"GET"}, idle: true},
		"it runs still":                    {before: moving("migrating", true, 1), after: moving("migrating", true, 1), calls: []string{"GET"}},
		"the dashboard refuses the pause":  {before: moving("migrating", false, 1), refuses: "PUT", calls: []string{"PUT"}},
		"the dashboard does not look then": {before: moving("migrating", false, 1), refuses: "GET", calls: []string{"PUT", "GET"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var calls []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls = append(calls, r.Method)
				switch r.Method {
				case tt.refuses:
					w.WriteHeader(800)
				case http.MethodPut:
					if want := "/api/topom/slots/action/disabled/" + XAuth("p") + "/1"; r.URL.Path != want {
						t.Errorf("PUT of %s, want %s", r.URL.Path, want)
					}
					fmt.Fprint(w, `"OK"`)
				default:
					if err := json.NewEncoder(w).Encode(tt.after); err != nil {
						t.Error(err)
					}
				}
			}))
			defer server.Close()
			idle, err := Dashboard{Addr: strings.TrimPrefix(server.URL, "http://"), Product: "p"}.HoldMoves(t.Context(), tt.before)
			if idle != tt.idle || (err != nil) != (tt.refuses != "") {
				t.Errorf("idle is %v: %v", idle, err)
			}
			if diff := cmp.Diff(tt.calls, calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}
