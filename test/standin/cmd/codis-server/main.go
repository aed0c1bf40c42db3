// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command codis-server is the stand-in for the server of Codis: it becomes redis-server with a module loaded, keeping
// its process id.
package main

import (
	"fmt"
	"os"

	"github.com/codis-io/codis-operator/test/standin/launch"
)

func main() {
	if err := launch.Become(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "codis-server (stand-in): %v\n", err)
		os.Exit(1)
	}
}
