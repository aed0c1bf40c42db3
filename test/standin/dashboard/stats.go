// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
)

const (
	pollTimeout       = time.Second
	statsRedisTimeout = 5 * time.Second
)

// ServerStats is the last poll of a server or sentinel.
type ServerStats struct {
	Stats map[string]string `json:"stats,omitempty"`
	Error *rpc.RemoteError  `json:"error,omitempty"`
	// Sentinel is what a sentinel monitors of this product, by monitor.
	Sentinel map[string]*sentinel.Group `json:"sentinel,omitempty"`
	UnixTime int64                      `json:"unixtime"`
	Timeout  bool                       `json:"timeout,omitempty"`
}

// ProxyStats is the last poll of a proxy.
type ProxyStats struct {
	Stats    *models.ProxyStats `json:"stats,omitempty"`
	Error    *rpc.RemoteError   `json:"error,omitempty"`
	UnixTime int64              `json:"unixtime"`
	Timeout  bool               `json:"timeout,omitempty"`
}

// GroupStats are groups and what their servers answered.
type GroupStats struct {
	Models []*models.Group         `json:"models"`
	Stats  map[string]*ServerStats `json:"stats"`
}

// ProxiesStats are proxies by token and what they answered.
type ProxiesStats struct {
	Models []*models.Proxy        `json:"models"`
	Stats  map[string]*ProxyStats `json:"stats"`
}

// Progress is the last line of migration.
type Progress struct {
	Status string `json:"status"`
}

// SlotActionStats is the state of migration.
type SlotActionStats struct {
	Interval int64    `json:"interval"`
	Disabled bool     `json:"disabled"`
	Progress Progress `json:"progress"`
	Executor int64    `json:"executor"`
}

// SentinelStats are sentinels and what they answered. Masters are those they told last, by group.
type SentinelStats struct {
	Model   *models.Sentinel        `json:"model"`
	Stats   map[string]*ServerStats `json:"stats"`
	Masters map[string]string       `json:"masters"`
}

// Stats is the answer to /topom/stats.
type Stats struct {
	Closed     bool                  `json:"closed"`
	Slots      []*models.SlotMapping `json:"slots"`
	Group      GroupStats            `json:"group"`
	Proxy      ProxiesStats          `json:"proxy"`
	SlotAction SlotActionStats       `json:"slot_action"`
	Sentinels  SentinelStats         `json:"sentinels"`
}

// Overview is the answer to /topom.
type Overview struct {
	Version string        `json:"version"`
	Compile string        `json:"compile"`
	Config  *Settings     `json:"config,omitempty"`
	Model   *models.Topom `json:"model,omitempty"`
	Stats   *Stats        `json:"stats,omitempty"`
}

// Stats returns a copy of everything the dashboard knows. A server or proxy without an entry was not polled yet.
func (d *Dashboard) Stats() (*Stats, error) {
	var s *Stats
	err := d.locked(func(v *view) error {
		servers := *v.sentinel
		s = &Stats{
			Closed:     d.closed,
			Group:      GroupStats{Models: []*models.Group{}, Stats: map[string]*ServerStats{}},
			Proxy:      ProxiesStats{Models: []*models.Proxy{}, Stats: d.proxyStats},
			SlotAction: d.slotActionStats(),
			Sentinels: SentinelStats{
				Model: &servers, Stats: map[string]*ServerStats{}, Masters: sentinel.ByGroup(d.masters),
			},
		}
		for _, m := range v.slots {
			c := *m
			s.Slots = append(s.Slots, &c)
		}
		for _, gid := range slices.Sorted(maps.Keys(v.groups)) {
			g := v.groups[gid].Clone()
			s.Group.Models = append(s.Group.Models, g)
			for _, x := range g.Servers {
				d.copyServerStats(s.Group.Stats, x.Addr)
			}
		}
		for _, p := range v.proxies {
			c := *p
			s.Proxy.Models = append(s.Proxy.Models, &c)
		}
		slices.SortFunc(s.Proxy.Models, func(a, b *models.Proxy) int { return a.ID - b.ID })
		for _, addr := range servers.Servers {
			d.copyServerStats(s.Sentinels.Stats, addr)
		}
		return nil
	})
	return s, err
}

func (d *Dashboard) slotActionStats() SlotActionStats {
	return SlotActionStats{
		Interval: d.interval.Load(), Disabled: d.disabled.Load(),
		Progress: Progress{Status: *d.progress.Load()}, Executor: d.executor.Load(),
	}
}

func (d *Dashboard) copyServerStats(to map[string]*ServerStats, addr string) {
	if x := d.serverStats[addr]; x != nil {
		to[addr] = x
	}
}

// Overview returns everything at once.
func (d *Dashboard) Overview() (*Overview, error) {
	stats, err := d.Stats()
	if err != nil {
		return nil, err
	}
	return &Overview{
		Version: models.Version, Compile: models.Compile, Config: &d.cfg.Settings, Model: d.model, Stats: stats,
	}, nil
}

// Slots returns all routes as a proxy without replicas near it would get them.
func (d *Dashboard) Slots() (slots []*models.Slot, err error) {
	err = d.locked(func(v *view) error {
		slots = v.routes(v.slots, nil)
		return nil
	})
	return slots, err
}

// pollAll polls each key at once and waits until all have answered or run out of time.
func pollAll[T any](keys []string, poll func(key string) T) map[string]T {
	var wg sync.WaitGroup
	var mu sync.Mutex
	results := map[string]T{}
	for _, key := range keys {
		wg.Go(func() {
			x := poll(key)
			mu.Lock()
			defer mu.Unlock()
			results[key] = x
		})
	}
	wg.Wait()
	return results
}

// within runs do, and gives up on it after the poll timeout. A late do ends by itself.
func within[T any](d *Dashboard, do func() T) (x T, ok bool) {
	done := make(chan T, 1)
	d.loops.Go(func() { done <- do() })
	timer := time.NewTimer(pollTimeout)
	defer timer.Stop()
	select {
	case x = <-done:
		return x, true
	case <-timer.C:
		return x, false
	}
}

// StepStats polls everything once, as the background loops do, for somebody whose Period keeps them from running.
func (d *Dashboard) StepStats() {
	for _, refresh := range []func() error{d.refreshServers, d.refreshProxies} {
		if err := refresh(); err != nil {
			d.log.Printf("refresh: %v", err)
		}
	}
}

func (d *Dashboard) refreshServers() error {
	servers, sentinels := []string{}, []string{}
	err := d.locked(func(v *view) error {
		for _, g := range v.groups {
			for _, x := range g.Servers {
				servers = append(servers, x.Addr)
			}
		}
		sentinels = append(sentinels, v.sentinel.Servers...)
		return nil
	})
	if err != nil {
		return nil
	}
	stats := pollAll(append(servers, sentinels...), func(addr string) *ServerStats {
		x, ok := within(d, func() *ServerStats {
			if slices.Contains(sentinels, addr) {
				return d.pollSentinel(addr)
			}
			return d.pollServer(addr)
		})
		if !ok {
			x = &ServerStats{Timeout: true}
		}
		x.UnixTime = time.Now().Unix()
		return x
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serverStats = stats
	return nil
}

func (d *Dashboard) pollServer(addr string) *ServerStats {
	c, err := d.statsPool.Get(addr)
	if err != nil {
		return &ServerStats{Error: rpc.NewRemoteError(err)}
	}
	defer d.statsPool.Put(addr, c)
	info, err := c.InfoFull()
	if err != nil {
		return &ServerStats{Error: rpc.NewRemoteError(err)}
	}
	return &ServerStats{Stats: info}
}

func (d *Dashboard) pollSentinel(addr string) *ServerStats {
	c, err := d.sentinelPool.Get(addr)
	if err != nil {
		return &ServerStats{Error: rpc.NewRemoteError(err)}
	}
	defer d.sentinelPool.Put(addr, c)
	info, err := c.Info()
	if err != nil {
		return &ServerStats{Error: rpc.NewRemoteError(err)}
	}
	groups, err := d.sentinels.Monitored(c)
	if err != nil {
		return &ServerStats{Error: rpc.NewRemoteError(err)}
	}
	return &ServerStats{Stats: info, Sentinel: groups}
}

// refreshProxies polls all proxies, and brings back online those that were restarted under the same token.
func (d *Dashboard) refreshProxies() error {
	proxies := map[string]*models.Proxy{}
	err := d.locked(func(v *view) error {
		for token, p := range v.proxies {
			c := *p
			proxies[token] = &c
		}
		return nil
	})
	if err != nil {
		return nil
	}
	stats := pollAll(slices.Collect(maps.Keys(proxies)), func(token string) *ProxyStats {
		x, ok := within(d, func() *ProxyStats { return d.pollProxy(proxies[token]) })
		if !ok {
			x = &ProxyStats{Timeout: true}
		}
		x.UnixTime = time.Now().Unix()
		if x.Stats != nil && !x.Stats.Online && !x.Stats.Closed {
			d.loops.Go(func() { d.onlineAgain(proxies[token]) })
		}
		return x
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proxyStats = stats
	return nil
}

func (d *Dashboard) onlineAgain(p *models.Proxy) {
	if err := d.OnlineProxy(p.AdminAddr); err != nil {
		d.log.Printf("auto online proxy-[%s] failed: %v", p.Token, err)
	}
}

func (d *Dashboard) pollProxy(p *models.Proxy) *ProxyStats {
	stats := &models.ProxyStats{}
	if err := d.rpc.Get(p.AdminAddr, d.proxyCall(p, "stats"), stats); err != nil {
		return &ProxyStats{Error: rpc.NewRemoteError(err)}
	}
	return &ProxyStats{Stats: stats}
}
