// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("The smallest cluster", func() {
	It("is created, serves, is deleted without a trace, and is created again", func(ctx SpecContext) {
		By("installing the operator")
		kubectl(ctx, "get", "-f", installManifest)

		namespace := newNamespace(ctx)
		listed := listedKinds(ctx)
		before := objects(ctx, namespace, listed)
		started := time.Now()
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		figure("kubectl create to Ready", "%s", seconds(waitReady(ctx, namespace, "sample", started)))

		By("writing and reading 1000 keys through the Service of the proxies")
		said, err := cluster.RunClient(ctx, namespace, "sample", "roundtrip", "-addr", "sample-proxy:19000", "-keys", "1000", "-timeout", "5s")
		Expect(err).NotTo(HaveOccurred())
		figure("1000 keys", "%s", strings.TrimSpace(said))

		By("showing it to a person")
		expectColumns(ctx, namespace)

		By("deleting it")
		started = time.Now()
		kubectl(ctx, "delete", "-n", namespace, "-f", sampleManifest)
		Eventually(func(g Gomega) {
			g.Expect(objects(ctx, namespace, listed)).To(Equal(before))
		}).WithTimeout(30 * time.Second).WithPolling(time.Second).Should(Succeed())
		figure("kubectl delete to nothing left", "%s", seconds(time.Since(started)))

		By("creating it again under the same name")
		started = time.Now()
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		figure("created again to Ready", "%s", seconds(waitReady(ctx, namespace, "sample", started)))
		p := watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		Expect(p.seen().Keys()).To(BeZero(), "keys of the former cluster")
	}, SpecTimeout(6*time.Minute))
})

// listedKinds are the kinds of all objects that a namespace can hold, but for
// those that only tell of others.
func listedKinds(ctx context.Context) string {
	GinkgoHelper()
	kinds := strings.Fields(kubectl(ctx, "api-resources", "--namespaced", "--verbs=list", "-o", "name"))
	return strings.Join(slices.DeleteFunc(kinds, func(kind string) bool {
		return strings.HasPrefix(kind, "events") || strings.HasSuffix(kind, ".metrics.k8s.io")
	}), ",")
}

func objects(ctx context.Context, namespace, kinds string) []string {
	GinkgoHelper()
	names := strings.Fields(kubectl(ctx, "get", kinds, "-n", namespace, "-o", "name", "--ignore-not-found"))
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "pod/roundtrip-") })
}

// expectColumns holds the columns of kubectl get to what runs.
func expectColumns(ctx context.Context, namespace string) {
	GinkgoHelper()
	for kind, rows := range map[string][]map[string]string{
		"codisclusters": {{
			"NAME": "sample", "READY": "True", "AVAILABLE": "True", "GROUPS": "2/2", "PROXIES": "2/2", "SLOTS": "1024",
		}},
		"codiscoordinators": {{"NAME": "sample", "TYPE": "Filesystem", "READY": "True"}},
		"codisdashboards": {{
			"NAME": "sample", "PRODUCT": namespace + ".sample", "READY": "True", "SLOTS": "1024", "MIGRATING": "0",
		}},
		"codisgroups": {
			{"NAME": "sample-1", "ID": "1", "MASTER": "sample-1-0", "READY": "2/2", "SLOTS": "512", "STATE": "Stable"},
			{"NAME": "sample-2", "ID": "2", "MASTER": "sample-2-0", "READY": "2/2", "SLOTS": "512", "STATE": "Stable"},
		},
		"codisproxies": {{"NAME": "sample", "DESIRED": "2", "ONLINE": "2", "READY": "True"}},
	} {
		Eventually(func(g Gomega) {
			shown := table(kubectl(ctx, "get", kind, "-n", namespace))
			g.Expect(shown).To(HaveLen(len(rows)))
			for i, row := range rows {
				for column, value := range row {
					g.Expect(shown[i]).To(HaveKeyWithValue(column, value), "%s %d", kind, i)
				}
				g.Expect(shown[i]).To(HaveKey("AGE"))
			}
		}).WithTimeout(10 * time.Second).Should(Succeed())
	}
	Eventually(func(g Gomega) {
		keys := 0
		for _, row := range table(kubectl(ctx, "get", "codisgroups", "-n", namespace)) {
			count, err := strconv.Atoi(row["KEYS"])
			g.Expect(err).NotTo(HaveOccurred())
			keys += count
		}
		g.Expect(keys).To(Equal(1000), "KEYS of both groups")
	}).WithTimeout(time.Minute).WithPolling(time.Second).Should(Succeed())
}

// table reads what kubectl get printed, a map of columns a row.
func table(text string) []map[string]string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	columns := regexp.MustCompile(`\S+ *`).FindAllStringIndex(lines[0], -1)
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, column := range columns {
			start, end := min(column[0], len(line)), min(column[1], len(line))
			if i == len(columns)-1 {
				end = len(line)
			}
			row[strings.TrimSpace(lines[0][column[0]:column[1]])] = strings.TrimSpace(line[start:end])
		}
		rows = append(rows, row)
	}
	return rows
}
