// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command redis-sentinel is the stand-in for the program of that name in Codis: it becomes redis-server in sentinel
// mode, as codis-server does with --sentinel, keeping its process id.
package main

import (
	"fmt"
	"os"

	"github.com/codis-io/codis-operator/test/standin/launch"
)

func main() {
	if err := launch.Become(append(os.Args[1:], "--sentinel")); err != nil {
		fmt.Fprintf(os.Stderr, "redis-sentinel (stand-in): %v\n", err)
		os.Exit(1)
	}
}
