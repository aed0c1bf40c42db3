// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

var _ = Describe("The operator", func() {
	DescribeTableSubtree("goes on where another one died", func(bring func(ctx context.Context, namespace string) *product) {
		for _, kill := range []bool{true, false} {
			way := "its pod deleted"
			if kill {
				way = "its process killed"
			}
			It(way, func(ctx SpecContext) {
				namespace := newNamespace(ctx)
				waitOperator(ctx)
				victim := leader(ctx)
				agent, err := cluster.StartAgent(ctx, namespace, victim.Spec.NodeName)
				Expect(err).NotTo(HaveOccurred())
				started := time.Now()
				p := bring(ctx, namespace)
				if kill {
					_, err := agent.Signal(ctx, victim, "manager", "KILL", "")
					Expect(err).NotTo(HaveOccurred())
				} else {
					kubectl(ctx, "delete", "pod", "-n", operatorNamespace, victim.Name, "--wait=false")
				}
				struck, then := time.Since(started), p.seen()
				figure("died after", "%s, with %d groups, slots %v and %d proxies in the dashboard",
					seconds(struck), len(then.Groups), then.Slots, len(then.Proxies))
				healthy := p.waitHealthy(ctx)
				figure("create to healthy", "%s", seconds(healthy.Sub(started)))
				Expect(p.topology()).To(Equal(twoByTwo("sample")))
				for _, pod := range p.pods(ctx, "") {
					Expect(restarts(&pod)).To(BeZero(), pod.Name)
				}
			}, SpecTimeout(4*time.Minute))
		}
	},
		Entry("while groups are registered:", func(ctx context.Context, namespace string) *product {
			return createUntil(ctx, namespace, func(o observer.Observation) bool { return len(o.Groups) > 0 })
		}),
		Entry("while slots are assigned:", func(ctx context.Context, namespace string) *product {
			return createUntil(ctx, namespace, func(o observer.Observation) bool {
				return len(o.Groups[1]) == 2 && len(o.Groups[2]) == 2
			})
		}),
		Entry("while proxies come online:", createUntilProxies),
	)

	if framework.OnLocalkube() {
		It("outlives an API server that does not answer", outlivesAPIServer, SpecTimeout(5*time.Minute))
	}

	It("is upgraded without touching Codis", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p := watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		pods, topology := processes(ctx, p), p.topology()
		DeferCleanup(func(ctx SpecContext) { setImages(ctx, "codis-operator:dev", "codis-standin:dev") }, NodeTimeout(3*time.Minute))
		began := time.Now()
		By("bringing a new operator whose default images have other names")
		setImages(ctx, "docker.io/library/codis-operator:dev", "docker.io/library/codis-standin:dev")
		figure("upgrade took", "%s", seconds(time.Since(began)))
		Consistently(func(g Gomega) {
			g.Expect(processes(ctx, p)).To(Equal(pods))
			p.expectHealthy(ctx, g)
		}).WithTimeout(10 * time.Second).WithPolling(time.Second).Should(Succeed())
		Expect(p.topology()).To(Equal(topology))
	}, SpecTimeout(5*time.Minute))
})

// outlivesAPIServer has the API server not answer again and again, for longer than a
// lease is held. An operator that ended each time would be started ever later.
func outlivesAPIServer(ctx SpecContext) {
	const times, silence = 3, 8 * time.Second
	namespace := newNamespace(ctx)
	kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
	p := watchProduct(ctx, namespace, "sample")
	p.waitHealthy(ctx)
	waitOperator(ctx)
	topology, before := p.topology(), operatorRestarts(ctx)
	signal := func(ctx context.Context, name string) {
		Expect(framework.Localkube(ctx, "signal", "kube-apiserver", name)).To(Succeed())
	}
	DeferCleanup(signal, "CONT", NodeTimeout(time.Minute))
	for range times {
		signal(ctx, "STOP")
		select {
		case <-ctx.Done():
		case <-time.After(silence):
		}
		signal(ctx, "CONT")
		began := time.Now()
		Eventually(func(g Gomega) { g.Expect(leaderName(ctx, g)).NotTo(BeEmpty()) }).WithTimeout(20 * time.Second).Should(Succeed())
		figure("an operator leads again after", "%s", seconds(time.Since(began)))
	}
	waitOperator(ctx)
	p.waitHealthy(ctx)
	Expect(operatorRestarts(ctx)).To(Equal(before))
	Expect(p.topology()).To(Equal(topology))
}

// operatorRestarts tells how often kubelet started the operators again.
func operatorRestarts(ctx context.Context) map[string]int32 {
	GinkgoHelper()
	pods := &corev1.PodList{}
	Expect(cluster.List(ctx, pods, client.InNamespace(operatorNamespace),
		client.MatchingLabels{"app.kubernetes.io/name": "codis-operator"})).To(Succeed())
	found := map[string]int32{}
	for i := range pods.Items {
		found[pods.Items[i].Name] = restarts(&pods.Items[i])
	}
	Expect(found).NotTo(BeEmpty())
	return found
}

// createUntil creates the sample and returns as soon as the witness sees it so far.
func createUntil(ctx context.Context, namespace string, reached func(observer.Observation) bool) *product {
	GinkgoHelper()
	kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
	p := watchProduct(ctx, namespace, "sample")
	Eventually(func() bool { return reached(p.seen()) }).WithPolling(20 * time.Millisecond).Should(BeTrue())
	return p
}

// createUntilProxies creates the sample without proxies, adds them once slots
// have owners, and returns when their pods are there.
func createUntilProxies(ctx context.Context, namespace string) *product {
	GinkgoHelper()
	content, err := os.ReadFile(sampleManifest)
	Expect(err).NotTo(HaveOccurred())
	none := strings.Replace(string(content), "  proxy:\n    replicas: 2\n", "  proxy:\n    replicas: 0\n", 1)
	Expect(none).NotTo(Equal(string(content)))
	_, err = cluster.KubectlWith(ctx, none, "create", "-n", namespace, "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	p := watchProduct(ctx, namespace, "sample")
	Eventually(func() bool { return p.seen().Slots[1] != "" && p.seen().Slots[0] == "" }).Should(BeTrue())
	kubectl(ctx, "patch", "codiscluster", "sample", "-n", namespace, "--type=merge", "-p", `{"spec":{"proxy":{"replicas":2}}}`)
	Eventually(func() int { return len(p.pods(ctx, "proxy")) }).WithPolling(20 * time.Millisecond).Should(Equal(2))
	return p
}

// waitOperator waits until every replica of the operator runs and one leads.
func waitOperator(ctx context.Context) {
	GinkgoHelper()
	kubectl(ctx, "rollout", "status", "-n", operatorNamespace, "deployment/codis-operator", "--timeout=2m")
	Eventually(func(g Gomega) { g.Expect(leaderName(ctx, g)).NotTo(BeEmpty()) }).Should(Succeed())
}

// leaderName is the pod that holds the lease now.
func leaderName(ctx context.Context, g Gomega) string {
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: operatorNamespace, Name: "codis-operator.codis.io"}
	g.Expect(cluster.Get(ctx, key, lease)).To(Succeed())
	if lease.Spec.HolderIdentity == nil || lease.Spec.RenewTime == nil || time.Since(lease.Spec.RenewTime.Time) > 5*time.Second {
		return ""
	}
	name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return name
}

// leader is the pod of the operator that acts.
func leader(ctx context.Context) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{}
	Eventually(func(g Gomega) {
		key := client.ObjectKey{Namespace: operatorNamespace, Name: leaderName(ctx, g)}
		g.Expect(cluster.Get(ctx, key, pod)).To(Succeed())
	}).Should(Succeed())
	return pod
}

// processes identifies every container of a product.
func processes(ctx context.Context, p *product) map[string]string {
	GinkgoHelper()
	found := map[string]string{}
	for _, pod := range p.pods(ctx, "") {
		found[pod.Name] = fmt.Sprintf("%s, restarted %d times", pod.UID, restarts(&pod))
	}
	return found
}

// setImages changes the images that the operator was installed with, and waits
// until new operators run and one of them leads.
func setImages(ctx context.Context, operator, codis string) {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: operatorNamespace, Name: "codis-operator"}
	Expect(cluster.Get(ctx, key, deployment)).To(Succeed())
	args := deployment.Spec.Template.Spec.Containers[0].Args
	for i, arg := range args {
		switch name, _, _ := strings.Cut(arg, "="); name {
		case "--config-writer-image":
			args[i] = name + "=" + operator
		case "--codis-image":
			args[i] = name + "=" + codis
		}
	}
	Expect(cluster.Update(ctx, deployment)).To(Succeed())
	waitOperator(ctx)
	Eventually(func(g Gomega) {
		pod := &corev1.Pod{}
		g.Expect(cluster.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: leaderName(ctx, g)}, pod)).To(Succeed())
		g.Expect(pod.DeletionTimestamp).To(BeNil())
		g.Expect(pod.Spec.Containers[0].Args).To(ContainElement("--codis-image=" + codis))
	}).Should(Succeed())
}
