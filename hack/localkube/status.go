// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// printStatus prints each node and each process of the cluster, one a line.
func (c *cluster) printStatus(ctx context.Context) error {
	fmt.Printf("cluster %s: %s, kubeconfig %s\n", c.Name, c.server(), c.kubeconfig("admin"))
	ready := map[string]bool{}
	api, err := c.client()
	if err == nil {
		ready, err = api.readyNodes(ctx)
	}
	if err != nil {
		fmt.Println("apiserver: does not answer:", err)
	}
	for _, n := range c.nodes() {
		fmt.Printf("%-12s %-15s pods %-16s %-9s link %s\n", n.nodeName(), n.ip(), n.podCIDR(),
			choose(ready[n.nodeName()], "Ready", "NotReady"), linkState(n.link()))
	}
	for _, p := range c.Processes {
		fmt.Printf("%-26s pid %-8d %s\n", p.Name, p.PID, choose(p.alive(), "running", "ended"))
	}
	return nil
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// linkState is up, or down for a node that was cut off.
func linkState(link string) string {
	content, err := os.ReadFile("/sys/class/net/" + link + "/operstate")
	if err != nil {
		return "missing"
	}
	return strings.TrimSpace(string(content))
}
