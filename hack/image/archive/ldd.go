// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os/exec"
	"strings"
)

// Libraries lists the shared libraries and the loader which the dynamic programs among entries need, at the paths they
// are found at on this machine. Static programs and files that are no programs need nothing.
func Libraries(ctx context.Context, entries []Entry) ([]Entry, error) {
	var libraries []Entry
	for _, entry := range entries {
		if entry.Source == "" || !isDynamic(entry.Source) {
			continue
		}
		out, err := exec.CommandContext(ctx, "ldd", entry.Source).Output()
		if err != nil {
			return nil, fmt.Errorf("ldd %s: %w", entry.Source, err)
		}
		paths, err := parseLDD(out)
		if err != nil {
			return nil, fmt.Errorf("ldd %s: %w", entry.Source, err)
		}
		for _, name := range paths {
			libraries = append(libraries, Entry{Path: name, Source: name})
		}
	}
	return libraries, nil
}

// parseLDD reads the paths out of ldd's lines: "libm.so.6 => /lib/libm.so.6 (0x...)" and
// "/lib64/ld-linux.so.2 (0x...)".
func parseLDD(out []byte) ([]string, error) {
	var paths []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, missing := strings.CutSuffix(line, "=> not found"); missing {
			return nil, fmt.Errorf("library %s is not installed", strings.TrimSpace(name))
		}
		if _, target, found := strings.Cut(line, "=> "); found {
			line = target
		}
		if file, _, _ := strings.Cut(line, " "); strings.HasPrefix(file, "/") {
			paths = append(paths, file)
		}
	}
	return paths, lines.Err()
}

func isDynamic(name string) bool {
	file, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	return file.Section(".interp") != nil || len(dynamicNeeds(file)) > 0
}

func dynamicNeeds(file *elf.File) []string {
	needs, err := file.ImportedLibraries()
	if err != nil {
		return nil
	}
	return needs
}
