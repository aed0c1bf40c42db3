// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

func idle(m *models.SlotMapping, gid int) error {
	if m.Action.State != models.ActionNothing {
		return rpc.Errorf("slot-[%d] action already exists", m.ID)
	}
	if m.GroupID == gid {
		return rpc.Errorf("slot-[%d] already in group-[%d]", m.ID, gid)
	}
	return nil
}

func (d *Dashboard) queue(v *view, slots []*models.SlotMapping, target func(m *models.SlotMapping) int) error {
	for _, m := range slots {
		d.staleSlot(m.ID)
		m.Action = models.SlotAction{Index: v.nextSlotIndex(), State: models.ActionPending, TargetID: target(m)}
		if err := d.saveSlot(m); err != nil {
			return err
		}
	}
	return nil
}

func to(gid int) func(*models.SlotMapping) int {
	return func(*models.SlotMapping) int { return gid }
}

// CreateAction queues the migration of one slot.
func (d *Dashboard) CreateAction(sid, gid int) error {
	return d.locked(func(v *view) error {
		if _, err := v.target(gid); err != nil {
			return err
		}
		m, err := v.slot(sid)
		if err != nil {
			return err
		}
		if err := idle(m, gid); err != nil {
			return err
		}
		return d.queue(v, []*models.SlotMapping{m}, to(gid))
	})
}

// CreateActionSome queues the first num idle slots of a group, or as many as there are. The source is not checked.
func (d *Dashboard) CreateActionSome(src, dst, num int) error {
	return d.locked(func(v *view) error {
		if _, err := v.target(dst); err != nil {
			return err
		}
		var slots []*models.SlotMapping
		for _, m := range v.slots {
			if len(slots) < num && m.GroupID == src && idle(m, dst) == nil {
				slots = append(slots, m)
			}
		}
		return d.queue(v, slots, to(dst))
	})
}

// CreateActionRange queues all slots from beg to end, or none if one of them cannot be.
func (d *Dashboard) CreateActionRange(beg, end, gid int) error {
	return d.locked(func(v *view) error {
		if beg < 0 || beg > end || end >= models.MaxSlotNum {
			return rpc.Errorf("invalid slot range [%d,%d]", beg, end)
		}
		if _, err := v.target(gid); err != nil {
			return err
		}
		slots := v.slots[beg : end+1]
		for _, m := range slots {
			if err := idle(m, gid); err != nil {
				return err
			}
		}
		return d.queue(v, slots, to(gid))
	})
}

// RemoveAction cancels an action that has not started.
func (d *Dashboard) RemoveAction(sid int) error {
	return d.locked(func(v *view) error {
		m, err := v.slot(sid)
		if err != nil {
			return err
		}
		switch m.Action.State {
		case models.ActionNothing:
			return rpc.Errorf("slot-[%d] action doesn't exist", sid)
		case models.ActionPending:
			return d.saveSlot(&models.SlotMapping{ID: sid, GroupID: m.GroupID})
		}
		return rpc.Errorf("slot-[%d] action isn't pending", sid)
	})
}

// SetInterval sets the pause between migration steps in microseconds, until the next restart.
func (d *Dashboard) SetInterval(us int) {
	d.interval.Store(int64(min(max(us, 0), 1000*1000)))
}

// SetDisabled pauses migration, until the next restart.
func (d *Dashboard) SetDisabled(value bool) { d.disabled.Store(value) }

// Assign gives slots to groups without moving data. Actions in flight are dropped; the groups stay out of sync.
func (d *Dashboard) Assign(slots []*models.SlotMapping) error {
	return d.locked(func(v *view) error {
		for _, m := range slots {
			if _, err := v.slot(m.ID); err != nil {
				return err
			}
			if _, err := v.target(m.GroupID); err != nil {
				return err
			}
			if m.Action.State != models.ActionNothing {
				return rpc.Errorf("invalid slot-[%d] action = %s", m.ID, m.Action.State)
			}
		}
		for _, m := range slots {
			if g := v.groups[m.GroupID]; !g.OutOfSync {
				d.staleGroup(g.ID)
				g.OutOfSync = true
				if err := d.saveGroup(g); err != nil {
					return err
				}
			}
		}
		return d.remap(v, slots)
	})
}

// AssignOffline takes slots from their groups: proxies answer an error for them.
func (d *Dashboard) AssignOffline(slots []*models.SlotMapping) error {
	return d.locked(func(v *view) error {
		for _, m := range slots {
			if _, err := v.slot(m.ID); err != nil {
				return err
			}
			if m.GroupID != 0 {
				return rpc.Errorf("group of slot-[%d] should be 0", m.ID)
			}
		}
		return d.remap(v, slots)
	})
}

// remap stores first and pushes then: if a proxy fails, the store has changed all the same.
func (d *Dashboard) remap(v *view, slots []*models.SlotMapping) error {
	plain := make([]*models.SlotMapping, len(slots))
	for i, m := range slots {
		plain[i] = &models.SlotMapping{ID: m.ID, GroupID: m.GroupID}
		if err := d.saveSlot(plain[i]); err != nil {
			return err
		}
	}
	return d.push(v, plain)
}
