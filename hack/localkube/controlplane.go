// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

// etcd keeps nothing worth keeping after a crash: up starts afresh, so it need not wait for the disk.
func (c *cluster) etcdArgs() []string {
	client, peer := "http://"+c.loopback()+":2379", "http://"+c.loopback()+":2380"
	return []string{
		c.binary("etcd"), "--name=localkube", "--data-dir=" + c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=localkube=" + peer,
	}
}

// apiserverArgs have it listen on the bridge only, where the host and the nodes reach it. It looks up Services'
// endpoints itself (aggregator routing), as the host has no kube-proxy, and calls kubelets by address, as the host does
// not know nodes' names.
func (c *cluster) apiserverArgs() []string {
	return []string{
		c.binary("kube-apiserver"),
		"--etcd-servers=http://" + c.loopback() + ":2379",
		"--bind-address=" + c.hostIP(), "--advertise-address=" + c.hostIP(), "--secure-port=6443",
		"--tls-cert-file=" + c.pki("apiserver.crt"), "--tls-private-key-file=" + c.pki("apiserver.key"),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--service-cluster-ip-range=" + c.serviceCIDR(),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.pki("sa.pub"), "--service-account-signing-key-file=" + c.pki("sa.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--kubelet-client-certificate=" + c.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + c.pki("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + c.pki("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + c.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + c.pki("front-proxy-client.crt"),
		"--proxy-client-key-file=" + c.pki("front-proxy-client.key"),
		"--enable-aggregator-routing=true",
		"--audit-policy-file=" + c.path("config", "audit-policy.yaml"), "--audit-log-path=" + c.auditLog(),
		"--audit-log-maxsize=2000", "--audit-log-maxbackup=1",
	}
}

func (c *cluster) controllerManagerArgs() []string {
	args := []string{
		c.binary("kube-controller-manager"),
		"--kubeconfig=" + c.kubeconfig("controller-manager"),
		"--authentication-kubeconfig=" + c.kubeconfig("controller-manager"),
		"--authorization-kubeconfig=" + c.kubeconfig("controller-manager"),
		"--bind-address=" + c.loopback(), "--leader-elect=false", "--use-service-account-credentials=true",
		"--root-ca-file=" + c.pki("ca.crt"), "--service-account-private-key-file=" + c.pki("sa.key"),
		"--cluster-signing-cert-file=" + c.pki("ca.crt"), "--cluster-signing-key-file=" + c.pki("ca.key"),
		"--requestheader-client-ca-file=" + c.pki("front-proxy-ca.crt"),
		"--allocate-node-cidrs=false",
	}
	if c.NodeMonitorGrace > 0 {
		args = append(args, "--node-monitor-grace-period="+c.NodeMonitorGrace.String())
	}
	return args
}

func (c *cluster) schedulerArgs() []string {
	return []string{
		c.binary("kube-scheduler"),
		"--kubeconfig=" + c.kubeconfig("scheduler"),
		"--authentication-kubeconfig=" + c.kubeconfig("scheduler"),
		"--authorization-kubeconfig=" + c.kubeconfig("scheduler"),
		"--bind-address=" + c.loopback(), "--leader-elect=false",
	}
}

func (c *cluster) provisionerArgs() []string {
	return []string{
		c.binary("provisioner"), "--kubeconfig=" + c.kubeconfig("provisioner"), "--nodes-dir=" + c.path("nodes"),
	}
}

// startStore starts etcd and the apiserver and waits until the latter serves.
func (l *launcher) startStore(ctx context.Context) error {
	c := l.cluster
	if _, err := l.start("etcd", c.etcdArgs()...); err != nil {
		return err
	}
	if _, err := l.start("kube-apiserver", c.apiserverArgs()...); err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	return poll(ctx, 2*time.Minute, 100*time.Millisecond, func(ctx context.Context) error {
		return api.get(ctx, "/readyz", nil)
	})
}

// startControllers starts what gives up when the apiserver does not answer.
func (l *launcher) startControllers() error {
	c := l.cluster
	for _, p := range []struct {
		name string
		args []string
	}{
		{"kube-controller-manager", c.controllerManagerArgs()},
		{"kube-scheduler", c.schedulerArgs()},
		{"provisioner", c.provisionerArgs()},
	} {
		if _, err := l.start(p.name, p.args...); err != nil {
			return err
		}
	}
	return nil
}
