// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package fe is the stand-in for codis-fe: a list of dashboards and a reverse proxy to them. It has no pages worth the
// name and, like the original, no authentication of any kind.
package fe

import (
	"context"
	_ "embed" // for the page
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/store"
)

const (
	reloadPeriod = 5 * time.Second
	dialTimeout  = 10 * time.Second
)

//go:embed index.html
var indexPage []byte

// Loader lists dashboards by product.
type Loader func() (map[string]string, error)

// Config is what a front end is made of.
type Config struct {
	// Load lists the dashboards.
	Load Loader
	// AssetsDir has files to serve; empty means one built-in page.
	AssetsDir string
	// Dial opens every connection; nil means the network.
	Dial rpc.DialFunc
	// ReloadPeriod is the least time between two loads; 0 means five seconds.
	ReloadPeriod time.Duration
	// Log receives log lines; nil means none.
	Log *log.Logger
}

// FE is one front end.
type FE struct {
	cfg       Config
	transport http.RoundTripper

	mu     sync.Mutex
	loaded time.Time
	routes map[string]*httputil.ReverseProxy
}

// New returns a front end whose list is empty until somebody asks for it.
func New(cfg Config) *FE {
	if cfg.Log == nil {
		cfg.Log = log.New(io.Discard, "", 0)
	}
	if cfg.ReloadPeriod == 0 {
		cfg.ReloadPeriod = reloadPeriod
	}
	f := &FE{cfg: cfg, routes: map[string]*httputil.ReverseProxy{}}
	f.transport = &http.Transport{DialContext: f.dial}
	return f
}

func (f *FE) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	return f.cfg.Dial.DialWithin(ctx, addr, dialTimeout)
}

// File is the Loader of --dashboard-list.
func File(path string) Loader {
	return func() (map[string]string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var list []struct {
			Name      string `json:"name"`
			Dashboard string `json:"dashboard"`
		}
		if err := json.Unmarshal(b, &list); err != nil {
			return nil, err
		}
		m := map[string]string{}
		for _, e := range list {
			m[e.Name] = e.Dashboard
		}
		return m, nil
	}
}

// Coordinator is the Loader of --filesystem: products whose lock is free are not listed.
func Coordinator(c store.Client) Loader {
	return func() (map[string]string, error) {
		keys, err := c.List(store.Root)
		if err != nil {
			return nil, err
		}
		m := map[string]string{}
		for _, key := range keys {
			product := filepath.Base(key)
			t, err := store.Product{Client: c, Name: product}.Topom()
			if err == nil && t != nil {
				m[product] = t.AdminAddr
			}
		}
		return m, nil
	}
}

// names reloads the list, if it is old enough, and returns it. A load that fails empties it.
func (f *FE) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.loaded) >= f.cfg.ReloadPeriod {
		f.reload()
	}
	return slices.Sorted(maps.Keys(f.routes))
}

func (f *FE) reload() {
	f.loaded = time.Now()
	f.routes = map[string]*httputil.ReverseProxy{}
	list, err := f.cfg.Load()
	if err != nil {
		f.cfg.Log.Printf("reload reverse proxy failed: %v", err)
		return
	}
	for name, host := range list {
		if name == "" || host == "" {
			continue
		}
		p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
		p.Transport, p.ErrorLog = f.transport, f.cfg.Log
		f.routes[name] = p
	}
}

func (f *FE) route(name string) *httputil.ReverseProxy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.routes[name]
}

// ServeHTTP implements http.Handler.
func (f *FE) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/list" && r.Method == http.MethodGet:
		f.list(w)
	case r.URL.Query().Has("forward"):
		if p := f.route(r.URL.Query().Get("forward")); p != nil {
			p.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	default:
		f.asset(w, r)
	}
}

func (f *FE) list(w http.ResponseWriter) {
	b, err := models.Encode(f.names())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(b)
}

// asset serves files; what is not there is forbidden, not unknown.
func (f *FE) asset(w http.ResponseWriter, r *http.Request) {
	if f.cfg.AssetsDir == "" {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(indexPage)
		return
	}
	file := filepath.Join(f.cfg.AssetsDir, filepath.FromSlash(filepath.Clean("/"+r.URL.Path)))
	if _, err := os.Stat(file); err != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	http.FileServer(http.Dir(f.cfg.AssetsDir)).ServeHTTP(w, r)
}
