// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"embed"
	"os/exec"
	"text/template"
)

//go:embed config manifests
var templates embed.FS

var parsed = template.Must(template.ParseFS(templates, "config/*", "manifests/*"))

// render fills in a template for a cluster or a node; names it does not know are errors.
func render(name string, values map[string]string) ([]byte, error) {
	var out bytes.Buffer
	err := parsed.Lookup(name).Option("missingkey=error").Execute(&out, values)
	return out.Bytes(), err
}

func (c *cluster) values() map[string]string {
	return map[string]string{
		"DNSIP":              c.dnsIP(),
		"PodsCIDR":           c.podsCIDR(),
		"CoreDNSImage":       systemImageName("coredns"),
		"MetricsServerImage": systemImageName("metrics-server"),
		"PauseImage":         systemImageName("pause"),
		"CA":                 c.pki("ca.crt"),
	}
}

func (n node) values() map[string]string {
	runc, err := exec.LookPath("runc")
	if err != nil {
		runc = "runc"
	}
	values := n.cluster.values()
	values["NodeName"] = n.nodeName()
	values["Dir"] = n.path()
	values["Cgroup"] = "/" + n.cgroup()
	values["PodCIDR"] = n.podCIDR()
	values["Kubeconfig"] = n.kubeconfig("kube-proxy")
	values["Certificate"] = n.pki(n.nodeName() + ".crt")
	values["Key"] = n.pki(n.nodeName() + ".key")
	values["CNIPlugins"] = cniDir()
	values["Runc"] = runc
	return values
}

// writeConfigs renders every configuration file.
func (c *cluster) writeConfigs() error {
	if err := write("audit-policy.yaml", c.values(), c.path("config", "audit-policy.yaml")); err != nil {
		return err
	}
	for _, n := range c.nodes() {
		for name, target := range map[string]string{
			"containerd.toml": n.path("config", "containerd.toml"),
			"kubelet.yaml":    n.path("config", "kubelet.yaml"),
			"kube-proxy.yaml": n.path("config", "kube-proxy.yaml"),
			"resolv.conf":     n.path("config", "resolv.conf"),
			"cni.conflist":    n.path("cni", "10-localkube.conflist"),
		} {
			if err := write(name, n.values(), target); err != nil {
				return err
			}
		}
	}
	return nil
}

func write(name string, values map[string]string, target string) error {
	content, err := render(name, values)
	if err != nil {
		return err
	}
	return replaceFile(target, content, 0o644)
}
