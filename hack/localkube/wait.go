// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// poll calls check until it returns nil. Otherwise it ends with why its context was cancelled, or with the last
// error when time is up.
func poll(parent context.Context, within, every time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, within)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(parent); cause != nil {
				return cause
			}
			return fmt.Errorf("%w (waited %s)", err, within)
		case <-ticker.C:
		}
	}
}

// together runs functions at the same time; the first failure cancels the others and is what it returns.
func together(ctx context.Context, functions ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, function := range functions {
		all.Go(func() {
			if err := function(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
