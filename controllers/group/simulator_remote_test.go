// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/redis"
)

// What a pass of the simulated operator reaches of the servers, the dashboard and
// the proxies.

var (
	errSimRefused = error(syscall.ECONNREFUSED)
	errSimTimeout = context.DeadlineExceeded
	errSimDenied  = &codis.RemoteError{Cause: "denied"}
)

func simError(ok bool) error {
	if ok {
		return nil
	}
	return errSimDenied
}

// memberOf returns the member at an address of the dashboard.
func memberOf(addr string) int { return slices.Index(simAddrs[:], addr) }

// memberAt returns the member whose pod had an address, and whether it still has.
func (s *sim) memberAt(addr string) (i int, still bool) {
	ip, _, _ := strings.Cut(addr, ":")
	for i := range s.count {
		if now := s.srv[i].pod.ip; now != 0 && simUIDs[now] == ip {
			return i, true
		}
	}
	return -1, false
}

// simServers is redis.Client.
type simServers struct{ p *simPass }

// reach is what a connection to an address meets, and whose it is.
func (c simServers) reach(addr string) (int, probeCode) {
	if i, still := c.p.s.memberAt(addr); still {
		return i, c.p.o.code(i)
	}
	return -1, codeSilent
}

// ask sends a command to a server; do is called where it arrives.
func (c simServers) ask(ctx context.Context, name, addr string, low, high tick, do func(i int) error) error {
	i, _ := c.reach(addr)
	return c.p.call(ctx, name, i, func(call *simCall) {
		c.p.s.after(c.p.s.between(low, high), func() { // What is sent arrives, even if nobody waits for it.
			switch i, code := c.reach(addr); code {
			case codeSilent:
				call.after(1000, func() { call.reply(errSimTimeout) })
			case codeRefused:
				call.reply(errSimRefused)
			case codeUp:
				call.answer(do(i))
			}
		})
	})
}

func (c simServers) Observe(ctx context.Context, addr string) redis.Observation {
	seen, refused := redis.Observation{}, redis.Observation{Refused: true, Problem: "connection refused"}
	if c.p.looking { // Everything is asked in one instant.
		switch i, code := c.reach(addr); code {
		case codeUp:
			return c.p.s.observation(i)
		case codeRefused:
			return refused
		case codeSilent:
		}
	}
	err := c.ask(ctx, "observe", addr, 1, 1, func(i int) error {
		seen = c.p.s.observation(i)
		return nil
	})
	switch {
	case err == nil:
		return seen
	case errors.Is(err, errSimRefused):
		return refused
	}
	return redis.Observation{Problem: "no answer in time"}
}

// same compares a server with what was seen of it.
func (c simServers) same(i int, seen redis.Observation) bool {
	now := c.p.s.observation(i)
	return c.p.s.without.processCheck ||
		now.RunID == seen.RunID && now.Role == seen.Role && now.MasterAddr == seen.MasterAddr
}

func (c simServers) unguard(i int, seen redis.Observation) {
	if seen.WritesGuarded {
		c.p.s.srv[i].guarded = false
	}
}

func (c simServers) MakeMaster(ctx context.Context, addr string, seen redis.Observation) error {
	if seen.IsMaster() {
		return nil
	}
	return c.ask(ctx, "make master", addr, 1, 6, func(i int) error {
		if !c.same(i, seen) {
			return redis.ErrRestarted
		}
		c.p.s.checkReplaced(c.p, i)
		c.unguard(i, seen)
		c.p.s.makeMaster(i, byOperator)
		return nil
	})
}

func (c simServers) Follow(ctx context.Context, addr string, seen redis.Observation, master string) error {
	return c.ask(ctx, "follow", addr, 1, 6, func(i int) error {
		if !c.same(i, seen) {
			return redis.ErrRestarted
		}
		c.unguard(i, seen)
		c.p.s.follow(i, memberOf(master))
		return nil
	})
}

func (c simServers) GuardWrites(ctx context.Context, addr string, seen redis.Observation, on bool) error {
	return c.ask(ctx, "guard", addr, 1, 6, func(i int) error {
		if !c.same(i, seen) {
			return redis.ErrRestarted
		}
		c.p.s.srv[i].guarded = on
		return nil
	})
}

func (c simServers) SlotsWithKeys(context.Context, string) ([]int, error) { return nil, nil }

// simAPI is codis.Dashboard.
type simAPI struct{ p *simPass }

// ask sends a request to the dashboard, which handles one at a time; do calls done
// when it is carried out.
func (a simAPI) ask(ctx context.Context, name string, about int, do func(d *simDashboard, done func(ok bool))) error {
	return a.p.call(ctx, name, about, func(c *simCall) {
		s, host := a.p.s, a.p.o.host
		d := s.dashSeen(a.p.o)
		if s.away(d, host) {
			c.after(1000, func() { c.reply(errSimTimeout) })
			return
		}
		s.after(1, func() { s.take(d, c, s.now+10000, do) })
	})
}

// take begins with a request when the dashboard is done with those before.
func (s *sim) take(d *simDashboard, c *simCall, until tick, do func(d *simDashboard, done func(ok bool))) {
	switch {
	case !d.up:
		c.reply(errSimRefused)
		return
	case d.busy && s.now >= until:
		c.reply(errSimTimeout)
		return
	case d.busy:
		s.after(10, func() { s.take(d, c, until, do) })
		return
	}
	answered := false
	d.open = append(d.open, c)
	do(d, func(ok bool) {
		d.open = slices.DeleteFunc(d.open, func(open *simCall) bool { return open == c })
		if c.pass.alive() && !s.away(d, c.pass.o.host) {
			answered = true
			c.answer(simError(ok))
		}
	})
	if !answered {
		c.after(until-s.now, func() { c.answer(errSimTimeout) })
	}
}

func (a simAPI) Stats(ctx context.Context) (stats *codis.Stats, err error) {
	err = a.ask(ctx, "stats", -1, func(d *simDashboard, done func(bool)) {
		stats = a.p.s.topology(d)
		done(!d.forgot)
	})
	if err != nil {
		return nil, err
	}
	return stats, nil
}

// simRoute is what a route says of the only slot.
type simRoute struct {
	ID     int    `json:"id"`
	Group  int    `json:"backend_addr_group_id"`
	Master string `json:"backend_addr,omitempty"`
	Locked bool   `json:"locked,omitempty"`
}

func (r simRoute) route() codis.Route {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	var route codis.Route
	if err := json.Unmarshal(data, &route); err != nil {
		panic(err)
	}
	return route
}

func readSimRoute(route codis.Route) simRoute {
	data, err := json.Marshal(route)
	if err != nil {
		panic(err)
	}
	var r simRoute
	if err := json.Unmarshal(data, &r); err != nil {
		panic(err)
	}
	return r
}

func (a simAPI) Routes(ctx context.Context) (routes []codis.Route, err error) {
	err = a.ask(ctx, "routes", -1, func(d *simDashboard, done func(bool)) {
		route := simRoute{Group: 1, Locked: d.promoting == prepared}
		if len(d.order) > 0 {
			route.Master = simAddrs[d.order[0]]
		}
		routes = []codis.Route{route.route()}
		done(!d.forgot)
	})
	if err != nil {
		return nil, err
	}
	return routes, nil
}

func (a simAPI) CreateGroup(context.Context, int) error { return nil }

func (a simAPI) AddServer(ctx context.Context, _ int, addr string) error {
	return a.ask(ctx, "add", memberOf(addr), func(d *simDashboard, done func(bool)) {
		ok := d.promoting == idle && !slices.Contains(d.order, memberOf(addr)) && d.stores()
		if ok {
			d.order = append(slices.Clone(d.order), memberOf(addr))
		}
		done(ok)
	})
}

func (a simAPI) RemoveGroup(context.Context, int) error { return fmt.Errorf("never asked for") }

func (a simAPI) RemoveServer(context.Context, int, string) error {
	return fmt.Errorf("every member is wanted")
}

func (a simAPI) Promote(ctx context.Context, _ int, addr string) error {
	chosen := choice{run: a.p.chosenRun(memberOf(addr))}
	return a.ask(ctx, "promote", memberOf(addr), func(d *simDashboard, done func(bool)) {
		chosen.unasked = d.open[len(d.open)-1].unasked
		a.p.s.promoteCall(d, memberOf(addr), chosen, done)
	})
}

func (a simAPI) ResyncGroup(ctx context.Context, _ int) error {
	return a.ask(ctx, "resync", -1, a.p.s.resync)
}

// HoldMoves finds no moves: there are none in the simulation.
func (simAPI) HoldMoves(context.Context, *codis.Stats) (idle bool, err error) { return true, nil }

// simProxyAPI is codis.Proxies.
type simProxyAPI struct{ p *simPass }

// ask sends a request to a proxy; do is called where it arrives.
func (a simProxyAPI) ask(ctx context.Context, name, addr string, do func(c *simCall, i int)) error {
	i := slices.Index(simProxyAddrs[:], addr)
	return a.p.call(ctx, name, i, func(c *simCall) {
		a.p.s.after(a.p.s.arrival(i), func() {
			switch {
			case a.p.s.cut(a.p.o.host, hostProxy+i):
				c.after(1000, func() { c.reply(errSimTimeout) })
			case !a.p.s.proxy[i].up:
				c.reply(errSimRefused)
			default:
				do(c, i)
			}
		})
	})
}

func (a simProxyAPI) Model(ctx context.Context, addr string) (model *codis.Proxy, err error) {
	err = a.ask(ctx, "model", addr, func(c *simCall, i int) {
		entry := a.p.s.proxy[i].model(i)
		model = &entry
		c.reply(nil)
	})
	if err != nil {
		return nil, err
	}
	return model, nil
}

func (a simProxyAPI) Routes(ctx context.Context, addr string) (routes []codis.Route, err error) {
	err = a.ask(ctx, "routes of", addr, func(c *simCall, i int) {
		a.p.s.whenFilled(i, func(up bool) {
			p := &a.p.s.proxy[i]
			if !up {
				c.reply(errSimRefused)
				return
			}
			route := simRoute{Group: 1, Locked: p.locked}
			if p.route >= 0 {
				route.Master = simAddrs[p.route]
			}
			routes = []codis.Route{route.route()}
			c.reply(nil)
		})
	})
	if err != nil {
		return nil, err
	}
	return routes, nil
}

func (a simProxyAPI) FillSlots(ctx context.Context, proxy codis.Proxy, routes []codis.Route) error {
	told, meant := readSimRoute(routes[0]), a.p.meaning()
	return a.ask(ctx, "fill", proxy.AdminAddr, func(c *simCall, i int) {
		s, p := a.p.s, &a.p.s.proxy[i]
		switch {
		case p.model(i).Token != proxy.Token:
			c.reply(errSimDenied)
		case told.Locked && s.without.lock:
			c.answer(nil)
		default:
			s.logf("operator %d tells proxy %d %+v", a.p.o.id, i, told)
			s.checkHeld(a.p, p, told, meant)
			if !told.Locked {
				s.checkRoute(p.route, memberOf(told.Master))
			}
			s.fill(i, memberOf(told.Master), told.Locked, func(ok bool) {
				if c.pass.alive() && !s.cut(a.p.o.host, hostProxy+i) {
					c.answer(simError(ok))
				}
			})
		}
	})
}
