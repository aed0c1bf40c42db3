// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Where clusters live. Both are below fixed system paths, so that root finds them whatever its environment says, and
// the second is short because paths of sockets may not be long.
const (
	stateRoot = "/var/lib/localkube"
	runRoot   = "/run/localkube"
)

// cluster is one cluster and all that its commands need to know of it, as kept in its state file.
type cluster struct {
	Name string `json:"name"`
	// Index makes everything which two clusters may not share: addresses and names of links.
	Index int `json:"index"`
	Nodes int `json:"nodes"`
	// Binaries is the directory of the programs it was booted with.
	Binaries string `json:"binaries"`
	// Complete is set when a boot came to its end.
	Complete bool `json:"complete"`
	// NodeMonitorGrace is kept so that up can tell a cluster which was asked for from one which differs.
	NodeMonitorGrace time.Duration `json:"nodeMonitorGrace,omitempty"`
	Processes        []process     `json:"processes,omitempty"`
}

var validName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is no cluster's name: at most 20 of a-z, 0-9 and '-', starting with a letter", name)
	}
	return nil
}

func (c *cluster) dir() string       { return filepath.Join(stateRoot, c.Name) }
func (c *cluster) runDir() string    { return filepath.Join(runRoot, c.Name) }
func (c *cluster) stateFile() string { return filepath.Join(c.dir(), "cluster.json") }
func (c *cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir()}, parts...)...)
}
func (c *cluster) pki(name string) string    { return c.path("pki", name) }
func (c *cluster) auditLog() string          { return c.path("audit.log") }
func (c *cluster) binary(name string) string { return filepath.Join(c.Binaries, name) }
func (c *cluster) kubeconfig(user string) string {
	return c.path("kubeconfig", user+".yaml")
}

// save replaces the state file; a reader sees the old or the new one.
func (c *cluster) save() error {
	content, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(c.stateFile(), content, 0o644)
}

func loadCluster(name string) (*cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	c := &cluster{Name: name}
	content, err := os.ReadFile(c.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no cluster %q (try: localkube up --name %s)", name, name)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, c); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.stateFile(), err)
	}
	return c, nil
}

// clusterNames lists the clusters which left a directory here, running or not.
func clusterNames() []string {
	entries, err := os.ReadDir(stateRoot)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && checkName(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	return names
}

// node is one node of a cluster; the first has number 1.
type node struct {
	*cluster
	number int
}

func (c *cluster) nodes() []node {
	var nodes []node
	for number := range c.Nodes {
		nodes = append(nodes, node{c, number + 1})
	}
	return nodes
}

func (c *cluster) node(name string) (node, error) {
	nodes := c.nodes()
	i := slices.IndexFunc(nodes, func(n node) bool { return n.nodeName() == name })
	if i < 0 {
		return node{}, fmt.Errorf("cluster %s has no node %q", c.Name, name)
	}
	return nodes[i], nil
}

func (n node) nodeName() string { return fmt.Sprintf("node-%d", n.number) }
func (n node) path(parts ...string) string {
	return n.cluster.path(append([]string{"nodes", n.nodeName()}, parts...)...)
}
func (n node) runDir() string { return filepath.Join(n.cluster.runDir(), n.nodeName()) }

// containerdSocket is the node's socket as seen from outside; inside the node it is /run/containerd/containerd.sock.
func (n node) containerdSocket() string {
	return filepath.Join(n.runDir(), "containerd", "containerd.sock")
}

func replaceFile(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	partial := path + ".partial"
	if err := os.WriteFile(partial, content, mode); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
