// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// Promote makes another server of a group its master. It goes through persisted states, each of which a later call
// with the same server resumes; nothing else does:
//
//	preparing: slots are pushed locked to all proxies. A failure pushes them unlocked again and stays here.
//	prepared:  clients of the group wait. A crash from here on leaves them waiting until promote is called again.
//	           Sentinels forget the group; one that hangs makes everybody wait for sentinel_client_timeout. Servers
//	           are reordered, and the new master gets SLAVEOF NO ONE; if that fails nobody hears of it.
//	finished:  slots are pushed unlocked to all proxies. A failure stays here.
//
// Nothing looks at replication: promoting a stale or empty replica works, and loses data.
func (d *Dashboard) Promote(gid int, addr string) error {
	return d.locked(func(v *view) error {
		g, err := v.group(gid)
		if err != nil {
			return err
		}
		index, err := indexOf(g, addr)
		if err != nil {
			return err
		}
		switch {
		case g.Promoting.State != models.ActionNothing && index != g.Promoting.Index:
			return rpc.Errorf("group-[%d] is promoting index = %d", g.ID, g.Promoting.Index)
		case g.Promoting.State == models.ActionNothing && index == 0:
			return rpc.Errorf("group-[%d] can't promote master", g.ID)
		}
		if n := d.executor.Load(); n != 0 {
			return rpc.Errorf("slots-migration is running = %d", n)
		}
		d.staleGroup(gid)
		return d.promote(v, g, index)
	})
}

func (d *Dashboard) promote(v *view, g *models.Group, index int) error {
	if g.Promoting.State == models.ActionNothing {
		g.Promoting = models.IndexedState{Index: index, State: models.ActionPreparing}
		if err := d.saveGroup(g); err != nil {
			return err
		}
	}
	if g.Promoting.State == models.ActionPreparing {
		if err := d.promotePreparing(v, g); err != nil {
			return err
		}
	}
	if g.Promoting.State == models.ActionPrepared {
		if err := d.promotePrepared(v, g); err != nil {
			return err
		}
	}
	if g.Promoting.State != models.ActionFinished {
		return rpc.Errorf("group-[%d] action state is invalid", g.ID)
	}
	if err := d.push(v, v.slotsOf(g.ID)); err != nil {
		return err
	}
	return d.saveGroup(&models.Group{ID: g.ID, Servers: g.Servers})
}

func (d *Dashboard) promotePreparing(v *view, g *models.Group) error {
	slots := v.slotsOf(g.ID)
	g.Promoting.State = models.ActionPrepared
	if err := d.push(v, slots); err != nil {
		g.Promoting.State = models.ActionPreparing
		if again := d.push(v, slots); again != nil {
			d.log.Printf("group-[%d] roll back to preparing: %v", g.ID, again)
		}
		return err
	}
	return d.saveGroup(g)
}

func (d *Dashboard) promotePrepared(v *view, g *models.Group) error {
	if err := d.sentinelsForget(v, g.ID); err != nil {
		return err
	}
	index := g.Promoting.Index
	servers := []*models.GroupServer{g.Servers[index]}
	for i, x := range g.Servers {
		if i != 0 && i != index {
			servers = append(servers, x)
		}
	}
	servers = append(servers, g.Servers[0])
	for _, x := range servers {
		x.Action = models.IndexedState{}
	}
	g.Servers = servers
	g.Promoting = models.IndexedState{State: models.ActionFinished}
	if err := d.saveGroup(g); err != nil {
		return err
	}
	if err := d.setMaster(servers[0].Addr, noMaster, time.Second); err != nil {
		d.log.Printf("redis %s set master to %s failed: %v", servers[0].Addr, noMaster, err)
	}
	return nil
}

const noMaster = "NO:ONE"

func (d *Dashboard) setMaster(addr, master string, timeout time.Duration) error {
	c, err := resp.Dial(d.ctx, d.cfg.Dial, addr, d.cfg.ProductAuth, timeout)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SetMaster(master)
}
