// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// scaling is a cluster whose proxies follow their load, in times of a test.
const scaling = `{groups: {count: 2, replicas: 1}, proxy: {
  replicas: 2, drainSeconds: 8, resources: {requests: {cpu: 60m}}, rollout: {maxSurge: 1, maxUnavailable: 1},
  autoscaling: {minReplicas: 2, maxReplicas: 4, targetCPUUtilizationPercentage: 50,
    behavior: {scaleDown: {stabilizationWindowSeconds: 5}}}}}`

// drain is drainSeconds of it.
const drain = 8 * time.Second

// A client that never lets go of a connection is told by its end that the proxy
// goes. One that replaces its connections sooner than proxies go notices nothing.
var _ = Describe("Proxies that come and go under load", Ordered, func() {
	var p *product

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", "sample", scaling), "create", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		p = watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
	}, NodeTimeout(3*time.Minute))

	It("become four and two again, as CPU tells", func(ctx SpecContext) {
		flood, err := cluster.StartPooledLoad(ctx, p.namespace, "sample",
			framework.Pooled{Connections: 16, Rate: 4000, Lifetime: 3 * time.Second, Prefix: "flood"})
		Expect(err).NotTo(HaveOccurred())
		began := time.Now()
		p.waitProxies(ctx, 4)
		figure("two became four after", "%s", seconds(time.Since(began)))
		clients, pods := p.startClients(ctx, "scaled"), p.watchProxies()
		Expect(flood.Abandon(ctx)).To(Succeed())
		began = time.Now()
		p.waitProxies(ctx, 2)
		figure("four became two after", "%s", seconds(time.Since(began)))
		p.waitHealthy(ctx)
		clients.expectServed(ctx, pods.stop(), 2)
	}, SpecTimeout(8*time.Minute))

	It("are replaced one by one when their configuration changes", func(ctx SpecContext) {
		p.patch(ctx, `{"spec":{"proxy":{"autoscaling":{"minReplicas":3,"maxReplicas":3}}}}`)
		p.waitProxies(ctx, 3)
		p.waitHealthy(ctx)
		clients, pods := p.startClients(ctx, "rolled"), p.watchProxies()
		old := p.seen().Hostnames()
		began := time.Now()
		p.patch(ctx, `{"spec":{"proxy":{"config":{"proxy_max_clients":"9000"}}}}`)
		Eventually(func(g Gomega) {
			for _, name := range p.seen().Hostnames() {
				g.Expect(old).NotTo(ContainElement(name))
			}
		}).WithTimeout(3 * time.Minute).Should(Succeed())
		p.waitProxies(ctx, 3)
		p.waitHealthy(ctx)
		figure("three were replaced after", "%s", seconds(time.Since(began)))
		seen := pods.stop()
		Expect(seen.leastReady).To(BeNumerically(">=", 2), "proxies that serve, of 3")
		clients.expectServed(ctx, seen, 3)
	}, SpecTimeout(8*time.Minute))
})

// waitProxies waits until there are so many proxies, all ready and with entries.
func (p *product) waitProxies(ctx context.Context, n int) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		pods := p.pods(ctx, "proxy")
		g.Expect(pods).To(HaveLen(n))
		for i := range pods {
			g.Expect(isReady(&pods[i])).To(BeTrue(), pods[i].Name)
		}
		g.Expect(p.seen().Proxies).To(HaveLen(n), "entries")
	}).WithTimeout(3 * time.Minute).Should(Succeed())
}

// clients of the Service that write all the while.
type clients struct {
	product *product
	// staying keeps its connections, renewing replaces them before proxies go.
	staying, renewing *framework.Load
}

func (p *product) startClients(ctx context.Context, prefix string) clients {
	GinkgoHelper()
	staying, err := cluster.StartPooledLoad(ctx, p.namespace, p.name,
		framework.Pooled{Connections: 16, Rate: 80, Prefix: prefix + "-staying"})
	Expect(err).NotTo(HaveOccurred())
	renewing, err := cluster.StartPooledLoad(ctx, p.namespace, p.name,
		framework.Pooled{Connections: 4, Rate: 40, Lifetime: drain / 4, Prefix: prefix + "-renewing"})
	Expect(err).NotTo(HaveOccurred())
	return clients{product: p, staying: staying, renewing: renewing}
}

// expectServed holds where no client was told an error before the deadline of a proxy,
// clients that were gone by then were told none at all, nothing is lost, and no entry
// of the proxies that went outlived its process for longer than three seconds.
func (c clients) expectServed(ctx context.Context, seen proxyPods, went int) {
	GinkgoHelper()
	dead := seen.longestDead(c.product.since(seen.began))
	figure("proxies that went", "%d, an entry outlived its process for %s at most", len(seen.gone()), seconds(dead))
	Expect(len(seen.gone())).To(BeNumerically(">=", went), "more if the autoscaler wavers")
	Expect(dead).To(BeNumerically("<=", 3*time.Second))

	failed, err := c.staying.FirstFailure()
	Expect(err).NotTo(HaveOccurred())
	if !failed.IsZero() {
		Expect(failed).To(BeTemporally(">=", seen.firstDeadline), "the first error of a client that stays")
	}
	for name, load := range map[string]*framework.Load{"stays": c.staying, "renews": c.renewing} {
		outcome, err := load.Stop(ctx)
		Expect(err).NotTo(HaveOccurred())
		figure("a client that "+name, "%d acknowledged, %d repeated on another connection, %d failed %v, %d lost, longest stall %d ms",
			outcome.Acknowledged, outcome.Repeated, outcome.Failed, outcome.Errors, outcome.Lost, outcome.LongestStallMS)
		Expect(outcome.Lost).To(BeZero(), "%v", outcome.Examples)
		if load == c.renewing {
			Expect(outcome.Failed).To(BeZero(), "%v", outcome.Errors)
		} else {
			Expect(outcome.Repeated+outcome.Failed).To(BeNumerically(">", 0), "its proxies went")
		}
	}
}

// proxyPods is what was seen of the proxies' pods, ten times a second.
type proxyPods struct {
	began time.Time
	// alive is when the process of each was there last.
	alive map[string]time.Time
	// looked is when that was looked at last.
	looked time.Time
	// firstDeadline is when the first client had its time, of all proxies that went.
	firstDeadline time.Time
	// leastReady is the least number of proxies that were ready and stay.
	leastReady int
	err        error
}

type proxyWatch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	seen   proxyPods
}

// watchProxies looks at the pods of the proxies until it is stopped.
func (p *product) watchProxies() *proxyWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &proxyWatch{cancel: cancel, seen: proxyPods{began: time.Now(), alive: map[string]time.Time{}, leastReady: 256}}
	DeferCleanup(cancel)
	w.done.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			at := time.Now()
			pods, err := cluster.Pods(ctx, p.namespace, map[string]string{v1alpha1.LabelComponent: "proxy"})
			switch {
			case err == nil:
				w.seen.look(at, pods)
			case ctx.Err() == nil:
				w.seen.err = err
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	return w
}

func (w *proxyWatch) stop() proxyPods {
	GinkgoHelper()
	w.cancel()
	w.done.Wait()
	Expect(w.seen.err).NotTo(HaveOccurred())
	return w.seen
}

func (s *proxyPods) look(at time.Time, pods []corev1.Pod) {
	s.looked = at
	ready := 0
	for i := range pods {
		pod := &pods[i]
		ended := func(c corev1.ContainerStatus) bool { return c.State.Terminated != nil }
		if !slices.ContainsFunc(pod.Status.ContainerStatuses, ended) {
			s.alive[pod.Name] = at
		}
		if pod.DeletionTimestamp == nil {
			if isReady(pod) {
				ready++
			}
			continue
		}
		grace := time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
		if deadline := pod.DeletionTimestamp.Add(drain - grace); s.firstDeadline.IsZero() || deadline.Before(s.firstDeadline) {
			s.firstDeadline = deadline
		}
	}
	s.leastReady = min(s.leastReady, ready)
}

// gone are the proxies whose processes ended while they were watched.
func (s *proxyPods) gone() []string {
	var names []string
	for name, alive := range s.alive {
		if !alive.Equal(s.looked) {
			names = append(names, name)
		}
	}
	return names
}

// longestDead is for how long an entry was there without its process.
func (s *proxyPods) longestDead(seen []observer.Observation) time.Duration {
	GinkgoHelper()
	var longest time.Duration
	for _, name := range s.gone() {
		dead, gone := observer.Outlived(seen, name, s.alive[name])
		Expect(gone).To(BeTrue(), "the entry of %s is still there", name)
		longest = max(longest, dead)
	}
	return longest
}
