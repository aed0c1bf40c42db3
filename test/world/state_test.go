// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/test/standin/models"
)

// recorder counts events.
type recorder struct {
	mu     sync.Mutex
	events []string
}

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(object, _ runtime.Object, kind, reason, action, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf("%T %s %s %s: %s", object, kind, reason, action, fmt.Sprintf(note, args...)))
}

func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// said tells whether an event has a reason.
func (r *recorder) said(reason string) bool {
	return slices.ContainsFunc(r.list(), func(e string) bool { return strings.Contains(e, " "+reason+" ") })
}

func names(list client.ObjectList) []client.ObjectKey {
	var keys []client.ObjectKey
	// The items of a list of API types are objects.
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if object, ok := item.(client.Object); ok {
			keys = append(keys, client.ObjectKeyFromObject(object))
		}
		return nil
	})
	return keys
}

// groupOf is the group that a pod of a codis-server belongs to.
func groupOf(pod string) string { return pod[:strings.LastIndex(pod, "-")] }

// checkMasters is called when a server starts to take writes.
func (w *world) checkMasters(s fixture.Look, others []fixture.Look) {
	for _, other := range others {
		if groupOf(other.Pod) != groupOf(s.Pod) {
			continue
		}
		if other.Master && !w.halfPromoted {
			w.fault("invariant 1: %s takes writes while %s does", s.Pod, other.Pod)
		}
		if s.Keys == 0 && other.Keys > 0 {
			w.fault("invariant 2: %s takes writes and is empty while %s has %d keys", s.Pod, other.Pod, other.Keys)
		}
	}
}

// checkAssign holds slots/assign to slots that nobody owns.
func (w *world) checkAssign(body string) {
	var wanted []models.SlotMapping
	if err := json.Unmarshal([]byte(body), &wanted); err != nil {
		w.fault("slots/assign with a body that is no list: %v", err)
	}
	for _, pod := range w.dashboardPods() {
		stats, err := w.cluster.Dashboard(namespace, pod).Stats()
		if err != nil {
			continue
		}
		for _, slot := range wanted {
			if owner := stats.Slots[slot.ID].GroupID; owner != 0 {
				w.fault("invariant 3: slot %d of group %d is assigned to group %d", slot.ID, owner, slot.GroupID)
			}
		}
	}
}

func (w *world) dashboardPods() []string {
	var found []string
	for _, pod := range w.podsOf(naming.ComponentDashboard) {
		if w.cluster.Dashboard(namespace, pod.Name) != nil {
			found = append(found, pod.Name)
		}
	}
	return found
}

func (w *world) podsOf(component string) []corev1.Pod {
	w.t.Helper()
	list := &corev1.PodList{}
	if err := w.user.List(w.t.Context(), list, client.MatchingLabels{v1alpha1.LabelComponent: component}); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// server returns the codis-server in a pod.
func (w *world) server(pod string) *fixture.Server {
	w.t.Helper()
	s := w.cluster.Server(namespace, pod)
	if s == nil {
		w.t.Fatalf("no codis-server runs in %s\n%s", pod, w.dump())
	}
	return s
}

// topology is what a dashboard, its servers and its proxies have come to. Two
// worlds with equal topologies serve clients alike.
func (w *world) topology() string {
	w.t.Helper()
	var out strings.Builder
	for _, pod := range w.dashboardPods() {
		stats, err := w.cluster.Dashboard(namespace, pod).Stats()
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", pod, err)
			continue
		}
		owned := layout.Layout{}
		for _, slot := range stats.Slots {
			owned[slot.GroupID] = append(owned[slot.GroupID], slot.ID)
		}
		for _, g := range stats.Group.Models {
			fmt.Fprintf(&out, "%s group %d: %s; slots %s; promoting %q\n", pod, g.ID, servers(g), layout.Format(owned[g.ID]), g.Promoting.State)
		}
		fmt.Fprintf(&out, "%s: %d slots without owner; %d proxies\n", pod, len(owned[0]), len(stats.Proxy.Models))
	}
	for _, pod := range w.podsOf(naming.ComponentServer) {
		s := w.cluster.Server(namespace, pod.Name)
		if s == nil {
			fmt.Fprintf(&out, "%s: down\n", pod.Name)
			continue
		}
		role := s.Role()
		fmt.Fprintf(&out, "%s: follows %q, up %v, %d keys\n", pod.Name, role.Master, role.Up, len(s.Data()))
	}
	for i, pod := range w.podsOf(naming.ComponentProxy) {
		p := w.cluster.Proxy(namespace, pod.Name)
		if p == nil {
			fmt.Fprintf(&out, "proxy %d: down\n", i)
			continue
		}
		fmt.Fprintf(&out, "proxy %d: online %v, routes %s\n", i, p.Online(), routes(p.Slots()))
	}
	return out.String()
}

func servers(g *models.Group) string {
	var addrs []string
	for _, s := range g.Servers {
		addrs = append(addrs, s.Addr)
	}
	return strings.Join(addrs, " ")
}

// routes sums up the routes of a proxy: which backends serve how many slots.
func routes(slots []*models.Slot) string {
	backends := map[string][]int{}
	for _, slot := range slots {
		state := slot.BackendAddr
		if slot.Locked {
			state += " LOCKED"
		}
		backends[state] = append(backends[state], slot.ID)
	}
	var out []string
	for backend, ids := range backends {
		out = append(out, fmt.Sprintf("%q %s", backend, layout.Format(ids)))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// conditions lists the conditions of all custom resources, one a line.
func (w *world) conditions() string {
	w.t.Helper()
	var out strings.Builder
	each := func(object client.Object, list []metav1.Condition) {
		for _, c := range list {
			fmt.Fprintf(&out, "%T %s: %s=%s %s %s\n", object, object.GetName(), c.Type, c.Status, c.Reason, c.Message)
		}
	}
	for _, k := range w.reconcilers {
		if err := w.user.List(w.t.Context(), k.list); err != nil {
			w.t.Fatal(err)
		}
		_ = meta.EachListItem(k.list, func(item runtime.Object) error {
			each(item.(client.Object), conditionsOf(item))
			return nil
		})
	}
	return out.String()
}

func conditionsOf(object runtime.Object) []metav1.Condition {
	switch o := object.(type) {
	case *v1alpha1.CodisCluster:
		return o.Status.Conditions
	case *v1alpha1.CodisCoordinator:
		return o.Status.Conditions
	case *v1alpha1.CodisDashboard:
		return o.Status.Conditions
	case *v1alpha1.CodisGroup:
		return o.Status.Conditions
	case *v1alpha1.CodisProxy:
		return o.Status.Conditions
	}
	return nil
}

// dump is everything that helps to understand a failure.
func (w *world) dump() string {
	w.mu.Lock()
	calls := w.calls[max(0, len(w.calls)-40):]
	var out strings.Builder
	for _, c := range calls {
		if c.Changes() {
			fmt.Fprintln(&out, c)
		}
	}
	w.mu.Unlock()
	return w.topology() + w.conditions() + "last calls:\n" + out.String() + "events:\n" + strings.Join(w.recorder.list(), "\n")
}

// mustBeReady fails unless every custom resource is Ready.
func (w *world) mustBeReady() {
	w.t.Helper()
	text := w.conditions()
	for line := range strings.Lines(text) {
		if strings.Contains(line, ": Ready=") && !strings.Contains(line, ": Ready=True") {
			w.t.Fatalf("not ready (crashed at %q): %s\n%s", w.crashed, line, w.dump())
		}
	}
	if !strings.Contains(text, ": Ready=True") {
		w.t.Fatal("nothing is ready")
	}
}
