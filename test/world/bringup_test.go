// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/internal/fixture"
)

// orders is how many random orders of the components are tried.
const orders = 16

func TestBringUpOfTheFirstExample(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(example(t, "sample-1.yml")...)
	w.rest()
	w.mustBeReady()
	want := `sample-dashboard-0 group 1: sample-1-0.sample-1.default.svc.cluster.local:6379 sample-1-1.sample-1.default.svc.cluster.local:6379; slots 0-511; promoting ""
sample-dashboard-0 group 2: sample-2-0.sample-2.default.svc.cluster.local:6379 sample-2-1.sample-2.default.svc.cluster.local:6379; slots 512-1023; promoting ""
sample-dashboard-0: 0 slots without owner; 2 proxies
sample-1-0: follows "", up false, 0 keys
sample-1-1: follows "sample-1-0.sample-1.default.svc.cluster.local:6379", up true, 0 keys
sample-2-0: follows "", up false, 0 keys
sample-2-1: follows "sample-2-0.sample-2.default.svc.cluster.local:6379", up true, 0 keys
proxy 0: online true, routes "sample-1-0.sample-1.default.svc.cluster.local:6379" 0-511, "sample-2-0.sample-2.default.svc.cluster.local:6379" 512-1023
proxy 1: online true, routes "sample-1-0.sample-1.default.svc.cluster.local:6379" 0-511, "sample-2-0.sample-2.default.svc.cluster.local:6379" 512-1023
`
	if got := w.topology(); got != want {
		t.Errorf("the world is\n%s\nwant\n%s", got, want)
	}
}

// The parts of a cluster, applied in any order and with any number of rounds in
// between, come to the same topology.
func TestComponentsInAnyOrder(t *testing.T) {
	t.Parallel()
	want := parts(t, nil).topology()
	if !strings.Contains(want, "0 slots without owner; 2 proxies") {
		t.Fatalf("the reference is not a cluster:\n%s", want)
	}
	for seed := range few(orders) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := parts(t, rand.New(rand.NewPCG(seed, 1)))
			if got := w.topology(); got != want {
				t.Errorf("the world is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// parts brings a cluster up from its parts, in a random order and with rounds in
// between if it is given random numbers.
func parts(t *testing.T, random *rand.Rand) *world {
	t.Helper()
	w := newWorld(t)
	w.random = random
	var objects []client.Object
	for _, file := range []string{"1-coordinator.yml", "2-dashboard.yml", "3-groups.yml", "4-proxy.yml"} {
		objects = append(objects, example(t, "components/"+file)...)
	}
	if random != nil {
		random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	}
	for _, object := range objects {
		w.apply(object)
		if random != nil {
			w.rounds(random.IntN(5))
		}
	}
	w.rest()
	w.mustBeReady()
	return w
}

func TestInvariant7AConvergedClusterGetsNoWriteAndNoEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(example(t, "sample-1.yml")...)
	w.rest()
	w.mustBeReady()
	w.server("sample-1-0").Set(fixture.Dataset{"a": "1", "b": "2", "c": "3"})
	w.clock.Step(time.Minute)
	w.rest() // The keys are counted in the status.
	w.stays(20)
	// An operator that starts anew finds nothing to do, either.
	w.startOperator()
	w.stays(3)
}

// stays fails if rounds make a write, an event, or a call that is not a look.
func (w *world) stays(rounds int) {
	w.t.Helper()
	version, events, calls := w.api.Version(), len(w.recorder.list()), len(w.calls)
	w.rounds(rounds)
	for _, c := range w.calls[calls:] {
		look := c.Target == fixture.ToHTTP && c.Verb == "GET" || c.Target == fixture.ToRedis && c.Verb == "INFO"
		if !look {
			w.t.Errorf("a converged world sees %s", c)
		}
	}
	if len(w.calls) == calls {
		w.t.Error("nobody looked")
	}
	for _, event := range w.recorder.list()[events:] {
		w.t.Errorf("a converged world sees the event %s", event)
	}
	if now := w.api.Version(); now != version {
		w.t.Errorf("a converged world sees %d writes", now-version)
	}
}
