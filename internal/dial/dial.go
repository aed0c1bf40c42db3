// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package dial connects to what speaks the protocol of Redis, servers and sentinels,
// and words why one does not answer. It sends no command of its own but the password.
package dial

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// silence drops what the Redis library writes to stderr on its own: whoever asks is
// told why there is no answer.
type silence struct{}

// Printf implements the library's logger.
func (silence) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(silence{}) }

// Once returns a connection that never reconnects by itself, so that all that is said
// in it is of one process, and what closes it. It is opened with the first command. The
// password is empty for none; the timeout bounds each dial and each command.
func Once(addr, password string, timeout time.Duration) (*goredis.Conn, func()) {
	client := goredis.NewClient(&goredis.Options{
		Addr:            addr,
		Password:        password,
		DialTimeout:     timeout,
		ReadTimeout:     timeout,
		WriteTimeout:    timeout,
		Protocol:        2,
		DisableIdentity: true,
		MaxRetries:      -1,
		DialerRetries:   1,

		ContextTimeoutEnabled: true,
		PoolSize:              1,
	})
	conn := client.Conn()
	return conn, func() {
		// Both only free local resources; there is nobody to tell.
		_ = conn.Close()
		_ = client.Close()
	}
}

// Problem words why there was no answer so that it stays the same from one look to the
// next: ports of connections that change would make conditions flap.
func Problem(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	return "no answer"
}
