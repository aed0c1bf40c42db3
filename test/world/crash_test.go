// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/test/standin/models"
)

// story is something that happens to a cluster and that the operator brings to
// an end.
type story struct {
	// before brings a world to where the story starts; nothing goes wrong there.
	before func(*world)
	// chapters happen one after the other, each once the world has come to rest.
	chapters []func(*world)
	// after holds the end state to what it must be.
	after func(*world)
	// again brings the world back to where the story starts; nil if it ends there.
	again func(*world)
	// stride is how many troubles there are for one that is tried; 0 for all.
	stride int
}

// smallCluster has what a crash can happen to: one group of two, one proxy.
func smallCluster() *v1alpha1.CodisCluster {
	c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "small"}}
	c.Spec.Groups.Replicas = new(int32(2))
	c.Spec.Proxy.Replicas = new(int32(1))
	return c
}

var someData = fixture.Dataset{"a": "1", "b": "2"}

// smallWithData is a small cluster that is ready and has data.
func smallWithData(w *world) {
	w.apply(smallCluster())
	w.rest()
	w.mustBeReady()
	if !w.server("small-1-0").Set(someData) {
		w.t.Fatal("the master takes no writes")
	}
	w.rest()
}

func stories() map[string]story {
	empty := func(w *world) {
		w.delete(smallCluster())
		w.rest()
		w.mustBeEmpty()
	}
	return map[string]story{
		"bring-up": {
			chapters: []func(*world){func(w *world) { w.apply(smallCluster()) }},
			after:    (*world).mustBeReady,
			again:    empty,
		},
		"deletion": {
			before:   smallWithData,
			chapters: []func(*world){func(w *world) { w.delete(smallCluster()) }},
			after:    (*world).mustBeEmpty,
			again:    smallWithData,
		},
		"restart of an emptied master, twice": {
			before: smallWithData,
			chapters: []func(*world){
				func(w *world) { w.kill("small-1-0") },
				func(w *world) { w.mustHold("small-1", "small-1-1", someData); w.kill("small-1-1") },
			},
			after: func(w *world) { w.mustBeReady(); w.mustHold("small-1", "small-1-0", someData) },
		},
		"failover from a master that stays away for a while": {
			before: func(w *world) {
				smallWithData(w)
				w.clock.Step(time.Minute)
				w.rest() // The keys are counted in the status: each telling makes the same calls.
			},
			chapters: []func(*world){
				func(w *world) { w.stop("small-1-0") },
				func(w *world) { w.mustTakeWrites("small-1-1"); w.release("small-1-0") },
			},
			after: func(w *world) { w.mustBeReady(); w.mustHold("small-1", "small-1-1", someData) },
			again: func(w *world) {
				w.stop("small-1-1")
				w.rest()
				w.release("small-1-1")
				w.rest()
				w.mustHold("small-1", "small-1-0", someData)
			},
		},
		"failover while the dashboard is down": {
			before: func(w *world) {
				smallWithData(w)
				w.clock.Step(time.Minute)
				w.rest()
			},
			chapters: []func(*world){
				func(w *world) { w.stop("small-dashboard-0"); w.stop("small-1-0") },
				func(w *world) { w.mustTakeWrites("small-1-1"); w.mustRoute("small-1-1", 1); w.release("small-1-0") },
				func(w *world) { w.mustRoute("small-1-1", 1); w.release("small-dashboard-0") },
			},
			after: func(w *world) { w.mustBeReady(); w.mustHold("small-1", "small-1-1", someData) },
			again: func(w *world) {
				w.stop("small-1-1")
				w.rest()
				w.release("small-1-1")
				w.rest()
				w.mustHold("small-1", "small-1-0", someData)
			},
		},
		"loss of the dashboard's store": {
			before:   smallWithData,
			chapters: []func(*world){func(w *world) { w.deletePod("small-dashboard-0") }},
			after:    func(w *world) { w.mustBeReady(); w.mustHold("small-1", "small-1-0", someData) },
		},
		"scale of replicas from 2 to 3 and back": {
			before: smallWithData,
			chapters: []func(*world){
				func(w *world) { w.scale("small", 3) },
				func(w *world) { w.mustBeReady(); w.scale("small", 2) },
			},
			after: func(w *world) { w.mustBeReady(); w.mustHold("small-1", "small-1-0", someData) },
		},
		"groups from 1 to 2 and back": {
			before: func(w *world) {
				elasticIn(w, 1, func(c *v1alpha1.CodisCluster) { c.Spec.Groups.Replicas = new(int32(1)) })
			},
			chapters: []func(*world){
				func(w *world) { w.count(2) },
				func(w *world) { w.mustBeReady(); w.mustShare(1, 2); w.count(1) },
			},
			after: func(w *world) { w.mustBeReady(); w.mustShare(1) },
			// A telling moves a thousand slots, and most of its calls are alike.
			stride: 7,
		},
		"growth of volumes":                                          growth(),
		"hand-over to sentinels and back":                            handOver(),
		"a master that sentinels replace":                            replacedBySentinels(),
		"takeover from a dashboard that died before it locked slots": halfPromotion(models.ActionPreparing),
		"takeover from a dashboard that died with slots locked":      halfPromotion(models.ActionPrepared),
		"takeover from a dashboard that died with the new order":     halfPromotion(models.ActionFinished),
		"replacement of a proxy": {
			before:   smallWithData,
			chapters: []func(*world){func(w *world) { w.deletePod(w.podsOf(naming.ComponentProxy)[0].Name) }},
			after:    (*world).mustBeReady,
		},
	}
}

// halfPromotion is finished by the next dashboard, however often that is interrupted.
func halfPromotion(state string) story {
	return story{
		before: func(w *world) {
			smallWithData(w)
			w.clock.Step(time.Minute)
			w.rest()
		},
		chapters: []func(*world){func(w *world) {
			w.killInPromotion("small", 1, state, func(g *models.Group) {
				if state == models.ActionFinished {
					reorder(g)
				}
			})
		}, func(w *world) {
			w.clock.Step(time.Minute) // What was given up is tried again a while later.
		}},
		after: func(w *world) {
			w.halfPromoted = false
			w.mustBeReady()
			w.mustHold("small-1", "small-1-1", someData)
		},
		again: func(w *world) {
			w.stop("small-1-1")
			w.rest()
			w.release("small-1-1")
			w.rest()
			w.mustHold("small-1", "small-1-0", someData)
		},
		stride: 3, // There are three of them, and much is alike.
	}
}

// trouble is what goes wrong in a story.
type trouble struct {
	// at is the number of the changing call that fails without effect, or that is
	// carried out and the operator dies before it hears of it; 0 for none.
	at      int
	outcome fixture.Outcome
	// look says which of every so many of the first looks fail, 0 for none.
	look, every, first int
}

// tell tells a story to a world that is where it starts, and returns the end
// state.
func (s story) tell(w *world, tr trouble) string {
	w.t.Helper()
	w.goWrong(tr)
	for _, chapter := range s.chapters {
		chapter(w)
		w.rest()
	}
	s.after(w)
	return w.final()
}

// goWrong forgets all calls, and lets the next ones go wrong.
func (w *world) goWrong(tr trouble) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls, w.changed, w.looks, w.crashed, w.trouble = nil, 0, 0, "", tr
}

// lookStride is how many looks go well for one that fails.
const lookStride = 8

// Every call that changes anything goes wrong once in each way. A look only
// fails, since a death there is one right after the call before it; each fails in
// one of some tellings. The race detector makes all of it slow, so that with it
// only some troubles are tried.
func TestInvariant8CrashAtEveryCall(t *testing.T) {
	t.Parallel()
	for name, s := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if s.before != nil {
				s.before(w)
			}
			want := s.tell(w, trouble{})
			changes, looks := w.changed, w.looks
			if changes == 0 {
				t.Fatal("nothing was changed")
			}
			troubles := troublesOf(changes, looks)
			for i, tr := range troubles {
				if s.stride > 0 && i%s.stride != 0 {
					continue
				}
				if raceEnabled && i%raceStride != len(name)%raceStride {
					continue
				}
				w.goWrong(trouble{})
				if s.again != nil {
					s.again(w)
				}
				got := s.tell(w, tr)
				if w.crashed == "" {
					t.Errorf("%+v never happened", tr)
				}
				if got != want {
					t.Fatalf("after %q, %+v\n%s\nwant\n%s", w.crashed, tr, got, want)
				}
			}
			t.Logf("%d troubles with %d changes and %d looks", len(troubles), changes, looks)
		})
	}
}

// What a dashboard finished before it died stays finished, whichever looks fail meanwhile:
// neither who was to be master nor the old one answers each time.
func TestFinishedPromotionIsNotForgottenWhereLooksFail(t *testing.T) {
	t.Parallel()
	for _, every := range []int{3, 5, 7, 8} {
		t.Run(fmt.Sprintf("one in %d", every), func(t *testing.T) {
			t.Parallel()
			s := halfPromotion(models.ActionFinished)
			w := newWorld(t)
			s.before(w)
			want := s.tell(w, trouble{})
			looks := w.looks
			for look := range every {
				w.goWrong(trouble{})
				s.again(w)
				if got := s.tell(w, trouble{look: look + 1, every: every, first: looks}); got != want {
					t.Fatalf("after look %d of %d at last %q\n%s\nwant\n%s", look+1, every, w.crashed, got, want)
				}
			}
		})
	}
}

func troublesOf(changes, looks int) []trouble {
	var all []trouble
	for n := range changes {
		all = append(all, trouble{at: n + 1, outcome: fixture.Fail}, trouble{at: n + 1, outcome: fixture.PassAndFail})
	}
	for n := range min(lookStride, looks) {
		all = append(all, trouble{look: n + 1, every: lookStride, first: looks})
	}
	return all
}

// final is the end state of a world: everything that must not depend on the way
// there.
func (w *world) final() string {
	w.t.Helper()
	out := w.topology() + w.conditions()
	for _, object := range w.objects() {
		out += object + "\n"
	}
	for _, pod := range w.podsOf(naming.ComponentServer) { // Where sentinels lead, replicas follow addresses.
		out = strings.ReplaceAll(out, strconv.Quote(net.JoinHostPort(pod.Status.PodIP, "6379")), strconv.Quote(pod.Name))
	}
	return out
}

// objects lists all objects; those with random names by their component.
func (w *world) objects() []string {
	w.t.Helper()
	var found []string
	for _, list := range fixture.Kinds() {
		if err := w.user.List(w.t.Context(), list); err != nil {
			w.t.Fatal(err)
		}
		for _, object := range fixture.Items(list) {
			name := object.GetName()
			if pod, ok := object.(*corev1.Pod); ok {
				name = "of " + pod.Labels[v1alpha1.LabelComponent]
			}
			found = append(found, fmt.Sprintf("%T %s", object, name))
		}
	}
	slices.Sort(found)
	return found
}

func (w *world) delete(object client.Object) {
	w.t.Helper()
	if err := w.user.Delete(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deletePod(name string) {
	w.t.Helper()
	w.delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
}

func (w *world) kill(pod string) {
	w.t.Helper()
	if err := w.cluster.KillProcess(namespace, pod); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) scale(cluster string, replicas int32) {
	w.t.Helper()
	c := &v1alpha1.CodisCluster{}
	w.get(cluster, c)
	c.Spec.Groups.Replicas = &replicas
	if err := w.user.Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// mustHold fails unless a member is the master of its group and all members hold
// the data.
func (w *world) mustHold(group, master string, data fixture.Dataset) {
	w.t.Helper()
	members := 0
	for _, pod := range w.podsOf(naming.ComponentServer) {
		if groupOf(pod.Name) != group {
			continue
		}
		members++
		s := w.server(pod.Name)
		if isMaster := s.Role().Master == ""; isMaster != (pod.Name == master) {
			w.t.Errorf("master of %s: is %s? %v, want %s (crashed at %q)\n%s", group, pod.Name, isMaster, master, w.crashed, w.dump())
		}
		if got := s.Data(); !equal(got, data) {
			w.t.Errorf("%s holds %v, want %v (crashed at %q)\n%s", pod.Name, got, data, w.crashed, w.dump())
		}
	}
	if members == 0 {
		w.t.Errorf("group %s has no members", group)
	}
}

func equal(a, b fixture.Dataset) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		if b[key] != value {
			return false
		}
	}
	return true
}

// mustBeEmpty fails if anything but volumes is left.
func (w *world) mustBeEmpty() {
	w.t.Helper()
	if left := w.objects(); len(left) > 0 {
		w.t.Errorf("left behind (crashed at %q): %q\n%s", w.crashed, left, w.dump())
	}
}

func (w *world) get(name string, into client.Object) {
	w.t.Helper()
	if err := w.user.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
		w.t.Fatal(err)
	}
}
