// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Bad input", Ordered, func() {
	var namespace string

	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		waitForWebhooks(ctx, namespace)
	}, NodeTimeout(time.Minute))

	DescribeTable("is refused at once, with the field and the way out", func(ctx SpecContext, text string, words ...string) {
		_, err := cluster.KubectlWith(ctx, text, "create", "-n", namespace, "-f", "-")
		Expect(err).To(HaveOccurred())
		for _, word := range words {
			Expect(err.Error()).To(ContainSubstring(word))
		}
		Expect(kubectl(ctx, "get", "codis,pods", "-n", namespace, "-o", "name")).To(BeEmpty(), "something was created")
	},
		Entry("a name that no label can hold", document("CodisCluster", "Big_Cluster", "{}"), "metadata.name"),
		Entry("a name too long to derive others from",
			document("CodisCluster", "a-name-that-is-far-too-long-for-what-is-derived-from-it", "{}"),
			"metadata.name must be at most 35 characters"),
		Entry("no groups", document("CodisCluster", "bad", "{groups: {count: 0}}"),
			"spec.groups.count", "greater than or equal to 1"),
		Entry("a field that does not exist", document("CodisCluster", "bad", "{groups: {replica: 2}}"),
			`unknown field "spec.groups.replica"`),
		Entry("a password in the configuration", document("CodisCluster", "bad", `{groups: {config: {requirepass: secret}}}`),
			"spec.groups.config", "config must not set requirepass", "authSecretRef"),
		Entry("a volume without a size", document("CodisCluster", "bad", `{groups: {storage: {size: "0"}}}`),
			"spec.groups.storage.size", "must be greater than 0, for example 10Gi"),
		Entry("a request above its limit",
			document("CodisCluster", "bad", "{groups: {resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}}"),
			"spec.groups.resources.requests[memory]", "lower the request or raise the limit"),
		Entry("a label that the operator selects by", document("CodisCluster", "bad", labelled),
			"spec.proxy.pod.labels[app.kubernetes.io/name]", "use another key"),
		Entry("a group without an id", document("CodisGroup", "bad", "{dashboardRef: {name: some}}"), "spec.id"),
	)

	It("does not change what is there", func(ctx SpecContext) {
		_, err := cluster.KubectlWith(ctx, document("CodisGroup", "first", "{dashboardRef: {name: some}, id: 7}"), "create", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		_, err = cluster.Kubectl(ctx, "patch", "codisgroup", "first", "-n", namespace, "--type=merge", "-p", `{"spec":{"id":8}}`)
		Expect(err).To(MatchError(ContainSubstring("id is immutable: slots are owned by id; create a new group instead")))
		Expect(kubectl(ctx, "get", "codisgroup", "first", "-n", namespace, "-o", "jsonpath={.spec.id}")).To(Equal("7"))

		By("giving a second group the same id")
		Eventually(func(g Gomega) {
			_, err = cluster.KubectlWith(ctx, document("CodisGroup", "second", "{dashboardRef: {name: some}, id: 7}"),
				"create", "--dry-run=server", "-n", namespace, "-f", "-")
			g.Expect(err).To(MatchError(And(ContainSubstring("spec.id"), ContainSubstring(`CodisGroup "first"`))))
		}).WithTimeout(10 * time.Second).Should(Succeed())
		kubectl(ctx, "delete", "codisgroup", "first", "-n", namespace, "--timeout=30s")
	}, SpecTimeout(2*time.Minute))
})

// waitForWebhooks waits until they are asked: an operator is Ready once it serves them,
// and the API server hears of that a moment later.
func waitForWebhooks(ctx context.Context, namespace string) {
	GinkgoHelper()
	Eventually(func() error {
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", "bad", labelled), "create", "--dry-run=server", "-n", namespace, "-f", "-")
		return err
	}).WithTimeout(10 * time.Second).Should(HaveOccurred())
}

// labelled overrides a label that selectors are made of.
const labelled = "{proxy: {pod: {labels: {app.kubernetes.io/name: mine}}}}"

// document is an object as a user writes it.
func document(kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: codis.io/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, spec)
}
