// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"maps"
	"slices"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

// What an autoscaler makes of the number of proxies stays, until there is none.
func TestAnAutoscalerChoosesTheNumberOfProxies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := smallCluster()
	c.Spec.Proxy.Replicas = new(int32(2))
	c.Spec.Proxy.Autoscaling = &v1alpha1.Autoscaling{MaxReplicas: 4}
	c.Spec.Proxy.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	w.apply(c)
	w.rest()
	w.mustBeReady()
	for _, replicas := range []int32{4, 2, 3} {
		p := &v1alpha1.CodisProxy{}
		w.get("small", p)
		p.Spec.Replicas = &replicas
		if err := w.user.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		w.rest()
		w.mustBeReady()
		if got := len(w.podsOf(naming.ComponentProxy)); got != int(replicas) {
			t.Errorf("%d proxies run, want %d", got, replicas)
		}
	}
	w.stays(5)
	scaler := &autoscalingv2.HorizontalPodAutoscalerList{}
	if err := w.user.List(t.Context(), scaler); err != nil || len(scaler.Items) != 1 || scaler.Items[0].Spec.MaxReplicas != 4 {
		t.Errorf("autoscalers: %+v, %v", scaler.Items, err)
	}
	w.get("small", c)
	c.Spec.Proxy.Autoscaling = nil
	if err := w.user.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.rest()
	w.mustBeReady()
	if got := len(w.podsOf(naming.ComponentProxy)); got != 2 {
		t.Errorf("%d proxies run without an autoscaler", got)
	}
	if err := w.user.List(t.Context(), scaler); err != nil || len(scaler.Items) > 0 {
		t.Errorf("autoscalers are left: %+v, %v", scaler.Items, err)
	}
}

// A proxy that the operator sees going is ended through the dashboard: its entry
// never is one of a dead proxy.
func TestAProxyThatGoesIsStoppedByTheDashboard(t *testing.T) {
	t.Parallel()
	w := sample(t, nil)
	gone := w.podsOf(naming.ComponentProxy)[0].Name
	w.deletePod(gone)
	w.rest()
	w.mustBeReady()
	if entries := w.entries(); len(entries) != 2 || entries[gone] != "" {
		t.Errorf("the dashboard knows %v, of which %s is gone", entries, gone)
	}
	if !w.recorder.said(v1alpha1.ReasonProxyDrained) || w.recorder.said(v1alpha1.ReasonProxyEntryRemoved) {
		t.Errorf("the events are\n%v", w.recorder.list())
	}
}

// A proxy that answers but has no routes is sent no client, whatever its probes say.
func TestOnlyAProxyThatIsOnlineIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var groups []client.Object
	for _, file := range []string{"1-coordinator.yml", "2-dashboard.yml", "3-groups.yml", "4-proxy.yml"} {
		objects := example(t, "components/"+file)
		if file == "3-groups.yml" {
			groups = objects
			continue
		}
		w.apply(objects...)
	}
	w.rest()
	ready := func() map[string]bool {
		found := map[string]bool{}
		for _, pod := range w.podsOf(naming.ComponentProxy) {
			found[pod.Name] = podtemplate.Ready(&pod)
			if online := w.cluster.Proxy(namespace, pod.Name).Online(); online != found[pod.Name] {
				t.Errorf("%s is online: %v, and ready: %v", pod.Name, online, found[pod.Name])
			}
			if !slices.Contains(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: v1alpha1.ConditionOnline}) {
				t.Errorf("%s has the gates %v", pod.Name, pod.Spec.ReadinessGates)
			}
		}
		return found
	}
	before := ready()
	if len(before) != 2 || slices.Contains(slices.Collect(maps.Values(before)), true) {
		t.Errorf("before the slots have owners: %v", before)
	}
	w.apply(groups...)
	w.rest()
	w.mustBeReady()
	if after := ready(); len(after) != 2 || slices.Contains(slices.Collect(maps.Values(after)), false) {
		t.Errorf("in the end: %v", after)
	}
}
