// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/codis-io/codis-operator/hack/image/archive"
)

// systemImages are those of the pods every cluster has; each is one static program.
func systemImages() []string { return []string{"pause", "coredns", "metrics-server"} }

func systemImageName(program string) string { return "localkube/" + program + ":1" }

func systemImageFile(binaries, program string) string {
	return filepath.Join(binaries, program+".tar")
}

// writeSystemImages keeps the images beside the programs they are made of, so that a warm boot only imports them.
func writeSystemImages(binaries string) error {
	for _, program := range systemImages() {
		file := systemImageFile(binaries, program)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		entries := append(archive.Base(),
			archive.Entry{Path: "/" + program, Source: filepath.Join(binaries, program)})
		err := archive.WriteFile(file, archive.Image{
			Name: systemImageName(program), Entrypoint: []string{"/" + program}, Entries: entries,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// importImages gives one node the images of docker-archives, under the names they carry.
func (n node) importImages(ctx context.Context, files ...string) error {
	for _, file := range files {
		err := runQuiet(ctx, n.binary("ctr"), "--address", n.containerdSocket(), "--namespace", "k8s.io",
			"image", "import", file)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) loadImages(ctx context.Context, files []string) error {
	p := newProgress(os.Stdout)
	p.step("loading %s into the %d nodes of %s", strings.Join(files, ", "), c.Nodes, c.Name)
	var loads []func(context.Context) error
	for _, n := range c.nodes() {
		loads = append(loads, func(ctx context.Context) error { return n.importImages(ctx, files...) })
	}
	if err := together(ctx, loads...); err != nil {
		return err
	}
	p.done("loaded")
	return nil
}
