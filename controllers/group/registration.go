// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"github.com/codis-io/codis-operator/internal/codis"
)

// registration is what the dashboard has to be told about a group.
type registration struct {
	// create tells that the dashboard does not know the group.
	create bool
	// add are addresses to add, in order; the first of a new group becomes master.
	add []string
	// remove are addresses to take out; never the master.
	remove []string
	// resync tells that the proxies may not know the group's routes.
	resync bool
}

// done tells that the dashboard knows what it should.
func (r registration) done() bool {
	return !r.create && len(r.add) == 0 && len(r.remove) == 0 && !r.resync
}

// planRegistration compares what the dashboard knows of a group with the
// addresses that it should know, the master first. It is pure. The order of
// known servers is left alone: only a promotion changes it.
func planRegistration(known *codis.Group, wanted []string) registration {
	if known == nil {
		return registration{create: true, add: wanted}
	}
	plan := registration{resync: known.OutOfSync && known.Promoting.State == ""}
	addresses := addressesOf(known)
	for _, addr := range wanted {
		if !slices.Contains(addresses, addr) {
			plan.add = append(plan.add, addr)
		}
	}
	for i, addr := range addresses {
		if i > 0 && !slices.Contains(wanted, addr) {
			plan.remove = append(plan.remove, addr)
		}
	}
	return plan
}

func addressesOf(known *codis.Group) []string {
	if known == nil {
		return nil
	}
	addresses := make([]string, 0, len(known.Servers))
	for _, server := range known.Servers {
		addresses = append(addresses, server.Addr)
	}
	return addresses
}

// replicasToRun tells how many members the StatefulSet must run: a member goes
// only after the dashboard forgot it, and the master never goes. A dashboard
// that knows nobody has lost its store: any member may be the master.
func replicasToRun(wanted int, known []string, addrOf func(ordinal int) string, running int) int {
	if len(known) == 0 {
		return max(wanted, running)
	}
	replicas := wanted
	for ordinal := wanted; ordinal < running; ordinal++ {
		if slices.Contains(known, addrOf(ordinal)) {
			replicas = ordinal + 1
		}
	}
	return replicas
}
