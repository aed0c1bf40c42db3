// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package golden renders the examples: what the operator makes of each file
// stands in testdata, and a change of it is seen in review. It runs the real
// reconcilers once, on an API server that only stores.
//
// A change on purpose is written down by:
//
//	go test ./test/golden -update
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

const examples = "../../examples"

func TestExamplesRenderAsWritten(t *testing.T) {
	singles, err := filepath.Glob(filepath.Join(examples, "*.yml"))
	if err != nil || len(singles) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	components, err := filepath.Glob(filepath.Join(examples, "components", "*.yml"))
	if err != nil || len(components) == 0 {
		t.Fatalf("no components: %v", err)
	}
	inputs := map[string][]string{"components": components}
	for _, file := range singles {
		inputs[strings.TrimSuffix(filepath.Base(file), ".yml")] = []string{file}
	}
	for name, files := range inputs {
		t.Run(name, func(t *testing.T) {
			compare(t, filepath.Join("testdata", name+".golden.yaml"), render(t, files))
		})
	}
}

// What a cluster makes and what a person writes by hand must not differ but in
// names and in whom it belongs to.
func TestClusterIsWhatItsPartsAre(t *testing.T) {
	whole := string(render(t, []string{filepath.Join(examples, "sample-1.yml")}))
	parts, err := filepath.Glob(filepath.Join(examples, "components", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	apart := strings.ReplaceAll(string(render(t, parts)), "parts", "sample")
	_, whole, _ = strings.Cut(workloads(whole), "---")
	_, apart, _ = strings.Cut(workloads(apart), "---")
	if diff := cmp.Diff(apart, whole); diff != "" || whole == "" {
		t.Errorf("%d characters: %s", len(whole), diff)
	}
}

// hash is a line with a hash, into which names go.
var hash = regexp.MustCompile(`codis\.io/(applied|config|template): `)

// workloads keeps the objects that are not ours, without hashes and owners.
func workloads(rendered string) string {
	var kept []string
	for document := range strings.SplitSeq(rendered, "---\n") {
		if strings.Contains(document, "apiVersion: codis.io") {
			continue
		}
		var lines []string
		for line := range strings.Lines(document) {
			if !hash.MatchString(line) {
				lines = append(lines, line)
			}
		}
		kept = append(kept, strings.Join(lines, ""))
	}
	return "---" + strings.Join(kept, "---\n")
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s (go test ./test/golden -update writes it):\n%s", file, cmp.Diff(string(want), string(got)))
	}
}
