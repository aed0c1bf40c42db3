// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRebalance(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		answer string
		slots  int // -1 for an error
	}{
		"slots are queued":      {http.StatusOK, `{"1":2,"7":2}`, 2},
		"nothing is to be done": {http.StatusOK, `{}`, 0},
		"it is refused":         {800, `{"Cause":"no valid group could be found"}`, -1},
		"it is no dashboard":    {http.StatusOK, `hello`, -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.Method + " " + r.URL.Path
				w.WriteHeader(tt.status)
				if _, err := w.Write([]byte(tt.answer)); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			var out strings.Builder
			err := rebalance(t.Context(), []string{"-dashboard", strings.TrimPrefix(server.URL, "http://"), "-product", "codis-demo"}, &out)
			if want := "PUT /api/topom/slots/rebalance/95b62887719520f17e312eaa76d28f2b/1"; asked != want {
				t.Errorf("asked %q, want %q", asked, want)
			}
			if tt.slots < 0 {
				if err == nil {
					t.Errorf("it says %q", out.String())
				}
				return
			}
			var said struct {
				Slots int `json:"slots"`
			}
			if err := json.Unmarshal([]byte(out.String()), &said); err != nil || said.Slots != tt.slots {
				t.Errorf("it says %q, %v", out.String(), err)
			}
		})
	}
	if err := rebalance(t.Context(), nil, nil); err == nil {
		t.Error("no product is needed")
	}
}
