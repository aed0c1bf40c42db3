// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

const syncTimeout = 30 * time.Minute

// CreateSync queues a sync action: the server will get SLAVEOF its master once, or SLAVEOF NO ONE if it is the master.
func (d *Dashboard) CreateSync(addr string) error {
	return d.locked(func(v *view) error {
		g, index, err := v.server(addr)
		if err != nil {
			return err
		}
		if err := notPromoting(g); err != nil {
			return err
		}
		if g.Servers[index].Action.State == models.ActionPending {
			return rpc.Errorf("server-[%s] action already exist", addr)
		}
		d.staleGroup(g.ID)
		last := 0
		v.pendingSyncs(func(x *models.GroupServer) { last = max(last, x.Action.Index) })
		g.Servers[index].Action = models.IndexedState{Index: last + 1, State: models.ActionPending}
		return d.saveGroup(g)
	})
}

func (v *view) pendingSyncs(each func(x *models.GroupServer)) {
	for _, g := range v.groups {
		for _, x := range g.Servers {
			if x.Action.State == models.ActionPending {
				each(x)
			}
		}
	}
}

// RemoveSync forgets the action of a server, whatever its state.
func (d *Dashboard) RemoveSync(addr string) error {
	return d.locked(func(v *view) error {
		g, index, err := v.server(addr)
		if err != nil {
			return err
		}
		if err := notPromoting(g); err != nil {
			return err
		}
		if g.Servers[index].Action.State == models.ActionNothing {
			return rpc.Errorf("server-[%s] action doesn't exist", addr)
		}
		d.staleGroup(g.ID)
		g.Servers[index].Action = models.IndexedState{}
		return d.saveGroup(g)
	})
}

// processSync runs at most one action. "synced" only means that the server accepted SLAVEOF; a crash in between
// leaves "syncing", which nobody resumes.
func (d *Dashboard) processSync() error {
	addr, master, err := d.beginSync()
	if err != nil || addr == "" {
		return err
	}
	state := models.ActionSynced
	if err := d.setMaster(addr, master, syncTimeout); err != nil {
		d.log.Printf("redis %s set master to %s failed: %v", addr, master, err)
		state = models.ActionSyncedFailed
	}
	return d.endSync(addr, state)
}

func (d *Dashboard) beginSync() (addr, master string, err error) {
	err = d.locked(func(v *view) error {
		var first *models.GroupServer
		v.pendingSyncs(func(x *models.GroupServer) {
			if first == nil || x.Action.Index < first.Action.Index {
				first = x
			}
		})
		if first == nil {
			return nil
		}
		g, index, err := v.server(first.Addr)
		if err != nil || g.Promoting.State != models.ActionNothing {
			return err
		}
		d.staleGroup(g.ID)
		g.Servers[index].Action = models.IndexedState{State: models.ActionSyncing}
		if err := d.saveGroup(g); err != nil {
			return err
		}
		addr, master = first.Addr, noMaster
		if index != 0 {
			master = g.Servers[0].Addr
		}
		return nil
	})
	return addr, master, err
}

func (d *Dashboard) endSync(addr, state string) error {
	return d.locked(func(v *view) error {
		g, index := v.find(addr)
		if g == nil || g.Promoting.State != models.ActionNothing {
			return nil
		}
		if g.Servers[index].Action.State != models.ActionSyncing {
			return nil
		}
		d.staleGroup(g.ID)
		g.Servers[index].Action.State = state
		return d.saveGroup(g)
	})
}
