// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command verify holds the tree to rules that no compiler knows. It only reads:
// `make verify` generates first and then runs it. Each failure says what to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// check is one rule about the tree.
type check struct {
	name string
	// remedy is what to do when it fails.
	remedy string
	run    func(ctx context.Context, t tree) error
}

func checks() []check {
	return []check{
		{"generated files are committed as generated", "run `make generate` and commit the result", generatedFiles},
		{"go.mod files are tidy", "run `make tidy` and commit the result", tidyModules},
		{"CRDs are small enough for kubectl apply", "shorten descriptions or use fewer embedded types", crdSizes},
		{"docs/conditions.md names what the code does", "edit it or apis/v1alpha1/conditions.go", conditionNames},
		{"docs/failover.md names the guards of the code", "edit it or controllers/group/failover.go", guardNames},
		{"source files carry the SPDX header", "put the two lines of hack/boilerplate.go.txt on top", spdxHeaders},
		{"no paths or hosts of this machine", "write the text without them", machineNames},
	}
}

func main() {
	ctx := context.Background()
	t, err := openTree(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
	failed := false
	for _, c := range checks() {
		if err := c.run(ctx, t); err != nil {
			failed = true
			fmt.Printf("FAIL %s\n%s     To fix: %s.\n", c.name, indent(err.Error()), c.remedy)
			continue
		}
		fmt.Println("ok  ", c.name)
	}
	if failed {
		os.Exit(1)
	}
}

// indent sets the first lines of a message off, and leaves out a long rest.
func indent(message string) string {
	const most = 20
	var out strings.Builder
	lines := strings.Split(strings.TrimSpace(message), "\n")
	for _, line := range lines[:min(len(lines), most)] {
		fmt.Fprintf(&out, "     %s\n", line)
	}
	if len(lines) > most {
		fmt.Fprintf(&out, "     (%d more lines)\n", len(lines)-most)
	}
	return out.String()
}

// tree is the checkout.
type tree struct {
	// root is its directory.
	root string
	// files are those that git tracks or would add, relative to root.
	files []string
}

func openTree(ctx context.Context) (tree, error) {
	root, err := output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return tree{}, err
	}
	t := tree{root: strings.TrimSpace(root)}
	list, err := output(ctx, t.root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return tree{}, err
	}
	for file := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		if info, err := os.Lstat(t.path(file)); err == nil && info.Mode().IsRegular() {
			t.files = append(t.files, file)
		}
	}
	return t, nil
}

func (t tree) path(file string) string { return t.root + "/" + file }

// output runs a program and returns what it prints; an error carries all it said.
func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out, exit.Stderr)
	}
	return string(out), err
}
