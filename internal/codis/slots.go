// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// Route is a slot as proxies know it. What the operator does not name is kept as
// it was given.
type Route struct {
	ID int
	// Group whose master the slot is routed to, 0 for none, and the address of
	// that master.
	Group  int
	Master string
	// FromGroup and From are the same of the group that the slot is moved from,
	// zero while it is not moved.
	FromGroup int
	From      string
	// Locked makes proxies hold every request of the slot until they get a route
	// that is not.
	Locked bool

	fields map[string]json.RawMessage
}

// routeFields are the fields of a route that the operator may change.
type routeFields struct {
	ID        int    `json:"id"`
	Group     int    `json:"backend_addr_group_id"`
	Master    string `json:"backend_addr"`
	FromGroup int    `json:"migrate_from_group_id"`
	From      string `json:"migrate_from"`
	Locked    bool   `json:"locked"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Route) UnmarshalJSON(data []byte) error {
	var known routeFields
	if err := json.Unmarshal(data, &known); err != nil {
		return err
	}
	r.ID, r.Group, r.Master, r.Locked = known.ID, known.Group, known.Master, known.Locked
	r.FromGroup, r.From = known.FromGroup, known.From
	r.fields = nil
	return json.Unmarshal(data, &r.fields)
}

// MarshalJSON implements json.Marshaler.
func (r Route) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	for name, value := range r.fields {
		fields[name] = value
	}
	fields["locked"] = r.Locked
	if r.Master != "" {
		fields["backend_addr"] = r.Master
	}
	if r.From != "" {
		fields["migrate_from"] = r.From
	}
	return json.Marshal(fields)
}

// Concerns tells whether a route leads to the master of a group, or to that of the
// group that the slot is moved from.
func (r Route) Concerns(group int) bool { return r.Group == group || r.FromGroup == group }

// Leads tells whether every part of a route that concerns a group leads to a master.
func (r Route) Leads(group int, master string) bool {
	return (r.Group != group || r.Master == master) && (r.FromGroup != group || r.From == master)
}

// To returns a route with another master of a group. Replicas are left out: they
// are read from only while they follow the master that the dashboard knows.
func (r Route) To(group int, master string) Route {
	if r.Group == group {
		r.Master = master
	}
	if r.FromGroup == group {
		r.From = master
	}
	r.fields = maps.Clone(r.fields)
	delete(r.fields, "replica_groups")
	return r
}

// Routes returns what the dashboard would tell a proxy about each slot.
func (d Dashboard) Routes(ctx context.Context) ([]Route, error) {
	return routes(ctx, d.Addr, "/api/topom/slots/"+XAuth(d.Product))
}

// Model asks the proxy at an admin address who it is.
func (Proxies) Model(ctx context.Context, adminAddr string) (*Proxy, error) {
	return ProxyModel(ctx, adminAddr)
}

// Routes returns the routes that the proxy at an admin address has.
func (Proxies) Routes(ctx context.Context, adminAddr string) ([]Route, error) {
	return routes(ctx, adminAddr, "/proxy/slots")
}

func routes(ctx context.Context, addr, path string) ([]Route, error) {
	var routes []Route
	if err := get(ctx, addr, path, &routes); err != nil {
		return nil, err
	}
	if len(routes) != Slots {
		return nil, fmt.Errorf("%s knows %d slots, want %d", addr, len(routes), Slots)
	}
	return routes, nil
}

// Proxies is a client of the proxies of one product.
type Proxies struct {
	// Password of the product.
	Password string
}

// FillSlots tells a proxy routes. It returns when requests that were under way
// on those slots are done (reference: measured 15-24 ms for 512 slots on two
// proxies).
func (p Proxies) FillSlots(ctx context.Context, proxy Proxy, routes []Route) error {
	body, err := json.Marshal(routes)
	if err != nil {
		return fmt.Errorf("encode routes: %w", err)
	}
	return p.put(ctx, proxy, "fillslots", body)
}

// SetSentinels has a proxy listen to other sentinels than before, or to none. Its routes
// stay where the former have put them.
func (p Proxies) SetSentinels(ctx context.Context, proxy Proxy, sentinels []string) error {
	body, err := json.Marshal(map[string][]string{"servers": sentinels})
	if err != nil {
		return fmt.Errorf("encode sentinels: %w", err)
	}
	return p.put(ctx, proxy, "sentinels", body)
}

func (p Proxies) put(ctx context.Context, proxy Proxy, verb string, body []byte) error {
	path := "/api/proxy/" + verb + "/" + XAuth(proxy.Product, p.Password, proxy.Token)
	var answer string
	if err := call(ctx, http.MethodPut, proxy.AdminAddr, path, body, &answer); err != nil {
		return err
	}
	if answer != "OK" {
		return fmt.Errorf("%s of %s: the answer is %q, want OK", verb, proxy.AdminAddr, answer)
	}
	return nil
}
