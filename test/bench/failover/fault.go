// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Roles that pods have in a trial.
const (
	roleMaster    = "master"
	roleReplica   = "replica"
	roleProxy     = "proxy"
	roleDashboard = "dashboard"
	roleOperator  = "operator"
)

// cut says which nodes a fault can cut off.
type cut int

const (
	cutNothing cut = iota
	// cutServers is a master's node with neither proxies nor the dashboard.
	cutServers
	// cutProxy is a master's node with proxies.
	cutProxy
	// cutDashboard is a master's node with the dashboard.
	cutDashboard
	// cutBoth is a master's node with both.
	cutBoth
	// cutAlone is the dashboard's node with neither servers nor proxies.
	cutAlone
	// cutWires is anything else that only localkube can do.
	cutWires
)

func (c cut) proxy() bool { return c == cutProxy || c == cutBoth }

func (c cut) dashboard() bool { return c == cutDashboard || c == cutBoth }

// strike does harm and returns when it did. It fails too where the operator does
// not do in time what the fault waits for.
type strike func(ctx context.Context, b *bench, s *scene) (time.Time, error)

// fault is something that happens to a cluster.
type fault struct {
	name string
	// promotes tells that another master is wanted.
	promotes bool
	cuts     cut
	// all tells that the masters of all groups are struck.
	all bool
	// either tells that it is well whether or not another master is chosen.
	either bool
	// proxy tells that the proxy of the scene is struck too.
	proxy bool
	// beside tells that clients are on the node that is cut off, too.
	beside bool
	strike strike
}

// faults by the names of flag -fault.
var faults = []fault{
	{name: "crash", promotes: true, strike: signals(blow{role: roleMaster, signal: "KILL"})},
	{name: "hung", promotes: true, strike: stopped(blow{role: roleMaster, signal: "STOP"})},
	{name: "pod", promotes: true, strike: deletePod(roleMaster)},
	{name: "crashloop", promotes: true, strike: crashLoop},
	{name: "node", promotes: true, cuts: cutServers, strike: cutNode},
	{name: "node-proxy", promotes: true, cuts: cutProxy, strike: cutNode},
	{name: "node-dashboard", promotes: true, cuts: cutDashboard, strike: cutNode},
	{name: "node-both", promotes: true, cuts: cutBoth, strike: cutNode},
	{name: "partition", promotes: true, cuts: cutProxy, beside: true, strike: cutNode},
	{name: "crash+operator", promotes: true, strike: signals(
		blow{role: roleMaster, signal: "KILL"}, blow{role: roleOperator, signal: "KILL"})},
	{name: "crash+proxy", promotes: true, proxy: true, strike: signals(
		blow{role: roleMaster, signal: "KILL"}, blow{role: roleProxy, signal: "KILL"})},
	{name: "crash+hungproxy", promotes: true, proxy: true, strike: stopped(
		blow{role: roleProxy, signal: "STOP"}, blow{role: roleMaster, signal: "KILL"})},
	{name: "crash+dashboard", promotes: true, strike: signals(
		blow{role: roleMaster, signal: "KILL"}, blow{role: roleDashboard, signal: "KILL"})},
	{name: "replica", strike: signals(blow{role: roleReplica, signal: "KILL"})},
	{name: "proxy", proxy: true, strike: signals(blow{role: roleProxy, signal: "KILL"})},
	{name: "crash+moves", promotes: true, strike: crashWhileMoving},
	{name: "all", promotes: true, either: true, strike: killAll},
	{name: "switchover", promotes: true, strike: switchOver},
	{name: "rollout", promotes: true, all: true, strike: rollOut},
	{name: "blind", strike: blindOperator, cuts: cutWires},
	{name: "api", strike: freezeAPI, cuts: cutWires},
	{name: "stalls", strike: stalls},
	{name: "dashboard", strike: untilUsable(signals(blow{role: roleDashboard, signal: "KILL"}))},
	{name: "dashboard-hung", strike: untilUsable(signals(blow{role: roleDashboard, signal: "STOP"}))},
	{name: "dashboard-container", strike: untilUsable(signals(
		blow{role: roleDashboard, signal: "KILL", container: true}))},
	{name: "dashboard-pod", strike: untilUsable(deletePod(roleDashboard))},
	{name: "dashboard-cut", cuts: cutAlone, strike: cutDashboardNode},
	{name: "stall", strike: signals(blow{role: roleMaster, signal: "STOP", length: 600 * time.Millisecond})},
}

func faultNames() []string {
	names := make([]string, 0, len(faults))
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// findFaults reads names with commas between them.
func findFaults(names string) ([]fault, error) {
	var found []fault
	for name := range strings.SplitSeq(names, ",") {
		at := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if at < 0 {
			return nil, fmt.Errorf("no fault %q: there are %s", name, strings.Join(faultNames(), ", "))
		}
		found = append(found, faults[at])
	}
	return found, nil
}
