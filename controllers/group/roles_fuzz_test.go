// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import "testing"

// FuzzRoles checks every rule in worlds that are not small: up to 9 members
// with any numbers.
func FuzzRoles(f *testing.F) {
	f.Add([]byte{0, 0, 1, byte(fencedEmpty), 0, 0, byte(syncedData), 9, 9})
	f.Add([]byte{255, 1, 0, byte(fencedData), 1, 1, byte(masterEmpty), 0, 0, byte(unreachable), 0, 0})
	f.Add([]byte{1, 2, 3, byte(loading), 1, 0, byte(syncingData), 5, 0, byte(masterData), 1, 1, byte(strayData), 2, 2})
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := worldFrom(raw)
		if len(w.members) == 0 {
			return
		}
		d := decideMaster(w)
		for name, holds := range rules {
			if broken := holds(w, d); broken != "" {
				t.Errorf("%s: %s: %s\n%s", name, d.text(), broken, w.text())
			}
		}
		for _, master := range w.members {
			if broken := brokenFollowers(w, master); broken != "" {
				t.Errorf("%s: %s\n%s", master.name, broken, w.text())
			}
		}
	})
}

// worldFrom reads a world from bytes: three for the world, three for each member.
func worldFrom(raw []byte) world {
	if len(raw) < 6 {
		return world{}
	}
	head, rest := raw[:3], raw[3:]
	var in []situation
	for i := 0; i+2 < len(rest) && len(in) < 9; i += 3 {
		in = append(in, situation(rest[i])%situations)
	}
	w := smallWorld(in, int(int8(head[0]))%len(in))
	for i := range w.members {
		o := &w.members[i].redis
		if o.Keys > 0 {
			o.Keys = int64(rest[3*i+1]) + 1
		}
		if o.Offset > 1 {
			o.Offset = int64(rest[3*i+2]) + 2
		}
	}
	pick := func(b byte) string {
		if int(b) < len(in) {
			return memberName(int(b))
		}
		return ""
	}
	w.lastMaster, w.accepted, w.persistent = pick(head[1]/2), pick(head[2]), head[1]%2 == 1
	return w
}
