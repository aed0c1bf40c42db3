// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"hash/crc32"

	"github.com/codis-io/codis-operator/test/standin/models"
)

// SlotOf returns the slot of a key. The tag between the first { and the next } counts alone, an empty one included.
func SlotOf(key []byte) int {
	if beg := bytes.IndexByte(key, '{'); beg >= 0 {
		if end := bytes.IndexByte(key[beg+1:], '}'); end >= 0 {
			key = key[beg+1 : beg+1+end]
		}
	}
	return int(crc32.ChecksumIEEE(key) % models.MaxSlotNum)
}

// hashKey returns the word that decides the slot of a command, or nil.
func hashKey(words [][]byte, op string) []byte {
	at := 1
	switch op {
	case "ZINTERSTORE", "ZUNIONSTORE", "EVAL", "EVALSHA":
		at = 3
	}
	if at < len(words) {
		return words[at]
	}
	return nil
}
