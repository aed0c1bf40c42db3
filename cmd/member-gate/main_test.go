// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/codis-io/codis-operator/internal/seat"
)

func TestWhatKeepsAMemberFromStartingIsLeftAsAMessage(t *testing.T) {
	tests := map[string]struct {
		seat    string
		message string
		passes  bool
	}{
		"a new member passes":                  {seat.Seat{ID: "a1", Fresh: true}.Encode(), "", true},
		"a member without its data is stopped": {seat.Seat{ID: "a1"}.Encode(), "emptied a1", false},
		"a pod without a seat is stopped":      {"", "vacant", false},
		"a file that is no seat stops it too":  {"x", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, message := filepath.Join(dir, "seat"), filepath.Join(dir, "message")
			if tt.seat != "" {
				if err := os.WriteFile(file, []byte(tt.seat), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := pass(file, t.TempDir(), message); (err == nil) != tt.passes {
				t.Errorf("passes: %v", err)
			}
			said, err := os.ReadFile(message)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if string(said) != tt.message {
				t.Errorf("it said %q", said)
			}
		})
	}
}
