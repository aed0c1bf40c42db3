// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints one line for each thing that begins, with the time since the command began.
type progress struct {
	out   io.Writer
	start time.Time
	mutex sync.Mutex
}

func newProgress(out io.Writer) *progress { return &progress{out: out, start: time.Now()} }

func (p *progress) step(format string, args ...any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	fmt.Fprintf(p.out, "[%6.1fs] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

func (p *progress) done(text string) { p.step("%s", text) }

// heartbeat prints what say returns at every interval until the returned function is called.
func (p *progress) heartbeat(ctx context.Context, every time.Duration, say func() string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var finished sync.WaitGroup
	finished.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				p.step("%s", say())
			}
		}
	})
	return func() {
		cancel()
		finished.Wait()
	}
}
