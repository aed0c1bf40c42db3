// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/resp"
)

const (
	statsPeriod = 100 * time.Millisecond
	ratePeriod  = time.Second
)

// opStats counts one command.
type opStats struct {
	calls, nanos, fails, errors int64
}

// sharedStats are the counters of a proxy.
type sharedStats struct {
	total, fails, errors, qps atomic.Int64
	sessions, alive           atomic.Int64
	usage                     atomic.Pointer[usageSample]

	mu  sync.Mutex
	ops map[string]*opStats
}

func newSharedStats() *sharedStats { return &sharedStats{ops: map[string]*opStats{}} }

func (s *sharedStats) sessionStarted() int64 {
	s.sessions.Add(1)
	return s.alive.Add(1)
}

func (s *sharedStats) sessionEnded() { s.alive.Add(-1) }

// reset zeroes everything but the sessions that are there.
func (s *sharedStats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops = map[string]*opStats{}
	s.total.Store(0)
	s.fails.Store(0)
	s.errors.Store(0)
	s.sessions.Store(s.alive.Load())
}

func (s *sharedStats) add(op string, d opStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.ops[op]
	if o == nil {
		o = &opStats{}
		s.ops[op] = o
	}
	o.calls += d.calls
	o.nanos += d.nanos
	o.fails += d.fails
	o.errors += d.errors
	s.fails.Add(d.fails)
	s.errors.Add(d.errors)
}

func (s *sharedStats) commands() []*models.OpStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*models.OpStats, 0, len(s.ops))
	for _, op := range slices.Sorted(maps.Keys(s.ops)) {
		o := s.ops[op]
		m := &models.OpStats{
			OpStr: op, Calls: o.calls, Usecs: o.nanos / 1000, Fails: o.fails, RedisErrType: o.errors,
		}
		if o.calls != 0 {
			m.UsecsPercall = m.Usecs / o.calls
		}
		all = append(all, m)
	}
	return all
}

// sample measures rates, second by second.
func (s *sharedStats) sample(ctx context.Context) {
	ticker := time.NewTicker(ratePeriod)
	defer ticker.Stop()
	last, total, usage := time.Now(), s.total.Load(), readUsage()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, newTotal, newUsage := time.Now(), s.total.Load(), readUsage()
		seconds := now.Sub(last).Seconds()
		s.qps.Store(int64(math.Round(float64(max(0, newTotal-total)) / seconds)))
		s.usage.Store(newUsageSample(now, seconds, usage, newUsage))
		last, total, usage = now, newTotal, newUsage
	}
}

// sessionStats are counters of one session that are not yet shared. Its writer alone uses them, total and fails
// excepted.
type sessionStats struct {
	total, fails atomic.Int64
	ops          map[string]*opStats
	shared       *sharedStats
	flushed      time.Time
}

func (s *sessionStats) op(r *request) *opStats {
	o := s.ops[r.op]
	if o == nil {
		o = &opStats{}
		s.ops[r.op] = o
	}
	return o
}

// answered counts an answer and returns the time.
func (s *sessionStats) answered(r *request, kind byte) time.Time {
	o, now := s.op(r), time.Now()
	o.calls++
	o.nanos += int64(now.Sub(r.start))
	if kind == resp.Error {
		o.errors++
	}
	return now
}

func (s *sessionStats) failed(r *request) { s.op(r).fails++ }

// flush shares the counters, at most every 100 ms unless forced.
func (s *sessionStats) flush(force bool) {
	now := time.Now()
	if !force && now.Sub(s.flushed) < statsPeriod {
		return
	}
	s.flushed = now
	s.shared.total.Add(s.total.Swap(0))
	s.shared.fails.Add(s.fails.Swap(0))
	for op, o := range s.ops {
		if *o != (opStats{}) {
			s.shared.add(op, *o)
			*o = opStats{}
		}
	}
}

// The parts of stats that a caller can ask for.
const (
	statsCommands = 1 << iota
	statsSlots
	statsRuntime
	statsFull = -1
)

// Stats returns the counters. It waits for a change of routes that is under way, however long that takes.
func (p *Proxy) Stats() *models.ProxyStats { return p.statsWith(statsFull) }

func (p *Proxy) statsWith(flags int) *models.ProxyStats {
	online, closed := p.state()
	s := &models.ProxyStats{Online: online, Closed: closed, Sentinels: p.sentinelStats()}
	s.Ops = models.ProxyOps{
		Total: p.stats.total.Load(), Fails: p.stats.fails.Load(), QPS: p.stats.qps.Load(),
		Redis: models.RedisErrors{Errors: p.stats.errors.Load()},
	}
	if flags&statsCommands != 0 {
		s.Ops.Cmd = p.stats.commands()
	}
	s.Sessions = models.ProxySessions{Total: p.stats.sessions.Load(), Alive: p.stats.alive.Load()}
	if u := p.stats.usage.Load(); u != nil {
		s.Rusage = models.ProxyRusage{Now: u.now.String(), CPU: u.cpu, Mem: u.raw.VMRss, Raw: u.raw}
	}
	s.Backend.PrimaryOnly = p.cfg.BackendPrimaryOnly
	if flags&statsRuntime != 0 {
		s.Runtime = runtimeStats()
	}
	return s
}

func runtimeStats() *models.RuntimeStats {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &models.RuntimeStats{
		General: models.RuntimeGeneral{
			Alloc: m.Alloc, Sys: m.Sys, Lookups: m.Lookups, Mallocs: m.Mallocs, Frees: m.Frees,
		},
		Heap: models.RuntimeHeap{
			Alloc: m.HeapAlloc, Sys: m.HeapSys, Idle: m.HeapIdle, Inuse: m.HeapInuse, Objects: m.HeapObjects,
		},
		GC: models.RuntimeGC{
			Num: m.NumGC, CPUFraction: m.GCCPUFraction, TotalPauseMs: m.PauseTotalNs / uint64(time.Millisecond),
		},
		NumProcs: runtime.GOMAXPROCS(0), NumGoroutines: runtime.NumGoroutine(), NumCgoCall: runtime.NumCgoCall(),
	}
}
