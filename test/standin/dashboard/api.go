// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

const ok = "OK"

// call reads the parameters of one request; the first bad one wins.
type call struct {
	rpc.Params
	err error
}

func (c *call) text(name string) string {
	s := c.Params[name]
	if s == "" && c.err == nil {
		c.err = errors.New("missing " + name)
	}
	return s
}

func (c *call) number(name string) int {
	s := c.text(name)
	n, err := strconv.Atoi(s)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("invalid %s", name)
	}
	return n
}

// authorized refuses calls without the right xauth, and all calls once the dashboard is closed. It takes the mutex, so
// that even a ping waits for a push to a hung proxy.
func (d *Dashboard) authorized(p rpc.Params) error {
	switch {
	case d.isClosed():
		return ErrClosed
	case p["xauth"] == "":
		return rpc.ErrMissingXAuth
	case p["xauth"] != d.xauth:
		return rpc.ErrInvalidXAuth
	}
	return nil
}

// read is an open route, secured one that needs xauth, write one that answers OK.
func read[T any](do func() (T, error)) rpc.Handler {
	return func(*http.Request, rpc.Params) (any, error) { return do() }
}

func (d *Dashboard) secured(h rpc.Handler) rpc.Handler {
	return func(r *http.Request, p rpc.Params) (any, error) {
		if err := d.authorized(p); err != nil {
			return nil, err
		}
		return h(r, p)
	}
}

// write parses parameters before it does anything.
func (d *Dashboard) write(prepare func(c *call) func() error) rpc.Handler {
	return d.secured(func(_ *http.Request, p rpc.Params) (any, error) {
		c := &call{Params: p}
		do := prepare(c)
		if c.err != nil {
			return nil, c.err
		}
		return ok, do()
	})
}

func (d *Dashboard) routes() *rpc.Router {
	t := rpc.NewRouter("/topom", d.log)
	model := read(func() (*models.Topom, error) { return d.model, nil })
	stats, slots := read(d.Stats), read(d.Slots)
	get := func(pattern string, h rpc.Handler) { t.Handle(http.MethodGet, pattern, h) }
	get("/topom", read(d.Overview))
	get("/topom/model", model)
	get("/topom/stats", stats)
	get("/topom/slots", slots)
	get("/api/topom/model", model)
	get("/api/topom/xping/:xauth", d.secured(read(func() (string, error) { return ok, nil })))
	get("/api/topom/stats/:xauth", d.secured(stats))
	get("/api/topom/slots/:xauth", d.secured(slots))
	get("/api/topom/group/info/:addr", d.serverInfo)
	get("/api/topom/sentinels/info/:addr", d.infoSentinel)
	get("/api/topom/sentinels/info/:addr/monitored", d.monitored)

	put := func(pattern string, prepare func(c *call) func() error) {
		t.Handle(http.MethodPut, "/api/topom/"+pattern, d.write(prepare))
	}
	d.processRoutes(put)
	d.proxyRoutes(put)
	d.groupRoutes(put)
	d.slotRoutes(put)
	d.sentinelRoutes(put)
	t.Handle(http.MethodPut, "/api/topom/slots/assign/:xauth", d.secured(mappings(d.Assign)))
	t.Handle(http.MethodPut, "/api/topom/slots/assign/:xauth/offline", d.secured(mappings(d.AssignOffline)))
	t.Handle(http.MethodPut, "/api/topom/slots/rebalance/:xauth/:confirm", d.secured(d.rebalance))
	return t
}

type putFunc func(pattern string, prepare func(c *call) func() error)

func (d *Dashboard) processRoutes(put putFunc) {
	put("reload/:xauth", func(*call) func() error { return d.Reload })
	put("shutdown/:xauth", func(*call) func() error { return d.shutdown })
	put("loglevel/:xauth/:value", func(c *call) func() error {
		if v := c.text("value"); !conf.ValidLogLevel(v) && c.err == nil {
			c.err = errors.New("invalid loglevel")
		}
		return func() error { return nil }
	})
}

func (d *Dashboard) proxyRoutes(put putFunc) {
	byAddr := func(do func(addr string) error) func(c *call) func() error {
		return func(c *call) func() error {
			addr := c.text("addr")
			return func() error { return do(addr) }
		}
	}
	put("proxy/create/:xauth/:addr", byAddr(d.CreateProxy))
	put("proxy/online/:xauth/:addr", byAddr(d.OnlineProxy))
	put("proxy/reinit/:xauth/:token", func(c *call) func() error {
		token := c.text("token")
		return func() error { return d.ReinitProxy(token) }
	})
	put("proxy/remove/:xauth/:token/:force", func(c *call) func() error {
		token, force := c.text("token"), c.number("force") != 0
		return func() error { return d.RemoveProxy(token, force) }
	})
	put("group/action/create/:xauth/:addr", byAddr(d.CreateSync))
	put("group/action/remove/:xauth/:addr", byAddr(d.RemoveSync))
	put("sentinels/add/:xauth/:addr", byAddr(d.AddSentinel))
}

func (d *Dashboard) groupRoutes(put putFunc) {
	byGroup := func(do func(gid int) error) func(c *call) func() error {
		return func(c *call) func() error {
			gid := c.number("gid")
			return func() error { return do(gid) }
		}
	}
	byServer := func(do func(gid int, addr string) error) func(c *call) func() error {
		return func(c *call) func() error {
			gid, addr := c.number("gid"), c.text("addr")
			return func() error { return do(gid, addr) }
		}
	}
	add := func(c *call) func() error {
		gid, addr, dc := c.number("gid"), c.text("addr"), c.Params["datacenter"]
		return func() error {
			if err := d.checkServer(addr); err != nil {
				return err
			}
			return d.AddServer(gid, dc, addr)
		}
	}
	put("group/create/:xauth/:gid", byGroup(d.CreateGroup))
	put("group/remove/:xauth/:gid", byGroup(d.RemoveGroup))
	put("group/resync/:xauth/:gid", byGroup(d.ResyncGroup))
	put("group/resync-all/:xauth", func(*call) func() error { return d.ResyncGroupAll })
	put("group/add/:xauth/:gid/:addr", add)
	put("group/add/:xauth/:gid/:addr/:datacenter", add)
	put("group/del/:xauth/:gid/:addr", byServer(d.DelServer))
	put("group/promote/:xauth/:gid/:addr", byServer(d.Promote))
	put("group/replica-groups/:xauth/:gid/:addr/:value", func(c *call) func() error {
		gid, addr, value := c.number("gid"), c.text("addr"), c.number("value") != 0
		return func() error { return d.EnableReplica(gid, addr, value) }
	})
	put("group/replica-groups-all/:xauth/:value", func(c *call) func() error {
		value := c.number("value") != 0
		return func() error { return d.EnableReplicaAll(value) }
	})
}

func (d *Dashboard) slotRoutes(put putFunc) {
	put("slots/action/create/:xauth/:sid/:gid", func(c *call) func() error {
		sid, gid := c.number("sid"), c.number("gid")
		return func() error { return d.CreateAction(sid, gid) }
	})
	put("slots/action/create-some/:xauth/:src/:dst/:num", func(c *call) func() error {
		src, dst, num := c.number("src"), c.number("dst"), c.number("num")
		return func() error { return d.CreateActionSome(src, dst, num) }
	})
	put("slots/action/create-range/:xauth/:beg/:end/:gid", func(c *call) func() error {
		beg, end, gid := c.number("beg"), c.number("end"), c.number("gid")
		return func() error { return d.CreateActionRange(beg, end, gid) }
	})
	put("slots/action/remove/:xauth/:sid", func(c *call) func() error {
		sid := c.number("sid")
		return func() error { return d.RemoveAction(sid) }
	})
	put("slots/action/interval/:xauth/:value", func(c *call) func() error {
		value := c.number("value")
		return func() error { d.SetInterval(value); return nil }
	})
	put("slots/action/disabled/:xauth/:value", func(c *call) func() error {
		value := c.number("value") != 0
		return func() error { d.SetDisabled(value); return nil }
	})
}

func (d *Dashboard) sentinelRoutes(put putFunc) {
	put("sentinels/del/:xauth/:addr/:force", func(c *call) func() error {
		addr, force := c.text("addr"), c.number("force") != 0
		return func() error { return d.DelSentinel(addr, force) }
	})
	put("sentinels/resync-all/:xauth", func(*call) func() error { return d.ResyncSentinels })
}

// mappings decodes a list of slots. Whatever cannot be decoded is not there: a body that is no JSON at all is an empty
// list, and the answer is OK.
func mappings(do func([]*models.SlotMapping) error) rpc.Handler {
	return func(r *http.Request, _ rpc.Params) (any, error) {
		var slots []*models.SlotMapping
		_ = json.NewDecoder(r.Body).Decode(&slots)
		return ok, do(slots)
	}
}

func (d *Dashboard) rebalance(_ *http.Request, p rpc.Params) (any, error) {
	c := &call{Params: p}
	confirm := c.number("confirm") != 0
	if c.err != nil {
		return nil, c.err
	}
	return d.Rebalance(confirm)
}

// serverInfo authenticates to whatever address it is given, and needs no xauth itself.
func (d *Dashboard) serverInfo(_ *http.Request, p rpc.Params) (any, error) {
	c, err := resp.Dial(d.ctx, d.cfg.Dial, p["addr"], d.cfg.ProductAuth, time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.InfoFull()
}

func (d *Dashboard) infoSentinel(_ *http.Request, p rpc.Params) (any, error) {
	c, err := resp.Dial(d.ctx, d.cfg.Dial, p["addr"], "", time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Info()
}

func (d *Dashboard) monitored(_ *http.Request, p rpc.Params) (any, error) {
	c, err := resp.Dial(d.ctx, d.cfg.Dial, p["addr"], "", d.cfg.SentinelClientTimeout.D())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return d.sentinels.Monitored(c)
}
