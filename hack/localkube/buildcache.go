// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// key names everything a tool's binary is made of: the module files, its own sources, the flags and the Go release.
func (b *builder) key(t tool) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, b.goVersion, buildFlags())
	sources, err := fs.Glob(os.DirFS(b.source), t.dir+"/*.go")
	if err != nil {
		return "", err
	}
	if len(sources) == 0 {
		return "", fmt.Errorf("no sources in %s", filepath.Join(b.source, t.dir))
	}
	for _, name := range append([]string{"go.mod", "go.sum"}, slices.Sorted(slices.Values(sources))...) {
		if err := hashFile(sum, b.source, name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func hashFile(sum io.Writer, dir, name string) error {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	fmt.Fprintln(sum, name, len(content))
	_, err = sum.Write(content)
	return err
}

func (b *builder) cached(t tool) (string, error) {
	key, err := b.key(t)
	return filepath.Join(b.cache, "bin", t.dir+"-"+key), err
}

func (b *builder) missing(wanted []tool) ([]tool, error) {
	var missing []tool
	for _, t := range wanted {
		path, err := b.cached(t)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, t)
		}
	}
	return missing, nil
}

func (b *builder) keep(built string, t tool) error {
	path, err := b.cached(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Rename(built, path)
}

// assemble makes a directory of links, named after what they lead to, so that the programs of a running cluster stay
// what they were when another revision of the tree is built.
func (b *builder) assemble(wanted []tool) (string, error) {
	links := map[string]string{}
	var keys []string
	for _, t := range wanted {
		path, err := b.cached(t)
		if err != nil {
			return "", err
		}
		keys = append(keys, filepath.Base(path))
		for _, name := range t.names {
			links[name] = path
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(keys, " ")))
	dir := filepath.Join(b.cache, "assembled", hex.EncodeToString(sum[:])[:16])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, path := range links {
		if err := ensureLink(path, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func ensureLink(target, name string) error {
	if current, err := os.Readlink(name); err == nil && current == target {
		return nil
	}
	partial := name + ".partial"
	_ = os.Remove(partial)
	if err := os.Symlink(target, partial); err != nil {
		return err
	}
	return os.Rename(partial, name)
}
