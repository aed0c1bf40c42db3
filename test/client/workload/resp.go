// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package workload is what a client of Codis does in demonstrations, end-to-end
// tests and benchmarks: it writes numbered values and reads them back. It owns
// the bookkeeping of what was acknowledged and how long clients had to wait. It
// refuses to hide anything: one request at a time on a connection, no retry, no
// pooling, no command that a proxy does not know.
package workload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// ReplyError is an error that the server answered; the connection stays usable.
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// errProtocol says that the answer was not one that RESP 2 allows here.
var errProtocol = errors.New("unexpected answer")

// maxReply bounds what is read of one answer.
const maxReply = 64 << 20

// Conn is one connection that speaks RESP 2.
type Conn struct {
	conn    net.Conn
	in      *bufio.Reader
	timeout time.Duration
}

// Addr is host:port of the other side, as a number.
func (c *Conn) Addr() string { return c.conn.RemoteAddr().String() }

// Dial connects and, with a password, authenticates. The timeout holds for the
// connect and for each request after it.
func Dial(ctx context.Context, address, password string, timeout time.Duration) (*Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, in: bufio.NewReader(conn), timeout: timeout}
	if password == "" {
		return c, nil
	}
	if _, err := c.Do("AUTH", password); err != nil {
		return nil, errors.Join(fmt.Errorf("authenticate: %w", err), conn.Close())
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Do sends one command and waits for its answer: a string, or nil where the
// server has none. After any error but a ReplyError the connection is useless.
func (c *Conn) Do(args ...string) (*string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(encode(args)); err != nil {
		return nil, err
	}
	return readReply(c.in)
}

func encode(args []string) []byte {
	request := []byte("*" + strconv.Itoa(len(args)) + "\r\n")
	for _, arg := range args {
		request = append(request, "$"+strconv.Itoa(len(arg))+"\r\n"+arg+"\r\n"...)
	}
	return request
}

// readReply reads one simple, integer, bulk or error answer.
func readReply(in *bufio.Reader) (*string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("%w: %q", errProtocol, line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+', ':':
		return &rest, nil
	case '-':
		return nil, ReplyError(rest)
	case '$':
		return readBulk(in, rest)
	default:
		return nil, fmt.Errorf("%w: %q", errProtocol, line)
	}
}

func readBulk(in *bufio.Reader, size string) (*string, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < -1 || n > maxReply {
		return nil, fmt.Errorf("%w: size %q", errProtocol, size)
	}
	if n == -1 {
		return nil, nil //nolint:nilnil // what RESP calls nil: the key has no value
	}
	data := make([]byte, n+2)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, err
	}
	value := string(data[:n])
	return &value, nil
}
