// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import "testing"

func TestSlotsHoldTheirKeys(t *testing.T) {
	t.Parallel()
	// The slot of a is 579, that of b is 1017, that of bar is 170.
	tests := map[string]struct {
		text string
		want map[string]bool
	}{
		"all":             {"", map[string]bool{"a": true, "b": true, "bar": true}},
		"one":             {"579", map[string]bool{"a": true, "b": false, "bar": false}},
		"a range":         {"512-1023", map[string]bool{"a": true, "b": true, "bar": false}},
		"one and a range": {"170,600-1023", map[string]bool{"a": false, "b": true, "bar": true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots, err := ParseSlots(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			for key, want := range tt.want {
				if got := slots.Hold(key); got != want {
					t.Errorf("Hold(%q) = %t", key, got)
				}
			}
		})
	}
}

func TestWhatAreNoSlotsIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"x", "1-", "-1", "5-4", "1024", "0-1024", "1,,2"} {
		if slots, err := ParseSlots(text); err == nil {
			t.Errorf("ParseSlots(%q) = %v", text, slots)
		}
	}
}
