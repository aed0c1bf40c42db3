// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"slices"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// Sentinels are only a list here: they are probed, stored and pushed to proxies, but nothing is monitored on them and
// nobody listens to them.

func (d *Dashboard) sentinel(addr string, timeout time.Duration, do func(c *resp.Client) error) error {
	c, err := resp.Dial(d.ctx, d.cfg.Dial, addr, "", timeout)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

func flushConfig(c *resp.Client) error {
	_, err := c.Do("SENTINEL", "flushconfig")
	return err
}

// sentinelsOutOfSync notes that sentinels, if there are any, know something else now.
func (d *Dashboard) sentinelsOutOfSync(v *view) error {
	if len(v.sentinel.Servers) == 0 {
		return nil
	}
	d.staleSentinel()
	v.sentinel.OutOfSync = true
	return d.saveSentinel(v.sentinel)
}

// sentinelsForget is the part of a promotion that concerns sentinels. The monitor of the group is taken off the
// sentinels; if that fails nobody hears of it.
func (d *Dashboard) sentinelsForget(v *view, gid int) error {
	if err := d.sentinelsOutOfSync(v); err != nil {
		return err
	}
	for _, addr := range v.sentinel.Servers {
		err := d.sentinel(addr, d.cfg.SentinelClientTimeout.D(), func(c *resp.Client) error {
			_, err := c.Do("SENTINEL", "remove", fmt.Sprintf("%s-%d", d.cfg.ProductName, gid))
			return err
		})
		if err != nil {
			d.log.Printf("group-[%d] remove sentinels failed: %v", gid, err)
		}
	}
	return nil
}

// AddSentinel appends a sentinel that answers.
func (d *Dashboard) AddSentinel(addr string) error {
	return d.locked(func(v *view) error {
		if slices.Contains(v.sentinel.Servers, addr) {
			return rpc.Errorf("sentinel-[%s] already exists", addr)
		}
		if err := d.sentinel(addr, d.cfg.SentinelClientTimeout.D(), flushConfig); err != nil {
			return err
		}
		return d.saveSentinel(&models.Sentinel{
			Servers: append(slices.Clone(v.sentinel.Servers), addr), OutOfSync: true,
		})
	})
}

// DelSentinel removes a sentinel; with force even one that does not answer.
func (d *Dashboard) DelSentinel(addr string, force bool) error {
	return d.locked(func(v *view) error {
		if !slices.Contains(v.sentinel.Servers, addr) {
			return rpc.Errorf("sentinel-[%s] not found", addr)
		}
		if err := d.sentinelsOutOfSync(v); err != nil {
			return err
		}
		err := d.sentinel(addr, d.cfg.SentinelClientTimeout.D(), flushConfig)
		if err != nil && !force {
			return rpc.Errorf("remove sentinel %s failed", addr)
		}
		rest := slices.DeleteFunc(slices.Clone(v.sentinel.Servers), func(s string) bool { return s == addr })
		return d.saveSentinel(&models.Sentinel{Servers: rest, OutOfSync: true})
	})
}

// ResyncSentinels makes sure that all sentinels answer and pushes their list to all proxies.
func (d *Dashboard) ResyncSentinels() error {
	return d.locked(func(v *view) error {
		d.staleSentinel()
		v.sentinel.OutOfSync = true
		if err := d.saveSentinel(v.sentinel); err != nil {
			return err
		}
		for _, addr := range v.sentinel.Servers {
			if err := d.sentinel(addr, d.cfg.SentinelClientTimeout.D(), flushConfig); err != nil {
				d.log.Printf("resync sentinel %s failed: %v", addr, err)
				return err
			}
		}
		for _, p := range v.proxies {
			if err := d.rpc.Put(p.AdminAddr, d.proxyCall(p, "sentinels"), v.sentinel); err != nil {
				return rpc.Errorf("proxy-[%s] sentinel failed", p.Token)
			}
		}
		return d.saveSentinel(&models.Sentinel{Servers: v.sentinel.Servers})
	})
}
