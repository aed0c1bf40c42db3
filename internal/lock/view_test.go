// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"testing"

	"github.com/codis-io/codis-operator/internal/topology"
)

// Whoever pins a lock in a ZooKeeper may die before it sees that the lock was another one.
func TestAPinThatMissedIsSeen(t *testing.T) {
	const tombstone = `{"owner": "uid", "lock": "own"}`
	tests := map[string]struct {
		lock   []byte
		missed bool
	}{
		"the lock is that of the tombstone":           {[]byte("own"), false},
		"another dashboard had taken the lock":        {[]byte("other"), true},
		"another one's place is empty":                {[]byte{}, true},
		"a store that keeps only the tombstone there": {nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			found := topology.Found{Exists: true, Pinned: true, Lock: tt.lock, Tombstone: []byte(tombstone)}
			v, err := viewOf(found)
			if err != nil || v.State != Pinned || v.Tombstone == nil || v.Missed != tt.missed {
				t.Errorf("viewOf() = %+v, %v", v, err)
			}
		})
	}
}
