// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/test/client/observer"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	// Clients, the dashboard and a proxy are on A, the other proxy is on B.
	lay := func(nodes map[string]string) layout {
		l := layout{
			home: "A", dashboard: "d", proxies: []string{"p", "q"},
			members: map[int][]string{1: {"m1", "r1"}, 2: {"m2", "r2"}},
			nodes:   map[string]string{"d": "A", "p": "A", "q": "B"},
		}
		maps.Copy(l.nodes, nodes)
		return l
	}
	tests := map[string]struct {
		layout layout
		cut    cut
		want   placement // problem: part of it
	}{
		"nothing is cut": {lay(map[string]string{"m1": "A"}), cutNothing, placement{group: 1}},
		"the first master is alone": {
			lay(map[string]string{"m1": "C", "r1": "B", "m2": "C", "r2": "B"}), cutServers, placement{group: 1, node: "C"},
		},
		"the second master is alone": {
			lay(map[string]string{"m1": "B", "r1": "C", "m2": "C", "r2": "B"}), cutServers, placement{group: 2, node: "C"},
		},
		"only replicas are alone": {
			lay(map[string]string{"m1": "B", "r1": "C", "m2": "A", "r2": "B"}), cutServers,
			placement{promote: "r1", problem: "only a replica"},
		},
		"nobody is alone": {
			lay(map[string]string{"m1": "B", "r1": "A", "m2": "A", "r2": "B"}), cutServers, placement{problem: "are on all"},
		},
		"with a proxy": {
			lay(map[string]string{"m1": "C", "r1": "B", "m2": "B", "r2": "C"}), cutProxy, placement{group: 2, node: "B"},
		},
		"both proxies are at home": {
			lay(map[string]string{"q": "A", "m1": "C", "r1": "B", "m2": "B", "r2": "C"}), cutProxy,
			placement{move: "p", problem: "no member is on a node with a proxy"},
		},
		"the dashboard is with the proxy": {
			lay(map[string]string{"d": "B", "m1": "B", "r1": "C", "m2": "B", "r2": "C"}), cutProxy,
			placement{problem: "no member is on a node with a proxy"},
		},
		"the dashboard alone": {
			lay(map[string]string{"d": "C", "q": "A", "m1": "A", "r1": "A", "m2": "B", "r2": "A"}), cutAlone,
			placement{group: 1, node: "C"},
		},
		"the dashboard at home": {
			lay(map[string]string{"q": "A", "m1": "A", "r1": "A", "m2": "A", "r2": "A"}), cutAlone,
			placement{problem: "not alone"},
		},
		"the dashboard beside a proxy": {
			lay(map[string]string{"d": "B", "m1": "A", "r1": "A", "m2": "A", "r2": "A"}), cutAlone,
			placement{problem: "not alone"},
		},
		"the dashboard beside a replica": {
			lay(map[string]string{"d": "C", "m1": "A", "r1": "A", "m2": "A", "r2": "C"}), cutAlone,
			placement{problem: "not alone"},
		},
		"with the dashboard": {
			lay(map[string]string{"d": "C", "m1": "B", "r1": "C", "m2": "C", "r2": "B"}), cutDashboard,
			placement{group: 2, node: "C"},
		},
		"the dashboard is at home": {
			lay(map[string]string{"m1": "C", "r1": "B", "m2": "C", "r2": "B"}), cutDashboard,
			placement{problem: "clients are on all"},
		},
		"with both": {
			lay(map[string]string{"d": "B", "m1": "B", "r1": "C", "m2": "C", "r2": "B"}), cutBoth,
			placement{group: 1, node: "B"},
		},
		"no group": {layout{}, cutNothing, placement{problem: "no group"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.layout.place(tt.cut)
			problem := got.problem
			got.problem = tt.want.problem
			if got != tt.want || !strings.Contains(problem, tt.want.problem) || (problem == "") != (got.group != 0) {
				t.Errorf("place() = %+v, %q, want %+v", got, problem, tt.want)
			}
		})
	}
}

func TestFirstWorn(t *testing.T) {
	t.Parallel()
	seen := observer.Observation{Groups: map[int][]string{1: {"m1.x:1", "r1.x:1"}, 2: {"m2.x:1", "r2.x:1"}}}
	tests := map[string]struct {
		worn string
		want string
	}{
		"none":                        {"", ""},
		"a proxy before a replica":    {"r1 p", "p"},
		"a replica before the master": {"m1 r2", "r2"},
		"a master, if there is only":  {"m2", "m2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pods []corev1.Pod
			for _, name := range []string{"m1", "r1", "m2", "r2", "p"} {
				pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main"}}
				if strings.Contains(tt.worn, name) {
					pod.Status.ContainerStatuses[0].RestartCount = 1
				}
				pods = append(pods, pod)
			}
			got := ""
			if pod := firstWorn(pods, seen); pod != nil {
				got = pod.Name
			}
			if got != tt.want {
				t.Errorf("firstWorn() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestManifestLeavesMastersANodeOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := &bench{options: options{replicas: 2, storage: true}}
	c := b.manifest([]string{"n1", "n2", "n3"})
	for part, want := range map[string]struct{ raw, nodes string }{
		"dashboard": {string(c.Spec.Dashboard.Pod.Affinity.Raw), `["n1"]`},
		"proxy":     {string(c.Spec.Proxy.Pod.Affinity.Raw), `["n1", "n2"]`},
		"groups":    {string(c.Spec.Groups.Pod.Affinity.Raw), `["n2", "n3"]`},
	} {
		if err := json.Unmarshal([]byte(want.raw), &corev1.Affinity{}); err != nil || !strings.Contains(want.raw, want.nodes) {
			t.Errorf("affinity of %s: %s, %v", part, want.raw, err)
		}
	}
	for c, node := range map[cut]string{cutProxy: "n1", cutDashboard: "n3", cutBoth: "n2"} {
		b.faults = []fault{{}, {cuts: c}}
		if raw := string(b.manifest([]string{"n1", "n2", "n3"}).Spec.Dashboard.Pod.Affinity.Raw); !strings.Contains(raw, `["`+node+`"]`) {
			t.Errorf("affinity of the dashboard for %d: %s", c, raw)
		}
	}
	b.replicas = 3
	if c := b.manifest([]string{"n1", "n2", "n3"}); c.Spec.Groups.Pod != nil {
		t.Error("three members need all three nodes")
	}
	if c := b.manifest([]string{"n1", "n2"}); c.Spec.Proxy.Pod != nil {
		t.Error("two nodes are too few to choose from")
	}
}

func TestFindFaults(t *testing.T) {
	t.Parallel()
	found, err := findFaults("replica,crash+operator")
	if err != nil || len(found) != 2 || found[0].name != "replica" || found[1].name != "crash+operator" {
		t.Errorf("findFaults() = %v, %v", found, err)
	}
	for _, names := range []string{"", "crash,", "crash, replica", "flood"} {
		if _, err := findFaults(names); err == nil {
			t.Errorf("findFaults(%q) found some", names)
		}
	}
}
