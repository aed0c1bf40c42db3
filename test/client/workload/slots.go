// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// slotCount is what Codis divides every product into.
const slotCount = 1024

// Slots is a set of slots; nil is all of them.
type Slots map[int]bool

// ParseSlots reads ranges like "0-511,600"; nothing means all slots.
func ParseSlots(text string) (Slots, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // all slots
	}
	slots := Slots{}
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.Atoi(low)
		last, lastErr := strconv.Atoi(high)
		if err != nil || lastErr != nil || first < 0 || first > last || last >= slotCount {
			return nil, fmt.Errorf("%q are not slots: they are like 0-511,600", text)
		}
		for slot := first; slot <= last; slot++ {
			slots[slot] = true
		}
	}
	return slots, nil
}

// Hold tells whether the slot of a key is among them. Keys of a load have no
// hash tag.
func (s Slots) Hold(key string) bool {
	return s == nil || s[int(crc32.ChecksumIEEE([]byte(key))%slotCount)]
}
