// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package archive writes container images as docker-archives, so that images can be made and loaded without a container
// engine and without a registry. The same files give the same bytes: entries are sorted and carry no times or owners of
// the machine that made them.
package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Image describes one single-layer image.
type Image struct {
	// Name is the reference the image is known by, with its tag.
	Name       string
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string
	WorkingDir string
	Entries    []Entry
}

// epoch is the time of everything in an image: the moment of a build says nothing about its content.
var epoch = time.Unix(0, 0).UTC()

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// WriteFile writes the image to a file, which appears only when it is complete.
func WriteFile(path string, image Image) (err error) {
	partial, err := os.CreateTemp(filepath.Dir(path), ".image-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(partial.Name())
		}
	}()
	if err := Write(partial, image); err != nil {
		_ = partial.Close()
		return fmt.Errorf("image %s: %w", image.Name, err)
	}
	if err := partial.Close(); err != nil {
		return err
	}
	if err := os.Chmod(partial.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(partial.Name(), path)
}

// Write writes the image as a docker-archive: its layer, its configuration and the manifest which names both.
func Write(w io.Writer, image Image) error {
	layer, err := os.CreateTemp("", "layer-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(layer.Name()) }()
	defer layer.Close()

	digest := sha256.New()
	if err := writeLayer(io.MultiWriter(layer, digest), image.Entries); err != nil {
		return err
	}
	diffID := hex.EncodeToString(digest.Sum(nil))

	config, err := json.Marshal(configOf(image, diffID))
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	layerName := diffID + "/layer.tar"
	manifest, err := json.Marshal([]manifestEntry{{
		Config: configName, RepoTags: []string{image.Name}, Layers: []string{layerName},
	}})
	if err != nil {
		return err
	}

	out := tar.NewWriter(w)
	if err := addReader(out, layerName, layer); err != nil {
		return err
	}
	if err := addBytes(out, configName, config); err != nil {
		return err
	}
	if err := addBytes(out, "manifest.json", manifest); err != nil {
		return err
	}
	return out.Close()
}

func addReader(out *tar.Writer, name string, file *os.File) error {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := out.WriteHeader(header(name, 0o644, size)); err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return err
}

func addBytes(out *tar.Writer, name string, content []byte) error {
	if err := out.WriteHeader(header(name, 0o644, int64(len(content)))); err != nil {
		return err
	}
	_, err := out.Write(content)
	return err
}

func header(name string, mode, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: epoch, Format: tar.FormatPAX}
}

type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

type imageConfig struct {
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	Created      time.Time    `json:"created"`
	Config       runConfig    `json:"config"`
	RootFS       rootFS       `json:"rootfs"`
	History      []historyRow `json:"history"`
}

type runConfig struct {
	User       string   `json:",omitempty"`
	Env        []string `json:",omitempty"`
	Entrypoint []string `json:",omitempty"`
	Cmd        []string `json:",omitempty"`
	WorkingDir string   `json:",omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type historyRow struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

func configOf(image Image, diffID string) imageConfig {
	return imageConfig{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      epoch,
		Config: runConfig{
			User:       image.User,
			Env:        append([]string{defaultPath}, image.Env...),
			Entrypoint: image.Entrypoint,
			Cmd:        image.Cmd,
			WorkingDir: image.WorkingDir,
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{"sha256:" + diffID}},
		History: []historyRow{{Created: epoch, CreatedBy: "hack/image"}},
	}
}
