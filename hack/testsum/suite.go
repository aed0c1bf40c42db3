// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// runSuite runs one `go test -json` and leaves its counts for the summary.
func runSuite(ctx context.Context, name string, args []string) error {
	started := time.Now()
	test := exec.CommandContext(ctx, args[0], args[1:]...)
	test.Stderr = os.Stderr
	gentle(test)
	out, err := test.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run %s: %w", args[0], err)
	}
	if err := test.Start(); err != nil {
		return fmt.Errorf("run %s: %w", args[0], err)
	}
	c := newCounter(os.Stdout, os.Getenv("VERBOSE") != "")
	readErr := c.read(out)
	err = test.Wait()
	if err != nil && c.total.Failed == 0 {
		c.total.Failed = 1 // it did not even start a package
	}
	fmt.Printf("%s: %s in %s\n", name, c.total, time.Since(started).Round(100*time.Millisecond))
	if saveErr := save(name, c.total); saveErr != nil {
		return saveErr
	}
	if err != nil {
		return errFailed
	}
	return readErr
}

// gentle asks a program to end before it is killed, so that it can clean up.
func gentle(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
}

// save leaves the counts of a suite where runStages looks for them.
func save(name string, c counts) error {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), data, 0o600); err != nil {
		return fmt.Errorf("save the counts of %s: %w", name, err)
	}
	return nil
}

// load sums up the counts that suites left in a directory.
func load(dir string) (counts, error) {
	var total counts
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return total, err
	}
	var errs []error
	for _, file := range files {
		var c counts
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		errs = append(errs, err)
		total = total.plus(c)
	}
	return total, errors.Join(errs...)
}
