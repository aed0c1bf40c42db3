// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command testsum runs tests and counts them. It owns the counts line that ends
// a test run; it refuses to decide what is tested, which is the Makefile's.
//
//	testsum run NAME -- go test -json ./...   runs one suite and counts its tests
//	testsum stages TARGET[+TARGET...]...      runs make targets and sums up all suites
//
// Targets after a + run beside the one before them, at the lowest priority: they must
// not depend on how fast they run.
//
// A suite run inside a stage leaves its counts in the directory that the
// environment variable TESTSUM_DIR names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// dirVariable names the directory where suites leave their counts.
const dirVariable = "TESTSUM_DIR"

var errUsage = errors.New("usage: testsum run NAME -- COMMAND, or testsum stages TARGETS")

// errFailed says that tests failed; what failed has been printed already.
var errFailed = errors.New("failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, errFailed) {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	os.Exit(1)
}

func command(ctx context.Context, args []string) error {
	switch {
	case len(args) >= 4 && args[0] == "run" && args[2] == "--":
		return runSuite(ctx, args[1], args[3:])
	case len(args) >= 2 && args[0] == "stages":
		return runStages(ctx, args[1:])
	default:
		return errUsage
	}
}
