// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// halfDoneProduct is the product whose store is written to behind the dashboard's back.
const halfDoneProduct = "e2e.halfdone"

// storedGroup is what the store of a dashboard has of a group.
type storedGroup struct {
	ID        int              `json:"id"`
	Servers   []map[string]any `json:"servers"`
	Promoting struct {
		Index int    `json:"index,omitempty"`
		State string `json:"state,omitempty"`
	} `json:"promoting"`
	OutOfSync bool `json:"out_of_sync"`
}

// Each state in which a dashboard that dies leaves a promotion, and its lock, is made on
// purpose.
var _ = Describe("A dashboard that died in a promotion", Ordered, func() {
	var p *product
	var load *framework.Load

	path := func(key string) string {
		return "/api/v1/namespaces/" + p.namespace + "/pods/store-0:2379/proxy/v2/keys/codis3/" + halfDoneProduct + key
	}
	// kept reads a key of the product.
	kept := func(ctx context.Context, key string) (string, error) {
		said, err := cluster.Kubectl(ctx, "get", "--raw", path(key))
		if err != nil {
			return "", err
		}
		var answer struct {
			Node struct {
				Value string `json:"value"`
			} `json:"node"`
		}
		err = json.Unmarshal([]byte(said), &answer)
		return answer.Node.Value, err
	}
	group := func(ctx context.Context) (g storedGroup, err error) {
		said, err := kept(ctx, "/group/group-0001")
		if err == nil {
			err = json.Unmarshal([]byte(said), &g)
		}
		return g, err
	}

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		createStrangers(ctx, namespace, strangerEtcd(namespace, "store", "--enable-v2=true"))
		spec := fmt.Sprintf("{coordinator: {type: External, external: {kind: Etcd, endpoints: [%q]}}, "+
			"dashboard: {productName: %s}, groups: {count: 2, replicas: 2}, proxy: {replicas: 2}}",
			strangerAddr(namespace, "store")+":2379", halfDoneProduct)
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", "half", spec), "create", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		waitReady(ctx, namespace, "half", time.Now())
		p = watchProduct(ctx, namespace, "half")
		p.waitHealthy(ctx)
		load, err = cluster.StartLoad(ctx, namespace, "half")
		Expect(err).NotTo(HaveOccurred())
	}, NodeTimeout(6*time.Minute))

	AfterAll(func(ctx SpecContext) { // Before its store goes, which it would wait for.
		kubectl(ctx, "delete", "codiscluster", "half", "-n", p.namespace, "--timeout=2m")
	}, NodeTimeout(3*time.Minute))

	// leaves stores a promotion in a state, kills the dashboard, and waits until both are cleared.
	leaves := func(ctx SpecContext, state string, reordered bool) {
		p.waitHealthy(ctx)
		replica := host(p.seen().Groups[1][1])
		lock, err := kept(ctx, "/topom")
		Expect(err).NotTo(HaveOccurred())
		g, err := group(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(g.Servers).To(HaveLen(2))
		g.Promoting.Index, g.Promoting.State = 1, state
		if reordered {
			g.Promoting.Index = 0
			slices.Reverse(g.Servers)
		}
		text, err := json.Marshal(g)
		Expect(err).NotTo(HaveOccurred())
		dashboard := p.pod(ctx, "half-dashboard-0")
		agent := p.agent(ctx, dashboard.Spec.NodeName)

		By("storing what it would have, and killing it")
		_, err = cluster.KubectlWith(ctx, "{}", "replace", "--raw", path("/group/group-0001")+"?value="+url.QueryEscape(string(text)), "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		struck, err := agent.SignalChildAt(ctx, dashboard, dashboard.Spec.Containers[0].Name, "KILL", time.Now(), 0)
		Expect(err).NotTo(HaveOccurred())

		Eventually(func(g Gomega) {
			now, err := group(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(now.Promoting.State).To(BeEmpty())
			held, err := kept(ctx, "/topom")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(held).NotTo(Or(BeEmpty(), Equal(lock)), "another run has the lock")
		}).Should(Succeed())
		figure("lock and promotion cleared after", "%s", seconds(time.Since(struck)))
		p.waitHealthy(ctx)
		Expect(host(p.seen().Groups[1][0])).To(Equal(replica), "the promotion was finished, not forgotten")
	}

	DescribeTable("leaves it, and its lock, to be cleared, which no client notices", func(ctx SpecContext, state string) {
		leaves(ctx, state, false)
		report, err := load.Report()
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Errors).To(BeEmpty(), "%v", report.Texts)
	},
		Entry("before slots are locked", SpecTimeout(4*time.Minute), "preparing"),
		Entry("while slots are locked", SpecTimeout(4*time.Minute), "prepared"),
	)

	It("has cost clients nothing", func(ctx SpecContext) {
		outcome := stopped(ctx, load)
		Expect(outcome.Failed).To(BeZero(), "%v", outcome.Errors)
	}, SpecTimeout(4*time.Minute))

	// The proxies hold the requests by then, which only the dashboard itself can have them do:
	// clients are left out.
	It("leaves it, and its lock, to be cleared before the new master is told", func(ctx SpecContext) {
		leaves(ctx, "finished", true)
	}, SpecTimeout(4*time.Minute))
})
