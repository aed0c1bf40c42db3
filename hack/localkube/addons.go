// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

func addons() []string { return []string{"coredns.yaml", "metrics-server.yaml", "storage.yaml"} }

// applyAddons creates what runs in every cluster. The first moments of an apiserver lack the namespace they go into, so
// it tries again for a while.
func (c *cluster) applyAddons(ctx context.Context) error {
	var all []byte
	for _, name := range addons() {
		content, err := render(name, c.values())
		if err != nil {
			return err
		}
		all = append(append(all, content...), "\n---\n"...)
	}
	return poll(ctx, 30*time.Second, 500*time.Millisecond, func(ctx context.Context) error {
		return runInput(ctx, string(all), c.binary("kubectl"), "--kubeconfig", c.kubeconfig("admin"),
			"apply", "--validate=false", "-f", "-")
	})
}
