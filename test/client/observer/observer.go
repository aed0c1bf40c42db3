// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Observer watches one product.
type Observer struct {
	// Dashboard is host:port of the HTTP API.
	Dashboard string
	// Password of the product.
	Password string
	// Interval between two looks.
	Interval time.Duration
	// Heartbeat is the longest time without a word.
	Heartbeat time.Duration

	mu        sync.Mutex
	current   Observation
	told      Observation
	witnesses map[string]*witness
}

// Run tells what it sees, whenever it differs from what it told last, until the
// context ends. The dashboard and the members are looked at apart, so that one
// that hangs hides nothing of the others.
func (o *Observer) Run(ctx context.Context, tell func(Observation)) {
	o.current = Observation{Problem: "not asked yet", Members: map[string]Member{}}
	o.witnesses = map[string]*witness{}
	var loops sync.WaitGroup
	loops.Go(func() { o.repeat(ctx, func() { o.lookAtDashboard(ctx, tell) }) })
	loops.Go(func() { o.repeat(ctx, func() { o.lookAtMembers(ctx, tell) }) })
	loops.Wait()
}

func (o *Observer) repeat(ctx context.Context, look func()) {
	ticker := time.NewTicker(o.Interval)
	defer ticker.Stop()
	for {
		look()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// client of the dashboard. A dashboard that takes longer is as good as none.
var client = &http.Client{Timeout: time.Second}

func (o *Observer) lookAtDashboard(ctx context.Context, tell func(Observation)) {
	found, err := askDashboard(ctx, client, o.Dashboard)
	o.update(ctx, tell, func(current *Observation) {
		if err != nil {
			current.Problem = problem(err)
			return
		}
		current.Problem = ""
		found.put(current)
	})
}

// lookAtMembers asks all members that were ever registered at the same moment.
func (o *Observer) lookAtMembers(ctx context.Context, tell func(Observation)) {
	o.mu.Lock()
	for _, servers := range o.current.Groups {
		for _, addr := range servers {
			if o.witnesses[addr] == nil {
				o.witnesses[addr] = &witness{addr: addr, password: o.Password}
			}
		}
	}
	addresses := slices.Sorted(maps.Keys(o.witnesses))
	o.mu.Unlock()
	looks := make([]Member, len(addresses))
	var all sync.WaitGroup
	for i, addr := range addresses {
		all.Go(func() { looks[i] = o.witnesses[addr].look(ctx) })
	}
	all.Wait()
	o.update(ctx, tell, func(current *Observation) {
		current.Members = make(map[string]Member, len(addresses))
		for i, addr := range addresses {
			current.Members[addr] = looks[i]
		}
	})
}

// update changes the current observation and tells it if there is news in it.
// What was cut short by the end of the context is not seen.
func (o *Observer) update(ctx context.Context, tell func(Observation), change func(*Observation)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	change(&o.current)
	o.current.Time = time.Now()
	if o.current.same(o.told) && o.current.Time.Sub(o.told.Time) < o.Heartbeat {
		return
	}
	o.told = o.current
	tell(o.current)
}
