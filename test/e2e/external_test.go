// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// sharedProduct is what two dashboards are after.
const sharedProduct = "e2e.shared"

// stranger is a pod that the operator did not make, with a name in the DNS.
func stranger(name, image, health string, port int, command ...string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {stranger: %[1]s}}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s-0, labels: {stranger: %[1]s}}
spec:
  hostname: %[1]s-0
  subdomain: %[1]s
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: %[2]s
    imagePullPolicy: IfNotPresent
    command: ["%[5]s"]
    workingDir: /data
    readinessProbe: {httpGet: {path: %[3]s, port: %[4]d}, periodSeconds: 1}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
`, name, image, health, port, strings.Join(command, `", "`))
}

// strangerEtcd is an etcd of one member.
func strangerEtcd(namespace, name, v2 string) string {
	return stranger(name, "codis-etcd:dev", "/health", 2379, "etcd", "--data-dir=/data/etcd", v2,
		"--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://"+strangerAddr(namespace, name)+":2379")
}

func strangerAddr(namespace, name string) string {
	return fmt.Sprintf("%[1]s-0.%[1]s.%[2]s.svc.cluster.local", name, namespace)
}

func createStrangers(ctx context.Context, namespace string, manifests ...string) {
	GinkgoHelper()
	_, err := cluster.KubectlWith(ctx, strings.Join(manifests, "---\n"), "create", "-n", namespace, "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	kubectl(ctx, "wait", "-n", namespace, "pods", "-l", "stranger", "--for=condition=Ready", "--timeout=2m")
}

var _ = Describe("In an etcd of somebody else:", Ordered, func() {
	var p *product
	var elsewhere, store, spec string

	// said reads a condition of the CodisDashboard: "False LockHeld ...".
	said := func(ctx context.Context) func() (string, error) {
		const path = `{range .status.conditions[?(@.type=="Ready")]}{.status} {.reason} {.message}{end}`
		return func() (string, error) {
			return cluster.Kubectl(ctx, "get", "codisdashboard", "-n", p.namespace, p.name, "-o", "jsonpath="+path)
		}
	}
	// kept is what the etcd has of the product, or its answer that it has nothing.
	kept := func(ctx context.Context, key string) func() string {
		return func() string {
			said, err := cluster.Kubectl(ctx, "get", "--raw",
				"/api/v1/namespaces/"+p.namespace+"/pods/store-0:2379/proxy/v2/keys/codis3/"+sharedProduct+key)
			if err != nil {
				return err.Error()
			}
			return said
		}
	}
	// gone lists what is left of a cluster.
	gone := func(ctx context.Context) func() (string, error) {
		return func() (string, error) {
			return cluster.Kubectl(ctx, "get", "codisdashboards,codisgroups", "-n", p.namespace, "-o", "name")
		}
	}
	lock := func(ctx context.Context) string { return kept(ctx, "/topom")() }
	holds := func(ctx context.Context) {
		Consistently(func(g Gomega) {
			g.Expect(lock(ctx)).To(ContainSubstring(elsewhere))
			other := p.pod(ctx, "elsewhere-0")
			g.Expect(restarts(other)).To(BeZero())
		}).WithTimeout(8 * time.Second).Should(Succeed())
	}

	BeforeAll(func(ctx SpecContext) {
		p = &product{namespace: newNamespace(ctx), name: "ours", agents: map[string]*framework.Agent{}}
		elsewhere, store = strangerAddr(p.namespace, "elsewhere")+":18080", strangerAddr(p.namespace, "store")+":2379"
		createStrangers(ctx, p.namespace, strangerEtcd(p.namespace, "store", "--enable-v2=true"))
		createStrangers(ctx, p.namespace, stranger("elsewhere", "codis-standin:dev", "/topom/stats", 18080,
			"codis-dashboard", "--etcd="+store, "--product_name="+sharedProduct, "--host-admin="+elsewhere))
	}, NodeTimeout(5*time.Minute))

	It("a dashboard that lives and has the lock is left alone, and named", func(ctx SpecContext) {
		spec = fmt.Sprintf("{coordinator: {type: External, external: {kind: Etcd, endpoints: [%q]}}, "+
			"dashboard: {productName: %s}, groups: {count: 1, replicas: 2}, proxy: {replicas: 1}}", store, sharedProduct)
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", p.name, spec), "create", "-n", p.namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		began := time.Now()
		Eventually(said(ctx)).Should(And(HavePrefix("False LockHeld another dashboard, at "+elsewhere),
			ContainSubstring("stop it, or choose another productName")))
		figure("told after", "%s", seconds(time.Since(began)))
		holds(ctx)
		Expect(isReady(p.pod(ctx, "elsewhere-0"))).To(BeTrue(), "the other dashboard answers")
		Expect(said(ctx)()).To(HavePrefix("False LockHeld"))
	}, SpecTimeout(3*time.Minute))

	It("one that hangs is left alone, too", func(ctx SpecContext) {
		other := p.pod(ctx, "elsewhere-0")
		_, err := p.agent(ctx, other.Spec.NodeName).Signal(ctx, other, "main", "STOP", "")
		Expect(err).NotTo(HaveOccurred())
		Eventually(said(ctx)).WithTimeout(4 * time.Minute).Should(And(HavePrefix("False LockHeld the dashboard at "+elsewhere),
			ContainSubstring("take the lock away with codis-admin --remove-lock")))
		holds(ctx)
	}, SpecTimeout(6*time.Minute))

	It("the lock of one that is gone is left to a person: it may be gone from this Kubernetes cluster only", func(ctx SpecContext) {
		Expect(cluster.Delete(ctx, p.pod(ctx, "elsewhere-0"), client.GracePeriodSeconds(0))).To(Succeed())
		Consistently(func(g Gomega) {
			g.Expect(lock(ctx)).To(ContainSubstring(elsewhere))
			g.Expect(said(ctx)()).To(HavePrefix("False LockHeld the dashboard at " + elsewhere))
		}).WithTimeout(8 * time.Second).Should(Succeed())
	}, SpecTimeout(2*time.Minute))

	It("a lock that was taken away is taken", func(ctx SpecContext) {
		kubectl(ctx, "delete", "--raw", "/api/v1/namespaces/"+p.namespace+"/pods/store-0:2379/proxy/v2/keys/codis3/"+
			sharedProduct+"/topom") // As codis-admin --remove-lock does.
		began := time.Now()
		ready := waitReadyWithin(ctx, p.namespace, p.name, 6*time.Minute)
		figure("ready after", "%s", seconds(ready.Sub(began)))
		Expect(ready.Sub(began)).To(BeNumerically("<", 3*time.Minute), "the pause of an init container grows to five")
		Expect(lock(ctx)).To(ContainSubstring(p.name + "-dashboard-0"))
	}, SpecTimeout(7*time.Minute))

	It("its product stays when the one that took it is deleted", func(ctx SpecContext) {
		kubectl(ctx, "delete", "codiscluster", "-n", p.namespace, p.name)
		left := func() (string, error) {
			return cluster.Kubectl(ctx, "get", "events", "-n", p.namespace, "--field-selector=reason=TopologyLeft")
		}
		Eventually(left).Should(ContainSubstring("the dashboard at " + elsewhere + " had its lock once"))
		Eventually(gone(ctx)).Should(BeEmpty())
		pod := func() (string, error) {
			return cluster.Kubectl(ctx, "get", "pod", "-n", p.namespace, p.name+"-dashboard-0", "--ignore-not-found", "-o", "name")
		}
		Eventually(pod).Should(BeEmpty())
		Expect(kept(ctx, "/slots/slot-0000")()).To(ContainSubstring(`\"group_id\": 1`))
		kubectl(ctx, "delete", "--raw", "/api/v1/namespaces/"+p.namespace+"/pods/store-0:2379/proxy/v2/keys/codis3/"+
			sharedProduct+"?recursive=true") // As the event says.
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", p.name, spec), "create", "-n", p.namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		waitReady(ctx, p.namespace, p.name, time.Now())
	}, SpecTimeout(5*time.Minute))

	It("a product that is deleted leaves nothing there, and its namesake starts clean", func(ctx SpecContext) {
		const slots = "/slots/slot-0000"
		Expect(kept(ctx, slots)()).To(ContainSubstring(`\"group_id\": 1`))
		began := time.Now()
		kubectl(ctx, "delete", "codiscluster", "-n", p.namespace, p.name)
		Eventually(kept(ctx, "")).Should(ContainSubstring("(NotFound)"))
		figure("removed after", "%s", seconds(time.Since(began)))
		Expect(kubectl(ctx, "get", "events", "-n", p.namespace, "--field-selector=reason=TopologyRemoved")).To(
			ContainSubstring("Removed /codis3/" + sharedProduct + " from the Etcd at " + store))
		Eventually(gone(ctx)).Should(BeEmpty())
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", p.name, spec), "create", "-n", p.namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		waitReady(ctx, p.namespace, p.name, time.Now())
		Expect(kept(ctx, slots)()).To(ContainSubstring(`\"group_id\": 1`))
	}, SpecTimeout(5*time.Minute))

	It("a product whose dashboard is deleted without its pods stays", func(ctx SpecContext) {
		kubectl(ctx, "annotate", "codiscluster", "-n", p.namespace, p.name, "codis.io/paused=true")
		kubectl(ctx, "delete", "codisdashboard", "-n", p.namespace, p.name, "--cascade=orphan")
		Expect(kubectl(ctx, "get", "events", "-n", p.namespace, "--field-selector=reason=TopologyLeft")).To(
			ContainSubstring("its pods are not its own any more"))
		Expect(lock(ctx)).To(ContainSubstring(p.name + "-dashboard-0"))
		Expect(kept(ctx, "/slots/slot-0000")()).To(ContainSubstring(`\"group_id\": 1`))
	}, SpecTimeout(2*time.Minute))
})

var _ = Describe("A store of somebody else that Codis cannot use", func() {
	It("is named, with what to do", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		createStrangers(ctx, namespace, strangerEtcd(namespace, "mute", "--enable-v2=false"))
		mute, nobody := strangerAddr(namespace, "mute"), strangerAddr(namespace, "nobody")
		tests := map[string]struct {
			endpoints []string
			says      []string
		}{
			"muted": {[]string{mute + ":2379"}, []string{
				"False APIMissing", "etcd at " + mute + ":2379 is version ", "start it with --enable-v2",
			}},
			"unknown": {[]string{nobody + ":2379"}, []string{
				"False EndpointUnreachable", nobody + ":2379 does not answer", "no such host", "correct external.endpoints",
			}},
			"refusing": {[]string{mute + ":2222"}, []string{
				"False EndpointUnreachable", mute + ":2222 does not answer", "connection refused",
			}},
			"both": {[]string{nobody + ":2379", mute + ":2379"}, []string{
				"False", nobody + ":2379 does not answer", "etcd at " + mute + ":2379 is version ",
			}},
		}
		for name, tt := range tests {
			spec := fmt.Sprintf(`{type: External, external: {kind: Etcd, endpoints: ["%s"]}}`, strings.Join(tt.endpoints, `", "`))
			_, err := cluster.KubectlWith(ctx, document("CodisCoordinator", name, spec), "create", "-n", namespace, "-f", "-")
			Expect(err).NotTo(HaveOccurred())
		}
		for name, tt := range tests {
			p := &product{namespace: namespace, name: name}
			for _, words := range tt.says {
				Eventually(p.coordinator(ctx, "Ready")).Should(ContainSubstring(words), name)
			}
			Expect(p.coordinator(ctx, "Available")()).To(HavePrefix("False"), name)
		}
	}, SpecTimeout(4*time.Minute))
})
