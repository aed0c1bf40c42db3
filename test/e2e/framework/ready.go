// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Ready tells whether a CodisCluster says that it is ready as it is now.
func Ready(c *v1alpha1.CodisCluster) bool {
	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == "True" && ready.ObservedGeneration == c.Generation
}

// WatchReady waits until a CodisCluster is ready and returns when a watch showed it.
func (c *Cluster) WatchReady(ctx context.Context, namespace, name string) (time.Time, error) {
	events, err := c.Watch(ctx, &v1alpha1.CodisClusterList{}, client.InNamespace(namespace))
	if err != nil {
		return time.Time{}, fmt.Errorf("watch: %w", err)
	}
	defer events.Stop()
	last := errors.New("it was not seen")
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("CodisCluster %s is not ready: %w; %w", name, last, ctx.Err())
		case event, open := <-events.ResultChan():
			if !open || event.Type == watch.Error {
				return time.Time{}, fmt.Errorf("watch of CodisCluster %s ended: %v", name, event.Object)
			}
			cluster, ok := event.Object.(*v1alpha1.CodisCluster)
			if !ok || cluster.Name != name || event.Type == watch.Deleted {
				continue
			}
			if Ready(cluster) {
				return time.Now(), nil
			}
			if ready := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
				last = errors.New(ready.Message)
			}
		}
	}
}
