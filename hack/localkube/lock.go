// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile waits for and takes an exclusive lock, which ends with the process at the latest.
func lockFile(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil
}

// lockMachine serialises what concerns several clusters: handing out networks and removing what they share.
func lockMachine() (unlock func(), err error) {
	return lockFile(runRoot + ".lock")
}

// lockCluster serialises up and down of one cluster.
func lockCluster(name string) (unlock func(), err error) {
	return lockFile(runRoot + "-" + name + ".lock")
}
