// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package naming

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Names are contracts: live clusters carry them. DO NOT CHANGE what is wanted
// here. A name that changes orphans volumes, servers and routes.
func TestNamesNeverChange(t *testing.T) {
	domain := Domain("cluster.local")
	got := map[string]string{
		"application":              Application,
		"operator":                 Operator,
		"password key":             PasswordKey,
		"user name key":            UsernameKey,
		"coordinator":              Coordinator("c"),
		"coordinator pod":          CoordinatorPod("c", 2),
		"dashboard":                Dashboard("d"),
		"dashboard pod":            DashboardPod("d"),
		"keep-out":                 KeepOut("d"),
		"web page":                 FE("d"),
		"sentinels":                Sentinel("d"),
		"sentinel":                 SentinelPod("d", 2),
		"identity of a sentinel":   SentinelID("ns", "d-sentinel-2"),
		"monitor":                  Monitor("ns.d", 12),
		"auth":                     Auth("d"),
		"product":                  Product("ns", "d"),
		"proxy":                    Proxy("p"),
		"group":                    Group("g"),
		"member":                   Member("g", 3),
		"group of a cluster":       ClusterGroup("c", 12),
		"address of member":        domain.MemberAddr("ns", "g", "g-3"),
		"address of dashboard":     domain.DashboardAddr("ns", "d"),
		"address for clients":      domain.ProxyService("ns", "p"),
		"address of a coordinator": domain.CoordinatorAddr("ns", "c", 2, PortEtcd),
		"address of a sentinel":    domain.SentinelAddr("ns", "d", 2),
	}
	want := map[string]string{
		"application":              "codis",
		"operator":                 "codis-operator",
		"password key":             "password",
		"user name key":            "username",
		"coordinator":              "c-coordinator",
		"coordinator pod":          "c-coordinator-2",
		"dashboard":                "d-dashboard",
		"dashboard pod":            "d-dashboard-0",
		"keep-out":                 "d-dashboard-keep-out",
		"web page":                 "d-fe",
		"sentinels":                "d-sentinel",
		"sentinel":                 "d-sentinel-2",
		"identity of a sentinel":   "9355b9b1488a8fdc38e85f968ef181b82499ee3a",
		"monitor":                  "ns.d-12",
		"auth":                     "d-auth",
		"product":                  "ns.d",
		"proxy":                    "p-proxy",
		"group":                    "g",
		"member":                   "g-3",
		"group of a cluster":       "c-12",
		"address of member":        "g-3.g.ns.svc.cluster.local:6379",
		"address of dashboard":     "d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080",
		"address for clients":      "p-proxy.ns.svc.cluster.local:19000",
		"address of a coordinator": "c-coordinator-2.c-coordinator.ns.svc.cluster.local:2379",
		"address of a sentinel":    "d-sentinel-2.d-sentinel.ns.svc.cluster.local:26379",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DO NOT CHANGE names: %s", diff)
	}
}

// Selectors of live objects are immutable. DO NOT CHANGE.
func TestLabelsNeverChange(t *testing.T) {
	selector := map[string]string{
		"app.kubernetes.io/name":      "codis",
		"app.kubernetes.io/component": "server",
		"app.kubernetes.io/instance":  "g",
	}
	if diff := cmp.Diff(selector, Selector(ComponentServer, "g")); diff != "" {
		t.Errorf("DO NOT CHANGE selectors: %s", diff)
	}
	labels := map[string]string{
		"app.kubernetes.io/name":       "codis",
		"app.kubernetes.io/component":  "server",
		"app.kubernetes.io/instance":   "g",
		"app.kubernetes.io/managed-by": "codis-operator",
		"codis.io/dashboard":           "d",
	}
	if diff := cmp.Diff(labels, Labels(ComponentServer, "g", "d")); diff != "" {
		t.Errorf("DO NOT CHANGE labels: %s", diff)
	}
	delete(labels, "codis.io/dashboard")
	if diff := cmp.Diff(labels, Labels(ComponentServer, "g", "")); diff != "" {
		t.Errorf("DO NOT CHANGE labels: %s", diff)
	}
	components := []string{ComponentCoordinator, ComponentDashboard, ComponentFE, ComponentServer, ComponentProxy}
	if diff := cmp.Diff([]string{"coordinator", "dashboard", "fe", "server", "proxy"}, components); diff != "" {
		t.Errorf("DO NOT CHANGE components: %s", diff)
	}
}

// The longest names that the API takes are 40 characters, 35 for a cluster.
func TestNamesAreShortEnough(t *testing.T) {
	const label = 63
	longest, cluster := strings.Repeat("n", 40), strings.Repeat("n", 35)
	names := map[string]string{
		"dashboard pod":              DashboardPod(longest),
		"member":                     Member(longest, 9),
		"proxy pod":                  Proxy(longest) + "-" + strings.Repeat("h", 10) + "-abcde",
		"web page pod":               FE(longest) + "-" + strings.Repeat("h", 10) + "-abcde",
		"controller revision label":  Dashboard(longest) + "-" + strings.Repeat("h", 10),
		"member of a cluster":        Member(ClusterGroup(cluster, 512), 9),
		"dashboard pod of a cluster": DashboardPod(cluster),
	}
	for what, name := range names {
		if len(name) > label {
			t.Errorf("%s has %d characters, at most %d are taken: %s", what, len(name), label, name)
		}
	}
	if got := ClusterGroup(cluster, 512); len(got) > 40 {
		t.Errorf("group of a cluster has %d characters, the API takes 40", len(got))
	}
}

func TestIsProxyPod(t *testing.T) {
	tests := map[string]struct {
		proxy, hostname string
		want            bool
	}{
		"a pod":                                  {"p", "p-proxy-6b8d9f7c5d-x2x4z", true},
		"a pod with a short hash":                {"p", "p-proxy-5d-x2x4z", true},
		"a pod of a name with dashes":            {"a-b", "a-b-proxy-6b8d9f7c5d-x2x4z", true},
		"another CodisProxy's":                   {"p", "q-proxy-6b8d9f7c5d-x2x4z", false},
		"a CodisProxy's that ends alike":         {"p", "a-p-proxy-6b8d9f7c5d-x2x4z", false},
		"a CodisProxy's that starts alike":       {"p", "p-proxy-q-proxy-6b8d9f7c5d-x2x4z", false},
		"a host outside Kubernetes":              {"p", "db07.example.com", false},
		"a host that is named like a Deployment": {"p", "p-proxy", false},
		"no name":                                {"p", "", false},
		"a pattern instead of a name":            {".*", "p-proxy-6b8d9f7c5d-x2x4z", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := IsProxyPod(tt.proxy, tt.hostname); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
