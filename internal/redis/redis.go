// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package redis asks codis-servers how they are and sets what they follow. It
// owns the only parser of INFO and the only code that sends a command to a
// server. It refuses to decide anything, and knows neither Kubernetes nor the
// dashboard. No command that destroys data is in it.
package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/codis-io/codis-operator/internal/dial"
)

// Role of a server, in the words of INFO.
type Role string

// Roles.
const (
	RoleMaster  Role = "master"
	RoleReplica Role = "slave"
)

// FenceAddr is the master that a freshly started codis-server is told to
// follow: nobody listens there, so it stays read-only, with its own data, until
// the operator gives it a role. Measured on codis-server 3.2.11: the command
// line overrides a slaveof line that CONFIG REWRITE left in the file.
const (
	FenceHost = "127.0.0.1"
	FencePort = "1"
	FenceAddr = FenceHost + ":" + FencePort
)

// neverSynced is what INFO shows as slave_repl_offset of a replica that has no
// master and no cached master, or is about to copy everything (Redis 3.2 to 7).
const neverSynced = 1

// ErrRestarted tells that the server is not the process that was observed.
var ErrRestarted = errors.New("server restarted or changed its role since it was observed")

// Observation is what a server said about itself. Not being reachable is a
// value, not an error: it claims nothing about the server.
type Observation struct {
	// Reachable tells whether the server answered INFO in time.
	Reachable bool
	// Refused tells that nobody listens: the process is gone.
	Refused bool
	// Denied tells that the server wants another password.
	Denied bool
	// Problem says why the server is not reachable.
	Problem string

	RunID string
	Role  Role
	// MasterAddr is host:port that a replica follows, as it was told.
	MasterAddr string
	// MasterName is another address of that server, where whoever looked knows one; no
	// server says it.
	MasterName string
	// LinkUp and Syncing describe a replica's link.
	LinkUp, Syncing bool
	// LinkDown is how long the link of a replica has been down, 0 while it is up.
	LinkDown time.Duration
	// Loading tells that the dataset is being read from disk.
	Loading bool
	// Saving tells that the append-only file is being written anew. After a copy from
	// a master the volume holds the data of before until that is done.
	Saving bool
	// Offset is the replication offset, in bytes: sent by a master, received by a replica.
	Offset int64
	// Keys over all databases.
	Keys int64
	// UsedMemory and MaxMemory in bytes; MaxMemory is 0 where there is no limit.
	UsedMemory, MaxMemory int64
	// Replicas that are connected to a master.
	Replicas int
	// WritesGuarded tells that the server takes writes only while a replica keeps
	// up with it: min-slaves-to-write and min-slaves-max-lag are both set. It is told
	// of a replica, too, which has no use for it.
	WritesGuarded bool
}

// Fenced tells whether the server waits for a role since it was started.
func (o Observation) Fenced() bool {
	return o.Reachable && o.Role == RoleReplica && o.MasterAddr == FenceAddr
}

// IsMaster tells whether the server takes writes.
func (o Observation) IsMaster() bool { return o.Reachable && o.Role == RoleMaster }

// Follows tells whether the server is a replica of the given address.
func (o Observation) Follows(addr string) bool {
	return o.Reachable && o.Role == RoleReplica && addr != "" && (o.MasterAddr == addr || o.MasterName == addr)
}

// WasInSync tells whether a replica holds a whole copy of its master's data, as
// of when the link was last up. A copy under way replaces that data.
func (o Observation) WasInSync() bool {
	return o.Reachable && o.Role == RoleReplica && !o.Syncing && !o.Loading &&
		(o.LinkUp || o.Offset > neverSynced)
}

// HasData tells whether the server holds any key.
func (o Observation) HasData() bool { return o.Reachable && o.Keys > 0 }

// Client talks to codis-servers of one product.
type Client struct {
	// Password that the servers require, empty for none.
	Password string
	// Timeout bounds each dial and each command. Default: 1 s.
	Timeout time.Duration
}

// Observe asks a server for INFO.
func (c Client) Observe(ctx context.Context, addr string) Observation {
	conn, closeConn := c.connect(addr)
	defer closeConn()
	info, err := info(ctx, conn)
	if err != nil {
		return unreachable(err)
	}
	return info.observation()
}

// MakeMaster lifts the fence of a server, or ends its replication, if it still
// is what was seen. One that was a master already is only compared: whoever is told of
// it next, such as the dashboard, makes a master of whatever process is there by then.
// It is safe to repeat.
func (c Client) MakeMaster(ctx context.Context, addr string, seen Observation) error {
	if !seen.IsMaster() {
		return c.slaveOf(ctx, addr, seen, "NO", "ONE")
	}
	conn, closeConn := c.connect(addr)
	defer closeConn()
	if err := same(ctx, conn, seen); err != nil {
		return fmt.Errorf("look whether %s is master: %w", addr, err)
	}
	return nil
}

// Follow makes a server a replica of master, if it still is what was seen. The
// server drops its data and copies the master's.
func (c Client) Follow(ctx context.Context, addr string, seen Observation, master string) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return fmt.Errorf("follow %q: %w", master, err)
	}
	return c.slaveOf(ctx, addr, seen, host, port)
}

// SlotsWithKeys lists the slots of which a server holds keys, in any database.
func (c Client) SlotsWithKeys(ctx context.Context, addr string) ([]int, error) {
	conn, closeConn := c.connect(addr)
	defer closeConn()
	info, err := info(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	held := map[int]bool{}
	for _, db := range info.Databases() {
		if err := conn.Select(ctx, db).Err(); err != nil {
			return nil, fmt.Errorf("select %d on %s: %w", db, addr, err)
		}
		pairs, err := conn.Do(ctx, "SLOTSINFO", 0, slots).Slice()
		if err != nil {
			return nil, fmt.Errorf("slotsinfo of %s: %w", addr, err)
		}
		for _, pair := range pairs {
			slot, ok := slotOf(pair)
			if !ok {
				return nil, fmt.Errorf("slotsinfo of %s: cannot read %v", addr, pair)
			}
			held[slot] = true
		}
	}
	return slices.Sorted(maps.Keys(held)), nil
}

// slots is how many slots Codis has.
const slots = 1024

// slotOf reads an element of the answer to SLOTSINFO: slot and number of keys.
func slotOf(pair any) (int, bool) {
	fields, ok := pair.([]any)
	if !ok || len(fields) != 2 {
		return 0, false
	}
	slot, ok := fields[0].(int64)
	return int(slot), ok && slot >= 0 && slot < slots
}

// GuardLag is min-slaves-max-lag of a master whose writes are guarded. A replica
// tells once a second how far it is, so that less would refuse writes for one
// report that is late.
const GuardLag = 2 * time.Second

// GuardTime is the longest that a guarded master takes writes after its last
// replica was cut off: Redis counts the lag in whole seconds, from the last report,
// once a second (measured: 1.0 s; reference 12.19).
const GuardTime = GuardLag + 2*time.Second

// GuardWrites makes a master refuse writes while no replica keeps up with it, or
// stop to do so, if it still is what was seen. It is safe to repeat.
func (c Client) GuardWrites(ctx context.Context, addr string, seen Observation, on bool) error {
	conn, closeConn := c.connect(addr)
	defer closeConn()
	if err := same(ctx, conn, seen); err != nil {
		return fmt.Errorf("guard writes of %s: %w", addr, err)
	}
	return guard(ctx, conn, on)
}

func guard(ctx context.Context, conn *goredis.Conn, on bool) error {
	replicas := "0"
	if on {
		replicas = "1"
		lag := strconv.Itoa(int(GuardLag / time.Second))
		if err := conn.ConfigSet(ctx, "min-slaves-max-lag", lag).Err(); err != nil {
			return fmt.Errorf("set min-slaves-max-lag: %w", err)
		}
	}
	if err := conn.ConfigSet(ctx, "min-slaves-to-write", replicas).Err(); err != nil {
		return fmt.Errorf("set min-slaves-to-write: %w", err)
	}
	return nil
}

// slaveOf compares what was seen and sends SLAVEOF on one and the same
// connection: a process that restarts in between breaks it, so the command
// cannot reach a process that was not observed. The role is compared, too: an
// operator that was paused must not undo what another did meanwhile. A server that
// changes its role has no replicas yet, so that its writes are no longer guarded.
func (c Client) slaveOf(ctx context.Context, addr string, seen Observation, host, port string) error {
	conn, closeConn := c.connect(addr)
	defer closeConn()
	if err := same(ctx, conn, seen); err != nil {
		return fmt.Errorf("slaveof %s %s on %s: %w", host, port, addr, err)
	}
	// codis-server 3.2 knows SLAVEOF only.
	steps := []func() error{func() error { return conn.Do(ctx, "SLAVEOF", host, port).Err() }}
	if seen.WritesGuarded {
		// A master that becomes a replica must not take writes in between.
		at := 0
		if seen.IsMaster() {
			at = len(steps)
		}
		steps = slices.Insert(steps, at, func() error { return guard(ctx, conn, false) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("slaveof %s %s on %s: %w", host, port, addr, err)
		}
	}
	// From here on the server stays what it is until it restarts, and then it
	// is fenced again; the file needs no rewrite.
	return nil
}

// same fails with ErrRestarted if the server is not what was seen, or is no
// longer in that role.
func same(ctx context.Context, conn *goredis.Conn, seen Observation) error {
	info, err := info(ctx, conn)
	if err != nil {
		return err
	}
	now := info.observation()
	if now.RunID != seen.RunID || now.Role != seen.Role || now.MasterAddr != seen.MasterAddr {
		return ErrRestarted
	}
	return nil
}

// connect returns a connection that never reconnects by itself.
func (c Client) connect(addr string) (*goredis.Conn, func()) {
	return dial.Once(addr, c.Password, c.timeout())
}

func (c Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return time.Second
	}
	return c.Timeout
}

// Unexpected drops an error that only says that the server is another process
// than the one that was observed, or that it went away: the next look tells.
func Unexpected(err error) error {
	var network net.Error
	if errors.Is(err, ErrRestarted) || errors.As(err, &network) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func info(ctx context.Context, conn *goredis.Conn) (Info, error) {
	raw, err := conn.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	return ParseInfo(raw), nil
}

func unreachable(err error) Observation {
	text := err.Error()
	denied := strings.HasPrefix(text, "NOAUTH") || strings.HasPrefix(text, "WRONGPASS") ||
		strings.Contains(text, "invalid password") || strings.Contains(text, "without any password") ||
		strings.Contains(text, "no password is set")
	return Observation{
		Refused: errors.Is(err, syscall.ECONNREFUSED),
		Denied:  denied,
		Problem: problem(err, denied),
	}
}

// problem words an error so that it stays the same from one look to the next.
func problem(err error, denied bool) string {
	if denied {
		return "the server wants another password"
	}
	return dial.Problem(err)
}
