// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// CreateGroup adds an empty group.
func (d *Dashboard) CreateGroup(gid int) error {
	return d.locked(func(v *view) error {
		if gid <= 0 || gid > models.MaxGroupID {
			return rpc.Errorf("invalid group id = %d, out of range", gid)
		}
		if v.groups[gid] != nil {
			return rpc.Errorf("group-[%d] already exists", gid)
		}
		return d.saveGroup(&models.Group{ID: gid, Servers: []*models.GroupServer{}})
	})
}

// RemoveGroup removes a group without servers; its slots are not looked at.
func (d *Dashboard) RemoveGroup(gid int) error {
	return d.locked(func(v *view) error {
		g, err := v.group(gid)
		if err != nil {
			return err
		}
		if len(g.Servers) != 0 {
			return rpc.Errorf("group-[%d] isn't empty", gid)
		}
		d.staleGroup(gid)
		if err := d.store.DeleteGroup(gid); err != nil {
			return d.storeFailed(err, "remove group-[%d]", gid)
		}
		return nil
	})
}

// ResyncGroup pushes the slots of a group to all proxies again.
func (d *Dashboard) ResyncGroup(gid int) error {
	return d.locked(func(v *view) error {
		g, err := v.group(gid)
		if err != nil {
			return err
		}
		return d.resyncGroup(v, g)
	})
}

// ResyncGroupAll resyncs groups until one fails.
func (d *Dashboard) ResyncGroupAll() error {
	return d.locked(func(v *view) error {
		for _, g := range v.groups {
			if err := d.resyncGroup(v, g); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *Dashboard) resyncGroup(v *view, g *models.Group) error {
	if err := d.push(v, v.slotsOf(g.ID)); err != nil {
		return err
	}
	d.staleGroup(g.ID)
	g.OutOfSync = false
	return d.saveGroup(g)
}

// checkServer dials a server and makes sure it knows slots, which a plain Redis does not.
func (d *Dashboard) checkServer(addr string) error {
	c, err := resp.Dial(d.ctx, d.cfg.Dial, addr, d.cfg.ProductAuth, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SlotsInfo()
}

// AddServer appends a server to a group. Nothing is sent to the server: replication is set up by a sync action.
func (d *Dashboard) AddServer(gid int, dc, addr string) error {
	return d.locked(func(v *view) error {
		if g, _ := v.find(addr); g != nil {
			return rpc.Errorf("server-[%s] already exists", addr)
		}
		g, err := v.group(gid)
		if err != nil {
			return err
		}
		if err := notPromoting(g); err != nil {
			return err
		}
		if err := d.sentinelsOutOfSync(v); err != nil {
			return err
		}
		d.staleGroup(gid)
		g.Servers = append(g.Servers, &models.GroupServer{Addr: addr, DataCenter: dc})
		return d.saveGroup(g)
	})
}

// DelServer removes a server; the master only if it is alone and the group has no slots.
func (d *Dashboard) DelServer(gid int, addr string) error {
	return d.locked(func(v *view) error {
		g, err := v.group(gid)
		if err != nil {
			return err
		}
		index, err := indexOf(g, addr)
		if err != nil {
			return err
		}
		if err := notPromoting(g); err != nil {
			return err
		}
		if index == 0 && (len(g.Servers) != 1 || v.inUse(gid)) {
			return rpc.Errorf("group-[%d] can't remove master, still in use", gid)
		}
		if err := d.sentinelsOutOfSync(v); err != nil {
			return err
		}
		d.staleGroup(gid)
		if index != 0 && g.Servers[index].ReplicaGroup {
			g.OutOfSync = true
		}
		g.Servers = append(append([]*models.GroupServer{}, g.Servers[:index]...), g.Servers[index+1:]...)
		if len(g.Servers) == 0 {
			g.OutOfSync = false
		}
		return d.saveGroup(g)
	})
}

// EnableReplica sets whether proxies may read from a server.
func (d *Dashboard) EnableReplica(gid int, addr string, value bool) error {
	return d.locked(func(v *view) error {
		g, err := v.group(gid)
		if err != nil {
			return err
		}
		index, err := indexOf(g, addr)
		if err != nil {
			return err
		}
		if err := notPromoting(g); err != nil {
			return err
		}
		d.staleGroup(gid)
		if len(g.Servers) != 1 && v.inUse(gid) {
			g.OutOfSync = true
		}
		g.Servers[index].ReplicaGroup = value
		return d.saveGroup(g)
	})
}

// EnableReplicaAll sets it for every server of every group, until a group that promotes.
func (d *Dashboard) EnableReplicaAll(value bool) error {
	return d.locked(func(v *view) error {
		for _, g := range v.groups {
			if err := notPromoting(g); err != nil {
				return err
			}
			d.staleGroup(g.ID)
			changed := false
			for _, x := range g.Servers {
				changed = changed || x.ReplicaGroup != value
				x.ReplicaGroup = value
			}
			if !changed {
				continue
			}
			if len(g.Servers) != 1 && v.inUse(g.ID) {
				g.OutOfSync = true
			}
			if err := d.saveGroup(g); err != nil {
				return err
			}
		}
		return nil
	})
}
