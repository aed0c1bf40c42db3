// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/codis-io/codis-operator/internal/lock"
)

func TestTenure(t *testing.T) {
	run := func(name string) lock.View {
		return lock.View{State: lock.Taken, Session: lock.Session{Token: name, StartTime: "then"}}
	}
	mine, before, after := run("mine"), run("before"), run("after")
	free, pinned, old := lock.View{State: lock.Free}, lock.View{State: lock.Pinned}, lock.View{State: lock.Taken}
	tests := map[string]struct {
		seen []lock.View
		want bool
	}{
		"it has the lock":                   {[]lock.View{mine, mine}, false},
		"another run took it":               {[]lock.View{mine, after, after}, true},
		"another run was seen once":         {[]lock.View{mine, after}, false},
		"a member was behind for a moment":  {[]lock.View{mine, before, mine, before}, false},
		"two others were seen":              {[]lock.View{mine, before, after}, false},
		"it has not taken it yet":           {[]lock.View{before, before, before}, false},
		"it took it from the one before":    {[]lock.View{before, before, mine}, false},
		"nobody has it":                     {[]lock.View{mine, free, free}, false},
		"nobody had it in between":          {[]lock.View{mine, after, free, after}, false},
		"its product is to be removed":      {[]lock.View{mine, pinned, pinned}, false},
		"a lock that does not tell its run": {[]lock.View{mine, old, old}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tenure, lost := lock.Tenure{Own: mine.Session}, false
			for _, v := range tt.seen {
				lost = tenure.Lost(v)
			}
			if lost != tt.want {
				t.Errorf("lost: %v", lost)
			}
		})
	}
	serves := lock.Tenure{Own: mine.Session}
	serves.Serves()
	if serves.Doubtful() || serves.Lost(before) || !serves.Doubtful() || !serves.Lost(before) {
		t.Error("a run that serves has had the lock")
	}
	if serves.Lost(mine) || serves.Doubtful() {
		t.Error("its own lock is no reason for doubt")
	}
	unknown := lock.Tenure{}
	unknown.Serves()
	for range 3 {
		if unknown.Lost(after) || unknown.Others(after) {
			t.Error("a run that is not known lost its lock")
		}
	}
	known := lock.Tenure{Own: mine.Session}
	if !known.Others(after) || known.Others(mine) || known.Others(free) || known.Others(old) {
		t.Error("whose a lock is, is not told apart")
	}
}

// A pod that had a dashboard of this address does not take the lock from a later one.
func TestCheckOfALockOfTheSameAddress(t *testing.T) {
	held := func(token string) string {
		return fmt.Sprintf(`{"node":{"key":"/codis3/p/topom","value":%q}}`,
			fmt.Sprintf(`{"admin_addr":%q,"token":%q,"start_time":"then"}`, own, token))
	}
	mine := lock.Session{Token: "mine", StartTime: "then"}
	tests := map[string]struct {
		runs   []lock.Session
		answer string
		want   string
	}{
		"the pod had no run":               {nil, held("another"), ""},
		"it was the last run of the pod":   {[]lock.Session{{Token: "x", StartTime: "y"}, mine}, held("mine"), ""},
		"it was an earlier run of the pod": {[]lock.Session{mine, {Token: "x", StartTime: "y"}}, held("mine"), ""},
		"it was a run of another pod":      {[]lock.Session{mine}, held("another"), "held " + own},
		"it does not tell its run":         {[]lock.Session{mine}, held(""), ""},
		"nobody has it":                    {[]lock.Session{mine}, `{"errorCode":100}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := lock.Lock{
				Store: "etcd", Addr: addrOf(t, http.StatusOK, tt.answer), Product: "p", Holder: own, Runs: tt.runs,
			}
			if got, err := lock.Check(t.Context(), l); err != nil || got.String() != tt.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
