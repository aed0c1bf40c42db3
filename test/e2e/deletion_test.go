// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("A group that owns slots", func() {
	It("is not deleted by mistake, but goes with its cluster", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p := watchProduct(ctx, namespace, "sample")
		// With any other policy it would give its slots to the others and go.
		kubectl(ctx, "patch", "codiscluster", "sample", "-n", namespace, "--type=merge",
			"-p", `{"spec":{"dashboard":{"rebalance":{"policy":"Off"}}}}`)
		p.waitHealthy(ctx)
		written, err := cluster.RunClient(ctx, namespace, "sample",
			"load", "-addr", "sample-proxy:19000", "-duration", "2s", "-rate", "500", "-report", "1m")
		Expect(err).NotTo(HaveOccurred())
		pods, topology := processes(ctx, p), p.topology()

		By("deleting one of its groups by hand")
		began := time.Now()
		kubectl(ctx, "delete", "codisgroup", "sample-1", "-n", namespace, "--wait=false")
		reason := func() (string, error) {
			return cluster.Kubectl(ctx, "get", "codisgroup", "sample-1", "-n", namespace,
				"-o", `jsonpath={.status.conditions[?(@.type=="Ready")].reason} {.status.state}`)
		}
		Eventually(reason).WithTimeout(30 * time.Second).Should(Equal("GroupOwnsSlots Deleting"))
		figure("held after", "%s", seconds(time.Since(began)))
		Consistently(func(g Gomega) {
			g.Expect(reason()).To(Equal("GroupOwnsSlots Deleting"))
			g.Expect(processes(ctx, p)).To(Equal(pods))
			g.Expect(p.topology()).To(Equal(topology))
		}).WithTimeout(10 * time.Second).WithPolling(time.Second).Should(Succeed())
		_, err = cluster.Verify(ctx, namespace, "sample", written)
		Expect(err).NotTo(HaveOccurred())

		By("deleting the cluster")
		Expect(p.witness.Stop(ctx)).To(Succeed())
		began = time.Now()
		kubectl(ctx, "delete", "-n", namespace, "-f", sampleManifest)
		Eventually(func() (string, error) {
			return cluster.Kubectl(ctx, "get", "codis,pods,services,secrets", "-n", namespace, "-o", "name")
		}).WithTimeout(30 * time.Second).WithPolling(500 * time.Millisecond).Should(BeEmpty())
		figure("cluster gone after", "%s", seconds(time.Since(began)))
	}, SpecTimeout(4*time.Minute))
})
