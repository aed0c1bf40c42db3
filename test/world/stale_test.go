// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The operator reads what was true some versions ago, is told of everything
// twice and in any order, and comes to the same end.
func TestStaleCachesComeToTheSameEnd(t *testing.T) {
	t.Parallel()
	for name, s := range stories() {
		if raceEnabled && len(s.chapters) == 1 && s.before != nil {
			continue // The others say as much of what races.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if s.before != nil {
				s.before(w)
			}
			want := s.tell(w, trouble{})
			for seed := range few(4) {
				w := newWorld(t)
				if s.before != nil {
					s.before(w)
				}
				w.random = rand.New(rand.NewPCG(seed, 6))
				w.late, w.lateNow = 3+int(seed)*10, 3+int(seed)*10
				w.repeat, w.quiet = 2, 7
				w.startOperator()
				if got := s.tell(w, trouble{}); got != want {
					t.Errorf("with seed %d the world is\n%s\nwant\n%s", seed, got, want)
				}
				w.cluster.Close()
			}
		})
	}
}

// Every call goes wrong at random, one in eight, while caches are stale.
func TestRandomFailuresComeToTheSameEnd(t *testing.T) {
	t.Parallel()
	reference := newWorld(t)
	reference.apply(smallCluster())
	reference.rest()
	reference.mustBeReady()
	want := reference.final()
	for seed := range few(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.random = rand.New(rand.NewPCG(seed, 7))
			w.unreliable = rand.New(rand.NewPCG(seed, 8))
			w.apply(smallCluster())
			w.rounds(40)
			w.unreliable = nil
			w.rest()
			w.mustBeReady()
			if got := w.final(); got != want {
				t.Errorf("the world is\n%s\nwant\n%s", got, want)
			}
		})
	}
}
