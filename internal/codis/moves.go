// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"context"
	"fmt"
	"strconv"
)

// MoveSlots queues moves of the slots from first to last, both included, to a
// group. The dashboard queues all of them or, if one is on its way already or
// belongs to that group, none.
func (d Dashboard) MoveSlots(ctx context.Context, first, last, group int) error {
	return d.put(ctx, nil, "slots/action/create-range", strconv.Itoa(first), strconv.Itoa(last), strconv.Itoa(group))
}

// CancelMove takes the move of a slot back. Only one that has not begun can be.
func (d Dashboard) CancelMove(ctx context.Context, slot int) error {
	return d.put(ctx, nil, "slots/action/remove", strconv.Itoa(slot))
}

// SetMoveInterval sets the pause between two steps of a move, in microseconds
// up to a second. A restarted dashboard has forgotten it.
func (d Dashboard) SetMoveInterval(ctx context.Context, microseconds int64) error {
	return d.put(ctx, nil, "slots/action/interval", strconv.FormatInt(microseconds, 10))
}

// PauseMoves keeps moves from beginning and stops those that have begun between
// two steps, or lets them go on. A restarted dashboard has forgotten it.
func (d Dashboard) PauseMoves(ctx context.Context, paused bool) error {
	value := "0"
	if paused {
		value = "1"
	}
	return d.put(ctx, nil, "slots/action/disabled", value)
}

// HoldMoves makes way for a promotion, which the dashboard refuses while a step
// of a move runs, whichever groups it is about. It pauses all moves if stats
// show any, and tells whether no step runs any more. Until then ask again, soon
// and with new stats; a step takes milliseconds, but up to the migration timeout
// if a server of it hangs. Repeating it is safe, and costs no call when nothing
// moves.
//
// Record the promotion in the status of its group first, and call this next:
// whoever reconciles the dashboard lets moves go on as soon as no group has a
// promotion recorded and every master answers, also when the caller is gone.
func (d Dashboard) HoldMoves(ctx context.Context, stats *Stats) (idle bool, err error) {
	if !stats.AnyMove() {
		return true, nil
	}
	if !stats.SlotAction.Disabled {
		if err := d.PauseMoves(ctx, true); err != nil {
			return false, fmt.Errorf("pause moves of slots: %w", err)
		}
	}
	now, err := d.Stats(ctx)
	if err != nil {
		return false, err
	}
	return now.SlotAction.Executor == 0, nil
}
