// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package sentinel

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// Options are what sentinels are told about every group. What is zero or empty is left to them.
type Options struct {
	Quorum               int
	ParallelSyncs        int
	DownAfter            time.Duration
	FailoverTimeout      time.Duration
	NotificationScript   string
	ClientReconfigScript string
}

// set is the command for one group.
func (o *Options) set(monitor, auth string) []string {
	command := []string{"SENTINEL", "set", monitor}
	text := func(name, value string) {
		if value != "" {
			command = append(command, name, value)
		}
	}
	number := func(name string, value int) {
		if value != 0 {
			text(name, strconv.Itoa(value))
		}
	}
	number("parallel-syncs", o.ParallelSyncs)
	number("down-after-milliseconds", int(o.DownAfter.Milliseconds()))
	number("failover-timeout", int(o.FailoverTimeout.Milliseconds()))
	text("auth-pass", auth)
	text("notification-script", o.NotificationScript)
	text("client-reconfig-script", o.ClientReconfigScript)
	return command
}

// Monitor makes all sentinels monitor the masters of groups, whose addresses are looked up here: sentinels get IPs.
// Nothing is monitored if one address cannot be looked up. Groups that are not named stay as they are.
func (p *Product) Monitor(
	ctx context.Context, servers []string, timeout time.Duration, o *Options, masters map[int]string,
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addrs, err := p.lookup(ctx, masters)
	if err != nil {
		p.Log.Printf("sentinel monitor: look up masters: %v", err)
		return rpc.Trace(err)
	}
	return p.all(ctx, "monitor", servers, timeout, func(c *resp.Client) error {
		var names []string
		var monitor, set [][]string
		for gid, a := range addrs {
			name := p.monitor(gid)
			names = append(names, name)
			monitor = append(monitor, []string{
				"SENTINEL", "monitor", name, a.IP.String(), strconv.Itoa(a.Port), strconv.Itoa(o.Quorum),
			})
			set = append(set, o.set(name, p.Auth))
		}
		if err := remove(c, names); err != nil {
			return err
		}
		if _, err := send(c, monitor); err != nil {
			return err
		}
		_, err := send(c, set)
		return err
	})
}

// lookup resolves addresses until ctx ends.
func (p *Product) lookup(ctx context.Context, masters map[int]string) (map[int]*net.TCPAddr, error) {
	type result struct {
		addrs map[int]*net.TCPAddr
		err   error
	}
	done := make(chan result, 1)
	go func() {
		addrs := map[int]*net.TCPAddr{}
		for gid, addr := range masters {
			a, err := p.Resolve("tcp", addr)
			if err != nil {
				done <- result{err: err}
				return
			}
			addrs[gid] = a
		}
		done <- result{addrs: addrs}
	}()
	select {
	case r := <-done:
		return r.addrs, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Remove makes all sentinels forget one group.
func (p *Product) Remove(ctx context.Context, servers []string, timeout time.Duration, gid int) error {
	return p.all(ctx, "remove", servers, timeout, func(c *resp.Client) error {
		return remove(c, []string{p.monitor(gid)})
	})
}

// RemoveAll makes all sentinels forget every group of the product, those included that no longer exist.
func (p *Product) RemoveAll(ctx context.Context, servers []string, timeout time.Duration) error {
	return p.all(ctx, "remove", servers, timeout, func(c *resp.Client) error {
		masters, err := p.masters(c)
		if err != nil {
			return err
		}
		var names []string
		for gid := range masters {
			names = append(names, p.monitor(gid))
		}
		return remove(c, names)
	})
}

// remove asks which monitors there are, because the removal of one that is not there fails.
func remove(c *resp.Client, names []string) error {
	there, err := known(c, names)
	if err != nil {
		return err
	}
	var commands [][]string
	for _, name := range there {
		commands = append(commands, []string{"SENTINEL", "remove", name})
	}
	_, err = send(c, commands)
	return err
}

// known returns those of the names that a sentinel monitors.
func known(c *resp.Client, names []string) ([]string, error) {
	var commands [][]string
	for _, name := range names {
		commands = append(commands, []string{"SENTINEL", "get-master-addr-by-name", name})
	}
	replies, err := send(c, commands)
	if err != nil {
		return nil, err
	}
	var there []string
	for i, r := range replies {
		if !r.Null() {
			there = append(there, names[i])
		}
	}
	return there, nil
}

// masters returns what a sentinel tells about the product's masters, by group.
func (p *Product) masters(c *resp.Client) (map[int]map[string]string, error) {
	r, err := c.Do("SENTINEL", "masters")
	if err != nil {
		return nil, err
	}
	rows, err := r.Maps()
	if err != nil {
		return nil, rpc.Trace(err)
	}
	masters := map[int]map[string]string{}
	for _, row := range rows {
		if gid, ok := p.group(row["name"]); ok {
			masters[gid] = row
		}
	}
	return masters, nil
}

// Group is what a sentinel tells about one group.
type Group struct {
	Master map[string]string   `json:"master"`
	Slaves []map[string]string `json:"slaves,omitempty"`
}

// Monitored returns what a sentinel tells about the product's groups, by monitor.
func (p *Product) Monitored(c *resp.Client) (map[string]*Group, error) {
	masters, err := p.masters(c)
	if err != nil {
		return nil, err
	}
	groups := map[string]*Group{}
	var names []string
	for gid, row := range masters {
		groups[p.monitor(gid)] = &Group{Master: row}
		names = append(names, p.monitor(gid))
	}
	if names, err = known(c, names); err != nil {
		return nil, err
	}
	var commands [][]string
	for _, name := range names {
		commands = append(commands, []string{"SENTINEL", "slaves", name})
	}
	replies, err := send(c, commands)
	if err != nil {
		return nil, err
	}
	for i, r := range replies {
		if groups[names[i]].Slaves, err = r.Maps(); err != nil {
			return nil, rpc.Trace(err)
		}
	}
	return groups, nil
}
