// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
)

func TestGone(t *testing.T) {
	tests := map[string]struct {
		err  error
		want bool
	}{
		"the name is not there":       {&net.DNSError{Err: "no such host", Name: "gone", IsNotFound: true}, true},
		"the name server is silent":   {&net.DNSError{Err: "i/o timeout", Name: "gone", IsTimeout: true}, false},
		"the host refuses":            {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		"there is no way to it":       {&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, false},
		"it broke off":                {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, false},
		"it says nothing in its time": {context.DeadlineExceeded, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := gone(fmt.Errorf("ask: %w", tt.err)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
