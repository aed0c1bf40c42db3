// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindSummary(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		input string
		want  string // prefix of the summary; empty for an error
	}{
		"the summary after reports and other lines": {
			input: `{"report":{"acknowledged":1}}` + "\nsome log line\n" + `{"summary":{"prefix":"p"}}` + "\n",
			want:  "p",
		},
		"a last line without its end": {input: `{"summary":{"prefix":"q"}}`, want: "q"},
		"no summary":                  {input: `{"report":{"acknowledged":1}}` + "\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			summary, err := findSummary(strings.NewReader(tt.input))
			if (err != nil) != (tt.want == "") || summary.Prefix != tt.want {
				t.Errorf("findSummary() = %+v, %v", summary, err)
			}
		})
	}
}

func TestPasswordComesFromAFileWithoutItsLineEnd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse("load", []string{"-password-file", file})
	if err != nil || o.Password != "secret" {
		t.Errorf("parse() = %+v, %v", o, err)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-writers", "0"}, {"-rate", "0"}, {"-keys", "0"}, {"extra"}} {
		if _, err := parse("load", args); err == nil {
			t.Errorf("parse(%v) accepted them", args)
		}
	}
}
