// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command codis-server is the stand-in for the server of Codis: it becomes redis-server with a module loaded, keeping
// its process id.
package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/codis-io/codis-operator/test/standin/launch"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "codis-server (stand-in): %v\n", err)
		os.Exit(1)
	}
}

// run does not return if it succeeds.
func run(args []string) error {
	launcher, err := os.Executable()
	if err != nil {
		return err
	}
	files, err := launch.Find(launcher)
	if err != nil {
		return err
	}
	return syscall.Exec(files.Redis, launch.Argv(files, args), os.Environ())
}
