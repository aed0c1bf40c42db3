// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is one thing in an image's file system. Exactly one of Source, Content, Link and Dir says what it is.
type Entry struct {
	// Path is where it is in the image, absolute.
	Path string
	// Source is a file on this machine to copy, followed where it is a symbolic link.
	Source string
	// Content is the file's content itself.
	Content []byte
	// Link makes a symbolic link to this target.
	Link string
	// Dir makes an empty directory.
	Dir bool
	// Mode is the permission bits; 0 takes 0755 for directories and executable sources, else 0644.
	Mode int64
}

// Base is what every image of ours has: somewhere to write and names for the two users images run as.
func Base() []Entry {
	return []Entry{
		{Path: "/tmp", Dir: true, Mode: 0o1777},
		{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/:/sbin/nologin\n" +
			"nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")},
		{Path: "/etc/group", Content: []byte("root:x:0:\nnonroot:x:65532:\n")},
	}
}

// Tree lists the files and links below a file or directory of this machine, to appear at target in an image.
func Tree(source, target string) ([]Entry, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []Entry{{Path: target, Source: source}}, nil
	}
	var entries []Entry
	err = filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		entry, err := treeEntry(name, path.Join(target, filepath.ToSlash(relative)), d)
		entries = append(entries, entry)
		return err
	})
	return entries, err
}

func treeEntry(name, target string, d fs.DirEntry) (Entry, error) {
	switch {
	case d.IsDir():
		return Entry{Path: target, Dir: true}, nil
	case d.Type()&fs.ModeSymlink != 0:
		link, err := os.Readlink(name)
		return Entry{Path: target, Link: link}, err
	case d.Type().IsRegular():
		return Entry{Path: target, Source: name}, nil
	default:
		return Entry{}, fmt.Errorf("%s is neither a file, a directory nor a symbolic link", name)
	}
}

// writeLayer writes the entries in the order of their paths, each directory before what is in it.
func writeLayer(w io.Writer, entries []Entry) error {
	complete, err := withParents(entries)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(complete)) {
		if err := writeEntry(out, complete[name]); err != nil {
			return err
		}
	}
	return out.Close()
}

// withParents indexes entries by path, the later of two with the same path winning, and adds the directories
// above them.
func withParents(entries []Entry) (map[string]Entry, error) {
	byPath := map[string]Entry{}
	for _, entry := range entries {
		if !path.IsAbs(entry.Path) {
			return nil, fmt.Errorf("the path %q in the image is not absolute", entry.Path)
		}
		entry.Path = path.Clean(entry.Path)
		if entry.Path == "/" {
			continue
		}
		byPath[entry.Path] = entry
	}
	for _, name := range slices.Collect(maps.Keys(byPath)) {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if parent, known := byPath[dir]; known && !parent.Dir && parent.Link == "" {
				return nil, fmt.Errorf("%s is a file, but %s is below it", dir, name)
			} else if !known {
				byPath[dir] = Entry{Path: dir, Dir: true}
			}
		}
	}
	return byPath, nil
}

func writeEntry(out *tar.Writer, entry Entry) error {
	name := strings.TrimPrefix(entry.Path, "/")
	switch {
	case entry.Dir:
		h := header(name+"/", orDefault(entry.Mode, 0o755), 0)
		h.Typeflag = tar.TypeDir
		return out.WriteHeader(h)
	case entry.Link != "":
		h := header(name, 0o777, 0)
		h.Typeflag, h.Linkname = tar.TypeSymlink, entry.Link
		return out.WriteHeader(h)
	case entry.Source != "":
		return copySource(out, name, entry)
	default:
		return copyContent(out, header(name, orDefault(entry.Mode, 0o644), int64(len(entry.Content))),
			bytes.NewReader(entry.Content))
	}
}

func copySource(out *tar.Writer, name string, entry Entry) error {
	file, err := os.Open(entry.Source)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", entry.Source)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return copyContent(out, header(name, orDefault(entry.Mode, mode), info.Size()), file)
}

func copyContent(out *tar.Writer, h *tar.Header, content io.Reader) error {
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	if errors.Is(err, tar.ErrWriteTooLong) {
		return fmt.Errorf("/%s grew while it was read: %w", h.Name, err)
	}
	return err
}

func orDefault(mode, otherwise int64) int64 {
	if mode == 0 {
		return otherwise
	}
	return mode
}
