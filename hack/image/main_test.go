// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/codis-io/codis-operator/hack/image/archive"
)

func TestFlagsBecomeEntries(t *testing.T) {
	o, err := parse([]string{
		"-o", "out.tar", "-name", "x:1", "-entrypoint", "/app", "-entrypoint", "--flag", "-dir", "/data:0700",
		"-symlink", "app:/usr/bin/app", "main.go:/src/main.go",
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/app", "--flag"}; !slices.Equal(o.entrypoint, want) {
		t.Errorf("entrypoint %v, want %v", o.entrypoint, want)
	}
	if o.user != "65532" {
		t.Errorf("user %q by default", o.user)
	}
	entries, err := o.entries(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for path, matches := range map[string]func(archive.Entry) bool{
		"/data":        func(e archive.Entry) bool { return e.Dir && e.Mode == 0o700 },
		"/usr/bin/app": func(e archive.Entry) bool { return e.Link == "app" },
		"/src/main.go": func(e archive.Entry) bool { return e.Source == "main.go" },
		"/tmp":         func(e archive.Entry) bool { return e.Dir && e.Mode == 0o1777 },
	} {
		if !slices.ContainsFunc(entries, func(e archive.Entry) bool { return e.Path == path && matches(e) }) {
			t.Errorf("no such entry as expected at %s in %+v", path, entries)
		}
	}
}

func TestWhatTheCommandLineMustHave(t *testing.T) {
	tests := map[string][]string{
		"an output":                  {"-name", "x:1"},
		"a name":                     {"-o", "out.tar"},
		"a target for each source":   {"-o", "out.tar", "-name", "x:1", "main.go"},
		"sources that exist":         {"-o", "out.tar", "-name", "x:1", "missing.go:/a"},
		"octal modes":                {"-o", "out.tar", "-name", "x:1", "-dir", "/a:rwx"},
		"links with a path to be at": {"-o", "out.tar", "-name", "x:1", "-symlink", "target"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := run(t.Context(), args); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestRunWritesAnArchive(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.tar")
	if err := run(t.Context(), []string{"-o", out, "-name", "x:1", "main.go:/main.go"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(out); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
}
