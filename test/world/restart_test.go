// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
)

var (
	olderData = fixture.Dataset{"a": "1"}
	noData    = fixture.Dataset{}
)

// groupWithData is a ready cluster with one group of some members, the first of
// which is master, and data on all.
func groupWithData(t *testing.T, members int32, volumes bool) *world {
	t.Helper()
	w := newWorld(t)
	c := smallCluster()
	c.Spec.Groups.Replicas = &members
	if volumes {
		c.Spec.Groups.Storage = &v1alpha1.Storage{Size: resource.MustParse("1Gi")}
	}
	w.apply(c)
	w.rest()
	w.mustBeReady()
	if !w.server("small-1-0").Set(someData) {
		t.Fatal("the master takes no writes")
	}
	w.rest()
	return w
}

// killWith kills members, and puts on the disk of each what it finds when it
// starts again; nil leaves what is there.
func (w *world) killWith(disks map[string]fixture.Dataset) {
	w.t.Helper()
	for pod, data := range disks {
		server := w.server(pod)
		w.kill(pod)
		if data != nil {
			w.cluster.SetDisk(server, data)
		}
	}
}

func TestInvariant2RestartsLoseNothingThatAMemberHas(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		members int32
		volumes bool
		disks   map[string]fixture.Dataset
		master  string
		data    fixture.Dataset
	}{
		"master restarts empty":                    {2, false, map[string]fixture.Dataset{"small-1-0": nil}, "small-1-1", someData},
		"replica restarts empty":                   {2, false, map[string]fixture.Dataset{"small-1-1": nil}, "small-1-0", someData},
		"master and a replica restart empty":       {3, false, map[string]fixture.Dataset{"small-1-0": nil, "small-1-1": nil}, "small-1-2", someData},
		"all restart empty":                        {2, false, map[string]fixture.Dataset{"small-1-0": nil, "small-1-1": nil}, "small-1-0", noData},
		"the only member restarts empty":           {1, false, map[string]fixture.Dataset{"small-1-0": nil}, "small-1-0", noData},
		"master restarts with its volume":          {2, true, map[string]fixture.Dataset{"small-1-0": nil}, "small-1-1", someData},
		"replica restarts with its volume":         {2, true, map[string]fixture.Dataset{"small-1-1": nil}, "small-1-0", someData},
		"the only member restarts with its volume": {1, true, map[string]fixture.Dataset{"small-1-0": nil}, "small-1-0", someData},
		"master restarts with an emptied volume":   {2, true, map[string]fixture.Dataset{"small-1-0": noData}, "small-1-1", someData},
		"replica restarts with an emptied volume":  {2, true, map[string]fixture.Dataset{"small-1-1": noData}, "small-1-0", someData},
		"master restarts with older data":          {2, true, map[string]fixture.Dataset{"small-1-0": olderData}, "small-1-1", someData},
		"replica restarts with older data":         {2, true, map[string]fixture.Dataset{"small-1-1": olderData}, "small-1-0", someData},
		"all restart with their volumes":           {2, true, map[string]fixture.Dataset{"small-1-0": nil, "small-1-1": nil}, "small-1-0", someData},
		"all restart, only the master keeps data":  {2, true, map[string]fixture.Dataset{"small-1-0": nil, "small-1-1": noData}, "small-1-0", someData},
		"all restart, only the replica keeps data": {2, true, map[string]fixture.Dataset{"small-1-0": noData, "small-1-1": nil}, "small-1-1", someData},
		"all restart, the replica with older data": {2, true, map[string]fixture.Dataset{"small-1-0": nil, "small-1-1": olderData}, "small-1-0", someData},
		"all restart with emptied volumes":         {2, true, map[string]fixture.Dataset{"small-1-0": noData, "small-1-1": noData}, "small-1-0", noData},
		"master and one replica of three restart with emptied volumes": {
			3, true, map[string]fixture.Dataset{"small-1-0": noData, "small-1-2": noData}, "small-1-1", someData,
		},
	}
	for i, name := range slices.Sorted(maps.Keys(tests)) {
		if raceEnabled && i%4 != 0 {
			continue // See raceStride.
		}
		tt := tests[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, seen := range []bool{false, true}[:few(2)] {
				w := groupWithData(t, tt.members, tt.volumes)
				w.killWith(tt.disks)
				if !seen {
					w.step() // They are back before the operator looks.
				}
				w.rest()
				w.mustBeReady()
				w.mustHold("small-1", tt.master, tt.data)
				w.cluster.Close()
			}
		})
	}
}

// While the member that has the data is down, an emptied master is not lifted;
// when it is back, its data is.
func TestInvariant2HoldsWhileTheDataIsOutOfReach(t *testing.T) {
	t.Parallel()
	w := groupWithData(t, 2, true)
	w.killWith(map[string]fixture.Dataset{"small-1-0": noData, "small-1-1": nil})
	w.cluster.Hold(namespace, "small-1-1", true)
	w.rest()
	if role := w.server("small-1-0").Role(); role.Master == "" {
		t.Fatalf("the emptied master takes writes\n%s", w.dump())
	}
	if text := w.conditions(); !strings.Contains(text, "MasterReachable=False "+v1alpha1.ReasonPromotionHeld) {
		t.Errorf("no condition tells of the hold:\n%s", text)
	}
	w.cluster.Hold(namespace, "small-1-1", false)
	w.rest()
	w.mustBeReady()
	w.mustHold("small-1", "small-1-1", someData)
}

// Copies of data are costly for the master: one member copies at a time.
func TestMembersCopyOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := groupWithData(t, 4, false)
	seen := false
	w.observe = func() {
		var copying []string
		for _, pod := range w.podsOf(naming.ComponentServer) {
			if s := w.cluster.Server(namespace, pod.Name); s != nil && s.Copying() {
				copying = append(copying, pod.Name)
			}
		}
		seen = seen || len(copying) > 0
		if len(copying) > 1 {
			w.fault("%v copy at once", copying)
		}
	}
	w.killWith(map[string]fixture.Dataset{"small-1-1": nil, "small-1-2": nil, "small-1-3": nil})
	w.rest()
	w.mustBeReady()
	w.mustHold("small-1", "small-1-0", someData)
	if !seen {
		t.Error("nobody copied anything")
	}
}

// What is held is released by a person who names the member whose data is kept.
func TestInvariant2APersonReleasesAHold(t *testing.T) {
	t.Parallel()
	w := groupWithData(t, 2, true)
	w.killWith(map[string]fixture.Dataset{"small-1-0": olderData, "small-1-1": nil})
	w.cluster.Hold(namespace, "small-1-1", true)
	w.rest()
	g := w.group("small-1")
	g.Annotations = map[string]string{v1alpha1.AnnotationAcceptDataLoss: "small-1-0"}
	if err := w.user.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	w.rest()
	if role := w.server("small-1-0").Role(); role.Master != "" {
		t.Fatalf("the member that was named takes no writes\n%s", w.dump())
	}
	w.cluster.Hold(namespace, "small-1-1", false)
	w.rest()
	w.mustBeReady()
	w.mustHold("small-1", "small-1-0", olderData)
	if value, left := w.group("small-1").Annotations[v1alpha1.AnnotationAcceptDataLoss]; left {
		t.Errorf("the annotation is left: %q", value)
	}
}

// restartSeeds is how many random histories of restarts are tried.
const restartSeeds = 12

// Members restart empty at random moments, copies under way included, but never
// the last one that has a whole copy: the data is never lost.
func TestInvariant2RandomRestarts(t *testing.T) {
	t.Parallel()
	for seed := range few(restartSeeds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 2))
			w := groupWithData(t, 3, false)
			w.random = random
			var history []string
			for range 12 {
				for _, victim := range w.victims(random) {
					history = append(history, victim)
					w.kill(victim)
				}
				history = append(history, "-")
				w.rounds(random.IntN(4))
			}
			w.rest()
			w.mustBeReady()
			for _, pod := range w.podsOf(naming.ComponentServer) {
				if got := w.server(pod.Name).Data(); !equal(got, someData) {
					t.Errorf("%s holds %v after %v\n%s", pod.Name, got, history, w.dump())
				}
			}
		})
	}
}

// victims chooses some members, but not all that have the data.
func (w *world) victims(random *rand.Rand) []string {
	w.t.Helper()
	var running, whole []string
	for _, pod := range w.podsOf(naming.ComponentServer) {
		s := w.cluster.Server(namespace, pod.Name)
		if s == nil {
			continue
		}
		running = append(running, pod.Name)
		if role := s.Role(); equal(s.Data(), someData) && (role.Master == "" || role.Up) {
			whole = append(whole, pod.Name)
		}
	}
	if len(whole) == 0 {
		return nil
	}
	spared := whole[random.IntN(len(whole))]
	return slices.DeleteFunc(running, func(pod string) bool { return pod == spared || random.IntN(2) == 0 })
}

func (w *world) group(name string) *v1alpha1.CodisGroup {
	w.t.Helper()
	g := &v1alpha1.CodisGroup{}
	w.get(name, g)
	return g
}
