// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

const hostLookupTimeout = 30 * time.Millisecond

// Listen opens the listener of a process.
func Listen(network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(context.Background(), network, addr)
}

// ResolveFunc resolves host:port.
type ResolveFunc func(network, addr string) (*net.TCPAddr, error)

// Announce decides the address a process is known by: host verbatim if it resolves to a usable address, else the
// listen address, with an unspecified IP replaced by the host's name or first address.
func Announce(network, listen, host string, resolve ResolveFunc) (string, error) {
	if network == "unix" || network == "unixpacket" {
		if host != "" {
			return host, nil
		}
		return listen, nil
	}
	addr, replace := host, false
	if host == "" {
		addr, replace = listen, true
	}
	if resolve == nil {
		resolve = net.ResolveTCPAddr
	}
	a, err := resolve(network, addr)
	if err != nil {
		return "", Trace(err)
	}
	if a.Port != 0 && !a.IP.IsUnspecified() {
		return addr, nil
	}
	if a.Port != 0 && replace {
		if name := announcedHost(); name != "" {
			return net.JoinHostPort(name, strconv.Itoa(a.Port)), nil
		}
	}
	return "", Trace(fmt.Errorf("resolve address '%s' to '%s'", addr, a))
}

func announcedHost() string {
	name, err := os.Hostname()
	if err == nil && resolvesGlobally(name) {
		return name
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

func resolvesGlobally(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), hostLookupTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", name)
	if err != nil {
		return false
	}
	for _, ip := range ips {
		if ip.IsGlobalUnicast() {
			return true
		}
	}
	return false
}
