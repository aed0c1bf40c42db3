// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package naming owns the name, labels and address of every object that the
// operator makes. Names are contracts: live clusters carry them, so what a
// function returns for given arguments NEVER changes. Lengths are bounded by
// the rules on metadata.name of the custom resources.
package naming

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"regexp"
	"strconv"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Application is the value of the label app.kubernetes.io/name.
const Application = "codis"

// Operator is the name of the operator: its field manager, and the value of the
// label app.kubernetes.io/managed-by.
const Operator = "codis-operator"

// Components.
const (
	ComponentCoordinator = "coordinator"
	ComponentDashboard   = "dashboard"
	ComponentFE          = "fe"
	ComponentKeepOut     = "keep-out"
	ComponentSentinel    = "sentinel"
	ComponentServer      = "server"
	ComponentProxy       = "proxy"
)

// Ports of the Codis processes (reference §1.5).
const (
	PortDashboard  = 18080
	PortProxyAdmin = 11080
	PortProxy      = 19000
	PortServer     = 6379
	PortSentinel   = 26379
	PortFE         = 8080
)

// Ports of an etcd.
const (
	PortEtcd     = 2379
	PortEtcdPeer = 2380
)

// PasswordKey is the key of every password in its Secret.
const PasswordKey = "password"

// UsernameKey is the key of a user name beside a password.
const UsernameKey = "username"

// Dashboard names the StatefulSet and the Service of a dashboard.
func Dashboard(dashboard string) string { return dashboard + "-dashboard" }

// DashboardPod names the only pod of a dashboard.
func DashboardPod(dashboard string) string { return Dashboard(dashboard) + "-0" }

// KeepOut names the pod that keeps the pod of a dashboard from a node.
func KeepOut(dashboard string) string { return Dashboard(dashboard) + "-keep-out" }

// Coordinator names the StatefulSet and the Service of a coordinator that the
// operator runs.
func Coordinator(coordinator string) string { return coordinator + "-coordinator" }

// CoordinatorPod names a pod of a coordinator.
func CoordinatorPod(coordinator string, ordinal int) string {
	return Coordinator(coordinator) + "-" + strconv.Itoa(ordinal)
}

// FE names the Deployment and the Service of a dashboard's web page.
func FE(dashboard string) string { return dashboard + "-fe" }

// Sentinel names the StatefulSet and the Service of a dashboard's sentinels.
func Sentinel(dashboard string) string { return dashboard + "-sentinel" }

// SentinelPod names a sentinel.
func SentinelPod(dashboard string, ordinal int) string {
	return Sentinel(dashboard) + "-" + strconv.Itoa(ordinal)
}

// SentinelID is what a sentinel is known by to the others for as long as its pod has
// its name, wherever that runs: 40 hexadecimal digits.
func SentinelID(namespace, pod string) string {
	sum := sha256.Sum256([]byte("codis-sentinel/" + namespace + "/" + pod))
	return hex.EncodeToString(sum[:20])
}

// Monitor names what sentinels of a product know a group by; Codis has the rule.
func Monitor(product string, group int) string { return product + "-" + strconv.Itoa(group) }

// Auth names the Secret with a generated product password.
func Auth(dashboard string) string { return dashboard + "-auth" }

// Product is the default product name of a dashboard: unique in a Kubernetes
// cluster, since neither part can hold a dot.
func Product(namespace, dashboard string) string { return namespace + "." + dashboard }

// Proxy names the Deployment and the Service of proxies.
func Proxy(proxy string) string { return proxy + "-proxy" }

// proxyPod is what a Deployment appends to its name for its pods.
const proxyPod = `-[a-z0-9]{1,10}-[a-z0-9]{5}$`

// IsProxyPod tells whether a host name is that of a pod of the given
// CodisProxy, living or gone.
func IsProxyPod(proxy, hostname string) bool {
	return regexp.MustCompile("^" + regexp.QuoteMeta(Proxy(proxy)) + proxyPod).MatchString(hostname)
}

// Group names the StatefulSet and the Service of a group: its own name, so that
// a master reads as <group>-<ordinal>.
func Group(group string) string { return group }

// Member names a pod of a group.
func Member(group string, ordinal int) string { return group + "-" + strconv.Itoa(ordinal) }

// ClusterGroup names the CodisGroup of a cluster with the given id.
func ClusterGroup(cluster string, id int32) string { return cluster + "-" + strconv.Itoa(int(id)) }

// Domain builds addresses inside a Kubernetes cluster.
type Domain string

// MemberAddr is the address by which the dashboard knows a member.
func (d Domain) MemberAddr(namespace, group, pod string) string {
	return d.pod(namespace, Group(group), pod, PortServer)
}

// DashboardAddr is the address that a dashboard announces.
func (d Domain) DashboardAddr(namespace, dashboard string) string {
	return d.pod(namespace, Dashboard(dashboard), DashboardPod(dashboard), PortDashboard)
}

// SentinelAddr is the address by which the dashboard and the proxies know a sentinel.
func (d Domain) SentinelAddr(namespace, dashboard string, ordinal int) string {
	return d.pod(namespace, Sentinel(dashboard), SentinelPod(dashboard, ordinal), PortSentinel)
}

// CoordinatorAddr is the address of a member of a coordinator.
func (d Domain) CoordinatorAddr(namespace, coordinator string, ordinal, port int) string {
	return d.pod(namespace, Coordinator(coordinator), CoordinatorPod(coordinator, ordinal), port)
}

// ProxyService is the address that clients use.
func (d Domain) ProxyService(namespace, proxy string) string {
	return net.JoinHostPort(Proxy(proxy)+"."+namespace+".svc."+string(d), strconv.Itoa(PortProxy))
}

func (d Domain) pod(namespace, service, pod string, port int) string {
	return net.JoinHostPort(pod+"."+service+"."+namespace+".svc."+string(d), strconv.Itoa(port))
}

// Selector returns the labels that select the pods of a component of an object.
func Selector(component, instance string) map[string]string {
	return map[string]string{
		v1alpha1.LabelName:      Application,
		v1alpha1.LabelComponent: component,
		v1alpha1.LabelInstance:  instance,
	}
}

// Labels returns the labels of an object of a component that works for a
// dashboard, or for any number of them if none is named.
func Labels(component, instance, dashboard string) map[string]string {
	labels := Selector(component, instance)
	labels[v1alpha1.LabelManagedBy] = Operator
	if dashboard != "" {
		labels[v1alpha1.LabelDashboard] = dashboard
	}
	return labels
}
