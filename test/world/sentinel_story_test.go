// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// askForSentinels lets a person ask for sentinels of the small cluster, or for none.
func (w *world) askForSentinels(sentinel *v1alpha1.SentinelSettings) {
	w.t.Helper()
	w.bePatient()
	c := &v1alpha1.CodisCluster{}
	w.get("small", c)
	c.Spec.Dashboard.Sentinel = sentinel
	if err := w.user.Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// bePatient waits for sentinels, and for what is left alone for ten seconds.
func (w *world) bePatient() { w.cluster.Poll, w.quiet = true, max(w.quiet, 12) }

// mustBeLedBy fails unless a group has its masters replaced by sentinels, or by the
// operator where by is empty, and sentinels watch the master if they do.
func (w *world) mustBeLedBy(by v1alpha1.FailoverAuthority, master string) {
	w.t.Helper()
	w.mustBeReady()
	if got := w.group("small-1").Status.FailoverBy; got != by {
		w.t.Errorf("masters are replaced by %q, want %q (crashed at %q)\n%s", got, by, w.crashed, w.dump())
	}
	if by == "" {
		return
	}
	for ordinal := range 3 {
		name := naming.SentinelPod("small", ordinal)
		s := w.cluster.Sentinel(namespace, name)
		if s == nil || s.Watches(naming.Monitor("default.small", 1)) != w.addrOf(master) {
			w.t.Errorf("%s does not watch %s (crashed at %q)\n%s", name, master, w.crashed, w.dump())
		}
	}
}

// handOver is who replaces masters changing hands twice while the cluster serves.
func handOver() story {
	return story{
		before: func(w *world) {
			smallWithData(w)
			w.clock.Step(time.Minute)
			w.rest()
		},
		chapters: []func(*world){
			func(w *world) { w.askForSentinels(&v1alpha1.SentinelSettings{}) },
			func(w *world) { w.mustBeLedBy(v1alpha1.FailoverBySentinel, "small-1-0"); w.askForSentinels(nil) },
		},
		after: func(w *world) { w.mustBeLedBy("", ""); w.mustHold("small-1", "small-1-0", someData) },
		again: func(*world) {},
		// Most of it is the objects of sentinels, each of which is applied again.
		stride: 11,
	}
}

// replacedBySentinels is a failover that the operator only follows.
func replacedBySentinels() story {
	return story{
		before: func(w *world) {
			smallWithData(w)
			w.askForSentinels(&v1alpha1.SentinelSettings{})
			w.rest()
			w.clock.Step(time.Minute)
			w.rest()
		},
		chapters: []func(*world){
			func(w *world) { w.bePatient(); w.stop("small-1-0") },
			func(w *world) { w.mustTakeWrites("small-1-1"); w.release("small-1-0") },
		},
		after: func(w *world) {
			w.mustBeLedBy(v1alpha1.FailoverBySentinel, "small-1-1")
			w.mustHold("small-1", "small-1-1", someData)
		},
		again: func(w *world) {
			w.stop("small-1-1")
			w.rest()
			w.release("small-1-1")
			w.rest()
			w.mustBeLedBy(v1alpha1.FailoverBySentinel, "small-1-0")
		},
		stride: 5, // Much is as in a failover of the operator's.
	}
}
