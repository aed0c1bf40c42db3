// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package memnet gives names to listeners on the loopback interface, so that whole clusters with DNS names run in one
// process. Pass Dial to whatever dials.
package memnet

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Network maps names to listeners. The zero value is empty and ready.
type Network struct {
	mu    sync.Mutex
	addrs map[string]string
	holes map[string]bool
}

// Listen opens a listener for a name of the form host:port. A later Listen for the same name replaces it, as a pod
// that comes back does.
func (n *Network) Listen(name string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addrs == nil {
		n.addrs = map[string]string{}
	}
	n.addrs[name] = l.Addr().String()
	return l, nil
}

// Forget removes a name, as when a pod is gone for good.
func (n *Network) Forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.addrs, name)
}

// Blackhole makes new connections to a name hang, or undoes it, as when a node is lost.
func (n *Network) Blackhole(name string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holes == nil {
		n.holes = map[string]bool{}
	}
	n.holes[name] = on
}

// Resolve looks a name up, for those who have to hand on addresses. What is listened on now is what it gives, also to
// those who dial it later.
func (n *Network) Resolve(network, name string) (*net.TCPAddr, error) {
	n.mu.Lock()
	addr, known := n.addrs[name]
	n.mu.Unlock()
	if !known {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return net.ResolveTCPAddr(network, addr)
}

// Dial connects to a name. What is not a name is taken for an address.
func (n *Network) Dial(ctx context.Context, network, name string) (net.Conn, error) {
	n.mu.Lock()
	addr, known := n.addrs[name]
	hole := n.holes[name]
	n.mu.Unlock()
	if hole {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: context.Cause(ctx)}
	}
	if !known {
		host, _, err := net.SplitHostPort(name)
		if err != nil || net.ParseIP(host) == nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("lookup " + host + ": no such host")}
		}
		addr = name
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}
