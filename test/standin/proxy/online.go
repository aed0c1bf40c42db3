// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/store"
)

const (
	onlinePause         = 3 * time.Second
	dashboardAttempts   = 10
	coordinatorAttempts = 30
)

// The errors that end the process of a proxy that brings itself online.
var (
	ErrOnlineFailed = errors.New("online proxy failed")
	ErrOtherProduct = errors.New("unexpected product name")
)

// OnlineWithDashboard asks a dashboard to bring this proxy online, ten times in half a minute. The dashboard dials the
// announced address back.
func (p *Proxy) OnlineWithDashboard(addr string) error {
	return p.keepAsking(dashboardAttempts, func() (string, error) { return addr, nil })
}

// OnlineWithCoordinator is OnlineWithDashboard for the dashboard that holds the lock of the product, alive or not. It
// tries for a minute and a half.
func (p *Proxy) OnlineWithCoordinator(c store.Client) error {
	return p.keepAsking(coordinatorAttempts, func() (string, error) {
		t, err := store.Product{Client: c, Name: p.cfg.ProductName}.Topom()
		if err != nil {
			return "", err
		}
		if t == nil {
			return "", errors.New("no dashboard holds the lock")
		}
		return t.AdminAddr, nil
	})
}

// OnlineWithSlots serves routes from a file; no dashboard will know of this proxy.
func (p *Proxy) OnlineWithSlots(slots []*models.Slot) error {
	if err := p.FillSlots(slots); err != nil {
		return err
	}
	return p.Start()
}

func (p *Proxy) keepAsking(attempts int, dashboard func() (string, error)) error {
	for range attempts {
		if online, closed := p.state(); online || closed {
			return nil
		}
		addr, err := dashboard()
		if err == nil {
			err = p.ask(addr)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrOtherProduct):
			return err
		}
		p.log.Printf("rpc online proxy failed: %v", err)
		timer := time.NewTimer(onlinePause)
		select {
		case <-p.exit:
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	return ErrOnlineFailed
}

func (p *Proxy) ask(dashboard string) error {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	c := rpc.NewClient(ctx, p.cfg.Dial)
	defer c.Close()
	var t models.Topom
	if err := c.Get(dashboard, "/api/topom/model", &t); err != nil {
		return err
	}
	if t.ProductName != p.cfg.ProductName {
		return fmt.Errorf("%w: the dashboard has %q", ErrOtherProduct, t.ProductName)
	}
	call := fmt.Sprintf("/api/topom/proxy/online/%s/%s", rpc.XAuth(p.cfg.ProductName), p.model.AdminAddr)
	return c.Put(dashboard, call, nil)
}
