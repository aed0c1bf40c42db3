// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// stage is the outcome of one make target.
type stage struct {
	target string
	took   time.Duration
	counts counts
	err    error
}

// runStages runs each target although one before it failed, and ends with a
// table and the counts line.
func runStages(ctx context.Context, targets []string) error {
	root, err := os.MkdirTemp("", "testsum-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	var stages []stage
	for _, target := range targets {
		fmt.Printf("\n==> %s\n", target)
		stages = append(stages, runStage(ctx, root, target))
	}
	return summarise(os.Stdout, stages)
}

func runStage(ctx context.Context, root, target string) stage {
	started := time.Now()
	s := stage{target: target}
	dir := filepath.Join(root, target)
	if s.err = os.Mkdir(dir, 0o700); s.err != nil {
		return s
	}
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", target)
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	gentle(cmd)
	runErr := cmd.Run()
	counted, loadErr := load(dir)
	s.counts, s.err = counted, errors.Join(runErr, loadErr)
	s.took = time.Since(started)
	if s.err != nil && s.counts.Failed == 0 {
		s.counts.Failed = 1 // a check, not a test, failed
	}
	return s
}

// summarise prints the table and, alone on the last line, the counts.
func summarise(out io.Writer, stages []stage) error {
	var total counts
	failed := false
	fmt.Fprintln(out)
	for _, s := range stages {
		verdict := "ok"
		if s.err != nil {
			verdict, failed = "FAILED", true
		}
		detail := ""
		if s.counts != (counts{}) {
			detail = s.counts.String()
		}
		fmt.Fprintf(out, "%-12s %-7s %7s  %s\n", s.target, verdict, s.took.Round(time.Second), detail)
		total = total.plus(s.counts)
	}
	fmt.Fprintln(out, total)
	if failed {
		return errFailed
	}
	return nil
}
