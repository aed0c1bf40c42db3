// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
)

// writeKubeconfigs writes one for each client. They hold the keys themselves, so that the administrator's may
// be copied.
func (c *cluster) writeKubeconfigs() error {
	users := []string{"admin", "provisioner", "controller-manager", "scheduler", "kube-proxy"}
	for _, n := range c.nodes() {
		users = append(users, n.nodeName())
	}
	for _, user := range users {
		content, err := c.renderKubeconfig(user)
		if err != nil {
			return err
		}
		if err := replaceFile(c.kubeconfig(user), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) renderKubeconfig(user string) ([]byte, error) {
	type object = map[string]any
	data := map[string]string{}
	for _, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		content, err := os.ReadFile(c.pki(file))
		if err != nil {
			return nil, err
		}
		data[file] = base64.StdEncoding.EncodeToString(content)
	}
	name := "localkube-" + c.Name
	return json.MarshalIndent(object{ // JSON is YAML
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []object{{"name": name, "cluster": object{
			"server": c.server(), "certificate-authority-data": data["ca.crt"],
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": data[user+".crt"], "client-key-data": data[user+".key"],
		}}},
		"contexts": []object{{"name": name, "context": object{"cluster": name, "user": user}}},
	}, "", "  ")
}
