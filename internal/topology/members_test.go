// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// Members as a race finds them: what they do when they are asked.
const (
	fails = "fails"
	hangs = "hangs"
)

func TestRace(t *testing.T) {
	tests := map[string]struct {
		members string
		want    string
		asked   []string
		err     string
	}{
		"the first answers, and nobody else is asked":    {"a:answers,b:answers", "a:answers", []string{"a:answers"}, ""},
		"one that fails is followed by the next one":     {"a:fails,b:answers", "b:answers", []string{"a:fails", "b:answers"}, ""},
		"one that hangs is overtaken":                    {"a:hangs,b:answers,c:fails", "b:answers", []string{"a:hangs", "b:answers"}, ""},
		"all that hang are overtaken":                    {"a:hangs,b:hangs,c:answers", "c:answers", []string{"a:hangs", "b:hangs", "c:answers"}, ""},
		"of all that fail is told in the order of names": {"a:fails,b:fails", "", []string{"a:fails", "b:fails"}, "a:fails: broken\nb:fails: broken"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			got, err := race(t.Context(), Product{Addr: tt.members}, func(ctx context.Context, member string) (string, error) {
				mu.Lock()
				asked = append(asked, member)
				mu.Unlock()
				switch member[2:] {
				case fails:
					return "", errors.New("broken")
				case hangs:
					<-ctx.Done()
					return "", ctx.Err()
				}
				return member, nil
			}, func(string) { t.Error("an answer is dropped") })
			if got != tt.want || err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("got %q, %v", got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(asked, tt.asked) {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

// A session that is there when another one is in use already is given back.
func TestRaceLetsGoOfWhatIsLate(t *testing.T) {
	late := make(chan string)
	got, err := race(t.Context(), Product{Addr: "slow:1,quick:1"}, func(ctx context.Context, member string) (string, error) {
		if member == "slow:1" {
			<-ctx.Done() // The other one has won.
		}
		return member, nil
	}, func(dropped string) { late <- dropped })
	if got != "quick:1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if dropped := <-late; dropped != "slow:1" {
		t.Errorf("%q is let go of", dropped)
	}
}

// Who answered last is asked first, also where another one is named before.
func TestRaceBeginsWithWhoAnsweredLast(t *testing.T) {
	p := Product{Addr: "x:hangs,y:answers"}
	first := make(chan string, 4)
	ask := func(ctx context.Context, member string) (string, error) {
		first <- member
		if member == "x:hangs" {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return member, nil
	}
	for _, want := range []string{"x:hangs", "y:answers"} {
		if _, err := race(t.Context(), p, ask, func(string) {}); err != nil {
			t.Fatal(err)
		}
		if got := <-first; got != want {
			t.Errorf("%s is asked first, want %s", got, want)
		}
		for len(first) > 0 {
			<-first
		}
	}
}
