// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// client reads from the apiserver as its administrator.
type client struct {
	server string
	http   http.Client
}

func (c *cluster) client() (*client, error) {
	ca, err := os.ReadFile(c.pki("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("there is no certificate in " + c.pki("ca.crt"))
	}
	own, err := tls.LoadX509KeyPair(c.pki("admin.crt"), c.pki("admin.key"))
	if err != nil {
		return nil, err
	}
	return &client{c.server(), http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}},
		},
	}}, nil
}

func (c *client) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, response.Status, lastLines(string(body), 1))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

type nodeList struct {
	Items []struct {
		Metadata struct{ Name string }
		Status   struct {
			Conditions []struct{ Type, Status string }
		}
	}
}

// readyNodes maps the names of nodes to whether they are Ready.
func (c *client) readyNodes(ctx context.Context) (map[string]bool, error) {
	var list nodeList
	if err := c.get(ctx, "/api/v1/nodes", &list); err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, item := range list.Items {
		ready[item.Metadata.Name] = false
		for _, condition := range item.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				ready[item.Metadata.Name] = true
			}
		}
	}
	return ready, nil
}

// checkNodes is nil when every node of the cluster is Ready.
func (c *client) checkNodes(ctx context.Context, nodes []node) error {
	ready, err := c.readyNodes(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, n := range nodes {
		if !ready[n.nodeName()] {
			missing = append(missing, n.nodeName())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not Ready: %s", strings.Join(missing, ", "))
	}
	return nil
}

type daemonSet struct {
	Status struct{ DesiredNumberScheduled, NumberAvailable int }
}

// checkDNS is nil when CoreDNS answers on that many nodes.
func (c *client) checkDNS(ctx context.Context, nodes int) error {
	var coredns daemonSet
	if err := c.get(ctx, "/apis/apps/v1/namespaces/kube-system/daemonsets/coredns", &coredns); err != nil {
		return err
	}
	if coredns.Status.NumberAvailable < nodes {
		return fmt.Errorf("CoreDNS is available on %d of %d nodes", coredns.Status.NumberAvailable, nodes)
	}
	return nil
}
