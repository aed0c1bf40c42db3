// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The first waits for the second, which would never begin if it did not run beside.
const meeting = `
.PHONY: first second third
first:
	read -t 60 line < pipe && test $$line = met
second:
	echo met > pipe
third:
	false
`

func TestTargetsRunBesideOthers(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	makefile := "SHELL := /usr/bin/env bash\n" + meeting
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	beside := runBeside(t.Context(), dir, []string{"second", "third"})
	first := runStage(t.Context(), dir, "first", &out)
	others := beside()
	if first.err != nil {
		t.Errorf("first: %v\n%s", first.err, out.String())
	}
	if len(others) != 2 || others[0].target != "second" || others[0].err != nil || others[1].err == nil {
		t.Fatalf("beside it ran %+v, want second, which passes, and third, which fails", others)
	}
	var summary strings.Builder
	if err := summarise(&summary, append([]stage{first}, others...)); err == nil {
		t.Error("a target that failed beside another one fails the whole")
	}
}
