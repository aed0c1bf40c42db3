// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
	"testing"
)

func TestSessionAuth(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxyWith(t, settings{"session_auth": "open"})
	conn := dial(t, p.client)
	const noauth = "NOAUTH Authentication required"
	conn.expect(t, noauth, "GET", "a")
	conn.expect(t, noauth, "PING")
	conn.expect(t, "ERR invalid password", "AUTH", "wrong")
	conn.expect(t, "ERR wrong number of arguments for 'AUTH' command", "AUTH", "user", "open")
	conn.expect(t, "OK", "AUTH", "open")
	conn.expect(t, "<nil>", "GET", "a")
	conn.expect(t, "ERR invalid password", "AUTH", "wrong")
	conn.expect(t, noauth, "GET", "a")
}

func TestAuthWithoutSessionAuthIsAnError(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	conn := dial(t, p.client)
	conn.expect(t, "ERR Client sent AUTH, but no password is set", "AUTH", "any")
	conn.expect(t, "PONG", "PING")
}

// product_auth is between proxy, dashboard and servers; clients know nothing of it.
func TestProductAuthProtectsServersAndNotProxies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.productAuth = "secret"
	c := w.cluster(layout{groups: 1, members: 2, proxies: 1})
	if got := askText(c.member(1, 1).addr, "GET", "a"); got != "NOAUTH Authentication required." {
		t.Errorf("the server answers %q", got)
	}
	conn := dial(t, c.proxies[0].client)
	conn.expect(t, "OK", "SET", "a", "1")
	c.d.ok("group/promote", 1, c.member(1, 2).addr)
	c.d.syncAction(c.member(1, 1).addr, "synced")
	conn.expect(t, "OK", "SET", "a", "2")
	eventually(t, patience, "the old master follows with the password", func() bool {
		return c.member(1, 1).text("GET", "a") == "2"
	})
}

// bannedCommands are refused by proxies whatever the backends could do.
var bannedCommands = []string{
	"ASKING", "BGREWRITEAOF", "BGSAVE", "BITOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "CLIENT", "CLUSTER", "CONFIG",
	"DBSIZE", "DEBUG", "DISCARD", "EXEC", "FLUSHALL", "FLUSHDB", "HOST:", "KEYS", "LASTSAVE", "LATENCY", "MIGRATE",
	"MONITOR", "MOVE", "MSETNX", "MULTI", "OBJECT", "POST", "PSUBSCRIBE", "PSYNC", "PUBLISH", "PUNSUBSCRIBE",
	"RANDOMKEY", "READONLY", "READWRITE", "RENAME", "RENAMENX", "REPLCONF", "RESTORE", "SAVE", "SCAN", "SCRIPT",
	"SHUTDOWN", "SLAVEOF", "SLOTSCHECK", "SLOTSDEL", "SLOTSMGRTONE", "SLOTSMGRTSLOT", "SLOTSMGRTTAGONE",
	"SLOTSMGRTTAGSLOT", "SLOWLOG", "SUBSCRIBE", "SYNC", "TIME", "UNSUBSCRIBE", "UNWATCH", "WAIT", "WATCH",
}

func TestBannedCommandsAreRefusedAndTheSessionGoesOn(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	conn := dial(t, p.client)
	for _, command := range bannedCommands {
		want := fmt.Sprintf("ERR handle request, command '%s' is not allowed", command)
		conn.expect(t, want, command)
		conn.expect(t, want, strings.ToLower(command), "a", "b")
	}
	conn.expect(t, "PONG", "PING")
}

// The table of commands is asked for names of letters and colons only. Others are passed on, although the table bans
// those that have a dash: a client can have keys sent anywhere.
func TestCommandsWithADashPassTheBan(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	conn := dial(t, p.client)
	conn.expect(t, "OK", "SET", "a", "1")
	for _, command := range []string{"RESTORE-ASKING", "SLOTSMGRTTAGSLOT-ASYNC", "SLOTSMGRT-EXEC-WRAPPER"} {
		want := fmt.Sprintf("ERR wrong number of arguments for '%s' command", strings.ToLower(command))
		if got := conn.text(command); !strings.EqualFold(got, want) {
			t.Errorf("%s: %s", command, got)
		}
	}
	conn.expect(t, "[2 1]", "SLOTSMGRT-EXEC-WRAPPER", "a", "GET", "a")
	conn.expect(t, "[2 1]", "slotsmgrt-exec-wrapper", "a", "EXISTS", "a")
}

// A null word goes to the backend as it is, which hangs up, on everybody who shares the connection.
func TestNullWordCutsTheSharedConnection(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	one, other := dial(t, p.client), dial(t, p.client)
	other.expect(t, "OK", "SET", "a", "1")
	if _, err := one.conn.Write([]byte("*2\r\n$3\r\nGET\r\n$-1\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := one.receive(); err == nil || err.Error() != "ERR Protocol error: invalid bulk length" {
		t.Errorf("the client got %v", err)
	}
	eventually(t, patience, "others go on over a new connection", func() bool { return other.text("GET", "a") == "1" })
}

func TestBreakOnFailureClosesTheSession(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxyWith(t, settings{"session_break_on_failure": true})
	conn := dial(t, p.client)
	conn.expect(t, "ERR handle request, command 'KEYS' is not allowed", "KEYS", "*")
	if v, err := conn.do("PING"); err == nil {
		t.Errorf("the session still answers %v", v)
	}
}

// Commands that no table knows go through as writes: a newer backend obeys them.
func TestUnknownCommandsPassThrough(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	got := dial(t, p.client).text("NOSUCHTHING", "a")
	if !strings.HasPrefix(got, "ERR unknown command") {
		t.Errorf("got %q", got)
	}
}

func TestSelectWithinTheNumberOfDatabases(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxyWith(t, settings{"backend_number_databases": 2})
	conn := dial(t, p.client)
	conn.expect(t, "OK", "SET", "a", "zero")
	conn.expect(t, "OK", "SELECT", "1")
	conn.expect(t, "<nil>", "GET", "a")
	conn.expect(t, "OK", "SET", "a", "one")
	conn.expect(t, "ERR invalid DB index, only accept DB [0,2)", "SELECT", "2")
	conn.expect(t, "ERR invalid DB index", "SELECT", "x")
	conn.expect(t, "one", "GET", "a")
	// Each session has its own.
	dial(t, p.client).expect(t, "zero", "GET", "a")
}

// With an argument, PING and INFO name a backend.
func TestPingAndInfoNameABackend(t *testing.T) {
	t.Parallel()
	_, p, s := soloProxy(t)
	conn := dial(t, p.client)
	conn.expect(t, "PONG", "PING")
	conn.expect(t, "PONG", "PING", s.addr)
	conn.expect(t, "ERR backend server 'x' not found", "PING", "x")
	conn.expect(t, "ERR backend server 'x' not found", "INFO", "x")
	if got := conn.text("INFO", s.addr); !strings.Contains(got, fmt.Sprintf("tcp_port:%d", portServer+1)) {
		t.Errorf("INFO is %.200q", got)
	}
}

func TestMaxClients(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxyWith(t, settings{"proxy_max_clients": 2})
	one, two := dial(t, p.client), dial(t, p.client)
	one.expect(t, "PONG", "PING")
	two.expect(t, "PONG", "PING")
	if _, err := dial(t, p.client).receive(); err == nil || err.Error() != "ERR max number of clients reached" {
		t.Errorf("the third client got %v", err)
	}
	eventually(t, patience, "two sessions are alive", func() bool { return p.stats().Sessions.Alive == 2 })
	one.expect(t, "OK", "QUIT")
	eventually(t, patience, "there is room again", func() bool { return askText(p.client, "PING") == "PONG" })
}

// Counters of a proxy: a session adds its own when its queue is empty, and at its end.
func TestProxyCountsOperations(t *testing.T) {
	t.Parallel()
	_, p, _ := soloProxy(t)
	conn := dial(t, p.client)
	for range 5 {
		conn.expect(t, "OK", "SET", "a", "1")
	}
	conn.text("KEYS")
	conn.conn.Close()
	eventually(t, patience, "all are counted", func() bool {
		got := p.stats()
		return got.Ops.Total == 6 && got.Ops.Fails == 0 && got.Sessions.Total == 1 && got.Sessions.Alive == 0
	})
	p.ok("stats/reset")
	if s := p.stats(); s.Ops.Total != 0 || s.Sessions.Total != 0 {
		t.Errorf("stats are %+v", s)
	}
}
