// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Each cluster has one /16: nodes and the host's bridge at its start, Services in its second quarter, and a /24 of pods
// for each node in its upper half.
const (
	firstOctet  = 100
	maxClusters = 60
	maxNodes    = 50
)

func networkOf(index int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(firstOctet + index), 0, 0}), 16)
}

func (c *cluster) address(third, fourth int) string {
	return fmt.Sprintf("10.%d.%d.%d", firstOctet+c.Index, third, fourth)
}

func (c *cluster) bridge() string       { return fmt.Sprintf("lk%d", c.Index) }
func (c *cluster) hostIP() string       { return c.address(0, 1) }
func (c *cluster) server() string       { return "https://" + c.hostIP() + ":6443" }
func (c *cluster) serviceCIDR() string  { return c.address(64, 0) + "/18" }
func (c *cluster) apiServiceIP() string { return c.address(64, 1) }
func (c *cluster) dnsIP() string        { return c.address(64, 10) }
func (c *cluster) podsCIDR() string     { return c.address(128, 0) + "/17" }

// loopback is where the parts of the control plane listen which nodes have no business with: every cluster has its own
// address in 127/8, so their ports never meet.
func (c *cluster) loopback() string { return fmt.Sprintf("127.%d.0.1", firstOctet+c.Index) }

func (n node) ip() string      { return n.address(0, 10+n.number) }
func (n node) podCIDR() string { return n.address(128+n.number, 0) + "/24" }
func (n node) link() string    { return fmt.Sprintf("lk%dn%d", n.Index, n.number) }

var errNoIndex = errors.New("no free network is left between 10.100.0.0/16 and 10.159.0.0/16")

// freeIndex is the lowest index which no cluster has, no link of this machine is named after, and whose network no
// route of this machine touches.
func freeIndex(used []int, links []string, routes []netip.Prefix) (int, error) {
	for index := range maxClusters {
		c := cluster{Index: index}
		network := networkOf(index)
		taken := slices.Contains(used, index) || slices.Contains(links, c.bridge()) ||
			slices.ContainsFunc(routes, network.Overlaps)
		if !taken {
			return index, nil
		}
	}
	return 0, errNoIndex
}
