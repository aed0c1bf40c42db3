// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/internal/lock"
)

const (
	// lookTimeout bounds a look at the lock of a dashboard that is told to end.
	lookTimeout = time.Second
	// maxRuns is how many runs of a pod are recorded.
	maxRuns = 16
	// maxModel is more than a dashboard says of itself.
	maxModel = 64 << 10
)

// tenure is what is known of the lock of the run that goes on.
type tenure struct {
	mu    sync.Mutex
	known lock.Tenure
	// rival is the address of whoever had the lock when it was seen to be lost.
	rival string
}

// fence returns true when another run has taken the lock that this one had, or false
// when the context has ended. That happens where a pod on a node that seemed lost lives:
// another one has its name by then, and serves. A store that does not answer says
// nothing; cut off from it a dashboard can do no harm.
func (k *keeper) fence(ctx context.Context, t *tenure, served *atomic.Bool) bool {
	if k.lock.Store == "" {
		return false // Nobody else can reach it.
	}
	wanted, err := k.wanted()
	if err != nil {
		k.say("not watching the lock: %v", err)
		return false
	}
	reader := lock.NewReader(wanted)
	defer reader.Close()
	for pause := k.asking; wait(ctx, pause); {
		if t.own() == (lock.Session{}) {
			t.is(k.introduce(ctx))
			continue
		}
		had := served.Load() // Before the lock is looked at.
		view, err := reader.Read(ctx)
		if err == nil && t.lost(view, had) {
			k.say("another run has the lock, at %s since %s", view.Addr, view.Session.StartTime)
			return true
		}
		pause = t.pause(k.fencing, k.asking)
	}
	return false
}

// pause is how soon the lock is looked at again: soon where a rival was seen once. What a
// dashboard was asked before its node stood still, it does as soon as that goes on.
func (t *tenure) pause(usual, soon time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known.Doubtful() {
		return soon
	}
	return usual
}

// mayRelease tells whether a dashboard that is told to end gives back its own lock, if
// any: it takes the lock away, whoever has it. Where the store does not say whose it is,
// the lock stays, which keeps no other pod of this dashboard from starting.
func (k *keeper) mayRelease(ctx context.Context, t *tenure) bool {
	if k.lock.Store == "" || t.own() == (lock.Session{}) {
		return true // Nobody else can reach it; or it has none yet.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	wanted, err := k.wanted()
	if err != nil {
		return false
	}
	view, err := lock.Read(ctx, wanted)
	t.mu.Lock()
	defer t.mu.Unlock()
	return err == nil && !t.known.Others(view)
}

func (t *tenure) own() lock.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known.Own
}

func (t *tenure) is(run lock.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known.Own = run
}

// lost takes in what the lock was seen as, of a run that had served before that or not.
func (t *tenure) lost(v lock.View, served bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if served {
		t.known.Serves()
	}
	t.rival = v.Addr
	return t.known.Lost(v)
}

// holder is who has the lock that is lost.
func (t *tenure) holder() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rival
}

// introduce asks the dashboard who it is, and records it before it can matter: a
// dashboard answers before it has the lock. It returns nothing where it does not answer.
func (k *keeper) introduce(ctx context.Context) lock.Session {
	ctx, cancel := context.WithTimeout(ctx, k.silence)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.addr+"/topom/model", http.NoBody)
	if err != nil {
		return lock.Session{}
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return lock.Session{}
	}
	defer func() { _ = response.Body.Close() }()
	run := lock.Session{}
	err = json.NewDecoder(io.LimitReader(response.Body, maxModel)).Decode(&run)
	if err != nil || !run.Known() {
		return lock.Session{}
	}
	if err := k.add(run); err != nil {
		k.say("record the run: %v", err)
	}
	return run
}

// recorded are the runs that the pod has had; none where they are not known. A container
// that is started again in its pod must know them.
func (k *keeper) recorded() []lock.Session {
	var runs []lock.Session
	text, err := os.ReadFile(k.record)
	if err != nil || json.Unmarshal(text, &runs) != nil {
		return nil
	}
	return runs
}

func (k *keeper) add(run lock.Session) error {
	runs := k.recorded()
	if k.record == "" || slices.Contains(runs, run) {
		return nil
	}
	runs = append(runs, run)
	text, err := json.Marshal(runs[max(0, len(runs)-maxRuns):])
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.record+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(k.record+".new", k.record); err != nil {
		return fmt.Errorf("replace it: %w", err)
	}
	return nil
}
