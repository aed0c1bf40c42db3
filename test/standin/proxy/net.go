// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
)

const (
	minBuffer = 4 << 10
	maxKept   = 1 << 20
)

func keepAlive(conn net.Conn, period time.Duration) {
	if c, ok := conn.(*net.TCPConn); ok && period > 0 {
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: period, Interval: period})
	}
}

// setTimeout sets a deadline; 0 means none. Failures show at the next use of the connection.
func setTimeout(set func(time.Time) error, timeout time.Duration) {
	if timeout == 0 {
		return
	}
	_ = set(time.Now().Add(timeout))
}

func bufferSize(s conf.Size) int { return max(minBuffer, int(s)) }

// shrink empties an output buffer, and drops it if one large message made it grow.
func shrink(b []byte) []byte {
	if cap(b) > maxKept {
		return nil
	}
	return b[:0]
}
