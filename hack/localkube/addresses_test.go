// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestFreeIndex(t *testing.T) {
	prefix := netip.MustParsePrefix
	var all []int
	for i := range maxClusters {
		all = append(all, i)
	}
	tests := map[string]struct {
		used   []int
		links  []string
		routes []netip.Prefix
		want   int
		err    error
	}{
		"the first cluster has the first network":     {want: 0},
		"another cluster's network is left alone":     {used: []int{0, 2}, want: 1},
		"a bridge without a state file counts":        {links: []string{"lo", "lk0"}, want: 1},
		"a link of a node does not":                   {links: []string{"lk0n1"}, want: 0},
		"a route into a network takes it":             {routes: []netip.Prefix{prefix("10.100.7.0/24")}, want: 1},
		"a route around a network takes it":           {routes: []netip.Prefix{prefix("10.100.0.0/15")}, want: 2},
		"a machine within 10/8 has no network left":   {routes: []netip.Prefix{prefix("10.0.0.0/8")}, err: errNoIndex},
		"as many clusters as there may be leave none": {used: all, err: errNoIndex},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := freeIndex(tt.used, tt.links, tt.routes)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %d, %v, want %d, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestNothingOverlaps takes all there may be and looks for an address in two ranges, or a name used twice.
func TestNothingOverlaps(t *testing.T) {
	names, ranges := map[string]bool{}, map[string]netip.Prefix{}
	claim := func(name string) {
		if names[name] || len(name) > 15 {
			t.Fatalf("the link %s is taken or too long", name)
		}
		names[name] = true
	}
	for index := range maxClusters {
		c := &cluster{Name: "x", Index: index, Nodes: maxNodes}
		claim(c.bridge())
		nodesNetwork := netip.MustParsePrefix(c.hostIP() + "/24").Masked()
		ranges[fmt.Sprint(index, "nodes")] = nodesNetwork
		ranges[fmt.Sprint(index, "services")] = netip.MustParsePrefix(c.serviceCIDR())
		pods := netip.MustParsePrefix(c.podsCIDR())
		for _, n := range c.nodes() {
			claim(n.link())
			podNetwork := netip.MustParsePrefix(n.podCIDR())
			ranges[fmt.Sprint(index, n.nodeName())] = podNetwork
			if !pods.Overlaps(podNetwork) || podNetwork.Bits() < pods.Bits() {
				t.Fatalf("%s is not within %s", podNetwork, pods)
			}
			if ip := netip.MustParseAddr(n.ip()); !nodesNetwork.Contains(ip) || n.ip() == c.hostIP() {
				t.Fatalf("%s is no node's address in %s", ip, nodesNetwork)
			}
		}
		if !netip.MustParsePrefix(c.serviceCIDR()).Contains(netip.MustParseAddr(c.dnsIP())) {
			t.Fatalf("%s is no Service's address", c.dnsIP())
		}
	}
	sorted := make([]netip.Prefix, 0, len(ranges))
	for name, r := range ranges {
		if r != r.Masked() {
			t.Fatalf("%s: %s is no network", name, r)
		}
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for i := range sorted[1:] {
		if sorted[i].Overlaps(sorted[i+1]) {
			t.Fatalf("%s overlaps %s", sorted[i], sorted[i+1])
		}
	}
}

func TestParseRoutes(t *testing.T) {
	text := "default via 192.0.2.1 dev eth0\n" +
		"192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2\n" +
		"10.200.3.4 via 192.0.2.9 dev eth0\n" +
		"blackhole 10.7.0.0/16\n" +
		"broadcast 192.0.2.255 dev eth0 table local\n\n"
	var got []string
	for _, route := range parseRoutes(text) {
		got = append(got, route.String())
	}
	want := []string{"192.0.2.0/24", "10.200.3.4/32", "10.7.0.0/16", "192.0.2.255/32"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
