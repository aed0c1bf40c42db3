// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package dashboard is the stand-in for codis-dashboard ("topom"): it owns the topology of one product, in a store,
// and pushes it to proxies. It is wrong where the original is wrong: a lock that outlives its holder, one mutex held
// across calls to proxies, promotion without a look at replication, one-shot sync actions, settings that a restart
// forgets. Whatever address sentinels call the master of a group becomes the master in the books, if it is one of the
// group's.
package dashboard

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
	"github.com/codis-io/codis-operator/test/standin/store"
)

// Config is what a dashboard is made of.
type Config struct {
	Settings

	// HostAdmin is the announced address; empty means the listen address.
	HostAdmin string
	// ListenAddr is the address of the listener given to Serve, which enters the token; empty means AdminAddr.
	ListenAddr string
	// MACs enter the token; nil means those of this host.
	MACs []string
	// Client is the coordinator, which the dashboard owns; nil means the one the settings name.
	Client store.Client
	// Dial opens every connection; nil means the network.
	Dial rpc.DialFunc
	// Resolve looks up announced and replica addresses; nil means the network's resolver. It is not used for
	// HostAdmin if only Dial is set, whose names need not exist elsewhere.
	Resolve rpc.ResolveFunc
	// Period is the pause of the background loops; 0 means one second.
	Period time.Duration
	// WatchPause is the unit of the pauses between looks at sentinels; 0 means one second.
	WatchPause time.Duration
	// LockRetry is the pause between attempts to take the lock; 0 means two seconds.
	LockRetry time.Duration
	// Log receives log lines; nil means none.
	Log *log.Logger
}

// The errors of a dashboard in the wrong state.
var (
	ErrClosed    = errors.New("use of closed topom")
	ErrNotOnline = errors.New("topom is not online")
)

const lockAttempts = 17

// Dashboard is one running dashboard.
type Dashboard struct {
	cfg    Config
	model  *models.Topom
	xauth  string
	store  store.Product
	rpc    *rpc.Client
	server *http.Server
	log    *log.Logger

	ctx    context.Context
	cancel context.CancelFunc
	exit   chan struct{}
	gone   chan struct{}
	loops  sync.WaitGroup

	actionPool   *resp.Pool
	statsPool    *resp.Pool
	sentinelPool *resp.Pool
	sentinels    *sentinel.Product

	interval atomic.Int64
	disabled atomic.Bool
	executor atomic.Int64
	progress atomic.Pointer[string]

	mu          sync.Mutex
	online      bool
	closed      bool
	failure     error
	cache       cache
	serverStats map[string]*ServerStats
	proxyStats  map[string]*ProxyStats
	// masters is what sentinels told last, by group. It is nil until they did.
	masters map[int]string
	unwatch context.CancelFunc
}

// New returns a dashboard that does not hold the lock yet.
func New(cfg Config) (*Dashboard, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := store.ValidateProduct(cfg.ProductName); err != nil {
		return nil, err
	}
	cfg.complete()
	if cfg.Client == nil {
		c, err := store.NewClient(cfg.CoordinatorName, cfg.CoordinatorAddr, cfg.CoordinatorAuth)
		if err != nil {
			return nil, err
		}
		cfg.Client = c
	}
	model, err := newModel(&cfg)
	if err != nil {
		return nil, err
	}
	d := &Dashboard{
		cfg:   cfg,
		model: model,
		xauth: rpc.XAuth(cfg.ProductName),
		store: store.Product{Client: cfg.Client, Name: cfg.ProductName},
		log:   cfg.Log,
		exit:  make(chan struct{}),
		gone:  make(chan struct{}),

		serverStats: map[string]*ServerStats{},
		proxyStats:  map[string]*ProxyStats{},
	}
	d.setProgress("")
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.rpc = rpc.NewClient(d.ctx, cfg.Dial)
	d.actionPool = resp.NewPool(d.ctx, cfg.Dial, cfg.ProductAuth, cfg.MigrationTimeout.D())
	d.statsPool = resp.NewPool(d.ctx, cfg.Dial, cfg.ProductAuth, statsRedisTimeout)
	d.sentinelPool = resp.NewPool(d.ctx, cfg.Dial, "", statsRedisTimeout)
	d.sentinels = sentinel.New(sentinel.Product{
		Name: cfg.ProductName, Auth: cfg.ProductAuth, Dial: cfg.Dial, Resolve: cfg.Resolve, Log: cfg.Log,
	})
	mux := http.NewServeMux()
	mux.Handle("/", d.routes())
	d.server = &http.Server{Handler: mux, ErrorLog: d.log}
	return d, nil
}

func (c *Config) complete() {
	if c.ListenAddr == "" {
		c.ListenAddr = c.AdminAddr
	}
	if c.MACs == nil {
		c.MACs = rpc.HostMACs()
	}
	if c.Period == 0 {
		c.Period = time.Second
	}
	if c.WatchPause == 0 {
		c.WatchPause = time.Second
	}
	if c.LockRetry == 0 {
		c.LockRetry = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = log.New(io.Discard, "", 0)
	}
}

func newModel(cfg *Config) (*models.Topom, error) {
	addr := cfg.HostAdmin
	if addr == "" || cfg.Dial == nil || cfg.Resolve != nil {
		a, err := rpc.Announce("tcp", cfg.ListenAddr, cfg.HostAdmin, cfg.Resolve)
		if err != nil {
			return nil, err
		}
		addr = a
	}
	pwd, err := os.Getwd()
	if err != nil {
		pwd = ""
	}
	return &models.Topom{
		Token:       rpc.Token(cfg.MACs, cfg.ProductName, cfg.ListenAddr),
		StartTime:   time.Now().String(),
		AdminAddr:   addr,
		ProductName: cfg.ProductName,
		Pid:         os.Getpid(),
		Pwd:         pwd,
		Sys:         models.Sys(),
	}, nil
}

// Model returns the model.
func (d *Dashboard) Model() *models.Topom { return d.model }

// XAuth returns the path segment of authenticated calls.
func (d *Dashboard) XAuth() string { return d.xauth }

// Handler serves the API.
func (d *Dashboard) Handler() http.Handler { return d.server.Handler }

// Serve serves the API until the dashboard ends; it works before the lock is held.
func (d *Dashboard) Serve(l net.Listener) error { return d.server.Serve(l) }

// Done is closed when the dashboard has ended, by Close, Kill or the API, and has answered its last calls.
func (d *Dashboard) Done() <-chan struct{} { return d.gone }

// Failure returns what ended the dashboard, if it was not meant to end: a state in the store that it does not know.
// The process should exit with status 1.
func (d *Dashboard) Failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failure
}

// Run takes the lock, trying as often as the original does, and starts the background loops. It returns an error
// when it gives up, and nil when it is online or was closed meanwhile.
func (d *Dashboard) Run(ctx context.Context) error {
	for i := 1; ; i++ {
		err := d.Start()
		if err == nil || errors.Is(err, ErrClosed) {
			return nil
		}
		d.log.Printf("dashboard online failed [%d]: %v", i-1, err)
		if i == lockAttempts {
			return errors.New("dashboard online failed, give up & abort :'(")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.exit:
			return nil
		case <-time.After(d.cfg.LockRetry):
		}
	}
}

// Start tries once to take the lock and start the loops. If the lock is taken but the state cannot be read, the
// dashboard is online without loops, and stays so: the next Start has nothing to do.
func (d *Dashboard) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if d.online {
		return nil
	}
	if err := d.store.Acquire(d.model); err != nil {
		d.log.Printf("store: acquire lock of %s failed: %v", d.cfg.ProductName, err)
		return rpc.Errorf("store: acquire lock of %s failed", d.cfg.ProductName)
	}
	d.online = true
	v, err := d.view()
	if err != nil {
		return err
	}
	d.rewatch(v.sentinel.Servers)
	d.every(d.refreshServers)
	d.every(d.refreshProxies)
	d.every(d.processSlots)
	d.every(d.processSync)
	return nil
}

// every runs a step with pauses between runs, longer ones after an error.
func (d *Dashboard) every(step func() error) {
	d.loops.Go(func() {
		for !d.isClosed() {
			if err := step(); err != nil {
				d.log.Printf("background step failed: %v", err)
				d.pause(5 * d.cfg.Period)
			}
			d.pause(d.cfg.Period)
		}
	})
}

// pause waits, or returns early when the dashboard ends.
func (d *Dashboard) pause(t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-d.exit:
	case <-timer.C:
	}
}

func (d *Dashboard) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Close ends the dashboard as SIGTERM does: it waits for the mutex, and deletes the lock if it was online, whoever
// holds the lock by then.
func (d *Dashboard) Close() error {
	err := d.shutdown()
	d.loops.Wait()
	return err
}

func (d *Dashboard) shutdown() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.end()
	go d.stopServing()
	defer func() { _ = d.store.Client.Close() }()
	if !d.online {
		return nil
	}
	if err := d.store.Release(); err != nil {
		d.log.Printf("store: release lock of %s failed: %v", d.cfg.ProductName, err)
		return rpc.Errorf("store: release lock of %s failed", d.cfg.ProductName)
	}
	return nil
}

// end runs with the mutex held.
func (d *Dashboard) end() {
	d.closed = true
	close(d.exit)
	d.actionPool.Close()
	d.statsPool.Close()
	d.sentinelPool.Close()
	d.cancel()
	d.rpc.Close()
}

// stopServing lets the answer of a shutdown call out.
func (d *Dashboard) stopServing() {
	defer close(d.gone)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := d.server.Shutdown(ctx); err != nil {
		_ = d.server.Close()
	}
}

// Kill ends the dashboard as SIGKILL does: at once, in the middle of whatever it does, leaving its lock.
func (d *Dashboard) Kill() {
	_ = d.store.Client.Close()
	d.cancel()
	_ = d.server.Close()
	d.mu.Lock()
	if !d.closed {
		d.end()
		close(d.gone)
	}
	d.mu.Unlock()
	d.loops.Wait()
}
