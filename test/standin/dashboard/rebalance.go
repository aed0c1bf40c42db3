// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"maps"
	"slices"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// Rebalance plans moves that even out the number of slots per group, and queues them if confirm is set. It counts
// slots and nothing else, and includes every group that has a server.
func (d *Dashboard) Rebalance(confirm bool) (plan map[int]int, err error) {
	err = d.locked(func(v *view) error {
		var groups []int
		for gid, g := range v.groups {
			if len(g.Servers) != 0 {
				groups = append(groups, gid)
			}
		}
		if len(groups) == 0 {
			return rpc.Errorf("no valid group could be found")
		}
		slices.Sort(groups)
		plan = newBalance(groups, v.slots).plan()
		if !confirm {
			return nil
		}
		var moves []*models.SlotMapping
		for _, sid := range slices.Sorted(maps.Keys(plan)) {
			moves = append(moves, v.slots[sid])
		}
		return d.queue(v, moves, func(m *models.SlotMapping) int { return plan[m.ID] })
	})
	return plan, err
}

// balance is a plan in the making. A slot of a group is fixed if the group is not above its fair share or the slot
// already moves, else it is movable.
type balance struct {
	groups  []int
	lower   int
	upper   int
	fixed   map[int]int
	movable map[int][]int
	out     map[int]int
	docking []int
}

func newBalance(groups []int, slots []*models.SlotMapping) *balance {
	n := len(groups)
	b := &balance{
		groups: groups, lower: models.MaxSlotNum / n, upper: (models.MaxSlotNum + n - 1) / n,
		fixed: map[int]int{}, movable: map[int][]int{}, out: map[int]int{},
	}
	for _, m := range slots {
		if m.Action.State != models.ActionNothing {
			b.fixed[m.Action.TargetID]++
		}
	}
	for _, m := range slots {
		switch {
		case m.Action.State != models.ActionNothing || m.GroupID == 0:
		case b.size(m.GroupID) < b.lower:
			b.fixed[m.GroupID]++
		default:
			b.movable[m.GroupID] = append(b.movable[m.GroupID], m.ID)
		}
	}
	for _, m := range slots {
		if m.Action.State == models.ActionNothing && m.GroupID == 0 {
			b.docking = append(b.docking, m.ID)
			b.out[b.smallest(b.groups)]--
		}
	}
	return b
}

func (b *balance) size(gid int) int { return b.fixed[gid] + len(b.movable[gid]) - b.out[gid] }

// smallest prefers the lowest id, largest the highest.
func (b *balance) smallest(groups []int) int {
	best := groups[0]
	for _, gid := range groups {
		if b.size(gid) < b.size(best) {
			best = gid
		}
	}
	return best
}

func (b *balance) largest(groups []int) int {
	best := groups[0]
	for _, gid := range groups {
		if b.size(gid) >= b.size(best) {
			best = gid
		}
	}
	return best
}

func (b *balance) plan() map[int]int {
	b.move()
	for gid, n := range b.out {
		if n <= 0 {
			continue
		}
		slices.Sort(b.movable[gid])
		b.docking = append(b.docking, b.movable[gid][len(b.movable[gid])-n:]...)
	}
	slices.Sort(b.docking)
	plan := map[int]int{}
	for _, gid := range b.groups {
		for range -b.out[gid] {
			if len(b.docking) == 0 {
				break
			}
			plan[b.docking[0]] = gid
			b.docking = b.docking[1:]
		}
	}
	return plan
}

// move takes slots one by one from the largest group to the smallest, until they differ by at most one.
func (b *balance) move() {
	candidates := slices.Clone(b.groups)
	for len(candidates) >= 2 {
		from := b.largest(candidates)
		others := slices.DeleteFunc(slices.Clone(candidates), func(gid int) bool { return gid == from })
		if len(b.movable[from]) == b.out[from] {
			candidates = others
			continue
		}
		dest := b.smallest(others)
		if b.size(from) <= b.lower || b.size(dest) >= b.upper || b.size(from)-b.size(dest) <= 1 {
			return
		}
		b.out[from]++
		b.out[dest]--
	}
}
