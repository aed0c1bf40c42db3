// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// builderFor has a tools module of two tools.
func builderFor(t *testing.T) *builder {
	t.Helper()
	source := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module tools", "go.sum": "", "a/main.go": "package main", "b/main.go": "package main",
	} {
		writeTestFile(t, filepath.Join(source, name), content)
	}
	return &builder{source: source, cache: t.TempDir(), goVersion: "go1.26"}
}

func writeTestFile(t *testing.T, path, content string) {
	t.Helper()
	if err := replaceFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func keyOf(t *testing.T, b *builder, dir string) string {
	t.Helper()
	key, err := b.key(tool{dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAKeyChangesWithAllABinaryIsMadeOf(t *testing.T) {
	tests := map[string]struct {
		goVersion, file string
		changed         bool
	}{
		"nothing":                  {},
		"the release of Go":        {goVersion: "go1.27", changed: true},
		"a module's version":       {file: "go.mod", changed: true},
		"a checksum":               {file: "go.sum", changed: true},
		"its source":               {file: "a/main.go", changed: true},
		"a new file of its source": {file: "a/new.go", changed: true},
		"another tool's source":    {file: "b/main.go"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := builderFor(t)
			before := keyOf(t, b, "a")
			if tt.goVersion != "" {
				b.goVersion = tt.goVersion
			}
			if tt.file != "" {
				writeTestFile(t, filepath.Join(b.source, tt.file), "changed")
			}
			if changed := keyOf(t, b, "a") != before; changed != tt.changed {
				t.Errorf("changed: %t, want %t", changed, tt.changed)
			}
		})
	}
}

func TestOnlyWhatTheCacheLacksIsBuilt(t *testing.T) {
	b := builderFor(t)
	all := []tool{{"a", []string{"one", "two"}}, {"b", []string{"three"}}}
	built := filepath.Join(t.TempDir(), "built")
	writeTestFile(t, built, "program")
	if err := b.keep(built, all[0]); err != nil {
		t.Fatal(err)
	}
	missing, err := b.missing(all)
	if err != nil || len(missing) != 1 || missing[0].dir != "b" {
		t.Errorf("missing %v, %v, want b", missing, err)
	}
}

func TestAnAssembledDirectoryHasEveryName(t *testing.T) {
	b := builderFor(t)
	a := tool{"a", []string{"one", "two"}}
	built := filepath.Join(t.TempDir(), "built")
	writeTestFile(t, built, "program")
	if err := b.keep(built, a); err != nil {
		t.Fatal(err)
	}
	first, err := b.assemble([]tool{a})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range a.names {
		if content, err := os.ReadFile(filepath.Join(first, name)); err != nil || string(content) != "program" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	again, err := b.assemble([]tool{a})
	if err != nil || again != first {
		t.Errorf("the second time: %s, %v, want %s", again, err, first)
	}
	writeTestFile(t, b.source+"/a/main.go", "package main // changed")
	changed, err := b.assemble([]tool{a})
	if err != nil || changed == first {
		t.Errorf("another revision has the same directory %s, %v", changed, err)
	}
}

// TestEveryToolExists ties the list of tools to the module, and what the control plane and nodes start to the list.
func TestEveryToolExists(t *testing.T) {
	var names []string
	for _, tool := range tools() {
		if _, err := os.Stat(filepath.Join("tools", tool.dir, "main.go")); err != nil {
			t.Error(err)
		}
		names = append(names, tool.names...)
	}
	needed := append(systemImages(), "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
		"kube-proxy", "kubectl", "containerd", "ctr", "containerd-shim-runc-v2", "provisioner")
	for _, name := range needed {
		if !slices.Contains(names, name) {
			t.Errorf("no tool answers to %s", name)
		}
	}
	module, err := os.ReadFile("tools/go.mod")
	if err != nil || !strings.Contains(string(module), "k8s.io/kubernetes "+kubernetesVersion+"\n") {
		t.Errorf("tools/go.mod does not have Kubernetes %s, %v", kubernetesVersion, err)
	}
}
