// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// Client is one connection to a redis server, used by one caller at a time.
type Client struct {
	conn    net.Conn
	r       *bufio.Reader
	stop    func() bool
	auth    string
	timeout time.Duration
	db      int
	broken  bool
}

// Dial connects within min(1 s, timeout) and authenticates if auth is set. The connection ends with ctx; every reply
// has timeout to arrive.
func Dial(ctx context.Context, dial rpc.DialFunc, addr, auth string, timeout time.Duration) (*Client, error) {
	conn, err := dial.DialWithin(ctx, addr, min(time.Second, timeout))
	if err != nil {
		return nil, rpc.Trace(err)
	}
	c := &Client{conn: conn, r: bufio.NewReader(conn), auth: auth, timeout: timeout}
	c.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if auth != "" {
		if _, err := c.Do("AUTH", auth); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() {
	c.broken = true
	c.stop()
	_ = c.conn.Close()
}

// Broken says that the connection cannot be used again.
func (c *Client) Broken() bool { return c.broken }

// Do sends one command; an error reply is an error.
func (c *Client) Do(words ...string) (Reply, error) {
	replies, err := c.Pipeline(words)
	if err != nil {
		return nil, err
	}
	if p := replies[0]; p.Kind() == Error {
		return nil, rpc.Trace(errors.New(p.Text()))
	}
	return replies[0], nil
}

// Pipeline sends commands in one go and returns their replies, errors included. Each of them has the client's timeout
// to arrive.
func (c *Client) Pipeline(commands ...[]string) ([]Reply, error) {
	var out []byte
	for _, words := range commands {
		command := make([][]byte, len(words))
		for i, w := range words {
			command[i] = []byte(w)
		}
		out = AppendCommand(out, command)
	}
	replies := make([]Reply, len(commands))
	err := c.conn.SetDeadline(time.Now().Add(c.timeout))
	if err == nil {
		_, err = c.conn.Write(out)
	}
	for i := range replies {
		if err == nil {
			err = c.conn.SetReadDeadline(time.Now().Add(c.timeout))
		}
		if err == nil {
			replies[i], err = ReadReply(c.r)
		}
	}
	if err != nil {
		c.Close()
		return nil, rpc.Trace(err)
	}
	return replies, nil
}

// Receive waits for a reply that no command asked for, as a subscriber does.
func (c *Client) Receive() (Reply, error) {
	var reply Reply
	err := c.conn.SetReadDeadline(time.Now().Add(c.timeout))
	if err == nil {
		reply, err = ReadReply(c.r)
	}
	if err != nil {
		c.Close()
		return nil, rpc.Trace(err)
	}
	return reply, nil
}

// Select changes the database if needed.
func (c *Client) Select(db int) error {
	if c.db == db {
		return nil
	}
	if _, err := c.Do("SELECT", strconv.Itoa(db)); err != nil {
		c.Close()
		return err
	}
	c.db = db
	return nil
}

// Info returns the fields of INFO.
func (c *Client) Info(section ...string) (map[string]string, error) {
	p, err := c.Do(append([]string{"INFO"}, section...)...)
	if err != nil {
		return nil, err
	}
	return ParseInfo(p.Text()), nil
}

// ParseInfo splits the text of an INFO reply.
func ParseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		key, value, ok := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); ok && key != "" {
			info[key] = strings.TrimSpace(value)
		}
	}
	return info
}

// InfoFull is Info with master_addr, which only a replica has, and maxmemory as configured.
func (c *Client) InfoFull() (map[string]string, error) {
	info, err := c.Info()
	if err != nil {
		return nil, err
	}
	if host, port := info["master_host"], info["master_port"]; host != "" || port != "" {
		info["master_addr"] = net.JoinHostPort(host, port)
	}
	p, err := c.Do("CONFIG", "GET", "maxmemory")
	if err != nil {
		return nil, err
	}
	pair, err := p.Elements()
	if err != nil || len(pair) != 2 {
		return nil, rpc.Errorf("invalid response = %q", p)
	}
	info["maxmemory"] = pair[1].Text()
	return info, nil
}

// Keyspaces lists the databases that have keys.
func (c *Client) Keyspaces() ([]int, error) {
	info, err := c.Info("keyspace")
	if err != nil {
		return nil, err
	}
	var dbs []int
	for key := range info {
		if n, err := strconv.Atoi(strings.TrimPrefix(key, "db")); err == nil {
			dbs = append(dbs, n)
		}
	}
	return dbs, nil
}

// SlotsInfo checks that the server knows slots.
func (c *Client) SlotsInfo() error {
	p, err := c.Do("SLOTSINFO")
	if err != nil {
		return err
	}
	rows, err := p.Elements()
	if err != nil {
		return rpc.Trace(err)
	}
	for i, row := range rows {
		if pair, err := row.Elements(); err != nil || len(pair) != 2 {
			return rpc.Errorf("invalid response[%d] = %q", i, row)
		}
	}
	return nil
}

// SetMaster makes the server a replica of host:port, or a master for "NO:ONE", in one transaction that also sets
// masterauth, rewrites the configuration file and drops all other clients. The transaction is not rolled back if one
// of its commands fails: a server that cannot rewrite its file has changed its master all the same.
func (c *Client) SetMaster(master string) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return rpc.Trace(err)
	}
	replies, err := c.Pipeline(
		[]string{"MULTI"},
		[]string{"CONFIG", "SET", "masterauth", c.auth},
		[]string{"SLAVEOF", host, port},
		[]string{"CONFIG", "REWRITE"},
		[]string{"CLIENT", "KILL", "TYPE", "normal"},
		[]string{"EXEC"},
	)
	if err != nil {
		return err
	}
	results := replies
	if exec := replies[len(replies)-1]; exec.Kind() == Array {
		inner, err := exec.Elements()
		if err != nil {
			return rpc.Trace(err)
		}
		results = append(results, inner...)
	}
	for _, p := range results {
		if p.Kind() == Error {
			return rpc.Trace(errors.New(p.Text()))
		}
	}
	return nil
}

// Migrate runs one migration command and returns how many keys remain.
func (c *Client) Migrate(words ...string) (int, error) {
	p, err := c.Do(words...)
	if err != nil {
		return 0, err
	}
	pair, err := p.Elements()
	if err != nil || len(pair) != 2 {
		return 0, rpc.Errorf("invalid response = %q", p)
	}
	n, err := strconv.Atoi(pair[1].Text())
	if err != nil {
		return 0, rpc.Trace(fmt.Errorf("invalid response = %q", p))
	}
	return n, nil
}
