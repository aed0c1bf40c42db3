// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package seat_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/codis-io/codis-operator/internal/seat"
)

// volume makes a volume with the data of these identities.
func volume(t *testing.T, identities ...string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, id := range identities {
		wal := filepath.Join(root, id, "member", "wal")
		if err := os.MkdirAll(wal, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(wal, "0-0.wal"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		volume []string
		seat   seat.Seat
		want   seat.Finding
		left   []string
	}{
		"a new member starts empty": {
			nil, seat.Seat{ID: "a1", Fresh: true}, seat.Finding{}, nil,
		},
		"a new member that was started before goes on": {
			[]string{"a1"}, seat.Seat{ID: "a1", Fresh: true}, seat.Finding{}, []string{"a1"},
		},
		"a member finds its data": {
			[]string{"a1"}, seat.Seat{ID: "a1"}, seat.Finding{}, []string{"a1"},
		},
		"a member does not start without its data": {
			nil, seat.Seat{ID: "a1"}, seat.Finding{Kind: seat.Emptied, ID: "a1"}, nil,
		},
		"nor on the data of another one, which is kept": {
			[]string{"b2"}, seat.Seat{ID: "a1"}, seat.Finding{Kind: seat.Emptied, ID: "a1"}, []string{"b2"},
		},
		"a new member clears away who sat here before": {
			[]string{"b2", "c3"}, seat.Seat{ID: "a1", Fresh: true}, seat.Finding{}, nil,
		},
		"a member clears away who sat here before": {
			[]string{"a1", "b2"}, seat.Seat{ID: "a1"}, seat.Finding{}, []string{"a1"},
		},
		"a founder starts empty": {
			nil, seat.Seat{ID: "a1", Fresh: true, Founder: true}, seat.Finding{}, nil,
		},
		"a founder keeps the data of an earlier life": {
			[]string{"b2"},
			seat.Seat{ID: "a1", Fresh: true, Founder: true},
			seat.Finding{Kind: seat.Inherited, ID: "b2"},
			[]string{"b2"},
		},
		"a founder that finds its own data goes on": {
			[]string{"a1"}, seat.Seat{ID: "a1", Fresh: true, Founder: true}, seat.Finding{}, []string{"a1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := volume(t, tt.volume...)
			got, err := seat.Check(root, tt.seat, seat.TraceEtcd)
			if err != nil || got != tt.want {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
			var left []string
			entries, err := os.ReadDir(root)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				left = append(left, e.Name())
			}
			if want := append(slices.Clone(tt.left), "lost+found"); !slices.Equal(left, want) {
				t.Errorf("left %v, want %v", left, want)
			}
		})
	}
}

func TestCheckOfTwoEarlierLivesIsAnError(t *testing.T) {
	root := volume(t, "b2", "c3")
	if got, err := seat.Check(root, seat.Seat{ID: "a1", Fresh: true, Founder: true}, seat.TraceEtcd); err == nil {
		t.Errorf("got %v", got)
	}
}

func TestADirectoryWithoutALogIsNoData(t *testing.T) {
	root := volume(t)
	if err := os.MkdirAll(filepath.Join(root, "a1", "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := seat.Check(root, seat.Seat{ID: "a1"}, seat.TraceEtcd)
	if want := (seat.Finding{Kind: seat.Emptied, ID: "a1"}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFindingsAreReadBack(t *testing.T) {
	for _, f := range []seat.Finding{{}, {Kind: seat.Vacant}, {Kind: seat.Emptied, ID: "a1"}, {Kind: seat.Inherited, ID: "ff"}} {
		if got := seat.Parse(f.String() + "\n"); got != f {
			t.Errorf("%q is read as %v", f, got)
		}
	}
	for _, text := range []string{"panic: x", "emptied", "emptied ../x", "inherited A1"} {
		if got := seat.Parse(text); got.Present() {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestSeatsAreReadBack(t *testing.T) {
	for _, s := range []seat.Seat{{ID: "a1"}, {ID: "a1", Fresh: true}, {ID: "a1", Fresh: true, Founder: true}} {
		if got, err := seat.Decode(s.Encode()); err != nil || got != s {
			t.Errorf("got %v, %v", got, err)
		}
	}
	for _, text := range []string{"", "{}", `{"id":"../x"}`} {
		if _, err := seat.Decode(text); err == nil {
			t.Errorf("%q is a seat", text)
		}
	}
}

func TestEachStoreLeavesATraceOfItsOwn(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "1", "version-2"), 0o700); err != nil {
		t.Fatal(err)
	}
	look := func(trace string) seat.Finding {
		t.Helper()
		got, err := seat.Check(root, seat.Seat{ID: "1"}, trace)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := look(seat.TraceZooKeeper); got.Kind != seat.Emptied {
		t.Errorf("a member that never ran: %v", got)
	}
	if err := os.WriteFile(filepath.Join(root, "1", "version-2", "currentEpoch"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(seat.TraceZooKeeper); got.Present() {
		t.Errorf("a member that ran: %v", got)
	}
	if got := look(seat.TraceEtcd); got.Kind != seat.Emptied {
		t.Errorf("the data of another store: %v", got)
	}
}
