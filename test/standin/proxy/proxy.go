// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy is the stand-in for codis-proxy: it routes the commands of clients to the master of each key's slot,
// as the dashboard tells it. It is wrong where the original is wrong: a change of routes waits for every request in
// flight, locked slots keep clients waiting without a limit, nobody is told when it ends, and a route follows whatever
// address sentinels call the master of its group, be it of the group or not. It does not register with jodis and
// reports no metrics.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
	"github.com/codis-io/codis-operator/test/standin/store"
)

// Config is what a proxy is made of.
type Config struct {
	Settings

	// HostAdmin and HostProxy are the announced addresses; empty means the listen addresses.
	HostAdmin, HostProxy string
	// ListenAdmin and ListenProxy are the addresses of the listeners given to ServeAdmin and ServeClients, which
	// enter the token; empty means AdminAddr and ProxyAddr.
	ListenAdmin, ListenProxy string
	// MACs enter the token; nil means those of this host.
	MACs []string
	// Hostname is the name of the pod or host; empty means the real one.
	Hostname string
	// Dial opens every connection; nil means the network.
	Dial rpc.DialFunc
	// WatchPause is the unit of the pauses between looks at sentinels; 0 means one second.
	WatchPause time.Duration
	// Resolve looks up announced addresses; nil means the network's resolver. It is not used for announced addresses
	// if only Dial is set, whose names need not exist elsewhere.
	Resolve rpc.ResolveFunc
	// Log receives log lines; nil means none.
	Log *log.Logger
}

// ErrClosed is the answer of a closed proxy.
var ErrClosed = errors.New("use of closed proxy")

// Proxy is one running proxy.
type Proxy struct {
	cfg    Config
	model  *models.Proxy
	xauth  string
	router *router
	stats  *sharedStats
	server *http.Server
	log    *log.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	exit    chan struct{}
	gone    chan struct{}
	running sync.WaitGroup

	// mu is held while routes change, and everything but the model waits for it.
	mu     sync.Mutex
	online bool
	closed bool
	watch  watch

	conns connections
}

// New returns a proxy that is not online.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := store.ValidateProduct(cfg.ProductName); err != nil {
		return nil, err
	}
	cfg.complete()
	model, err := newModel(&cfg)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, model: model, stats: newSharedStats(), log: cfg.Log,
		xauth: rpc.XAuth(cfg.ProductName, cfg.ProductAuth, model.Token),
		exit:  make(chan struct{}), gone: make(chan struct{}),
	}
	p.conns.open = map[io.Closer]bool{}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.watch.product = sentinel.New(sentinel.Product{
		Name: cfg.ProductName, Auth: cfg.ProductAuth, Dial: cfg.Dial, Log: cfg.Log,
	})
	p.router = newRouter(&backendContext{
		ctx: p.ctx, dial: cfg.Dial, settings: &p.cfg.Settings, log: cfg.Log, running: &p.running,
	})
	mux := http.NewServeMux()
	mux.Handle("/", p.routes())
	p.server = &http.Server{Handler: mux, ErrorLog: p.log}
	p.running.Go(func() { p.stats.sample(p.ctx) })
	p.running.Go(p.keepAlive)
	return p, nil
}

func (c *Config) complete() {
	if c.ListenAdmin == "" {
		c.ListenAdmin = c.AdminAddr
	}
	if c.ListenProxy == "" {
		c.ListenProxy = c.ProxyAddr
	}
	if c.MACs == nil {
		c.MACs = rpc.HostMACs()
	}
	if name, err := os.Hostname(); c.Hostname == "" && err == nil {
		c.Hostname = name
	}
	if c.WatchPause == 0 {
		c.WatchPause = time.Second
	}
	if c.Log == nil {
		c.Log = log.New(io.Discard, "", 0)
	}
}

func (c *Config) announce(network, listen, host string) (string, error) {
	if host != "" && c.Dial != nil && c.Resolve == nil {
		return host, nil
	}
	return rpc.Announce(network, listen, host, c.Resolve)
}

func newModel(cfg *Config) (*models.Proxy, error) {
	proxyAddr, err := cfg.announce(cfg.ProtoType, cfg.ListenProxy, cfg.HostProxy)
	if err != nil {
		return nil, err
	}
	adminAddr, err := cfg.announce("tcp", cfg.ListenAdmin, cfg.HostAdmin)
	if err != nil {
		return nil, err
	}
	pwd, err := os.Getwd()
	if err != nil {
		pwd = ""
	}
	return &models.Proxy{
		Token:       rpc.Token(cfg.MACs, cfg.ProductName, cfg.ListenProxy, cfg.ListenAdmin),
		StartTime:   time.Now().String(),
		AdminAddr:   adminAddr,
		ProtoType:   cfg.ProtoType,
		ProxyAddr:   proxyAddr,
		ProductName: cfg.ProductName,
		Pid:         os.Getpid(),
		Pwd:         pwd,
		Sys:         models.Sys(),
		Hostname:    cfg.Hostname,
		DataCenter:  cfg.ProxyDataCenter,
	}, nil
}

// Model returns the model.
func (p *Proxy) Model() *models.Proxy { return p.model }

// XAuth returns the path segment of authenticated calls.
func (p *Proxy) XAuth() string { return p.xauth }

// Handler serves the API.
func (p *Proxy) Handler() http.Handler { return p.server.Handler }

// Done is closed when the proxy has ended, by Close, Kill or the API, and has answered its last calls.
func (p *Proxy) Done() <-chan struct{} { return p.gone }

// Online says whether the proxy serves clients.
func (p *Proxy) Online() bool { return p.router.isOnline() }

func (p *Proxy) state() (online, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.online && !p.closed, p.closed
}

// whileOpen runs a change with the mutex held.
func (p *Proxy) whileOpen(change func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	return change()
}

// Start brings the proxy online.
func (p *Proxy) Start() error {
	return p.whileOpen(func() error {
		p.online = true
		p.router.online.Store(true)
		return nil
	})
}

// FillSlots changes routes one after the other, each once its requests in flight are answered.
func (p *Proxy) FillSlots(slots []*models.Slot) error {
	return p.whileOpen(func() error {
		for _, m := range slots {
			if err := p.router.fill(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// Slots returns all routes.
func (p *Proxy) Slots() []*models.Slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.router.snapshot()
}

func (p *Proxy) keepAlive() {
	period := p.cfg.BackendPingPeriod.D()
	if period == 0 {
		return
	}
	ticker := time.NewTicker(max(period, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-p.exit:
			return
		case <-ticker.C:
			p.router.ping()
		}
	}
}

// ServeAdmin serves the API until the proxy ends.
func (p *Proxy) ServeAdmin(l net.Listener) error { return p.server.Serve(l) }

// ServeClients serves clients until the proxy ends. Clients can connect before the proxy is online, and get an error.
func (p *Proxy) ServeClients(l net.Listener) error {
	if !p.conns.add(l) {
		return ErrClosed
	}
	defer p.conns.remove(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept clients: %w", err)
		}
		if !p.conns.add(conn) {
			return ErrClosed
		}
		go func() {
			defer p.conns.remove(conn)
			newSession(p, conn).serve()
		}()
	}
}

// Close ends the proxy as SIGTERM does: it drops all routes once the requests in flight are answered, and then its
// clients. It does not tell the dashboard.
func (p *Proxy) Close() error {
	p.shutdown()
	<-p.gone
	p.conns.users.Wait()
	p.running.Wait()
	return nil
}

func (p *Proxy) shutdown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	close(p.exit)
	p.conns.closeListeners()
	p.router.close()
	p.watch.stop()
	go p.stopServing()
}

// stopServing lets the answer of a shutdown call and the last replies out.
func (p *Proxy) stopServing() {
	defer close(p.gone)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := p.server.Shutdown(ctx); err != nil {
		_ = p.server.Close()
	}
	p.conns.closeAll()
	p.cancel()
}

// Kill ends the proxy as SIGKILL does: at once, with requests in flight.
func (p *Proxy) Kill() {
	p.conns.closeAll()
	_ = p.server.Close()
	p.cancel()
	_ = p.Close()
}
