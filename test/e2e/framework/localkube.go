// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// OnLocalkube tells whether the cluster was made by localkube, so that its nodes and
// processes can be reached as well: CLUSTER and LOCALKUBE say so (hack/e2e.sh).
func OnLocalkube() bool { return os.Getenv("CLUSTER") == "localkube" && os.Getenv("LOCALKUBE") != "" }

// Localkube runs a command of localkube on the cluster, such as cut-node. What it said
// is in the error.
func Localkube(ctx context.Context, command string, args ...string) error {
	words := append([]string{command, "--name", os.Getenv("CLUSTER_NAME")}, args...)
	out, err := exec.CommandContext(ctx, os.Getenv("LOCALKUBE"), words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", command, args, err, out)
	}
	return nil
}
