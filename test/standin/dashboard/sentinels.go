// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"slices"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
)

// sentinelsOutOfSync notes that sentinels, if there are any, know something else now.
func (d *Dashboard) sentinelsOutOfSync(v *view) error {
	if len(v.sentinel.Servers) == 0 {
		return nil
	}
	v.sentinel.OutOfSync = true
	return d.saveSentinel(v.sentinel)
}

// sentinelsForget is the part of a promotion that concerns sentinels. The monitor of the group is taken off the
// sentinels; if that fails nobody hears of it.
func (d *Dashboard) sentinelsForget(v *view, gid int) error {
	if len(v.sentinel.Servers) == 0 {
		return nil
	}
	if err := d.sentinelsOutOfSync(v); err != nil {
		return err
	}
	if err := d.sentinels.Remove(d.ctx, v.sentinel.Servers, d.cfg.SentinelClientTimeout.D(), gid); err != nil {
		d.log.Printf("group-[%d] remove sentinels failed: %v", gid, err)
	}
	delete(d.masters, gid)
	return nil
}

// AddSentinel appends a sentinel that answers. It monitors nothing yet, and nobody listens to it.
func (d *Dashboard) AddSentinel(addr string) error {
	return d.locked(func(v *view) error {
		if slices.Contains(v.sentinel.Servers, addr) {
			return rpc.Errorf("sentinel-[%s] already exists", addr)
		}
		if err := d.sentinels.FlushConfig(d.ctx, addr, d.cfg.SentinelClientTimeout.D()); err != nil {
			return err
		}
		return d.saveSentinel(&models.Sentinel{
			Servers: append(slices.Clone(v.sentinel.Servers), addr), OutOfSync: true,
		})
	})
}

// DelSentinel takes the product's monitors off a sentinel and forgets it; with force even if it does not answer. It is
// listened to until the next resync.
func (d *Dashboard) DelSentinel(addr string, force bool) error {
	return d.locked(func(v *view) error {
		if !slices.Contains(v.sentinel.Servers, addr) {
			return rpc.Errorf("sentinel-[%s] not found", addr)
		}
		if err := d.sentinelsOutOfSync(v); err != nil {
			return err
		}
		err := d.sentinels.RemoveAll(d.ctx, []string{addr}, d.cfg.SentinelClientTimeout.D())
		if err != nil {
			d.log.Printf("remove sentinel %s failed: %v", addr, err)
			if !force {
				return rpc.Errorf("remove sentinel %s failed", addr)
			}
		}
		rest := slices.DeleteFunc(slices.Clone(v.sentinel.Servers), func(s string) bool { return s == addr })
		return d.saveSentinel(&models.Sentinel{Servers: rest, OutOfSync: true})
	})
}

// ResyncSentinels makes all sentinels monitor the groups as they are, and all proxies listen to them. What sentinels
// knew is removed first; whatever fails then leaves it removed, and the list out of sync.
func (d *Dashboard) ResyncSentinels() error {
	return d.locked(func(v *view) error {
		v.sentinel.OutOfSync = true
		if err := d.saveSentinel(v.sentinel); err != nil {
			return err
		}
		servers, timeout := v.sentinel.Servers, d.cfg.SentinelClientTimeout.D()
		if err := d.sentinels.RemoveAll(d.ctx, servers, timeout); err != nil {
			d.log.Printf("remove sentinels failed: %v", err)
		}
		if err := d.sentinels.Monitor(d.ctx, servers, timeout, d.sentinelOptions(), v.masters()); err != nil {
			d.log.Printf("resync sentinels failed: %v", err)
			return err
		}
		d.rewatch(servers)
		err := d.putAll(v, "sentinels", "sentinel", func(*models.Proxy) any { return v.sentinel })
		if err != nil {
			return err
		}
		return d.saveSentinel(&models.Sentinel{Servers: servers})
	})
}

func (d *Dashboard) sentinelOptions() *sentinel.Options {
	return &sentinel.Options{
		Quorum:               d.cfg.SentinelQuorum,
		ParallelSyncs:        d.cfg.SentinelParallelSyncs,
		DownAfter:            d.cfg.SentinelDownAfter.D(),
		FailoverTimeout:      d.cfg.SentinelFailoverTimeout.D(),
		NotificationScript:   d.cfg.SentinelNotificationScript,
		ClientReconfigScript: d.cfg.SentinelClientReconfigScript,
	}
}

// rewatch listens to other sentinels than before. What the former said is forgotten only if there are none now. It runs
// with the mutex held.
func (d *Dashboard) rewatch(servers []string) {
	if d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
	if len(servers) == 0 {
		d.masters = nil
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.unwatch = cancel
	servers = slices.Clone(servers)
	d.loops.Go(func() { d.sentinels.Watch(ctx, servers, d.cfg.WatchPause, d.switchMasters) })
}

// switchMasters believes what sentinels say. Nothing is pushed to proxies, which hear of it themselves.
func (d *Dashboard) switchMasters(masters map[int]string) {
	err := d.locked(func(v *view) error {
		d.masters = masters
		known := d.sentinels.Servers(d.ctx)
		for gid, addr := range masters {
			if err := d.switchMaster(v, gid, addr, known); err != nil {
				d.log.Printf("sentinel switch group master failed: %v", err)
			}
		}
		return nil
	})
	if err != nil {
		d.log.Printf("sentinel switch masters failed: %v", err)
	}
}

// switchMaster swaps the master of a group with the member that sentinels call so, whatever else the group is in the
// middle of. An address that is not a member's, and does not lead to one either, changes nothing.
func (d *Dashboard) switchMaster(v *view, gid int, addr string, known *sentinel.Servers) error {
	g, err := v.group(gid)
	if err != nil {
		return err
	}
	index := slices.IndexFunc(g.Servers, func(x *models.GroupServer) bool { return x.Addr == addr })
	if index < 0 {
		index = slices.IndexFunc(g.Servers, func(x *models.GroupServer) bool { return known.Same(addr, x.Addr) })
	}
	switch {
	case index < 0:
		return rpc.Errorf("group-[%d] doesn't have server %s with runid = '%s'", gid, addr, known.RunID(addr))
	case index == 0:
		return nil
	}
	d.log.Printf("group-[%d] will switch master to server[%d] = %s", gid, index, g.Servers[index].Addr)
	d.staleGroup(gid)
	g.Servers[0], g.Servers[index] = g.Servers[index], g.Servers[0]
	g.OutOfSync = true
	return d.saveGroup(g)
}
