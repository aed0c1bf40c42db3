// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/test/standin/models"
)

// registered are the sentinels that the dashboard knows.
func (w *world) registered() []string {
	w.t.Helper()
	stats, err := w.cluster.Dashboard(namespace, dashboardPod).Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	return stats.Sentinels.Model.Servers
}

// knowsGroup tells whether a server of a group is registered.
func (w *world) knowsGroup(id int) bool {
	w.t.Helper()
	d := w.cluster.Dashboard(namespace, dashboardPod)
	if d == nil {
		return false
	}
	stats, err := d.Stats()
	return err == nil && slices.ContainsFunc(stats.Group.Models, func(g *models.Group) bool {
		return g.ID == id && len(g.Servers) > 0
	})
}

// mustListen fails unless every proxy listens to the sentinels that the dashboard knows.
func (w *world) mustListen(sentinels int) {
	w.t.Helper()
	known := w.registered()
	if len(known) != sentinels {
		w.t.Errorf("the dashboard knows %v, want %d", known, sentinels)
	}
	for _, pod := range w.podsOf(naming.ComponentProxy) {
		if got := w.cluster.Proxy(namespace, pod.Name).Stats().Sentinels.Servers; !slices.Equal(got, known) {
			w.t.Errorf("%s listens to %v, want %v\n%s", pod.Name, got, known, w.dump())
		}
	}
}

// A group whose member stays away for long is not handed over; proxies shall hear of the
// elections of others all the same, also while no operator runs.
func TestGroupThatIsNotHandedOverKeepsNoProxyFromSentinels(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.change(func(c *v1alpha1.CodisCluster) { c.Spec.Groups.Count = new(int32(3)) })
	for !w.knowsGroup(3) {
		w.rounds(1)
	}
	w.stop("sample-3-2")
	w.rest()
	w.change(func(c *v1alpha1.CodisCluster) {
		c.Spec.Dashboard.Sentinel = &v1alpha1.SentinelSettings{Replicas: new(int32(5)), Quorum: new(int32(2))}
	})
	w.rest()
	if by := w.group("sample-3").Status.FailoverBy; by != "" {
		t.Fatalf("masters of the third group are replaced by %q", by)
	}
	w.mustListen(5)
	w.mustWatch(1, "sample-1-0", 5)
	w.mustSayOfSentinels("False SentinelsStarting", "groups 3")
	changes := w.changes()
	w.rounds(10)
	if w.changes() != changes {
		t.Errorf("%d changes while nothing can be done", w.changes()-changes)
	}
	w.release("sample-3-2")
	w.rest()
	w.mustBeReady()
	w.mustWatch(1, "sample-1-0", 5)
	w.mustWatch(3, "sample-3-0", 5)
	w.mustListen(5)
}

// The dashboard would wait two seconds for it in the middle of a promotion, and clients
// with it.
func TestSwitchoverDoesNotMeetASentinelThatHangs(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.quiet = 20 // It is left alone for fifteen seconds.
	w.halfPromoted = true
	w.hangSentinels(true, 1)
	w.rounds(2)
	w.annotate("sample-1", v1alpha1.AnnotationSwitchOverTo, "sample-1-1")
	met := false
	w.observe = func() {
		if w.server("sample-1-1").Role().Master == "" && len(w.group("sample-1").Annotations) > 0 {
			met = met || len(w.registered()) == 3
		}
	}
	w.rest()
	w.observe = nil
	if met {
		t.Error("the dashboard had to ask a sentinel that hangs")
	}
	w.mustServe("sample-1-1")
	w.mustListen(2)
	w.mustSayOfSentinels("False SentinelsDegraded: 2 of 3 sentinels answer")
	w.hangSentinels(false, 1)
	w.rest()
	w.mustBeReady()
	w.mustListen(3)
	w.mustWatch(1, "sample-1-1", 3)
	w.mustWatch(2, "sample-2-0", 3)
}

// A person changed the password of the product, and restarted all that reads it.
func TestSentinelsAreToldAPasswordThatChanged(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	secret := &corev1.Secret{}
	w.get("sample-auth", secret)
	secret.Data[naming.PasswordKey] = []byte("changed")
	if err := w.user.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, component := range []string{naming.ComponentServer, naming.ComponentProxy, naming.ComponentDashboard} {
		for _, pod := range w.podsOf(component) {
			w.kill(pod.Name)
		}
	}
	w.rest()
	w.mustBeReady()
	for ordinal := range 3 {
		for group := 1; group <= 2; group++ {
			if got := w.sentinel(ordinal).Password(naming.Monitor("default.sample", group)); got != "changed" {
				t.Errorf("sentinel %d gives servers of group %d %q", ordinal, group, got)
			}
		}
	}
	master := w.group("sample-1").Status.Master
	w.stop(master)
	w.rest()
	if last := w.group("sample-1").Status.LastFailover; last == nil || last.Cause != v1alpha1.CauseSentinel || last.From != master {
		t.Errorf("the last failover is %+v\n%s", last, w.dump())
	}
}
