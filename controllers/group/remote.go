// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/prober"
	"github.com/codis-io/codis-operator/internal/redis"
)

// What a pass asks of others, no wider than it is used: the simulator of
// simulator_test.go stands in for all of it.

// dashboard is codis.Dashboard.
type dashboard interface {
	Stats(ctx context.Context) (*codis.Stats, error)
	Routes(ctx context.Context) ([]codis.Route, error)
	CreateGroup(ctx context.Context, group int) error
	RemoveGroup(ctx context.Context, group int) error
	AddServer(ctx context.Context, group int, addr string) error
	RemoveServer(ctx context.Context, group int, addr string) error
	Promote(ctx context.Context, group int, addr string) error
	ResyncGroup(ctx context.Context, group int) error
	HoldMoves(ctx context.Context, stats *codis.Stats) (idle bool, err error)
}

// servers is redis.Client.
type servers interface {
	Observe(ctx context.Context, addr string) redis.Observation
	MakeMaster(ctx context.Context, addr string, seen redis.Observation) error
	Follow(ctx context.Context, addr string, seen redis.Observation, master string) error
	GuardWrites(ctx context.Context, addr string, seen redis.Observation, on bool) error
	SlotsWithKeys(ctx context.Context, addr string) ([]int, error)
}

// proxies is codis.Proxies.
type proxies interface {
	Model(ctx context.Context, adminAddr string) (*codis.Proxy, error)
	Routes(ctx context.Context, adminAddr string) ([]codis.Route, error)
	FillSlots(ctx context.Context, proxy codis.Proxy, routes []codis.Route) error
}

// watcher is prober.Prober.
type watcher interface {
	Set(group types.NamespacedName, settings prober.Settings, targets []prober.Target)
	Forget(group types.NamespacedName)
	Results(group types.NamespacedName) map[string]prober.Result
	Changes() <-chan event.GenericEvent
}
