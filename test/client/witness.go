// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/client/process"
)

// observe prints an observation a line, until it is told to stop.
func observe(ctx context.Context, args []string, out io.Writer) error {
	o, secrets := &observer.Observer{}, &options{}
	flags := flag.NewFlagSet("client observe", flag.ContinueOnError)
	flags.StringVar(&o.Dashboard, "dashboard", "127.0.0.1:18080", "address of the dashboard")
	flags.StringVar(&secrets.passwordFile, "password-file", "", "file with the product password")
	flags.DurationVar(&o.Interval, "interval", 100*time.Millisecond, "time between two looks")
	flags.DurationVar(&o.Heartbeat, "heartbeat", time.Second, "say something at least this often")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || o.Interval <= 0 {
		return errUsage
	}
	if err := secrets.readPassword(); err != nil {
		return err
	}
	o.Password = secrets.Password
	lines := json.NewEncoder(out)
	var printErr error
	o.Run(ctx, func(seen observer.Observation) { printErr = errors.Join(printErr, lines.Encode(seen)) })
	return printErr
}

// sendSignal signals the main process of a container, or its child, and tells when it did.
// To empty a directory of it, it is stopped first: it must not write meanwhile.
// A signal may wait for its time, so that several nodes are struck at once.
func sendSignal(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("client signal", flag.ContinueOnError)
	proc := flags.String("proc", "/proc", "where the processes of the node are")
	container := flags.String("container-id", "", "whole id of the container")
	child := flags.Bool("child", false, "signal the process that the main one keeps running")
	name := flags.String("signal", "KILL", "KILL, STOP, CONT or TERM")
	empty := flags.String("empty", "", "directory of the container to empty before that")
	at := flags.String("at", "", "when to send it, RFC 3339 (default: now)")
	length := flags.Duration("for", 0, "with STOP: send CONT after this time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	due, err := time.Parse(time.RFC3339Nano, *at)
	if *at != "" && err != nil {
		return fmt.Errorf("-at: %w", err)
	}
	find := process.Find
	if *child {
		find = process.Child
	}
	pid, err := find(*proc, *container)
	if err != nil {
		return err
	}
	if err := waitUntil(ctx, due); err != nil {
		return err
	}
	if *empty != "" {
		if err := errors.Join(process.Signal(pid, "STOP"), process.Empty(*proc, pid, *empty)); err != nil {
			return err
		}
	}
	sent := time.Now()
	if err := process.Signal(pid, *name); err != nil {
		return err
	}
	if *length > 0 {
		waitErr := waitUntil(ctx, sent.Add(*length))
		if err := errors.Join(waitErr, process.Signal(pid, "CONT")); err != nil {
			return err
		}
	}
	return json.NewEncoder(out).Encode(map[string]any{"pid": pid, "time": sent})
}

// waitUntil waits for a moment, or returns why it must not.
func waitUntil(ctx context.Context, moment time.Time) error {
	timer := time.NewTimer(time.Until(moment))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
