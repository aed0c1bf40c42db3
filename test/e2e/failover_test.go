// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

var _ = Describe("The master of a group", Ordered, ContinueOnFailure, func() {
	var p *product
	var load *framework.Load

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p = watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		var err error
		load, err = cluster.StartLoad(ctx, namespace, "sample")
		Expect(err).NotTo(HaveOccurred())
	}, NodeTimeout(3*time.Minute))

	planned := func(ctx context.Context, change func(namespace, master, replica string)) {
		GinkgoHelper()
		p.waitHealthy(ctx)
		before, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		master, replica := host(p.seen().Groups[1][0]), host(p.seen().Groups[1][1])
		change(p.namespace, master, replica)
		p.waitHealthy(ctx)
		after, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Errors).To(Equal(before.Errors), "%v", after.Texts)
		Expect(after.Acknowledged).To(BeNumerically(">", before.Acknowledged))
	}

	It("is switched over as asked for, and no client notices", func(ctx SpecContext) {
		planned(ctx, func(namespace, _, replica string) {
			began := time.Now()
			kubectl(ctx, "annotate", "codisgroup", "sample-1", "-n", namespace, "codis.io/switch-over-to="+replica)
			Eventually(func() string { return host(p.seen().Groups[1][0]) }).Should(Equal(replica))
			figure("switched over after", "%s", seconds(time.Since(began)))
			Eventually(func() string {
				return kubectl(ctx, "get", "codisgroup", "sample-1", "-n", namespace, "-o",
					`jsonpath={.metadata.annotations.codis\.io/switch-over-to}{.status.lastFailover.cause}`)
			}).Should(Equal("Switchover"), "the annotation is gone, and the status tells")
		})
	}, SpecTimeout(3*time.Minute))

	It("hands over before its pod is replaced by a new template, and no client notices", func(ctx SpecContext) {
		planned(ctx, func(namespace, master, replica string) {
			old := []*corev1.Pod{p.pod(ctx, master), p.pod(ctx, replica)}
			began := time.Now()
			kubectl(ctx, "patch", "codiscluster", "sample", "-n", namespace, "--type=merge",
				"-p", `{"spec":{"groups":{"config":{"slowlog-max-len":"256"}}}}`)
			for _, pod := range old {
				p.waitReplaced(ctx, pod)
			}
			figure("every member replaced after", "%s", seconds(p.waitHealthy(ctx).Sub(began)))
		})
	}, SpecTimeout(4*time.Minute))

	It("has lost no acknowledged write to that", func(ctx SpecContext) {
		lostNothing(ctx, load)
	}, SpecTimeout(3*time.Minute))

	DescribeTable("is replaced by the replica that was in sync", func(ctx SpecContext, signal, cause string) {
		p.waitHealthy(ctx)
		master, replica := p.pod(ctx, host(p.seen().Groups[1][0])), host(p.seen().Groups[1][1])
		agent := p.agent(ctx, master.Spec.NodeName)
		began := time.Now()
		_, err := agent.Signal(ctx, master, master.Spec.Containers[0].Name, signal, "")
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() string { return host(p.seen().Groups[1][0]) }).Should(Equal(replica))
		figure("promoted after", "%s", seconds(time.Since(began)))
		p.waitReplaced(ctx, master)
		p.waitHealthy(ctx)
		Expect(p.seen().EmptyMasters()).To(BeEmpty())
		Eventually(func() string {
			return kubectl(ctx, "get", "codisgroup", "sample-1", "-n", p.namespace, "-o",
				`jsonpath={.status.lastFailover.cause} {.status.lastFailover.from} {.status.lastFailover.to}`)
		}).Should(Equal(cause + " " + master.Name + " " + replica))
	},
		Entry("when its process ends", SpecTimeout(3*time.Minute), "KILL", "MasterDead"),
		Entry("when its process hangs", SpecTimeout(3*time.Minute), "STOP", "MasterSilent"),
	)
})
