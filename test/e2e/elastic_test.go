// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/layout"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// slotsOf counts the slots in ranges like "0-99,200"; a group without any has none.
func slotsOf(ranges string) int {
	GinkgoHelper()
	slots, err := layout.Parse(ranges)
	Expect(err).NotTo(HaveOccurred())
	return len(slots)
}

// fill writes data that is there before slots move, 80,000 values of 4 KiB, and returns
// what the client printed.
func (p *product) fill(ctx context.Context) string {
	GinkgoHelper()
	const rate, seconds, size = 4000, 20, 4096
	filled, err := cluster.RunClient(ctx, p.namespace, p.name, "load", "-addr", p.name+"-proxy:19000", "-prefix", "fill",
		"-writers", "8", "-rate", strconv.Itoa(rate), "-size", strconv.Itoa(size),
		"-duration", fmt.Sprintf("%ds", seconds), "-report", "1m")
	Expect(err).NotTo(HaveOccurred())
	return filled
}

// writeAll starts clients of every proxy that write to all slots.
func (p *product) writeAll(ctx context.Context) *framework.Load {
	GinkgoHelper()
	pods := p.pods(ctx, "proxy")
	var proxies []string
	for _, pod := range pods {
		proxies = append(proxies, pod.Status.PodIP+":19000")
	}
	load, err := cluster.StartPinnedLoad(ctx, p.namespace, p.name, framework.Pinned{
		Node: pods[0].Spec.NodeName, Proxies: proxies, Connections: 2 * len(proxies), Rate: 50, Slots: "0-1023", Prefix: "moving",
	})
	Expect(err).NotTo(HaveOccurred())
	return load
}

// count asks for a number of groups, and returns when.
func (p *product) count(ctx context.Context, n int) time.Time {
	GinkgoHelper()
	began := time.Now()
	kubectl(ctx, "patch", "codiscluster", p.name, "-n", p.namespace, "--type=merge",
		"-p", fmt.Sprintf(`{"spec":{"groups":{"count":%d}}}`, n))
	return began
}

// oneTo lists the ids of a cluster's own groups.
func oneTo(n int) []int {
	var ids []int
	for id := range n {
		ids = append(ids, id+1)
	}
	return ids
}

// waitShared waits until groups share the slots evenly, and no other is there.
func (p *product) waitShared(wanted []int, began time.Time) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		seen := p.topology()
		g.Expect(slices.Sorted(maps.Keys(seen.Slots))).To(Equal(wanted))
		g.Expect(slices.Sorted(maps.Keys(seen.Groups))).To(Equal(wanted))
		for _, ranges := range seen.Slots {
			g.Expect(slotsOf(ranges)).To(BeNumerically("~", 1024/len(wanted), 1))
		}
	}).WithTimeout(6 * time.Minute).Should(Succeed())
	figure("balanced after", "%s", seconds(time.Since(began)))
}

var _ = Describe("A cluster that grows and shrinks under load", Ordered, ContinueOnFailure, func() {
	var p *product
	var load *framework.Load
	var filled string

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p = watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		filled = p.fill(ctx)
		load = p.writeAll(ctx)
	}, NodeTimeout(5*time.Minute))

	share := func(ctx context.Context, groups []int, began time.Time) {
		GinkgoHelper()
		p.waitShared(groups, began)
		p.waitHealthy(ctx)
		Expect(p.pods(ctx, "server")).To(HaveLen(2 * len(groups)))
		report, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Errors).To(BeZero(), "%v", report.Texts)
	}

	DescribeTable("has as many groups as it is told", func(ctx SpecContext, n int) {
		share(ctx, oneTo(n), p.count(ctx, n))
	},
		Entry("when two become four", SpecTimeout(9*time.Minute), 4),
		Entry("when four become two", SpecTimeout(9*time.Minute), 2),
		Entry("when two become three", SpecTimeout(9*time.Minute), 3),
	)

	It("takes it back midway", func(ctx SpecContext) {
		began := p.count(ctx, 2)
		Eventually(func() int { return slotsOf(p.topology().Slots[3]) }).Should(BeNumerically("<", 300), "group 3 gives slots away")
		p.count(ctx, 3)
		share(ctx, oneTo(3), began)
	}, SpecTimeout(9*time.Minute))

	It("shares its slots with a group that a user made, until that is deleted", func(ctx SpecContext) {
		began := time.Now()
		const mine = `{"apiVersion": "codis.io/v1alpha1", "kind": "CodisGroup", "metadata": {"name": "mine"},
			"spec": {"dashboardRef": {"name": "sample"}, "id": 70, "replicas": 2}}`
		Expect(cluster.KubectlWith(ctx, mine, "create", "-n", p.namespace, "-f", "-")).Error().NotTo(HaveOccurred())
		share(ctx, []int{1, 2, 3, 70}, began)
		began = time.Now()
		kubectl(ctx, "delete", "codisgroup", "mine", "-n", p.namespace, "--wait=false")
		share(ctx, oneTo(3), began)
	}, SpecTimeout(9*time.Minute))

	It("replaces two groups that are deleted by hand at once", func(ctx SpecContext) {
		of := func(group string) types.UID {
			g := &v1alpha1.CodisGroup{}
			Expect(cluster.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: group}, g)).To(Succeed())
			return g.UID
		}
		second, third := of("sample-2"), of("sample-3")
		began := time.Now()
		kubectl(ctx, "delete", "codisgroup", "sample-2", "sample-3", "-n", p.namespace)
		figure("drained and gone after", "%s", seconds(time.Since(began)))
		share(ctx, oneTo(3), began)
		Expect([]types.UID{of("sample-2"), of("sample-3")}).NotTo(Or(ContainElement(second), ContainElement(third)))
	}, SpecTimeout(9*time.Minute))

	It("lost nothing", func(ctx SpecContext) {
		outcome := lostNothing(ctx, load)
		Expect(outcome.Failed).To(BeZero(), "%v", outcome.Errors)
		said, err := cluster.Verify(ctx, p.namespace, "sample", filled)
		Expect(err).NotTo(HaveOccurred())
		figure("what was there before", "%s", said)
	}, SpecTimeout(5*time.Minute))
})
