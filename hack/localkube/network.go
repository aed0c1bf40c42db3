// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// The network is one bridge on the host, a link from it into each node's network namespace, and a /24 of pods behind
// each node, routed rather than bridged: pods are joined to their node point to point, so what one pod sends to another
// on the same node also passes the node's packet filter, and Services work without br_netfilter.

// createBridge makes the host's end. Its alias says whose it is, should the state file be lost.
func (c *cluster) createBridge(ctx context.Context) error {
	lines := []string{
		fmt.Sprintf("link add %s type bridge", c.bridge()),
		fmt.Sprintf("link set %s alias %s", c.bridge(), c.alias()),
		fmt.Sprintf("addr add %s/24 dev %s", c.hostIP(), c.bridge()),
		fmt.Sprintf("link set %s up", c.bridge()),
	}
	for _, n := range c.nodes() {
		lines = append(lines, fmt.Sprintf("route add %s via %s dev %s", n.podCIDR(), n.ip(), c.bridge()))
	}
	first := c.nodes()[0]
	lines = append(lines, fmt.Sprintf("route add %s via %s dev %s", c.serviceCIDR(), first.ip(), c.bridge()))
	return ipBatch(ctx, nil, lines)
}

func (c *cluster) alias() string { return "localkube:" + c.Name }

// connect links a node's namespace to the bridge and gives it its routes. It gets none to anywhere outside the
// cluster: what is sent there fails at once instead of leaving this machine.
func (n node) connect(ctx context.Context, pid int) error {
	outside := []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", n.link(), pid),
		fmt.Sprintf("link set %s alias %s", n.link(), n.alias()),
		fmt.Sprintf("link set %s master %s", n.link(), n.bridge()),
		fmt.Sprintf("link set %s up", n.link()),
	}
	if err := ipBatch(ctx, nil, outside); err != nil {
		return err
	}
	inside := []string{
		"link set lo up",
		fmt.Sprintf("addr add %s/24 dev eth0", n.ip()),
		"link set eth0 up",
		fmt.Sprintf("route add %s via %s dev eth0", n.serviceCIDR(), n.hostIP()),
	}
	for _, other := range n.nodes() {
		if other.number != n.number {
			inside = append(inside, fmt.Sprintf("route add %s via %s dev eth0", other.podCIDR(), other.ip()))
		}
	}
	return ipBatch(ctx, enterNetwork(pid), inside)
}

// ipBatch runs many ip commands in one process, after the words of prefix.
func ipBatch(ctx context.Context, prefix, lines []string) error {
	words := slices.Concat(prefix, []string{"ip", "-batch", "-"})
	return runInput(ctx, strings.Join(lines, "\n")+"\n", words[0], words[1:]...)
}

func enterNetwork(pid int) []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), "--"}
}

// removeLinks removes a cluster's links, found by their alias; routes go with them.
func (c *cluster) removeLinks(ctx context.Context) error {
	for _, link := range linksWithAlias(c.alias()) {
		if err := runQuiet(ctx, "ip", "link", "del", link); err != nil && linkExists(link) {
			return err
		}
	}
	return nil
}

func linksWithAlias(alias string) []string {
	var found []string
	for _, link := range hostLinks() {
		content, err := os.ReadFile("/sys/class/net/" + link + "/ifalias")
		if err == nil && strings.TrimSpace(string(content)) == alias {
			found = append(found, link)
		}
	}
	return found
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func hostLinks() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var names []string
	for _, i := range interfaces {
		names = append(names, i.Name)
	}
	return names
}

// hostRoutes are the networks this machine has a route to, the default one left out.
func hostRoutes(ctx context.Context) ([]netip.Prefix, error) {
	out, err := exec.CommandContext(ctx, "ip", "-4", "route", "show", "table", "all").Output()
	if err != nil {
		return nil, fmt.Errorf("ip route: %w", err)
	}
	return parseRoutes(string(out)), nil
}

func parseRoutes(text string) []netip.Prefix {
	var routes []netip.Prefix
	for line := range strings.Lines(text) {
		for _, word := range strings.Fields(line)[:min(2, len(strings.Fields(line)))] {
			if prefix, err := netip.ParsePrefix(word); err == nil && prefix.Bits() > 0 {
				routes = append(routes, prefix)
			} else if address, err := netip.ParseAddr(word); err == nil {
				routes = append(routes, netip.PrefixFrom(address, address.BitLen()))
			}
		}
	}
	return routes
}
