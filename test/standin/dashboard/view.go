// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"net"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

func (v *view) slot(id int) (*models.SlotMapping, error) {
	if id < 0 || id >= len(v.slots) {
		return nil, rpc.Errorf("slot-[%d] doesn't exist", id)
	}
	return v.slots[id], nil
}

func (v *view) group(id int) (*models.Group, error) {
	if g := v.groups[id]; g != nil {
		return g, nil
	}
	return nil, rpc.Errorf("group-[%d] doesn't exist", id)
}

// target returns a group that slots can be given to.
func (v *view) target(id int) (*models.Group, error) {
	g, err := v.group(id)
	if err != nil {
		return nil, err
	}
	if len(g.Servers) == 0 {
		return nil, rpc.Errorf("group-[%d] is empty", id)
	}
	return g, nil
}

func (v *view) proxy(token string) (*models.Proxy, error) {
	if p := v.proxies[token]; p != nil {
		return p, nil
	}
	return nil, rpc.Errorf("proxy-[%s] doesn't exist", token)
}

func indexOf(g *models.Group, addr string) (int, error) {
	for i, x := range g.Servers {
		if x.Addr == addr {
			return i, nil
		}
	}
	return -1, rpc.Errorf("group-[%d] doesn't have server-[%s]", g.ID, addr)
}

// find returns the group of a server, or nil.
func (v *view) find(addr string) (g *models.Group, index int) {
	for _, g := range v.groups {
		for i, x := range g.Servers {
			if x.Addr == addr {
				return g, i
			}
		}
	}
	return nil, -1
}

// server is find for callers who need the server.
func (v *view) server(addr string) (*models.Group, int, error) {
	g, index := v.find(addr)
	if g == nil {
		return nil, -1, rpc.Errorf("server-[%s] doesn't exist", addr)
	}
	return g, index, nil
}

func notPromoting(g *models.Group) error {
	if g.Promoting.State != models.ActionNothing {
		return rpc.Errorf("group-[%d] is promoting", g.ID)
	}
	return nil
}

// slotsOf lists the slots that a group owns or is to receive.
func (v *view) slotsOf(gid int) []*models.SlotMapping {
	var slots []*models.SlotMapping
	for _, m := range v.slots {
		if m.GroupID == gid || m.Action.TargetID == gid {
			slots = append(slots, m)
		}
	}
	return slots
}

func (v *view) inUse(gid int) bool { return len(v.slotsOf(gid)) != 0 }

func (v *view) nextSlotIndex() int {
	last := 0
	for _, m := range v.slots {
		if m.Action.State != models.ActionNothing {
			last = max(last, m.Action.Index)
		}
	}
	return last + 1
}

func (v *view) master(gid int) string {
	if g := v.groups[gid]; g != nil && len(g.Servers) != 0 {
		return g.Servers[0].Addr
	}
	return ""
}

// masters are the first servers of all groups that have one.
func (v *view) masters() map[int]string {
	masters := map[int]string{}
	for gid := range v.groups {
		if addr := v.master(gid); addr != "" {
			masters[gid] = addr
		}
	}
	return masters
}

func (v *view) isPromoting(gid int) bool {
	g := v.groups[gid]
	return g != nil && g.Promoting.State != models.ActionNothing
}

// isLocked says that clients of a group have to wait for a promotion.
func (v *view) isLocked(gid int) bool {
	g := v.groups[gid]
	if g == nil {
		return false
	}
	switch g.Promoting.State {
	case models.ActionNothing, models.ActionPreparing, models.ActionFinished:
	case models.ActionPrepared:
		return true
	default:
		die("invalid state of group-[%d]: %q", g.ID, g.Promoting.State)
	}
	return false
}

// route turns a mapping into what a proxy gets; p is nil for the overview. A state nobody knows ends the original
// process, so it must not be routed around here.
func (v *view) route(m *models.SlotMapping, p *models.Proxy) *models.Slot {
	s := &models.Slot{ID: m.ID, ForwardMethod: v.method}
	from, to := m.GroupID, m.Action.TargetID
	switch m.Action.State {
	case models.ActionNothing, models.ActionPending:
		s.BackendAddr, s.BackendAddrGroupID = v.master(from), from
		s.ReplicaGroups = v.replicas(from, p)
		s.Locked = v.isLocked(from)
	case models.ActionPreparing:
		s.BackendAddr, s.BackendAddrGroupID = v.master(from), from
		s.Locked = v.isLocked(from)
	case models.ActionPrepared, models.ActionMigrating:
		s.BackendAddr, s.BackendAddrGroupID = v.master(to), to
		s.MigrateFrom, s.MigrateFromGroupID = v.master(from), from
		s.Locked = m.Action.State == models.ActionPrepared || v.isLocked(from) || v.isLocked(to)
	case models.ActionFinished:
		s.BackendAddr, s.BackendAddrGroupID = v.master(to), to
		s.Locked = v.isLocked(to)
	default:
		die("slot-[%d] action state is invalid: %q", m.ID, m.Action.State)
	}
	return s
}

// fatal is what the original exits the process for.
type fatal struct{ error }

// die ends the dashboard: locked catches it. It must be called by the goroutine that holds the mutex.
func die(format string, args ...any) {
	panic(fatal{fmt.Errorf(format, args...)})
}

func (v *view) routes(slots []*models.SlotMapping, p *models.Proxy) []*models.Slot {
	out := make([]*models.Slot, len(slots))
	for i, m := range slots {
		out[i] = v.route(m, p)
	}
	return out
}

// replicas lists the servers a proxy may read from: those on its own host first, then those of its data center, then
// the others.
func (v *view) replicas(gid int, p *models.Proxy) [][]string {
	g := v.groups[gid]
	if g == nil || g.Promoting.State != models.ActionNothing || len(g.Servers) <= 1 {
		return nil
	}
	var classes [3][]string
	for _, x := range g.Servers {
		if x.ReplicaGroup {
			c := v.distance(p, x)
			classes[c] = append(classes[c], x.Addr)
		}
	}
	var out [][]string
	for _, c := range classes {
		if len(c) != 0 {
			out = append(out, c)
		}
	}
	return out
}

func (v *view) distance(p *models.Proxy, x *models.GroupServer) int {
	var ip net.IP
	if p != nil {
		ip = v.lookup(p.AdminAddr)
	}
	switch {
	case ip == nil || p.DataCenter != x.DataCenter:
		return 2
	case ip.Equal(v.lookup(x.Addr)):
		return 0
	}
	return 1
}
