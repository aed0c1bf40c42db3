// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strconv"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

const ok = "OK"

// Overview is the answer to /proxy.
type Overview struct {
	Version string             `json:"version"`
	Compile string             `json:"compile"`
	Config  *Settings          `json:"config,omitempty"`
	Model   *models.Proxy      `json:"model,omitempty"`
	Stats   *models.ProxyStats `json:"stats,omitempty"`
	Slots   []*models.Slot     `json:"slots,omitempty"`
}

// Overview returns everything at once.
func (p *Proxy) Overview() *Overview {
	return &Overview{
		Version: models.Version, Compile: models.Compile,
		Config: &p.cfg.Settings, Model: p.model, Stats: p.Stats(), Slots: p.Slots(),
	}
}

// secured refuses calls without the right xauth, and all calls once the proxy is closed. It takes the mutex.
func (p *Proxy) secured(h rpc.Handler) rpc.Handler {
	return func(r *http.Request, params rpc.Params) (any, error) {
		_, closed := p.state()
		switch {
		case closed:
			return nil, ErrClosed
		case params["xauth"] == "":
			return nil, rpc.ErrMissingXAuth
		case params["xauth"] != p.xauth:
			return nil, rpc.ErrInvalidXAuth
		}
		return h(r, params)
	}
}

// read is a route that cannot fail, write one that answers OK.
func read[T any](do func() T) rpc.Handler {
	return func(*http.Request, rpc.Params) (any, error) { return do(), nil }
}

func write(do func(r *http.Request) error) rpc.Handler {
	return func(r *http.Request, _ rpc.Params) (any, error) { return ok, do(r) }
}

func (p *Proxy) routes() *rpc.Router {
	t := rpc.NewRouter("/proxy", p.log)
	get := func(pattern string, h rpc.Handler) { t.Handle(http.MethodGet, pattern, h) }
	put := func(pattern string, h rpc.Handler) { t.Handle(http.MethodPut, "/api/proxy/"+pattern, p.secured(h)) }
	get("/proxy", read(p.Overview))
	get("/proxy/model", read(p.Model))
	get("/proxy/stats", read(p.Stats))
	get("/proxy/slots", read(p.Slots))
	get("/api/proxy/model", read(p.Model))
	get("/api/proxy/xping/:xauth", p.secured(read(func() string { return ok })))
	get("/api/proxy/stats/:xauth", p.secured(p.getStats))
	get("/api/proxy/stats/:xauth/:flags", p.secured(p.getStats))
	get("/api/proxy/slots/:xauth", p.secured(read(p.Slots)))
	put("start/:xauth", write(func(*http.Request) error { return p.Start() }))
	put("stats/reset/:xauth", write(func(*http.Request) error { p.stats.reset(); return nil }))
	put("forcegc/:xauth", write(func(*http.Request) error { runtime.GC(); return nil }))
	put("shutdown/:xauth", write(func(*http.Request) error { p.shutdown(); return nil }))
	put("loglevel/:xauth/:value", logLevel)
	put("fillslots/:xauth", write(p.putSlots))
	put("sentinels/:xauth", write(p.putSentinels))
	put("sentinels/:xauth/rewatch", write(func(*http.Request) error { return p.RewatchSentinels() }))
	return t
}

func (p *Proxy) getStats(_ *http.Request, params rpc.Params) (any, error) {
	flags := 0
	if text := params["flags"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		flags = n
	}
	return p.statsWith(flags), nil
}

func logLevel(_ *http.Request, params rpc.Params) (any, error) {
	if !conf.ValidLogLevel(params["value"]) {
		return nil, errors.New("invalid loglevel")
	}
	return ok, nil
}

// putSlots ignores what it cannot decode, as the original does.
func (p *Proxy) putSlots(r *http.Request) error {
	var slots []*models.Slot
	_ = json.NewDecoder(r.Body).Decode(&slots)
	return p.FillSlots(slots)
}

func (p *Proxy) putSentinels(r *http.Request) error {
	var s models.Sentinel
	_ = json.NewDecoder(r.Body).Decode(&s)
	return p.SetSentinels(s.Servers)
}
