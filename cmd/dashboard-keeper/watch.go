// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// watch returns true when the dashboard has answered nothing for too long, or false when
// the context has ended. What has never answered starts, and is left to kubelet. On the
// way it notes that the dashboard serves.
func (k *keeper) watch(ctx context.Context, served *atomic.Bool) bool {
	client := &http.Client{Transport: &http.Transport{}, Timeout: k.silence}
	defer client.CloseIdleConnections()
	p, still := pulse{silence: k.silence}, &standstill{limit: k.asking + k.lateness}
	go func() {
		for wait(ctx, k.asking) {
			still.seen(time.Now())
		}
	}()
	for {
		_, err := k.ask(ctx, client, "/topom/model")
		if ctx.Err() != nil {
			return false
		}
		now := time.Now()
		if p.lost(now, still.seen(now), err == nil) {
			return true
		}
		if err == nil && !served.Load() {
			code, err := k.ask(ctx, client, "/topom/stats")
			served.Store(err == nil && code == http.StatusOK)
		}
		if !wait(ctx, k.asking) {
			return false
		}
	}
}

// ask returns the code of the answer. Any answer shows that the dashboard lives.
func (k *keeper) ask(ctx context.Context, client *http.Client, path string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.addr+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// pulse is what is known of whether a dashboard answers.
type pulse struct {
	silence time.Duration
	// heard is when it answered last, or later, when the time before counts for nothing;
	// zero before it ever did.
	heard time.Time
}

// lost takes in what came of a question, and tells whether the dashboard hangs. It is
// pure but for what it remembers. Where the keeper stood still meanwhile, until stood,
// the dashboard may have, too: the time before that counts for nothing.
func (p *pulse) lost(now, stood time.Time, answered bool) bool {
	switch {
	case answered:
		p.heard = now
		return false
	case p.heard.IsZero():
		return false
	case stood.After(p.heard):
		p.heard = stood
	}
	return now.Sub(p.heard) >= p.silence
}

// standstill tells when the keeper had no time to run, as on a machine that was frozen or
// starved. It is to be told of the time again and again.
type standstill struct {
	// limit is how long it may hear nothing.
	limit time.Duration

	mu          sync.Mutex
	last, ended time.Time
}

// seen takes in the time, and returns when the last standstill ended; zero if there was none.
func (s *standstill) seen(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) > s.limit {
		s.ended = now
	}
	s.last = now
	return s.ended
}
