// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/lock"
)

const own = "own:18080"

// shop is an etcd whose only key is the lock, and a dashboard elsewhere that lives.
type shop struct {
	addr string
	// lock is the node of the lock in JSON; empty for none. Away has the store answer
	// that it has no leader.
	lock atomic.Value
	away atomic.Bool
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	s.lock.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node, _ := s.lock.Load().(string)
		switch {
		case r.URL.Path == "/topom/model":
			_, _ = fmt.Fprint(w, `{"product_name":"p"}`)
		case s.away.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case node == "":
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"errorCode":100}`)
		default:
			_, _ = fmt.Fprintf(w, `{"node":%s}`, node)
		}
	}))
	t.Cleanup(server.Close)
	s.addr = server.Listener.Addr().String()
	return s
}

func held(addr string) string { return fmt.Sprintf(`{"value":"{\"admin_addr\":\"%s\"}"}`, addr) }

const pinned = `{"dir":true,"nodes":[{"key":"/codis3/p/topom/removing","value":"{\"owner\":\"uid\",\"dashboard\":\"ns/d\"}"}]}`

func (s *shop) guard(to *setting) {
	to.Lock = lock.Lock{Store: "etcd", Addr: s.addr, Product: "p", Holder: own}
}

// Each start passes the look at the lock, not the first one only.
func TestADashboardIsStartedAgainOnlyWhereTheLockIsItsOwn(t *testing.T) {
	s := newShop(t)
	tests := map[string]struct{ lock, message string }{
		"it left its lock":    {held(own), ""},
		"nobody has it":       {"", ""},
		"another took it":     {held(s.addr), "held " + s.addr},
		"the product goes":    {pinned, "removing ns/d"},
		"a dead one had it":   {held("127.0.0.1:1"), ""},
		"its place is a ruin": {`{"dir":true}`, "removing unknown"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.lock.Store(held(own))
			c := startKeeper(t, s.guard, "serve")
			pid := c.awaitRun(t, 1)
			s.lock.Store(tt.lock)
			send(t, pid, syscall.SIGKILL)
			if tt.message == "" {
				c.awaitRun(t, 2)
				return
			}
			if code := c.awaitEnd(t); code != 1 || c.runs() != 1 {
				t.Errorf("ended with %d after %d runs", code, c.runs())
			}
			if got := c.message(); got != tt.message || lock.Parse(got).String() != got {
				t.Errorf("the message is %q", got)
			}
		})
	}
}

func TestNoDashboardStartsWhileTheStoreIsAway(t *testing.T) {
	s := newShop(t)
	s.away.Store(true)
	c := startKeeper(t, s.guard, "serve")
	eventually(t, "the keeper waits", func() bool { return len(lines(c.Dir, "log")) > 0 })
	if c.runs() > 0 {
		t.Fatal("a dashboard was started")
	}
	s.away.Store(false)
	c.awaitRun(t, 1)
}

func TestAKeeperThatWaitsEndsWhenItIsToldTo(t *testing.T) {
	s := newShop(t)
	s.away.Store(true)
	c := startKeeper(t, s.guard, "serve")
	eventually(t, "the keeper waits", func() bool { return len(lines(c.Dir, "log")) > 0 })
	send(t, c.keeper.Process.Pid, syscall.SIGTERM)
	if code := c.awaitEnd(t); code != codeStopped || c.runs() > 0 {
		t.Errorf("ended with %d after %d runs", code, c.runs())
	}
}

// The name of a new pod is not known at once, and some time it is not waited for any more.
func TestTheNameIsWaitedFor(t *testing.T) {
	unknown := errors.New("no such host")
	tests := map[string]struct {
		limit time.Duration
		// known is which question is answered with an address, 0 for none.
		known int
		lines int
	}{
		"it is known":       {never, 1, 0},
		"it is known soon":  {never, 3, 1},
		"it is never known": {20 * time.Millisecond, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked, log := 0, &strings.Builder{}
			k := &keeper{host: "own", nameWait: tt.limit, asking: time.Millisecond, log: log}
			k.resolve = func(context.Context, string) ([]string, error) {
				if asked++; asked == tt.known {
					return []string{"10.0.0.1"}, nil
				}
				return nil, unknown
			}
			k.awaitName(t.Context())
			if tt.known == 0 {
				return // It came to an end.
			}
			if got := strings.Count(log.String(), "waiting: no such host\n"); asked != tt.known || got != tt.lines {
				t.Errorf("asked %d times, and said %q", asked, log)
			}
		})
	}
}

// The login is read as the config writer leaves it.
func TestLogin(t *testing.T) {
	written, err := config.WithSettings(config.TOML, "coordinator_name = \"etcd\"\n",
		map[string]string{"coordinator_auth": "codis:s3=cr#t", "product_auth": "other"})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		text, want string
		fails      bool
	}{
		"as it is written":  {written, "codis:s3=cr#t", false},
		"there is none":     {"coordinator_name = \"etcd\"\n", "", false},
		"it is not quoted":  {"coordinator_auth = codis:x\n", "", true},
		"of something else": {"old_coordinator_auth = \"codis:x\"\n", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := login(tt.text); got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
