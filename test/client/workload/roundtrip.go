// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Target is where requests go.
type Target struct {
	Address  string
	Password string
	// Timeout of the connect and of each request.
	Timeout time.Duration
}

// Dial opens one connection to the target.
func (t Target) Dial(ctx context.Context) (*Conn, error) {
	return Dial(ctx, t.Address, t.Password, t.Timeout)
}

// Key is the name of the numbered key of a writer; numbers spread over all slots.
func Key(prefix string, writer, number int) string {
	return fmt.Sprintf("%s:%d:%d", prefix, writer, number)
}

// Value is what the numbered key holds, of at least size bytes.
func Value(prefix string, writer, number, size int) string {
	value := "value of " + Key(prefix, writer, number)
	for len(value) < size {
		value += " " + value
	}
	return value
}

// Roundtrip writes keys, reads all of them back and compares. Until patience is
// over, it tries again what fails.
func Roundtrip(ctx context.Context, t Target, prefix string, keys int, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, pass := range []func(*Conn, int) error{
		func(c *Conn, number int) error { return write(c, prefix, number) },
		func(c *Conn, number int) error { return readBack(c, prefix, number) },
	} {
		if err := each(ctx, t, keys, pass); err != nil {
			return err
		}
	}
	return nil
}

func write(c *Conn, prefix string, number int) error {
	_, err := c.Do("SET", Key(prefix, 0, number), Value(prefix, 0, number, 0))
	return err
}

func readBack(c *Conn, prefix string, number int) error {
	return check(c, prefix, 0, number, 0)
}

// errWrongValue says that a key holds what was not written last.
var errWrongValue = errors.New("wrong value")

// check reads a numbered key and compares it with what was written.
func check(c *Conn, prefix string, writer, number, size int) error {
	key := Key(prefix, writer, number)
	value, err := c.Do("GET", key)
	switch {
	case err != nil:
		return err
	case value == nil:
		return fmt.Errorf("%w: %s is missing", errWrongValue, key)
	case *value != Value(prefix, writer, number, size):
		return fmt.Errorf("%w: %s holds %.100q", errWrongValue, key, *value)
	}
	return nil
}

// pause lies between two attempts.
const pause = 20 * time.Millisecond

// each does something for every number on one connection at a time. What fails
// is tried again on a new connection, but a wrong value is final.
func each(ctx context.Context, t Target, keys int, do func(*Conn, int) error) error {
	var conn *Conn
	defer func() { drop(conn) }()
	var last error // why the last attempt failed that had its time
	for number := 0; number < keys; {
		var err error
		if conn == nil {
			conn, err = t.Dial(ctx)
		}
		if err == nil {
			err = do(conn, number)
		}
		switch {
		case err == nil:
			number++
		case errors.Is(err, errWrongValue):
			return err
		default:
			drop(conn)
			conn = nil
			if last == nil || ctx.Err() == nil {
				last = err
			}
			if rest(ctx, pause) != nil {
				return fmt.Errorf("key %d of %d: %w", number, keys, last)
			}
		}
	}
	return nil
}

// drop closes a connection of which nothing is expected any more.
func drop(c *Conn) {
	if c != nil {
		_ = c.Close() // it is broken or done with
	}
}

// rest waits, or returns why it must not.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
