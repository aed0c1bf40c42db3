// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Verification is the outcome of reading back all acknowledged writes.
type Verification struct {
	Checked int64 `json:"checked"`
	Lost    int64 `json:"lost"`
	// Examples of lost writes, at most ten.
	Examples []string `json:"examples,omitempty"`
	// LostWritten is when each lost write was under way, where that is known: in the
	// process that wrote.
	LostWritten []Span `json:"lostWritten,omitempty"`
}

// Verify reads back every write that the summary calls acknowledged. Until
// patience is over, it tries again what cannot be read; lost writes are counted.
func Verify(ctx context.Context, t Target, s Summary, patience time.Duration) (Verification, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var v Verification
	slots, err := ParseSlots(s.Slots)
	if err != nil {
		return v, err
	}
	for writer, w := range s.Writers {
		err := each(ctx, t, w.Next, func(c *Conn, number int) error {
			_, unknown := slices.BinarySearch(w.Unacknowledged, number)
			if unknown || !slots.Hold(Key(s.Prefix, writer, number)) {
				return nil
			}
			return v.count(check(c, s.Prefix, writer, number, s.Size), w.written[number])
		})
		if err != nil {
			return v, fmt.Errorf("verify writer %d: %w", writer, err)
		}
	}
	return v, nil
}

// count books one value that was read; what could not be read is returned.
func (v *Verification) count(err error, written Span) error {
	switch {
	case err == nil:
	case errors.Is(err, errWrongValue):
		v.Lost++
		if !written.Acknowledged.IsZero() {
			v.LostWritten = append(v.LostWritten, written)
		}
		if len(v.Examples) < 10 {
			v.Examples = append(v.Examples, err.Error())
		}
	default:
		return err
	}
	v.Checked++
	return nil
}
