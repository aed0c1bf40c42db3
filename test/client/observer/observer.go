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

	mu      sync.Mutex
	current Observation
	told    Observation
}

// Run tells what it sees, whenever it differs from what it told last, until the
// context ends. The dashboard and each member are looked at apart, so that one
// that hangs hides nothing of the others.
func (o *Observer) Run(ctx context.Context, tell func(Observation)) {
	o.current = Observation{Problem: "not asked yet", Members: map[string]Member{}}
	seen := map[string]bool{}
	var loops sync.WaitGroup
	loops.Go(func() {
		o.repeat(ctx, func() {
			for _, addr := range o.lookAtDashboard(ctx, tell) {
				if !seen[addr] {
					seen[addr] = true
					w := &witness{addr: addr, password: o.Password}
					loops.Go(func() { o.repeat(ctx, func() { o.lookAtMember(ctx, tell, w) }) })
				}
			}
		})
	})
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

// lookAtDashboard returns the addresses of all members that are registered.
func (o *Observer) lookAtDashboard(ctx context.Context, tell func(Observation)) []string {
	found, err := askDashboard(ctx, client, o.Dashboard)
	var members []string
	o.update(ctx, tell, func(current *Observation) {
		if err != nil {
			current.Problem = problem(err)
			return
		}
		current.Problem = ""
		found.put(current)
		members = slices.Concat(slices.Collect(maps.Values(current.Groups))...)
	})
	return members
}

// lookAtMember asks a member. One that was ever registered is asked for good.
func (o *Observer) lookAtMember(ctx context.Context, tell func(Observation), w *witness) {
	look := w.look(ctx)
	o.update(ctx, tell, func(current *Observation) {
		current.Members = maps.Clone(current.Members) // what was told stays as it was
		current.Members[w.addr] = look
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
