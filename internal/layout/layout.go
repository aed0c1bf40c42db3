// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package layout plans which group owns which of the 1024 slots. It is pure: it
// compares layouts and refuses to carry any of them out.
package layout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/codis-io/codis-operator/internal/codis"
)

// Layout maps a group id to the slots that it owns, in ascending order.
type Layout map[int][]int

// Of returns the layout that a dashboard knows. A slot that is on its way still
// belongs to the group that it leaves.
func Of(stats *codis.Stats) Layout {
	layout := Layout{}
	for _, slot := range stats.Slots {
		if slot.GroupID != 0 {
			layout[slot.GroupID] = append(layout[slot.GroupID], slot.ID)
		}
	}
	return layout
}

// Even shares all slots among groups: contiguous ranges in the order of the
// ids, whose lengths differ by one at most.
func Even(groups []int) Layout {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	layout := Layout{}
	for i, group := range groups {
		from, to := i*codis.Slots/len(groups), (i+1)*codis.Slots/len(groups)
		for slot := from; slot < to; slot++ {
			layout[group] = append(layout[group], slot)
		}
	}
	return layout
}

// WithKeys returns the layout changed so that each group owns the slots whose
// keys it holds. It fails where two groups hold keys of the same slot.
func (l Layout) WithKeys(keys Layout) (Layout, error) {
	owners := l.owners()
	holders := map[int]int{}
	for _, group := range keys.Groups() {
		for _, slot := range keys[group] {
			if other, held := holders[slot]; held {
				return nil, fmt.Errorf("groups %d and %d both hold keys of slot %d", other, group, slot)
			}
			holders[slot], owners[slot] = group, group
		}
	}
	changed := Layout{}
	for slot := range codis.Slots {
		if group, owned := owners[slot]; owned {
			changed[group] = append(changed[group], slot)
		}
	}
	return changed, nil
}

func (l Layout) owners() map[int]int {
	owners := map[int]int{}
	for group, slots := range l {
		for _, slot := range slots {
			owners[slot] = group
		}
	}
	return owners
}

// Groups returns the ids of the groups that own slots, in ascending order.
func (l Layout) Groups() []int {
	var groups []int
	for group, slots := range l {
		if len(slots) > 0 {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return groups
}

// Missing returns the assignments of a wanted layout for slots that nobody owns
// and that are not on their way anywhere: the only ones that may be assigned,
// since an assignment moves no data.
func Missing(stats *codis.Stats, wanted Layout) []codis.SlotMapping {
	owner := wanted.owners()
	var missing []codis.SlotMapping
	for _, slot := range stats.Slots {
		group, planned := owner[slot.ID]
		if planned && slot.GroupID == 0 && slot.Action.State == "" {
			missing = append(missing, codis.SlotMapping{ID: slot.ID, GroupID: group})
		}
	}
	return missing
}

// Format writes slots as ranges: "0-511" or "0-99,200".
func Format(slots []int) string {
	slots = slices.Clone(slots)
	slices.Sort(slots)
	var out []string
	for i := 0; i < len(slots); {
		j := i
		for j+1 < len(slots) && slots[j+1] == slots[j]+1 {
			j++
		}
		text := strconv.Itoa(slots[i])
		if j > i {
			text += "-" + strconv.Itoa(slots[j])
		}
		out = append(out, text)
		i = j + 1
	}
	return strings.Join(out, ",")
}

// Parse reads what Format wrote.
func Parse(text string) ([]int, error) {
	var slots []int
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || from < 0 || to < from || to >= codis.Slots {
			return nil, fmt.Errorf("slots %q: %q is not a range within 0-%d", text, part, codis.Slots-1)
		}
		for slot := from; slot <= to; slot++ {
			slots = append(slots, slot)
		}
	}
	return slots, nil
}
