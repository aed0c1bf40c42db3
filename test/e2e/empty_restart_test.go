// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Data lives in the pods, or on volumes of the default class.
const (
	withoutVolumes = `
apiVersion: codis.io/v1alpha1
kind: CodisCluster
metadata: {name: data}
spec:
  groups: {count: 1, replicas: 2}
  proxy: {replicas: 1}
`
	withVolumes = `
apiVersion: codis.io/v1alpha1
kind: CodisCluster
metadata: {name: data}
spec:
  groups: {count: 1, replicas: 2, storage: {size: 64Mi, reclaimPolicy: Delete}}
  proxy: {replicas: 1}
`
)

var _ = DescribeTableSubtree("A member that starts empty overwrites nothing,", Ordered, ContinueOnFailure,
	func(manifest string) {
		var p *product
		var written string

		BeforeAll(func(ctx SpecContext) {
			namespace := newNamespace(ctx)
			_, err := cluster.KubectlWith(ctx, manifest, "create", "-n", namespace, "-f", "-")
			Expect(err).NotTo(HaveOccurred())
			p = watchProduct(ctx, namespace, "data")
			p.waitHealthy(ctx)
			written, err = cluster.RunClient(ctx, namespace, "data",
				"load", "-addr", "data-proxy:19000", "-duration", "3s", "-rate", "1000", "-report", "1m")
			Expect(err).NotTo(HaveOccurred())
		}, NodeTimeout(3*time.Minute))

		survive := func(ctx context.Context, victim *corev1.Pod, strike func()) {
			before := p.seen().Keys()
			Expect(before).To(BeNumerically(">", 1000))
			began := time.Now()
			strike()
			p.waitReplaced(ctx, victim)
			figure("healthy again after", "%s", seconds(p.waitHealthy(ctx).Sub(began)))
			for _, o := range p.since(began) {
				Expect(o.EmptyMasters()).To(BeEmpty(), "an empty master: %+v", o)
			}
			said, err := cluster.Verify(ctx, p.namespace, "data", written)
			Expect(err).NotTo(HaveOccurred(), said)
			figure("all there", "%s; %d of %d keys on the master", said, p.seen().Keys(), before)
			Expect(p.seen().Keys()).To(Equal(before))
		}
		member := func(ctx context.Context, index int) *corev1.Pod {
			GinkgoHelper()
			p.waitHealthy(ctx)
			return p.pod(ctx, host(p.seen().Groups[1][index]))
		}

		for index, role := range []string{"master", "replica"} {
			It("when the "+role+" crashes and its directory is lost", func(ctx SpecContext) {
				victim := member(ctx, index)
				survive(ctx, victim, func() { p.kill(ctx, victim, "/data") })
				Expect(p.topology().Groups[1]).To(HaveExactElements(Not(Equal(victim.Name)), victim.Name))
			}, SpecTimeout(3*time.Minute))

			It("when the "+role+"'s pod is deleted, with its volume if it has one", func(ctx SpecContext) {
				victim := member(ctx, index)
				survive(ctx, victim, func() {
					claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
						Namespace: p.namespace, Name: "data-" + victim.Name,
					}}
					if manifest == withVolumes {
						Expect(cluster.Delete(ctx, claim)).To(Succeed())
					}
					kubectl(ctx, "delete", "pod", "-n", p.namespace, victim.Name)
				})
				Expect(p.topology().Groups[1]).To(HaveExactElements(Not(Equal(victim.Name)), victim.Name))
			}, SpecTimeout(3*time.Minute))
		}
	},
	Entry("without volumes:", withoutVolumes),
	Entry("with volumes:", withVolumes),
)
