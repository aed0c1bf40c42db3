// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

const (
	roundPause       = 10 * time.Millisecond
	asyncStepTimeout = 5 * time.Second
)

// processSlots runs rounds until no slot can be worked on. A group takes part in at most one slot of a round.
func (d *Dashboard) processSlots() error {
	for !d.isClosed() {
		some, err := d.processRound(func() bool { d.pause(d.cfg.Period); return true })
		if !some || err != nil {
			return err
		}
		d.pause(roundPause)
	}
	return nil
}

// StepSlots runs one round as the background loop does, for somebody whose Period keeps the loop from running, and
// tells whether another may do more. A slot that must not move now is left alone instead of waited for.
func (d *Dashboard) StepSlots() (more bool, err error) {
	var held atomic.Bool
	more, err = d.processRound(func() bool {
		held.Store(true)
		return false
	})
	return more && !held.Load(), err
}

// processRound calls wait while a slot must not move, and leaves the slot alone if that returns false.
func (d *Dashboard) processRound(wait func() bool) (some bool, err error) {
	round := round{busy: map[int]bool{}, slots: map[int]bool{}, wait: wait}
	for len(round.slots) < d.cfg.MigrationParallelSlots {
		ok, err := d.prepareNext(&round)
		if err != nil {
			return false, err
		}
		if !ok {
			break
		}
	}
	if len(round.slots) == 0 {
		return false, nil
	}
	return true, d.runRound(round)
}

type round struct {
	busy  map[int]bool
	slots map[int]bool
	wait  func() bool
}

func (r *round) accepts(m *models.SlotMapping) bool {
	return !r.busy[m.GroupID] && !r.busy[m.Action.TargetID] && !r.slots[m.ID]
}

func (r *round) add(m *models.SlotMapping) {
	r.busy[m.GroupID] = m.GroupID != 0
	r.busy[m.Action.TargetID] = true
	r.slots[m.ID] = true
}

func (d *Dashboard) runRound(r round) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	for sid := range r.slots {
		wg.Go(func() {
			err := d.migrate(sid, r.wait)
			if err == nil {
				d.setProgress("")
				return
			}
			d.setProgress(fmt.Sprintf("[ERROR] Slot[%04d]: %s", sid, err))
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return first
}

func (d *Dashboard) setProgress(s string) { d.progress.Store(&s) }

// prepareNext brings one more slot to the point where its keys can be moved. Slots that have started come first, then
// pending ones by index.
func (d *Dashboard) prepareNext(r *round) (ok bool, err error) {
	err = d.locked(func(v *view) error {
		m := v.nextAction(r, func(state string) bool { return state != models.ActionPending })
		if m == nil && !d.disabled.Load() {
			m = v.nextAction(r, func(state string) bool { return state == models.ActionPending })
		}
		if m == nil {
			return nil
		}
		ok = true
		r.add(m)
		d.staleSlot(m.ID)
		return d.advance(v, m)
	})
	return ok, err
}

func (v *view) nextAction(r *round, wanted func(state string) bool) (next *models.SlotMapping) {
	for _, m := range v.slots {
		switch {
		case m.Action.State == models.ActionNothing || !wanted(m.Action.State) || !r.accepts(m):
		case next == nil || m.Action.Index <= next.Action.Index:
			next = m
		}
	}
	return next
}

// advance walks a slot to migrating: every hop is pushed to all proxies and stored. Between prepared and migrating
// clients of the slot wait.
func (d *Dashboard) advance(v *view, m *models.SlotMapping) error {
	if m.Action.State == models.ActionPending {
		m.Action.State = models.ActionPreparing
		if err := d.saveSlot(m); err != nil {
			return err
		}
	}
	if m.Action.State == models.ActionPreparing {
		m.Action.State = models.ActionPrepared
		if err := d.push(v, []*models.SlotMapping{m}); err != nil {
			m.Action.State = models.ActionPreparing
			if again := d.push(v, []*models.SlotMapping{m}); again != nil {
				d.log.Printf("slot-[%d] roll back to preparing: %v", m.ID, again)
			}
			return err
		}
		if err := d.saveSlot(m); err != nil {
			return err
		}
	}
	if m.Action.State == models.ActionPrepared {
		m.Action.State = models.ActionMigrating
		if err := d.push(v, []*models.SlotMapping{m}); err != nil {
			return err
		}
		if err := d.saveSlot(m); err != nil {
			return err
		}
	}
	if m.Action.State != models.ActionMigrating && m.Action.State != models.ActionFinished {
		return rpc.Errorf("slot-[%d] action state is invalid", m.ID)
	}
	return nil
}

// migrate moves the keys of a prepared slot, database by database, and completes its action.
func (d *Dashboard) migrate(sid int, wait func() bool) error {
	db := 0
	for !d.isClosed() {
		step, err := d.nextStep(sid)
		if err != nil {
			return err
		}
		if step == nil {
			if !wait() {
				return nil
			}
			continue
		}
		remaining, next, err := step(db)
		if err != nil {
			return err
		}
		if remaining == 0 && next < 0 {
			return d.complete(sid)
		}
		d.setProgress(fmt.Sprintf("[OK] Slot[%04d]@DB[%d]=%d", sid, db, remaining))
		if us := d.interval.Load(); us != 0 {
			d.pause(time.Duration(us) * time.Microsecond)
		}
		db = next
	}
	return nil
}

// migrationStep moves some keys of one database and says how many remain and which database is next, -1 for none.
type migrationStep func(db int) (remaining, next int, err error)

// nextStep returns nil while migration is paused or one of the two groups promotes.
func (d *Dashboard) nextStep(sid int) (step migrationStep, err error) {
	err = d.locked(func(v *view) error {
		m, err := v.slot(sid)
		if err != nil {
			return err
		}
		switch m.Action.State {
		case models.ActionFinished:
			step = func(int) (int, int, error) { return 0, -1, nil }
			return nil
		case models.ActionMigrating:
		default:
			return rpc.Errorf("slot-[%d] action state is invalid", sid)
		}
		if d.disabled.Load() || v.isPromoting(m.GroupID) || v.isPromoting(m.Action.TargetID) {
			return nil
		}
		from, dest := v.master(m.GroupID), v.master(m.Action.TargetID)
		d.executor.Add(1)
		step = func(db int) (int, int, error) {
			defer d.executor.Add(-1)
			if from == "" {
				return 0, -1, nil
			}
			return d.moveKeys(sid, from, dest, db)
		}
		return nil
	})
	return step, err
}

func (d *Dashboard) moveKeys(sid int, from, dest string, db int) (remaining, next int, err error) {
	c, err := d.actionPool.Get(from)
	if err != nil {
		return 0, -1, err
	}
	defer func() { d.actionPool.Put(from, c) }()
	if err := c.Select(db); err != nil {
		return 0, -1, err
	}
	command, err := d.migrationCommand(sid, dest)
	if err != nil {
		return 0, -1, err
	}
	remaining, err = c.Migrate(command...)
	if err != nil || remaining != 0 {
		return remaining, db, err
	}
	next, err = nextDatabase(c, db)
	return 0, next, err
}

func (d *Dashboard) migrationCommand(sid int, dest string) ([]string, error) {
	host, port, err := net.SplitHostPort(dest)
	if err != nil {
		return nil, rpc.Trace(err)
	}
	timeout := d.cfg.MigrationTimeout.D()
	if d.cfg.forwardMethod() == models.ForwardSync {
		return []string{"SLOTSMGRTTAGSLOT", host, port, millis(timeout), strconv.Itoa(sid)}, nil
	}
	return []string{
		"SLOTSMGRTTAGSLOT-ASYNC", host, port, millis(min(asyncStepTimeout, timeout)),
		strconv.Itoa(d.cfg.MigrationAsyncMaxBulks), strconv.Itoa(int(d.cfg.MigrationAsyncMaxBytes)),
		strconv.Itoa(sid), strconv.Itoa(d.cfg.MigrationAsyncNumKeys),
	}, nil
}

func millis(t time.Duration) string { return strconv.FormatInt(t.Milliseconds(), 10) }

func nextDatabase(c *resp.Client, db int) (int, error) {
	used, err := c.Keyspaces()
	if err != nil {
		return -1, err
	}
	next := -1
	for _, n := range used {
		if n > db && (next < 0 || n < next) {
			next = n
		}
	}
	return next, nil
}

// complete gives the slot to its target.
func (d *Dashboard) complete(sid int) error {
	return d.locked(func(v *view) error {
		m, err := v.slot(sid)
		if err != nil {
			return err
		}
		d.staleSlot(sid)
		if m.Action.State == models.ActionMigrating {
			m.Action.State = models.ActionFinished
			if err := d.saveSlot(m); err != nil {
				return err
			}
		}
		if m.Action.State != models.ActionFinished {
			return rpc.Errorf("slot-[%d] action state is invalid", sid)
		}
		if err := d.push(v, []*models.SlotMapping{m}); err != nil {
			return err
		}
		return d.saveSlot(&models.SlotMapping{ID: sid, GroupID: m.Action.TargetID})
	})
}
