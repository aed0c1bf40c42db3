// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
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
