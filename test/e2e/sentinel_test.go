// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const sentinelManifest = "../../examples/sample-1-sentinel.yml"

var _ = Describe("Sentinels", Ordered, ContinueOnFailure, func() {
	var p *product
	var load *framework.Load

	status := func(ctx SpecContext, kind, name, path string) string {
		GinkgoHelper()
		return kubectl(ctx, "get", kind, name, "-n", p.namespace, "-o", "jsonpath={"+path+"}")
	}
	// watched is how many groups each sentinel watches, and ready who answers.
	watched := func(ctx SpecContext) string {
		GinkgoHelper()
		return status(ctx, "codisdashboard", "guarded", ".status.sentinel.ready") + " " +
			status(ctx, "codisdashboard", "guarded", ".status.sentinel.members[*].monitors")
	}

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sentinelManifest)
		p = watchProduct(ctx, namespace, "guarded")
		p.waitHealthy(ctx)
		var err error
		load, err = cluster.StartLoad(ctx, namespace, "guarded")
		Expect(err).NotTo(HaveOccurred())
	}, NodeTimeout(3*time.Minute))

	It("watch every group", func(ctx SpecContext) {
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
		for _, group := range []string{"guarded-1", "guarded-2"} {
			Expect(status(ctx, "codisgroup", group, ".status.failoverBy")).To(Equal("Sentinel"))
		}
	}, SpecTimeout(3*time.Minute))

	It("replace a master that hangs, and the operator follows", func(ctx SpecContext) {
		p.waitHealthy(ctx)
		master, replica := p.pod(ctx, host(p.seen().Groups[1][0])), host(p.seen().Groups[1][1])
		began := time.Now()
		agent := p.agent(ctx, master.Spec.NodeName)
		_, err := agent.Signal(ctx, master, master.Spec.Containers[0].Name, "STOP", "")
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() string { return host(p.seen().Groups[1][0]) }).Should(Equal(replica))
		figure("replaced by sentinels after", "%s", seconds(time.Since(began)))
		_, err = agent.Signal(ctx, master, master.Spec.Containers[0].Name, "CONT", "")
		Expect(err).NotTo(HaveOccurred())
		p.waitHealthy(ctx)
		Expect(host(p.seen().Groups[1][0])).To(Equal(replica), "the old master answers again and takes nothing back")
		Eventually(func() string {
			return status(ctx, "codisgroup", "guarded-1", ".status.lastFailover.cause") + " " +
				status(ctx, "codisgroup", "guarded-1", ".status.lastFailover.to")
		}).Should(Equal("Sentinel " + replica))
	}, SpecTimeout(4*time.Minute))

	It("replace a master that is killed, which proxies and the dashboard see, and the operator takes over", func(ctx SpecContext) {
		p.waitHealthy(ctx)
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
		master, replica := p.pod(ctx, host(p.seen().Groups[1][0])), p.pod(ctx, host(p.seen().Groups[1][1]))
		name := p.seen().Groups[1][1]
		proxies := p.pods(ctx, "proxy")
		struck := p.kill(ctx, master, "")
		for i := range proxies {
			Eventually(p.routeOf(ctx, &proxies[i], 0)).Should(BeElementOf(name, replica.Status.PodIP+":6379"))
		}
		figure("proxies send clients to the new master after", "%s", seconds(time.Since(struck)))
		Eventually(func() string { return p.seen().Groups[1][0] }).Should(Equal(name))
		figure("the dashboard knows it after", "%s", seconds(time.Since(struck)))
		for i := range proxies {
			Eventually(p.routeOf(ctx, &proxies[i], 0)).Should(Equal(name), "the route is the dashboard's again")
		}
		figure("the group is resynced after", "%s", seconds(time.Since(struck)))
		p.waitHealthy(ctx)
		Eventually(func() string {
			return status(ctx, "codisgroup", "guarded-1", ".status.lastFailover.cause") + " " +
				status(ctx, "codisgroup", "guarded-1", ".status.lastFailover.to")
		}).Should(Equal("Sentinel " + replica.Name))
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
	}, SpecTimeout(5*time.Minute))

	It("are told again within ten seconds when all of them forgot", func(ctx SpecContext) {
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
		kubectl(ctx, "delete", "pod", "-n", p.namespace, "-l",
			"app.kubernetes.io/component=sentinel,app.kubernetes.io/instance=guarded", "--wait=true", "--grace-period=1")
		for ordinal := range 3 {
			pod := fmt.Sprintf("pod/guarded-sentinel-%d", ordinal)
			Eventually(func() (string, error) {
				return cluster.Kubectl(ctx, "wait", "-n", p.namespace, "--for=condition=Ready", pod, "--timeout=1s")
			}).Should(ContainSubstring("condition met"))
		}
		began := time.Now()
		Eventually(func() string { return watched(ctx) }).WithTimeout(10 * time.Second).Should(Equal("3/3 2 2 2"))
		figure("told again after", "%s", seconds(time.Since(began)))
	}, SpecTimeout(3*time.Minute))

	It("leave planned switchovers to the operator, and no client notices", func(ctx SpecContext) {
		p.waitHealthy(ctx)
		before, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		replica := host(p.seen().Groups[2][1])
		kubectl(ctx, "annotate", "codisgroup", "guarded-2", "-n", p.namespace, "codis.io/switch-over-to="+replica)
		Eventually(func() string { return host(p.seen().Groups[2][0]) }).Should(Equal(replica))
		p.waitHealthy(ctx)
		after, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Errors).To(Equal(before.Errors), "%v", after.Texts)
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
	}, SpecTimeout(3*time.Minute))

	It("hold up no client while one of them hangs", func(ctx SpecContext) {
		p.waitHealthy(ctx)
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
		hung := []*corev1.Pod{p.pod(ctx, "guarded-sentinel-1")}
		p.signal(ctx, hung, "STOP")
		before, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		replica := host(p.seen().Groups[1][1])
		began := time.Now()
		kubectl(ctx, "annotate", "codisgroup", "guarded-1", "-n", p.namespace, "codis.io/switch-over-to="+replica)
		Eventually(func() string { return host(p.seen().Groups[1][0]) }).Should(Equal(replica))
		figure("switched over beside a sentinel that hangs after", "%s", seconds(time.Since(began)))
		after, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Errors).To(Equal(before.Errors), "%v", after.Texts)
		p.signal(ctx, hung, "CONT")
		Eventually(func() string { return watched(ctx) }).Should(Equal("3/3 2 2 2"))
		p.waitHealthy(ctx)
	}, SpecTimeout(4*time.Minute))

	It("go when they are not asked for any more, and the operator replaces masters again", func(ctx SpecContext) {
		kubectl(ctx, "patch", "codiscluster", "guarded", "-n", p.namespace, "--type=json",
			"-p", `[{"op":"remove","path":"/spec/dashboard/sentinel"}]`)
		Eventually(func() string {
			return status(ctx, "codisdashboard", "guarded", ".status.sentinel") +
				status(ctx, "codisgroup", "guarded-1", ".status.failoverBy") +
				status(ctx, "codisgroup", "guarded-2", ".status.failoverBy") +
				strings.TrimSpace(kubectl(ctx, "get", "statefulset", "guarded-sentinel", "-n", p.namespace, "--ignore-not-found"))
		}).Should(BeEmpty())
		p.waitHealthy(ctx)
		master, replica := p.pod(ctx, host(p.seen().Groups[1][0])), host(p.seen().Groups[1][1])
		_, err := p.agent(ctx, master.Spec.NodeName).Signal(ctx, master, master.Spec.Containers[0].Name, "KILL", "")
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() string { return host(p.seen().Groups[1][0]) }).Should(Equal(replica))
		p.waitHealthy(ctx)
		outcome, err := load.Stop(ctx)
		Expect(err).NotTo(HaveOccurred())
		figure("writes", "%d acknowledged, %d lost", outcome.Acknowledged, outcome.Lost)
	}, SpecTimeout(4*time.Minute))
})

// routeOf asks a proxy where it sends clients of a slot: host:port.
func (p *product) routeOf(ctx context.Context, proxy *corev1.Pod, slot int) func() (string, error) {
	return func() (string, error) {
		said, err := cluster.Kubectl(ctx, "get", "--raw",
			fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:11080/proxy/proxy/slots", p.namespace, proxy.Name))
		if err != nil {
			return "", err
		}
		var routes []struct {
			ID      int    `json:"id"`
			Backend string `json:"backend_addr"`
		}
		if err := json.Unmarshal([]byte(said), &routes); err != nil {
			return "", fmt.Errorf("routes of %s: %w", proxy.Name, err)
		}
		for _, route := range routes {
			if route.ID == slot {
				return route.Backend, nil
			}
		}
		return "", fmt.Errorf("%s does not tell of slot %d", proxy.Name, slot)
	}
}
