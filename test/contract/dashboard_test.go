// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
)

// dashboardSpec is what a test wants different from the usual dashboard.
type dashboardSpec struct {
	port     int
	settings settings
	args     []string
}

type dashboard struct {
	*api
	w    *world
	proc *process
}

// dashboard starts a dashboard and waits until it is online.
func (w *world) dashboard(spec dashboardSpec) *dashboard {
	w.t.Helper()
	d := w.startDashboard(spec)
	eventually(w.t, patience, "the dashboard is online", d.isOnline)
	return d
}

// startDashboard starts a dashboard and waits until it answers at all.
func (w *world) startDashboard(spec dashboardSpec) *dashboard {
	w.t.Helper()
	if spec.port == 0 {
		spec.port = portDashboard
	}
	name := fmt.Sprintf("dashboard-%d", spec.port)
	config := filepath.Join(w.dir, name+".toml")
	settings{
		"coordinator_name": "filesystem",
		"coordinator_addr": w.coordinator(),
		"product_name":     w.product,
		"product_auth":     w.productAuth,
		"admin_addr":       w.at(spec.port),
	}.with(spec.settings).write(w.t, config)
	args := append([]string{"--config", config}, spec.args...)
	d := &dashboard{
		api:  &api{t: w.t, addr: w.at(spec.port), prefix: "topom", xauth: xauth(w.product)},
		w:    w,
		proc: startProcess(w.t, w.dir, name, binary("codis-dashboard"), args...),
	}
	eventually(w.t, patience, "the dashboard answers", func() bool {
		return d.proc.exited() || d.answers("/topom/model", http.StatusOK)
	})
	if d.proc.exited() {
		w.t.Fatalf("%s left with code %d", name, d.proc.exitCode(patience))
	}
	return d
}

func (d *dashboard) isOnline() bool { return d.answers("/topom/stats", http.StatusOK) }

func (d *dashboard) stats() topomStats {
	d.t.Helper()
	var s topomStats
	d.get("/topom/stats", &s)
	return s
}

func (d *dashboard) group(gid int) group {
	d.t.Helper()
	for _, g := range d.stats().Group.Models {
		if g.ID == gid {
			return g
		}
	}
	d.t.Fatalf("group %d is not there", gid)
	return group{}
}

// server is the entry of one server in its group.
func (d *dashboard) server(addr string) groupServer {
	d.t.Helper()
	for _, g := range d.stats().Group.Models {
		for _, s := range g.Servers {
			if s.Addr == addr {
				return s
			}
		}
	}
	d.t.Fatalf("server %s is not there", addr)
	return groupServer{}
}

// slots is the routing table as the dashboard would push it.
func (d *dashboard) slots() []slot {
	d.t.Helper()
	var s []slot
	d.get("/topom/slots", &s)
	return s
}

func (d *dashboard) assign(mappings []slotMapping) reply {
	d.t.Helper()
	return d.send(http.MethodPut, d.path("slots/assign"), mappings)
}

// mustAssign gives the slots beg..end to a group.
func (d *dashboard) mustAssign(beg, end, gid int) {
	d.t.Helper()
	if r := d.assign(mappings(beg, end, gid)); !r.isOK() {
		d.t.Fatalf("assign %d..%d to %d: %s", beg, end, gid, r.cause())
	}
}

func mappings(beg, end, gid int) []slotMapping {
	all := make([]slotMapping, 0, end-beg+1)
	for id := beg; id <= end; id++ {
		all = append(all, slotMapping{ID: id, GroupID: gid})
	}
	return all
}

// newGroup creates a group of these servers, the master first, without touching their replication.
func (d *dashboard) newGroup(gid int, servers ...*server) {
	d.t.Helper()
	d.ok("group/create", gid)
	for _, s := range servers {
		d.ok("group/add", gid, s.addr)
	}
}

// syncAction asks for a sync action and waits for its end.
func (d *dashboard) syncAction(addr, state string) {
	d.t.Helper()
	d.ok("group/action/create", addr)
	eventually(d.t, patience, "the sync action ends as "+state, func() bool {
		return d.server(addr).Action.State == state
	})
}

// settled waits until no slot has an action.
func (d *dashboard) settled() {
	d.t.Helper()
	eventually(d.t, patience, "no slot has an action", func() bool { return d.stats().busy() == 0 })
}

func requireOrder(t *testing.T, d *dashboard, gid int, servers ...*server) {
	t.Helper()
	var want []string
	for _, s := range servers {
		want = append(want, s.addr)
	}
	if got := d.group(gid).order(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("group %d is %v, want %v", gid, got, want)
	}
}
