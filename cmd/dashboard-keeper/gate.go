// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/codis-io/codis-operator/internal/lock"
)

// mayStart waits until a dashboard may start, or returns the finding that keeps it from
// starting, in the form that the operator reads. Without a store that others reach
// nobody else can have the lock. A name that stays unknown is left to the dashboard to
// tell of; a store that does not answer is waited for, since the dashboard would take
// the lock of whoever has it.
func (k *keeper) mayStart(ctx context.Context) (refusal string, err error) {
	k.awaitName(ctx)
	if k.lock.Store == "" {
		return "", nil
	}
	wanted, err := k.wanted()
	if err != nil {
		return "", err
	}
	found, err := lock.Await(ctx, wanted, k.lockPause, func(why string) { k.say("waiting: %s", why) })
	return found.String(), err
}

// wanted is the lock with the login of its store, and with the runs of the pod so far.
func (k *keeper) wanted() (lock.Lock, error) {
	wanted := k.lock
	wanted.Runs = k.recorded()
	if k.config == "" {
		return wanted, nil
	}
	text, err := os.ReadFile(k.config)
	if err != nil {
		return wanted, err
	}
	if wanted.Auth, err = login(string(text)); err != nil {
		return wanted, fmt.Errorf("%s: %w", k.config, err)
	}
	return wanted, nil
}

// awaitName waits for the name of the dashboard, and not for long.
func (k *keeper) awaitName(ctx context.Context) {
	if k.host == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.nameWait)
	defer cancel()
	for said := false; ; said = true {
		_, err := k.resolve(ctx, k.host)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !said {
			k.say("waiting: %v", err)
		}
		wait(ctx, k.asking)
	}
}

// login is the setting coordinator_auth of a dashboard.toml as the config writer leaves
// it: one setting a line; empty if there is none.
func login(text string) (string, error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if name == "coordinator_auth" {
			return strconv.Unquote(value)
		}
	}
	return "", nil
}
