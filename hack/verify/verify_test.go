// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConstantsAreThoseWithThePrefix(t *testing.T) {
	t.Parallel()
	source := "package p\n\nconst (\n\tConditionReady = \"Ready\"\n\tReasonGone = \"Gone\"\n\tOther = \"Other\"\n)\n"
	got, err := constants([]byte(source), "Condition", "Reason")
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"Gone", "Ready"}) {
		t.Errorf("constants() = %v", names)
	}
}

func TestCompareNamesWhatEachSideLacks(t *testing.T) {
	t.Parallel()
	doc := tableNames("# Title\n\n| name | meaning |\n|---|---|\n| `Ready` | all is well |\n| `Old` | was removed |\n")
	tests := map[string]struct {
		code map[string]bool
		want []string
	}{
		"equal sides are fine": {code: map[string]bool{"Ready": true, "Old": true}},
		"each side lacks something": {
			code: map[string]bool{"Ready": true, "New": true},
			want: []string{"doc lacks what code has: New", "code lacks what doc has: Old"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := compare("doc", doc, "code", tt.code)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("compare() = %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("compare() = %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestHostsOfASetting(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setting string
		want    []string
	}{
		"a list of addresses":    {"https://modules.example.com:8443/go,direct", []string{"modules.example.com"}},
		"a plain name":           {"sums.example.com", []string{"sums.example.com"}},
		"switched off":           {"off", nil},
		"alternatives with bars": {"https://a.example|https://b.example", []string{"a.example", "b.example"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := hosts(tt.setting); !slices.Equal(got, tt.want) {
				t.Errorf("hosts(%q) = %v, want %v", tt.setting, got, tt.want)
			}
		})
	}
}

func TestChecksOnATree(t *testing.T) {
	t.Parallel()
	header := "// SPDX-FileCopyrightText: The Codis operator authors\n// SPDX-License-Identifier: Apache-2.0\n\n"
	tests := map[string]struct {
		check func(context.Context, tree) error
		files map[string]string
		want  string // in the error; empty for none
	}{
		"a source file with the header": {
			check: spdxHeaders, files: map[string]string{"a.go": header + "package a\n"},
		},
		"a source file without the header": {
			check: spdxHeaders, files: map[string]string{"a.go": "package a\n"}, want: "a.go",
		},
		"data of tests needs no header": {
			check: spdxHeaders, files: map[string]string{"testdata/a.go": "package a\n"},
		},
		"a small CRD": {
			check: crdSizes, files: map[string]string{"config/crd/bases/a.yaml": "kind: CustomResourceDefinition\n"},
		},
		"a large CRD": {
			check: crdSizes,
			files: map[string]string{"config/crd/bases/a.yaml": strings.Repeat("x", maxCRDSize)},
			want:  "a.yaml has 200000 bytes",
		},
		"no CRD at all": {check: crdSizes, want: "no CRD"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.check(t.Context(), newTree(t, tt.files))
			if tt.want == "" && err != nil {
				t.Errorf("unexpected error: %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestMachineNamesAreFound(t *testing.T) {
	t.Parallel()
	checkout := newTree(t, map[string]string{"README.md": "plain\n"})
	if err := os.WriteFile(checkout.path("a.txt"), []byte("see "+checkout.root+"/README.md\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := machineNames(t.Context(), checkout); err != nil {
		t.Errorf("unexpected error before a.txt is tracked: %v", err)
	}
	checkout.files = append(checkout.files, "a.txt")
	if err := machineNames(t.Context(), checkout); err == nil || !strings.Contains(err.Error(), "a.txt") {
		t.Errorf("got error %v, want one about a.txt", err)
	}
}

func newTree(t *testing.T, files map[string]string) tree {
	t.Helper()
	checkout := tree{root: t.TempDir()}
	for file, content := range files {
		if err := os.MkdirAll(filepath.Dir(checkout.path(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(checkout.path(file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		checkout.files = append(checkout.files, file)
	}
	return checkout
}
