// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// respConn speaks RESP with nothing of its own in between. A client library greets with HELLO and CLIENT SETINFO,
// which a proxy passes on to some backend: what a test sends has to be all that is sent.
type respConn struct {
	conn    net.Conn
	reader  *bufio.Reader
	timeout time.Duration
}

// respError is an error line of the server, without its leading minus.
type respError string

func (e respError) Error() string { return string(e) }

func dial(t *testing.T, addr string) *respConn {
	t.Helper()
	c, err := tryDial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func tryDial(addr string) (*respConn, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &respConn{conn: conn, reader: bufio.NewReader(conn), timeout: patience}, nil
}

// do sends one command and returns its reply: string, int64, nil, []any, or a respError as err.
func (c *respConn) do(args ...any) (any, error) {
	if err := c.send(args...); err != nil {
		return nil, err
	}
	return c.receive()
}

func (c *respConn) send(args ...any) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		s := fmt.Sprint(a)
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(s), s)
	}
	_, err := c.conn.Write(b.Bytes())
	return err
}

func (c *respConn) receive() (any, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	return c.read()
}

func (c *respConn) read() (any, error) {
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("bad line %q", line)
	}
	body := line[1 : len(line)-2]
	switch line[0] {
	case '+':
		return body, nil
	case '-':
		return nil, respError(body)
	case ':':
		return strconv.ParseInt(body, 10, 64)
	case '$':
		return c.readBulk(body)
	case '*':
		return c.readArray(body)
	}
	return nil, fmt.Errorf("bad line %q", line)
}

func (c *respConn) readBulk(size string) (any, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 {
		return nil, err
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(c.reader, b); err != nil {
		return nil, err
	}
	return string(b[:n]), nil
}

func (c *respConn) readArray(size string) (any, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 {
		return nil, err
	}
	all := make([]any, n)
	for i := range all {
		v, err := c.read()
		if fromServer, ok := errors.AsType[respError](err); ok {
			v, err = fromServer, nil
		}
		if err != nil {
			return nil, err
		}
		all[i] = v
	}
	return all, nil
}

// expect sends one command and fails the test unless the reply prints as want; an error reply prints as its text.
func (c *respConn) expect(t *testing.T, want string, args ...any) {
	t.Helper()
	if got := c.text(args...); got != want {
		t.Fatalf("%v: got %q, want %q", args, got, want)
	}
}

// text is the reply, or the error, as a string.
func (c *respConn) text(args ...any) string {
	v, err := c.do(args...)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}

// ask sends one command over a connection of its own.
func ask(addr string, args ...any) (any, error) {
	c, err := tryDial(addr)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	return c.do(args...)
}

func askText(addr string, args ...any) string {
	v, err := ask(addr, args...)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}
