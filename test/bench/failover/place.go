// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"maps"
	"slices"
)

// layout tells where the pods of the product are.
type layout struct {
	// home is the node of the clients and the witness, which is never cut.
	home string
	// nodes of all pods.
	nodes map[string]string
	// members of each group, the master first.
	members   map[int][]string
	proxies   []string
	dashboard string
}

// placement is where a fault strikes.
type placement struct {
	group int
	// node that is cut, if any.
	node string
	// promote is a replica to make the master, move a pod to delete, in the hope
	// that the fault finds its place then.
	promote, move string
	// problem is why there is no place; with a pod to promote or to move, why not yet.
	problem string
}

// place looks for the group to strike, and for the node of its master where
// nodes are cut. Other faults strike the first group.
func (l layout) place(c cut) placement {
	groups := slices.Sorted(maps.Keys(l.members))
	if len(groups) == 0 {
		return placement{problem: "there is no group"}
	}
	if c == cutNothing || c == cutWires {
		return placement{group: groups[0]}
	}
	if c == cutAlone {
		return l.alone(groups[0])
	}
	for _, group := range groups {
		if node := l.nodes[l.members[group][0]]; l.fits(c, node) {
			return placement{group: group, node: node}
		}
	}
	for _, group := range groups {
		for _, replica := range l.members[group][1:] {
			if l.fits(c, l.nodes[replica]) {
				return placement{promote: replica, problem: "no master is on a node that can be cut, only a replica"}
			}
		}
	}
	if c.proxy() {
		return placement{move: l.spare(), problem: "no member is on a node with a proxy that can be cut"}
	}
	return placement{problem: "no member is on a node that can be cut: others or clients are on all"}
}

// alone is the node of the dashboard, if nothing is there that clients need.
func (l layout) alone(group int) placement {
	node := l.nodes[l.dashboard]
	taken := node == "" || node == l.home || l.proxiesOn(node) > 0
	for _, members := range l.members {
		taken = taken || slices.ContainsFunc(members, func(m string) bool { return l.nodes[m] == node })
	}
	if taken {
		return placement{problem: "the dashboard is not alone on a node"}
	}
	return placement{group: group, node: node}
}

// fits tells whether a node may be cut, and has proxies and the dashboard if it shall.
func (l layout) fits(c cut, node string) bool {
	return node != "" && node != l.home &&
		c.proxy() == (l.proxiesOn(node) > 0) && c.dashboard() == (node == l.nodes[l.dashboard])
}

func (l layout) proxiesOn(node string) int {
	count := 0
	for _, proxy := range l.proxies {
		if l.nodes[proxy] == node {
			count++
		}
	}
	return count
}

// spare is a proxy that shares its node with another one, if there is any.
func (l layout) spare() string {
	if len(l.proxies) == 0 {
		return ""
	}
	most := slices.MaxFunc(l.proxies, func(a, b string) int {
		return cmp.Compare(l.proxiesOn(l.nodes[a]), l.proxiesOn(l.nodes[b]))
	})
	if l.proxiesOn(l.nodes[most]) < 2 {
		return ""
	}
	return most
}
