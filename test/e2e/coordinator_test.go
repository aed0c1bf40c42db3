// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// One story for both: what is promised of members does not depend on what they run.
var _ = Describe("With a coordinator of three members:", func() {
	for _, kept := range []struct{ by, manifest, name string }{
		{"an etcd", "sample-2.yml", "sample-2"},
		{"a ZooKeeper", "sample-2-zookeeper.yml", "sample-2z"},
	} {
		Describe(kept.by, Ordered, func() { tellOfMembers(kept.manifest, kept.name) })
	}
})

func tellOfMembers(manifest, name string) {
	var p *product
	var load *framework.Load

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		started := time.Now()
		kubectl(ctx, "create", "-n", namespace, "-f", "../../examples/"+manifest)
		figure("kubectl create to Ready", "%s", seconds(waitReady(ctx, namespace, name, started)))
		p = watchProduct(ctx, namespace, name)
		p.waitHealthy(ctx)
		Expect(p.topology()).To(Equal(twoByTwo(name)))
		var err error
		load, err = cluster.StartLoad(ctx, namespace, name)
		Expect(err).NotTo(HaveOccurred())
	}, NodeTimeout(4*time.Minute))

	// Whatever becomes of the coordinator, clients do not notice and the topology stays.
	AfterEach(func(SpecContext) {
		report, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Errors).To(BeEmpty(), "%v", report.Texts)
		Expect(p.topology()).To(Equal(twoByTwo(name)))
	}, NodeTimeout(time.Minute))

	It("bears the loss of each member in turn", func(ctx SpecContext) {
		for ordinal := range 3 {
			member := p.member(ctx, ordinal)
			struck := p.kill(ctx, member, "")
			p.waitReplaced(ctx, member)
			figure(member.Name+" killed, healthy after", "%s", seconds(p.waitHealthy(ctx).Sub(struck)))
		}
	}, SpecTimeout(4*time.Minute))

	It("bears the loss of its quorum, and goes on when it is back", func(ctx SpecContext) {
		stopped := []*corev1.Pod{p.member(ctx, 0), p.member(ctx, 2)}
		p.signal(ctx, stopped, "STOP")
		Eventually(p.coordinator(ctx, v1alpha1.ConditionAvailable)).Should(HavePrefix("False QuorumLost"))
		By("asking for what the dashboard has to store")
		p.patch(ctx, `{"spec":{"proxy":{"replicas":3}}}`)
		Consistently(func() int { return len(p.seen().Proxies) }).WithTimeout(5 * time.Second).Should(Equal(2))
		began := time.Now()
		p.signal(ctx, stopped, "CONT")
		Eventually(func() int { return len(p.seen().Proxies) }).Should(Equal(3))
		took := time.Since(began) // Members answer from then on, and have to agree on a leader yet.
		figure("quorum back, dashboard stores after", "%s", seconds(took))
		Expect(took).To(BeNumerically("<", 10*time.Second))
		p.waitHealthy(ctx)
		p.patch(ctx, `{"spec":{"proxy":{"replicas":2}}}`)
		Eventually(func() int { return len(p.seen().Proxies) }).Should(Equal(2))
		p.waitHealthy(ctx)
	}, SpecTimeout(4*time.Minute))

	It("starts a dashboard that died while the quorum was lost", func(ctx SpecContext) {
		stopped := []*corev1.Pod{p.member(ctx, 0), p.member(ctx, 2)}
		p.signal(ctx, stopped, "STOP")
		Eventually(p.coordinator(ctx, v1alpha1.ConditionAvailable)).Should(HavePrefix("False QuorumLost"))
		silent := func() string { return p.seen().Problem }
		p.kill(ctx, p.pod(ctx, p.name+"-dashboard-0"), "")
		Eventually(silent).ShouldNot(BeEmpty())
		By("leaving it without a quorum for longer than it tries by itself")
		Consistently(silent).WithTimeout(40 * time.Second).ShouldNot(BeEmpty())
		began := time.Now()
		p.signal(ctx, stopped, "CONT")
		Eventually(silent).WithPolling(50 * time.Millisecond).Should(BeEmpty())
		took := time.Since(began)
		figure("quorum back, dashboard usable after", "%s", seconds(took))
		Expect(took).To(BeNumerically("<", 10*time.Second))
		p.waitHealthy(ctx)
	}, SpecTimeout(5*time.Minute))

	It("bears the death of two members at once", func(ctx SpecContext) {
		first, second := p.member(ctx, 0), p.member(ctx, 1)
		p.kill(ctx, first, "")
		struck := p.kill(ctx, second, "")
		p.waitReplaced(ctx, first)
		p.waitReplaced(ctx, second)
		figure("healthy after", "%s", seconds(p.waitHealthy(ctx).Sub(struck)))
	}, SpecTimeout(3*time.Minute))

	It("replaces a member that lost its volume", func(ctx SpecContext) {
		member := p.member(ctx, 1)
		before := p.identity(ctx, member.Name)
		kubectl(ctx, "delete", "pvc", "-n", p.namespace, "data-"+member.Name, "--wait=false")
		began := time.Now()
		kubectl(ctx, "delete", "pod", "-n", p.namespace, member.Name)
		Eventually(func() string { return p.identity(ctx, member.Name) }).ShouldNot(Or(Equal(before), BeEmpty()))
		figure("healthy after", "%s", seconds(p.waitHealthy(ctx).Sub(began)))
	}, SpecTimeout(3*time.Minute))

	It("replaces its pods one at a time, the leader's last", func(ctx SpecContext) {
		var old []*corev1.Pod
		for ordinal := range 3 {
			old = append(old, p.member(ctx, ordinal))
		}
		leader := p.leader(ctx)
		began := time.Now()
		p.patch(ctx, `{"spec":{"coordinator":{"pod":{"annotations":{"example.com/turn":"2"}}}}}`)
		var order []string
		replaced := map[string]bool{}
		Eventually(func(g Gomega) {
			away := 0
			for _, before := range old {
				now := &corev1.Pod{}
				err := cluster.Get(ctx, client.ObjectKeyFromObject(before), now)
				g.Expect(client.IgnoreNotFound(err)).To(Succeed())
				if apierrors.IsNotFound(err) || !isReady(now) {
					away++
				}
				if err == nil && now.UID != before.UID && !replaced[before.Name] {
					replaced[before.Name], order = true, append(order, before.Name)
				}
			}
			Expect(away).To(BeNumerically("<=", 1), "members away at once")
			g.Expect(order).To(HaveLen(3))
		}).Should(Succeed())
		Expect(order[2]).To(Equal(leader), "%v", order)
		figure("three pods replaced after", "%s", seconds(p.waitHealthy(ctx).Sub(began)))
	}, SpecTimeout(4*time.Minute))

	It("is scaled to 1 member, and from 1 to 3, 5 and 3", func(ctx SpecContext) {
		for _, replicas := range []int{1, 3, 5, 3} {
			began := time.Now()
			p.patch(ctx, fmt.Sprintf(`{"spec":{"coordinator":{"replicas":%d}}}`, replicas))
			count := strconv.Itoa(replicas)
			Eventually(func(g Gomega) {
				c := &v1alpha1.CodisCoordinator{}
				g.Expect(cluster.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: p.name}, c)).To(Succeed())
				g.Expect(c.Status.Ready).To(Equal(count + "/" + count))
				g.Expect(c.Status.Members).To(HaveLen(replicas))
				g.Expect(p.pods(ctx, "coordinator")).To(HaveLen(replicas))
			}).Should(Succeed())
			figure("to "+count+" members, healthy after", "%s", seconds(p.waitHealthy(ctx).Sub(began)))
		}
	}, SpecTimeout(12*time.Minute))

	It("lost no write and returned no error", func(ctx SpecContext) {
		outcome := lostNothing(ctx, load)
		Expect(outcome.Failed).To(BeZero(), "%v", outcome.Errors)
	}, SpecTimeout(5*time.Minute))
}

// member is a pod of the coordinator.
func (p *product) member(ctx context.Context, ordinal int) *corev1.Pod {
	GinkgoHelper()
	return p.pod(ctx, fmt.Sprintf("%s-coordinator-%d", p.name, ordinal))
}

// signal sends a signal to the main processes of pods.
func (p *product) signal(ctx context.Context, pods []*corev1.Pod, signal string) {
	GinkgoHelper()
	for _, pod := range pods {
		_, err := p.agent(ctx, pod.Spec.NodeName).Signal(ctx, pod, pod.Spec.Containers[0].Name, signal, "")
		Expect(err).NotTo(HaveOccurred())
	}
}

// patch changes the CodisCluster.
func (p *product) patch(ctx context.Context, patch string) {
	GinkgoHelper()
	kubectl(ctx, "patch", "codiscluster", "-n", p.namespace, p.name, "--type=merge", "-p", patch)
}

// coordinator reads a condition of the coordinator: "False QuorumLost ...".
func (p *product) coordinator(ctx context.Context, condition string) func() (string, error) {
	path := fmt.Sprintf(`{range .status.conditions[?(@.type=="%s")]}{.status} {.reason} {.message}{end}`, condition)
	return func() (string, error) {
		return cluster.Kubectl(ctx, "get", "codiscoordinator", "-n", p.namespace, p.name, "-o", "jsonpath="+path)
	}
}

// identity of a member in its ensemble, as the operator tells it.
func (p *product) identity(ctx context.Context, pod string) string {
	GinkgoHelper()
	return kubectl(ctx, "get", "codiscoordinator", "-n", p.namespace, p.name, "-o",
		fmt.Sprintf(`jsonpath={.status.members[?(@.name==%q)].id}`, pod))
}

func (p *product) leader(ctx context.Context) string {
	GinkgoHelper()
	return kubectl(ctx, "get", "codiscoordinator", "-n", p.namespace, p.name, "-o", "jsonpath={.status.leader}")
}
