// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestProblemIsTheSameFromOneLookToTheNext(t *testing.T) {
	at := func(port int, err error) error {
		return fmt.Errorf("ask: %w", &net.OpError{
			Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: port}, Err: os.NewSyscallError("connect", err),
		})
	}
	tests := map[string]struct {
		err  error
		want string
	}{
		"nobody listens":          {at(40001, syscall.ECONNREFUSED), "connection refused"},
		"the network is too slow": {at(40002, syscall.ETIMEDOUT), "no answer in time"},
		"the deadline is over":    {fmt.Errorf("ask: %w", context.DeadlineExceeded), "no answer in time"},
		"the connection breaks":   {at(40003, syscall.ECONNRESET), "no answer"},
		"the answer ends early":   {io.ErrUnexpectedEOF, "no answer"},
		"it is an error reply":    {errors.New("ERR unknown command"), "no answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Problem(tt.err); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// A connection that is made anew would be to another process.
func TestOnceConnectsOnce(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 8)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- struct{}{}
			_ = conn.Close()
		}
	}()
	conn, done := Once(listener.Addr().String(), "", 5*time.Second)
	for range 2 {
		if err := conn.Ping(t.Context()).Err(); err == nil {
			t.Error("somebody answered")
		}
	}
	done()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for range accepted {
		count++
	}
	if count != 1 {
		t.Errorf("connected %d times", count)
	}
}
