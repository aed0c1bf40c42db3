// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// checkMachine says in one line why a cluster cannot run here.
func checkMachine() error {
	switch {
	case runtime.GOOS != "linux":
		return errors.New("needs Linux")
	case os.Geteuid() != 0:
		return errors.New("must run as root (try: sudo env PATH=\"$PATH\" go run ./hack/localkube ...)")
	}
	_, err := findHierarchies()
	return err
}

// requirement is something of the machine's that a cluster needs, and the Debian package which has it.
type requirement struct {
	pkg   string
	found func() bool
}

func inPath(program string) func() bool {
	return func() bool {
		_, err := exec.LookPath(program)
		return err == nil
	}
}

func requirements() []requirement {
	return []requirement{
		{"runc", inPath("runc")},
		{"containernetworking-plugins", func() bool { return cniDir() != "" }},
		{"nftables", inPath("nft")},
		{"iptables", inPath("iptables")},
		{"iproute2", inPath("ip")},
		{"mount", inPath("mount")},
		{"util-linux", inPath("nsenter")},
	}
}

// cniDir is where the CNI plugins are: Debian's place or the one upstream names.
func cniDir() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir
		}
	}
	return ""
}

func missingPackages() []string {
	var missing []string
	for _, r := range requirements() {
		if !r.found() {
			missing = append(missing, r.pkg)
		}
	}
	return missing
}

// installPackages installs what is missing where there is apt-get; elsewhere it says what to install.
func installPackages(ctx context.Context, p *progress) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if !inPath("apt-get")() {
		return fmt.Errorf("needs these to be installed (Debian's names): %s", list)
	}
	p.step("installing %s", list)
	install := append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"},
		missing...)
	if runQuiet(ctx, "env", install...) == nil {
		return nil
	}
	if err := runQuiet(ctx, "apt-get", "update"); err != nil {
		return err
	}
	return runQuiet(ctx, "env", install...)
}
