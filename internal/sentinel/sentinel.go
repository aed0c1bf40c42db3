// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package sentinel asks redis-sentinels what they watch and tells them what to. It
// owns every command that is sent to a sentinel. It refuses to decide anything, and
// knows neither Kubernetes nor the dashboard.
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/codis-io/codis-operator/internal/dial"
)

// Settings are how a sentinel watches a master.
type Settings struct {
	// Quorum of sentinels that must find a master down.
	Quorum int
	// DownAfter is how long a master must not answer.
	DownAfter time.Duration
	// FailoverTimeout is how long a change of master may take.
	FailoverTimeout time.Duration
	// ParallelSyncs is how many replicas copy a new master's data at a time.
	ParallelSyncs int
}

// View is what a sentinel said about one name. Not to answer is a value, not an
// error: it claims nothing.
type View struct {
	// Answers tells whether the sentinel answered everything in time.
	Answers bool
	// Problem says why it did not.
	Problem string
	// Watches tells whether it watches a master of the name; all below is empty else.
	Watches bool
	// Addr is host:port of who it calls master.
	Addr string
	// Epoch is the number of the election that made it so.
	Epoch int64
	// Down tells that it finds the master down, alone or with others.
	Down bool
	// FailingOver tells that it is replacing the master.
	FailingOver bool
	// Settings that it watches with.
	Settings Settings
	// Replicas are host:port of those that it may make master.
	Replicas []string
	// Lost are the identities of the sentinels that it counts and finds down.
	Lost []string
	// Refused are host:port of the master and of replicas that answer it errors only, as
	// they do who want another password. A sentinel that is told the right one goes on with
	// its connections for a while (measured with 3.2.11: up to half of DownAfter).
	Refused []string
}

// refusedFor is how long a server must have answered nothing but errors. A sentinel asks
// each of them once a second, or more often.
const refusedFor = 3 * time.Second

// Survey is what a sentinel watches, in short. Not to answer claims nothing.
type Survey struct {
	Answers bool
	// Flags of each master that it watches, by name: "master" where all is well.
	Flags map[string]string
}

// Client talks to sentinels, which have no password.
type Client struct {
	// Timeout bounds each dial and each command. Default: 500 ms.
	Timeout time.Duration
}

// Look asks a sentinel what it knows under a name.
func (c Client) Look(ctx context.Context, addr, name string) View {
	conn, done := c.connect(addr)
	defer done()
	view, err := look(ctx, conn, name)
	if err != nil {
		return View{Problem: dial.Problem(err)}
	}
	return view
}

// Survey asks a sentinel for all that it watches.
func (c Client) Survey(ctx context.Context, addr string) Survey {
	conn, done := c.connect(addr)
	defer done()
	masters, err := list(ctx, conn, "masters")
	if err != nil {
		return Survey{}
	}
	s := Survey{Answers: true, Flags: map[string]string{}}
	for _, m := range masters {
		s.Flags[m["name"]] = m["flags"]
	}
	return s
}

func look(ctx context.Context, conn *goredis.Conn, name string) (View, error) {
	fields, err := conn.Do(ctx, "SENTINEL", "master", name).Slice()
	if unknownName(err) {
		return View{Answers: true}, nil
	}
	if err != nil {
		return View{}, err
	}
	master := pairs(fields)
	view := View{
		Answers: true, Watches: true, Addr: net.JoinHostPort(master["ip"], master["port"]),
		Epoch: number(master["config-epoch"]),
		Settings: Settings{
			Quorum:          int(number(master["quorum"])),
			DownAfter:       time.Duration(number(master["down-after-milliseconds"])) * time.Millisecond,
			FailoverTimeout: time.Duration(number(master["failover-timeout"])) * time.Millisecond,
			ParallelSyncs:   int(number(master["parallel-syncs"])),
		},
	}
	flags := strings.Split(master["flags"], ",")
	view.Down = slices.Contains(flags, "s_down") || slices.Contains(flags, "o_down")
	view.FailingOver = slices.Contains(flags, "failover_in_progress")
	view.Refused = refused(nil, master)
	replicas, err := list(ctx, conn, "slaves", name)
	if err != nil {
		return View{}, err
	}
	for _, r := range replicas {
		view.Replicas = append(view.Replicas, net.JoinHostPort(r["ip"], r["port"]))
		view.Refused = refused(view.Refused, r)
	}
	others, err := list(ctx, conn, "sentinels", name)
	if err != nil {
		return View{}, err
	}
	for _, o := range others {
		if strings.Contains(o["flags"], "s_down") {
			view.Lost = append(view.Lost, o["runid"])
		}
	}
	slices.Sort(view.Replicas)
	slices.Sort(view.Refused)
	slices.Sort(view.Lost)
	return view, nil
}

// refused adds a server to those that answer errors: its last answer is new, and the
// last good one is not.
func refused(addrs []string, server map[string]string) []string {
	answered, well := number(server["last-ping-reply"]), number(server["last-ok-ping-reply"])
	limit := refusedFor.Milliseconds()
	if answered < limit && well >= answered+limit {
		return append(addrs, net.JoinHostPort(server["ip"], server["port"]))
	}
	return addrs
}

// list asks for things that a sentinel knows.
func list(ctx context.Context, conn *goredis.Conn, what ...any) ([]map[string]string, error) {
	items, err := conn.Do(ctx, append([]any{"SENTINEL"}, what...)...).Slice()
	if err != nil {
		return nil, err
	}
	var all []map[string]string
	for _, item := range items {
		if fields, ok := item.([]any); ok {
			all = append(all, pairs(fields))
		}
	}
	return all, nil
}

// Watch has a sentinel watch a master under a name that it does not know. It gets the
// password in the same packet: a connection that it makes without it is never mended,
// since a server that wants one answers all the same.
func (c Client) Watch(ctx context.Context, addr, name, master, password string, s Settings) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return fmt.Errorf("watch %q: %w", master, err)
	}
	conn, done := c.connect(addr)
	defer done()
	both := conn.Pipeline()
	monitor := both.Do(ctx, "SENTINEL", "monitor", name, host, port, s.Quorum)
	set := both.Do(ctx, tuning(name, password, s)...)
	_, _ = both.Exec(ctx) // Each of both has its own error.
	if err := monitor.Err(); err != nil && !strings.Contains(err.Error(), "Duplicate") {
		return fmt.Errorf("monitor %s on %s: %w", name, addr, withoutPorts(err))
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("set %s on %s: %w", name, addr, withoutPorts(err))
	}
	return nil
}

// Tune changes how a sentinel watches a name. It keeps all that it knows.
func (c Client) Tune(ctx context.Context, addr, name, password string, s Settings) error {
	conn, done := c.connect(addr)
	defer done()
	if err := conn.Do(ctx, tuning(name, password, s)...).Err(); err != nil {
		return fmt.Errorf("set %s on %s: %w", name, addr, withoutPorts(err))
	}
	return nil
}

func tuning(name, password string, s Settings) []any {
	args := []any{
		"SENTINEL", "set", name, "quorum", s.Quorum, "parallel-syncs", s.ParallelSyncs,
		"down-after-milliseconds", s.DownAfter.Milliseconds(), "failover-timeout", s.FailoverTimeout.Milliseconds(),
	}
	if password != "" {
		args = append(args, "auth-pass", password)
	}
	return args
}

// Forget has a sentinel watch a name no more. It is safe to repeat.
func (c Client) Forget(ctx context.Context, addr, name string) error {
	conn, done := c.connect(addr)
	defer done()
	if err := conn.Do(ctx, "SENTINEL", "remove", name).Err(); err != nil && !unknownName(err) {
		return fmt.Errorf("remove %s on %s: %w", name, addr, withoutPorts(err))
	}
	return nil
}

// connect returns a connection that never reconnects by itself.
func (c Client) connect(addr string) (*goredis.Conn, func()) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 500 * time.Millisecond
	}
	return dial.Once(addr, "", timeout)
}

// unknownName tells that a sentinel watches nothing under a name.
func unknownName(err error) bool {
	return err != nil && strings.Contains(err.Error(), "No such master")
}

// pairs reads the flat list of names and values that stands for a map.
func pairs(fields []any) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		key, isKey := fields[i].(string)
		value, isValue := fields[i+1].(string)
		if isKey && isValue {
			m[key] = value
		}
	}
	return m
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// withoutPorts words an error of the network so that it stays the same from one try
// to the next.
func withoutPorts(err error) error {
	if _, ok := errors.AsType[net.Error](err); ok {
		return errors.New(dial.Problem(err))
	}
	return err
}
