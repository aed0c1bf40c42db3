// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command zkServer.sh starts Debian's ZooKeeper in an image without a shell, the
// way its namesake does elsewhere: zkServer.sh start-foreground FILE, with the
// options of Java in JVMFLAGS.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

const jars = "/usr/share/java/"

func main() {
	fmt.Fprintln(os.Stderr, "zkServer.sh:", start(os.Args[1:]))
	os.Exit(1)
}

// start returns only if it fails.
func start(args []string) error {
	if len(args) != 2 || args[0] != "start-foreground" {
		return fmt.Errorf("usage: zkServer.sh start-foreground FILE")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return err
	}
	line := append([]string{"java"}, strings.Fields(os.Getenv("JVMFLAGS"))...)
	line = append(line, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", jars+"zookeeper.jar:"+jars+"slf4j-simple.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", args[1])
	return syscall.Exec(java, line, os.Environ())
}
