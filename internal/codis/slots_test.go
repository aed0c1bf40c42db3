// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoutesKeepWhatTheyDoNotName(t *testing.T) {
	const given = `{"backend_addr":"a:6379","backend_addr_group_id":2,"id":7,"replica_groups":[["b:6379"]]}`
	var route Route
	if err := json.Unmarshal([]byte(given), &route); err != nil {
		t.Fatal(err)
	}
	if route.ID != 7 || route.Group != 2 || route.Locked {
		t.Errorf("%+v", route)
	}
	route.Locked = true
	told, err := json.Marshal(route)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(given, `"replica_groups"`, `"locked":true,"replica_groups"`, 1)
	if diff := cmp.Diff(want, string(told)); diff != "" {
		t.Error(diff)
	}
}

func TestRoutesOfADashboard(t *testing.T) {
	list, err := json.Marshal(make([]map[string]int, Slots))
	if err != nil {
		t.Fatal(err)
	}
	addr, got := serve(t, http.StatusOK, string(list))
	routes, err := Dashboard{Addr: addr, Product: "demo"}.Routes(t.Context())
	if err != nil || len(routes) != Slots {
		t.Fatalf("%d routes, %v", len(routes), err)
	}
	if diff := cmp.Diff([]request{{Method: "GET", Path: "/api/topom/slots/" + XAuth("demo")}}, *got); diff != "" {
		t.Error(diff)
	}
	addr, _ = serve(t, http.StatusOK, `[{"id":1}]`)
	if _, err := (Dashboard{Addr: addr}).Routes(t.Context()); err == nil {
		t.Error("one route is taken for all")
	}
}

func TestFillSlots(t *testing.T) {
	addr, got := serve(t, http.StatusOK, `"OK"`)
	proxy := Proxy{Product: "demo", Token: "token", AdminAddr: addr}
	if err := (Proxies{Password: "password"}).FillSlots(t.Context(), proxy, []Route{{Locked: true}}); err != nil {
		t.Fatal(err)
	}
	want := request{Method: "PUT", Path: "/api/proxy/fillslots/" + XAuth("demo", "password", "token"), Body: `[{"locked":true}]`}
	if diff := cmp.Diff([]request{want}, *got); diff != "" {
		t.Error(diff)
	}
	proxy.AdminAddr, _ = serve(t, http.StatusOK, `""`)
	if err := (Proxies{Password: "password"}).FillSlots(t.Context(), proxy, nil); err == nil {
		t.Error("an empty answer is taken for OK")
	}
}

func TestSetSentinels(t *testing.T) {
	for body, sentinels := range map[string][]string{`{"servers":["s:26379"]}`: {"s:26379"}, `{"servers":null}`: nil} {
		addr, got := serve(t, http.StatusOK, `"OK"`)
		proxy := Proxy{Product: "demo", Token: "token", AdminAddr: addr}
		if err := (Proxies{Password: "password"}).SetSentinels(t.Context(), proxy, sentinels); err != nil {
			t.Fatal(err)
		}
		want := request{Method: "PUT", Path: "/api/proxy/sentinels/" + XAuth("demo", "password", "token"), Body: body}
		if diff := cmp.Diff([]request{want}, *got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRoutesThatConcernAGroup(t *testing.T) {
	const old, fresh = "g-0:6379", "g-1:6379"
	tests := map[string]struct {
		route, want     string
		concerns, leads bool
	}{
		"to its master": {
			`{"backend_addr":"g-0:6379","backend_addr_group_id":1,"id":7,"replica_groups":[["g-0:6379"]]}`,
			`{"backend_addr":"g-1:6379","backend_addr_group_id":1,"id":7,"locked":false}`, true, false,
		},
		"to its new master": {
			`{"backend_addr":"g-1:6379","backend_addr_group_id":1,"id":7,"locked":true}`,
			`{"backend_addr":"g-1:6379","backend_addr_group_id":1,"id":7,"locked":true}`, true, true,
		},
		"moved away from it": {
			`{"backend_addr":"h-0:6379","backend_addr_group_id":2,"id":7,"migrate_from":"g-0:6379","migrate_from_group_id":1}`,
			`{"backend_addr":"h-0:6379","backend_addr_group_id":2,"id":7,"locked":false,"migrate_from":"g-1:6379","migrate_from_group_id":1}`, true, false,
		},
		"moved to it": {
			`{"backend_addr":"g-0:6379","backend_addr_group_id":1,"id":7,"migrate_from":"h-0:6379","migrate_from_group_id":2}`,
			`{"backend_addr":"g-1:6379","backend_addr_group_id":1,"id":7,"locked":false,"migrate_from":"h-0:6379","migrate_from_group_id":2}`, true, false,
		},
		"to another group": {
			`{"backend_addr":"h-0:6379","backend_addr_group_id":2,"id":7,"locked":false}`,
			`{"backend_addr":"h-0:6379","backend_addr_group_id":2,"id":7,"locked":false}`, false, true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var route Route
			if err := json.Unmarshal([]byte(tt.route), &route); err != nil {
				t.Fatal(err)
			}
			if route.Concerns(1) != tt.concerns || route.Leads(1, fresh) != tt.leads {
				t.Errorf("concerns %t, leads %t", route.Concerns(1), route.Leads(1, fresh))
			}
			if tt.concerns && !tt.leads && !route.Leads(1, old) {
				t.Error("it does not lead to the old master either")
			}
			got, err := json.Marshal(route.To(1, fresh))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRoutesOfAProxy(t *testing.T) {
	list, err := json.Marshal(make([]map[string]int, Slots))
	if err != nil {
		t.Fatal(err)
	}
	addr, got := serve(t, http.StatusOK, string(list))
	routes, err := Proxies{}.Routes(t.Context(), addr)
	if err != nil || len(routes) != Slots {
		t.Fatalf("%d routes, %v", len(routes), err)
	}
	if diff := cmp.Diff([]request{{Method: "GET", Path: "/proxy/slots"}}, *got); diff != "" {
		t.Error(diff)
	}
}
