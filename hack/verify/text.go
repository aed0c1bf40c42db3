// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
)

// spdxHeaders looks for the two lines near the top of every source file.
func spdxHeaders(_ context.Context, t tree) error {
	var missing []string
	for _, file := range t.files {
		if !isSource(file) {
			continue
		}
		ok, err := hasHeader(t.path(file))
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, file)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("without it: %s", strings.Join(missing, ", "))
	}
	return nil
}

func isSource(file string) bool {
	if strings.Contains(file, "testdata/") {
		return false
	}
	switch path.Base(file) {
	case "Makefile", "Dockerfile":
		return true
	}
	return path.Ext(file) == ".go" || path.Ext(file) == ".sh" || file == ".ci/run"
}

// hasHeader allows for an interpreter line or a build constraint above it.
func hasHeader(file string) (bool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	var top []string
	lines := bufio.NewScanner(bytes.NewReader(content))
	for len(top) < 5 && lines.Scan() {
		top = append(top, strings.TrimLeft(lines.Text(), "/# "))
	}
	return slices.Contains(top, "SPDX-FileCopyrightText: The Codis operator authors") &&
		slices.Contains(top, "SPDX-License-Identifier: Apache-2.0"), nil
}

// machineNames looks for what belongs to this machine only: where the checkout
// and Go's caches are, and which registries packages come from here. They are
// taken from the environment, so that their names are not written here either.
func machineNames(ctx context.Context, t tree) error {
	names, err := namesOfMachine(ctx, t.root)
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range t.files {
		content, err := os.ReadFile(t.path(file))
		if err != nil {
			return err
		}
		for _, name := range names {
			if bytes.Contains(content, []byte(name)) {
				errs = append(errs, fmt.Errorf("%s has %q", file, name))
			}
		}
	}
	return errors.Join(errs...)
}

func namesOfMachine(ctx context.Context, root string) ([]string, error) {
	settings, err := output(ctx, root, "go", "env", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB")
	if err != nil {
		return nil, err
	}
	values := strings.Split(strings.TrimSpace(settings), "\n")
	names := append([]string{root}, values[:2]...)
	for _, setting := range values[2:] {
		names = append(names, hosts(setting)...)
	}
	return names, nil
}

// hosts returns the host names in a setting that lists addresses.
func hosts(setting string) []string {
	var names []string
	for _, part := range strings.FieldsFunc(setting, func(r rune) bool { return strings.ContainsRune(",| ", r) }) {
		address, err := url.Parse(part)
		switch {
		case err == nil && address.Host != "":
			names = append(names, address.Hostname())
		case strings.Contains(part, ".") && !strings.Contains(part, "/"):
			names = append(names, part)
		}
	}
	return names
}
