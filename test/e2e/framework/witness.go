// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"fmt"
	"time"

	"github.com/codis-io/codis-operator/test/client/observer"
)

// Witness sees all that happens to a product: ten times a second it asks the
// dashboard and every server, from inside the cluster.
type Witness struct {
	cluster  *Cluster
	follower *follower[observer.Observation]
}

// StartWitness starts a witness of a dashboard; the Secret holds the product's
// password.
func (c *Cluster) StartWitness(ctx context.Context, namespace, dashboard, secret string) (*Witness, error) {
	return c.StartWitnessOn(ctx, "", namespace, dashboard, secret)
}

// StartWitnessOn starts a witness on a node.
func (c *Cluster) StartWitnessOn(ctx context.Context, node, namespace, dashboard, secret string) (*Witness, error) {
	address := fmt.Sprintf("%[1]s-dashboard-0.%[1]s-dashboard.%[2]s.svc:18080", dashboard, namespace)
	pod := clientPod(namespace, "witness", dashboard, "observe", "-dashboard", address)
	pod.Spec.NodeName = node
	addPassword(pod, secret)
	f, err := follow[observer.Observation](ctx, c, pod)
	if err != nil {
		return nil, fmt.Errorf("start witness: %w", err)
	}
	return &Witness{cluster: c, follower: f}, nil
}

// Last is what was seen last.
func (w *Witness) Last() (observer.Observation, error) {
	seen, err := w.follower.all()
	if len(seen) == 0 {
		return observer.Observation{Problem: "nothing seen yet"}, err
	}
	return seen[len(seen)-1], err
}

// Since returns what was seen after a moment.
func (w *Witness) Since(moment time.Time) ([]observer.Observation, error) {
	seen, err := w.follower.all()
	for i := range seen {
		if seen[i].Time.After(moment) {
			return seen[i:], err
		}
	}
	return nil, err
}

// Stop ends the witness.
func (w *Witness) Stop(ctx context.Context) error { return w.follower.stop(ctx, w.cluster) }
