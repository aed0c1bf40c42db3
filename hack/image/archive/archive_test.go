// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// unpack reads a tar into its headers, in order, and its contents.
func unpack(t *testing.T, archive []byte) (headers []*tar.Header, contents map[string][]byte) {
	t.Helper()
	contents = map[string][]byte{}
	in := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		contents[h.Name] = content
	}
}

func written(t *testing.T, image Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, image); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sample is an image of a directory with a program, a file and a link, the files as old as the caller says.
func sample(t *testing.T, age time.Duration) Image {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"b/program": 0o750, "a.txt": 0o600} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("content of "+name), mode); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("b/program", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tree, err := Tree(dir, "/opt/app")
	if err != nil {
		t.Fatal(err)
	}
	return Image{Name: "sample:1", Entrypoint: []string{"/opt/app/b/program"}, Entries: append(Base(), tree...)}
}

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	first, second := sample(t, time.Minute), sample(t, 48*time.Hour)
	slices.Reverse(second.Entries)
	if !bytes.Equal(written(t, first), written(t, second)) {
		t.Error("two images of the same files differ")
	}
}

func TestAnImageNamesItsConfigAndLayerByTheirContent(t *testing.T) {
	_, contents := unpack(t, written(t, sample(t, 0)))
	var manifest []manifestEntry
	if err := json.Unmarshal(contents["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest: %v, %d entries", err, len(manifest))
	}
	config := contents[manifest[0].Config]
	if got := fmt.Sprintf("%x.json", sha256.Sum256(config)); got != manifest[0].Config {
		t.Errorf("the config is named %s, its content says %s", manifest[0].Config, got)
	}
	var parsed imageConfig
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	layer := contents[manifest[0].Layers[0]]
	want := []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}
	if !slices.Equal(parsed.RootFS.DiffIDs, want) {
		t.Errorf("diff ids %v, the layer is %v", parsed.RootFS.DiffIDs, want)
	}
	if !slices.Equal(manifest[0].RepoTags, []string{"sample:1"}) {
		t.Errorf("tags %v", manifest[0].RepoTags)
	}
	if !slices.Equal(parsed.Config.Entrypoint, []string{"/opt/app/b/program"}) {
		t.Errorf("entrypoint %v", parsed.Config.Entrypoint)
	}
}

func TestALayerIsSortedWithItsDirectoriesAndPlainModes(t *testing.T) {
	var out bytes.Buffer
	if err := writeLayer(&out, sample(t, 0).Entries); err != nil {
		t.Fatal(err)
	}
	headers, contents := unpack(t, out.Bytes())
	var got []string
	for _, h := range headers {
		got = append(got, fmt.Sprintf("%s %o %d:%d %s", h.Name, h.Mode, h.Uid, h.Gid, h.Linkname))
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s has the time %s", h.Name, h.ModTime)
		}
	}
	want := []string{
		"etc/ 755 0:0 ", "etc/group 644 0:0 ", "etc/passwd 644 0:0 ",
		"opt/ 755 0:0 ", "opt/app/ 755 0:0 ", "opt/app/a.txt 644 0:0 ", "opt/app/b/ 755 0:0 ",
		"opt/app/b/program 755 0:0 ", "opt/app/link 777 0:0 b/program", "tmp/ 1777 0:0 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if string(contents["opt/app/a.txt"]) != "content of a.txt" {
		t.Errorf("a.txt holds %q", contents["opt/app/a.txt"])
	}
}

func TestWhatCannotBeInAnImage(t *testing.T) {
	tests := map[string][]Entry{
		"a relative path":        {{Path: "etc/passwd"}},
		"a file below a file":    {{Path: "/a", Content: []byte("x")}, {Path: "/a/b", Content: []byte("y")}},
		"a source that is not":   {{Path: "/a", Source: "/does/not/exist"}},
		"a directory for a file": {{Path: "/a", Source: "/"}},
	}
	for name, entries := range tests {
		t.Run(name, func(t *testing.T) {
			if err := Write(io.Discard, Image{Name: "x:1", Entries: entries}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestAFailedWriteLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	err := WriteFile(filepath.Join(dir, "out.tar"), Image{Name: "x:1", Entries: []Entry{{Path: "relative"}}})
	if err == nil {
		t.Error("no error")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestParseLDD(t *testing.T) {
	out := "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f)\n" +
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
	got, err := parseLDD([]byte(out))
	if want := []string{"/lib/x/libm.so.6", "/lib64/ld-linux-x86-64.so.2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := parseLDD([]byte("\tlibjemalloc.so.2 => not found\n")); err == nil {
		t.Error("a missing library is no error")
	}
}
