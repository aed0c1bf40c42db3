// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// watch returns true when the dashboard has answered nothing for too long, or false when
// the context has ended. What has never answered starts, and is left to kubelet. On the
// way it notes that the dashboard serves.
func (k *keeper) watch(ctx context.Context, served *atomic.Bool) bool {
	client := &http.Client{Transport: &http.Transport{}, Timeout: k.silence}
	defer client.CloseIdleConnections()
	p := pulse{silence: k.silence, lateness: k.lateness}
	for {
		asked := time.Now()
		_, err := k.ask(ctx, client, "/topom/model")
		if ctx.Err() != nil {
			return false
		}
		if p.lost(asked, time.Now(), err == nil) {
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
	silence, lateness time.Duration
	// heard is when it answered last; zero before it ever did.
	heard time.Time
}

// lost takes in what came of a question, and tells whether the dashboard hangs. It is
// pure but for what it remembers. A question that came back much later than it may take
// says that the keeper stood still, or was starved, and the dashboard may have been too:
// the time before it counts for nothing.
func (p *pulse) lost(asked, now time.Time, answered bool) bool {
	switch {
	case answered:
		p.heard = now
	case p.heard.IsZero():
	case now.Sub(asked) > p.silence+p.lateness:
		p.heard = now
	default:
		return now.Sub(p.heard) >= p.silence
	}
	return false
}
