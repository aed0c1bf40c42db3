// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	// killEvery is the time between two deaths of the operator.
	killEvery = 5 * time.Second
	// grievance is how long clients may get errors after a proxy or a master was killed.
	grievance = 20 * time.Second
	// replicationLag is how long before its death a master may have acknowledged what no
	// replica has; Redis counts it in whole seconds.
	replicationLag = time.Second
)

// killOperators kills the operator that leads, again and again, until stop is called,
// which returns how often. Its pod is deleted, too: kubelet would start a container
// that dies so often ever later.
func (p *product) killOperators(ctx context.Context) (stop func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	var killed atomic.Int64
	var done sync.WaitGroup
	done.Go(func() {
		defer GinkgoRecover()
		ticker := time.NewTicker(killEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if p.killOperator(ctx) {
				killed.Add(1)
			}
		}
	})
	return func() int64 {
		cancel()
		done.Wait()
		return killed.Load()
	}
}

// startAgents starts an agent on every node, so that all of them can be used at once.
func (p *product) startAgents(ctx context.Context) {
	GinkgoHelper()
	nodes := &corev1.NodeList{}
	Expect(cluster.List(ctx, nodes)).To(Succeed())
	for _, node := range nodes.Items {
		p.agent(ctx, node.Name)
	}
}

// killOperator kills the operator that leads, if one does.
func (p *product) killOperator(ctx context.Context) bool {
	pod := &corev1.Pod{}
	key := client.ObjectKey{Namespace: operatorNamespace, Name: leaderName(ctx, NewGomega(func(string, ...int) {}))}
	if key.Name == "" || cluster.Get(ctx, key, pod) != nil {
		return false
	}
	if _, err := p.agents[pod.Spec.NodeName].Signal(ctx, pod, "manager", "KILL", ""); err != nil {
		return false // It is gone already, or about to start.
	}
	return cluster.Delete(ctx, pod, client.GracePeriodSeconds(0)) == nil
}

// toll is what clients were told so far.
func toll(load *framework.Load) int64 {
	GinkgoHelper()
	report, err := load.Report()
	Expect(err).NotTo(HaveOccurred())
	errors := int64(0)
	for _, count := range report.Errors {
		errors += count
	}
	return errors
}

// grieve kills something that clients may notice, for a while, and returns how many
// errors they got, and when it struck.
func grieve(ctx context.Context, load *framework.Load, strike func(ctx context.Context)) (told int64, struck time.Time) {
	GinkgoHelper()
	before := toll(load)
	struck = time.Now()
	strike(ctx)
	var after int64
	Eventually(func() time.Duration {
		after = toll(load)
		return time.Since(struck)
	}).WithTimeout(grievance + 10*time.Second).Should(BeNumerically(">", grievance))
	return after - before, struck
}

// lostToLag ends a load, and tells what became of its writes: none is missing but what
// a master that was killed had not sent to its replica yet.
func lostToLag(ctx context.Context, load *framework.Load, killed time.Time) {
	GinkgoHelper()
	outcome := stopped(ctx, load)
	for _, write := range outcome.LostWritten {
		Expect(write.Acknowledged).To(BeTemporally("~", killed, replicationLag))
	}
	Expect(outcome.LostWritten).To(HaveLen(int(outcome.Lost)), "%v", outcome.Examples)
}

var _ = Describe("A cluster that grows and shrinks while everything is killed", Label("interrupted"), func() {
	It("comes to the same end", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p := watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		filled := p.fill(ctx)
		load := p.writeAll(ctx)
		p.startAgents(ctx)
		owns := func(group int) func() int { return func() int { return slotsOf(p.topology().Slots[group]) } }
		killDashboard := func() { p.kill(ctx, p.pod(ctx, "sample-dashboard-0"), "") }
		stop := p.killOperators(ctx)
		DeferCleanup(func(ctx SpecContext) { stop(); waitOperator(ctx) }, NodeTimeout(3*time.Minute))

		By("growing from two groups to four, the dashboard killed midway")
		began := p.count(ctx, 4)
		Eventually(owns(3)).WithTimeout(3 * time.Minute).Should(BeNumerically(">", 50))
		killDashboard()
		p.waitShared(oneTo(4), began)
		Expect(toll(load)).To(BeZero(), "neither the operator nor the dashboard serves clients")

		By("shrinking to two, the dashboard and a proxy killed midway")
		began = p.count(ctx, 2)
		Eventually(owns(4)).WithTimeout(3 * time.Minute).Should(BeNumerically("<", 200))
		killDashboard()
		Expect(toll(load)).To(BeZero())
		ofProxy, _ := grieve(ctx, load, func(ctx context.Context) { p.kill(ctx, &p.pods(ctx, "proxy")[0], "") })
		figure("a proxy was killed", "%d errors", ofProxy)
		p.waitShared(oneTo(2), began)
		Expect(toll(load)).To(Equal(ofProxy), "errors later than %s after the proxy was killed", grievance)

		By("growing to three, the dashboard and a master killed midway")
		began = p.count(ctx, 3)
		Eventually(owns(3)).WithTimeout(3 * time.Minute).Should(BeNumerically(">", 50))
		killDashboard()
		ofMaster, killed := grieve(ctx, load, func(ctx context.Context) { p.kill(ctx, p.pod(ctx, p.topology().Groups[1][0]), "") })
		figure("a master was killed", "%d errors", ofMaster)
		p.waitShared(oneTo(3), began)
		Expect(toll(load)).To(Equal(ofProxy+ofMaster), "errors later than %s after the master was killed", grievance)

		By("letting the operator live")
		figure("the operator was killed", "%d times", stop())
		waitOperator(ctx)
		p.waitHealthy(ctx)
		Expect(p.pods(ctx, "server")).To(HaveLen(6))
		lostToLag(ctx, load, killed)
		said, err := cluster.Verify(ctx, namespace, "sample", filled)
		Expect(err).NotTo(HaveOccurred())
		figure("what was there before", "%s", said)
	}, SpecTimeout(25*time.Minute))
})
