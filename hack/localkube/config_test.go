// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func testCluster() *cluster {
	return &cluster{Name: "test", Index: 3, Nodes: 2, Binaries: "/bin"}
}

func TestEveryTemplateIsFilledInCompletely(t *testing.T) {
	c := testCluster()
	for _, dir := range []string{"config", "manifests"} {
		entries, err := templates.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			content, err := render(entry.Name(), c.nodes()[1].values())
			if err != nil || len(content) == 0 || strings.Contains(string(content), "<no value>") {
				t.Errorf("%s: %v: %s", entry.Name(), err, content)
			}
		}
	}
}

func TestAddonsNeedNothingOfANode(t *testing.T) {
	for _, name := range addons() {
		if _, err := render(name, testCluster().values()); err != nil {
			t.Error(err)
		}
	}
	if _, err := render("kubelet.yaml", testCluster().values()); err == nil {
		t.Error("a node's file was rendered without a node")
	}
}

func TestANodesFilesSayWhoseTheyAre(t *testing.T) {
	n := testCluster().nodes()[1]
	for name, wants := range map[string][]string{
		"kubelet.yaml":    {`cgroupRoot: "/localkube/test/node-2"`, `clusterDNS: ["10.103.64.10"]`, "pki/node-2.key"},
		"kube-proxy.yaml": {"mode: nftables", `clusterCIDR: "10.103.128.0/17"`},
		"containerd.toml": {`sandbox = "localkube/pause:1"`, `conf_dir = "/var/lib/localkube/test/nodes/node-2/cni"`},
	} {
		content, err := render(name, n.values())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(content), want) {
				t.Errorf("%s does not have %s", name, want)
			}
		}
	}
	var network struct {
		Plugins []struct {
			Type string
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	content, err := render("cni.conflist", n.values())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &network); err != nil {
		t.Fatal(err)
	}
	if got := network.Plugins[0].IPAM.Ranges[0][0].Subnet; got != n.podCIDR() {
		t.Errorf("pods get addresses of %s, want %s", got, n.podCIDR())
	}
}

func TestTheGracePeriodIsKubernetesOwnUnlessAskedFor(t *testing.T) {
	c := testCluster()
	has := func() bool {
		return slices.ContainsFunc(c.controllerManagerArgs(), func(arg string) bool {
			return strings.HasPrefix(arg, "--node-monitor-grace-period")
		})
	}
	if has() {
		t.Error("it is set although nobody asked")
	}
	c.NodeMonitorGrace = 20e9
	if !has() || !slices.Contains(c.controllerManagerArgs(), "--node-monitor-grace-period=20s") {
		t.Error("it is not set as asked")
	}
}

// TestCertificates checks what the parts of a cluster check of each other: who signed, and for which address.
func TestCertificates(t *testing.T) {
	c := testCluster()
	ca, err := newAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := ca.sign(c.subjects()[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	for _, name := range []string{c.hostIP(), c.apiServiceIP(), "kubernetes.default.svc"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("the apiserver as %s: %v", name, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "elsewhere"}); err == nil {
		t.Error("the apiserver may call itself elsewhere")
	}
}

func TestANodeIsWhoTheNodeAuthorizerExpects(t *testing.T) {
	for _, s := range testCluster().subjects() {
		if s.file == "node-2" && s.name == "system:node:node-2" && s.group == "system:nodes" {
			return
		}
	}
	t.Error("node-2 has no certificate of system:node:node-2 in system:nodes")
}
