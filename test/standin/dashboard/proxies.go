// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"sync"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

// proxyCall is the path of an authenticated call to a proxy.
func (d *Dashboard) proxyCall(p *models.Proxy, call string) string {
	return fmt.Sprintf("/api/proxy/%s/%s", call, rpc.XAuth(d.cfg.ProductName, d.cfg.ProductAuth, p.Token))
}

// fetchProxy asks whoever listens on addr for its model, and the address in that model whether it accepts our auth.
func (d *Dashboard) fetchProxy(addr string) (p *models.Proxy, step string, err error) {
	p = &models.Proxy{}
	if err := d.rpc.Get(addr, "/api/proxy/model", p); err != nil {
		return nil, "fetch model failed", err
	}
	if err := d.rpc.Get(p.AdminAddr, d.proxyCall(p, "xping"), nil); err != nil {
		return nil, "check xauth failed", err
	}
	return p, "", nil
}

func (v *view) nextProxyID() int {
	last := 0
	for _, p := range v.proxies {
		last = max(last, p.ID)
	}
	return last + 1
}

// CreateProxy registers a proxy whose token is new. The entry is stored before the proxy is set up, and stays if that
// fails.
func (d *Dashboard) CreateProxy(addr string) error {
	return d.locked(func(v *view) error {
		p, step, err := d.fetchProxy(addr)
		if err != nil {
			return rpc.Errorf("proxy@%s %s, %s", addr, step, err)
		}
		if v.proxies[p.Token] != nil {
			return rpc.Errorf("proxy-[%s] already exists", p.Token)
		}
		p.ID = v.nextProxyID()
		if err := d.saveProxy(p); err != nil {
			return err
		}
		return d.initProxy(v, p)
	})
}

// OnlineProxy is CreateProxy for a token that may be known.
func (d *Dashboard) OnlineProxy(addr string) error {
	return d.locked(func(v *view) error {
		p, step, err := d.fetchProxy(addr)
		if err != nil {
			return rpc.Errorf("proxy@%s %s", addr, step)
		}
		p.ID = v.nextProxyID()
		if known := v.proxies[p.Token]; known != nil {
			p.ID = known.ID
		}
		if err := d.saveProxy(p); err != nil {
			return err
		}
		return d.initProxy(v, p)
	})
}

// ReinitProxy sets a registered proxy up again.
func (d *Dashboard) ReinitProxy(token string) error {
	return d.locked(func(v *view) error {
		p, err := v.proxy(token)
		if err != nil {
			return err
		}
		return d.initProxy(v, p)
	})
}

func (d *Dashboard) initProxy(v *view, p *models.Proxy) error {
	steps := []struct {
		call, failed string
		body         any
	}{
		{"fillslots", "fillslots", v.routes(v.slots, p)},
		{"start", "start", nil},
		{"sentinels", "set sentinels", v.sentinel},
	}
	for _, s := range steps {
		if err := d.rpc.Put(p.AdminAddr, d.proxyCall(p, s.call), s.body); err != nil {
			d.log.Printf("proxy-[%s] %s failed: %v", p.Token, s.failed, err)
			return rpc.Errorf("proxy-[%s] %s failed", p.Token, s.failed)
		}
	}
	return nil
}

// RemoveProxy shuts a proxy down and forgets it. With force it is forgotten even if it cannot be shut down, and
// serves on with stale routes if it is alive.
func (d *Dashboard) RemoveProxy(token string, force bool) error {
	return d.locked(func(v *view) error {
		p, err := v.proxy(token)
		if err != nil {
			return err
		}
		if err := d.rpc.Put(p.AdminAddr, d.proxyCall(p, "shutdown"), nil); err != nil {
			d.log.Printf("proxy-[%s] shutdown failed, force remove = %t: %v", token, force, err)
			if !force {
				return rpc.Errorf("proxy-[%s] shutdown failed", token)
			}
		}
		d.staleProxy(token)
		if err := d.store.DeleteProxy(token); err != nil {
			return d.storeFailed(err, "remove proxy-[%s]", token)
		}
		return nil
	})
}

// push sends routes to every registered proxy.
func (d *Dashboard) push(v *view, slots []*models.SlotMapping) error {
	if len(slots) == 0 {
		return nil
	}
	return d.putAll(v, "fillslots", "resync slots", func(p *models.Proxy) any { return v.routes(slots, p) })
}

// putAll calls every registered proxy at once and waits for all of them: one that is dead fails the whole.
func (d *Dashboard) putAll(v *view, call, failed string, body func(p *models.Proxy) any) error {
	var wg sync.WaitGroup
	errs := make([]error, 0, len(v.proxies))
	var mu sync.Mutex
	for _, p := range v.proxies {
		args := body(p)
		wg.Go(func() {
			err := d.rpc.Put(p.AdminAddr, d.proxyCall(p, call), args)
			if err == nil {
				return
			}
			d.log.Printf("proxy-[%s] %s failed: %v", p.Token, failed, err)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, rpc.Errorf("proxy-[%s] %s failed", p.Token, failed))
		})
	}
	wg.Wait()
	if len(errs) != 0 {
		return errs[0]
	}
	return nil
}
