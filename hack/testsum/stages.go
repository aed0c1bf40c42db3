// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
// table and the counts line. Targets after a + run beside the one before it.
func runStages(ctx context.Context, targets []string) error {
	root, err := os.MkdirTemp("", "testsum-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	var stages []stage
	for _, target := range targets {
		first, others, _ := strings.Cut(target, "+")
		beside := runBeside(ctx, root, strings.FieldsFunc(others, func(r rune) bool { return r == '+' }))
		fmt.Printf("\n==> %s\n", first)
		stages = append(stages, runStage(ctx, root, first, os.Stdout))
		stages = append(stages, beside()...)
	}
	return summarise(os.Stdout, stages)
}

// runBeside runs targets one after the other in time that nobody else needs. What
// they print is shown when they are waited for.
func runBeside(ctx context.Context, root string, targets []string) (wait func() []stage) {
	var stages []stage
	var printed bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, target := range targets {
			fmt.Fprintf(&printed, "\n==> %s\n", target)
			stages = append(stages, runStage(ctx, root, target, &printed, "chrt", "--idle", "0"))
		}
	}()
	return func() []stage {
		<-done
		_, _ = printed.WriteTo(os.Stdout)
		return stages
	}
}

// runStage makes one target, by way of another command if there is one.
func runStage(ctx context.Context, root, target string, out io.Writer, by ...string) stage {
	started := time.Now()
	s := stage{target: target}
	dir := filepath.Join(root, target)
	if s.err = os.Mkdir(dir, 0o700); s.err != nil {
		return s
	}
	args := slices.Concat(by, []string{"make", "--no-print-directory", target})
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = out, out
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
