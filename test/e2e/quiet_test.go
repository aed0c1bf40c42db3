// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	operatorAccount = "system:serviceaccount:codis-operator-system:codis-operator"
	// ourKinds are all that the operator writes. Pods are kubelet's to write.
	ourKinds = "codis,statefulsets,deployments,services,configmaps,secrets,poddisruptionbudgets,networkpolicies"
)

var _ = Describe("A converged cluster", func() {
	It("is left alone", func(ctx SpecContext) {
		length, err := strconv.Atoi(framework.Setting("E2E_QUIET_SECONDS", "60"))
		Expect(err).NotTo(HaveOccurred())
		By("waiting until nothing else is going on")
		for _, former := range namespaces {
			Eventually(ctx, cluster.Kubectl).WithArguments("get", "namespace", former, "--ignore-not-found").
				WithPolling(time.Second).Should(BeEmpty())
		}
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p := watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		pods := processes(ctx, p)
		Expect(p.witness.Stop(ctx)).To(Succeed())
		waitSettled(ctx, namespace)

		By("looking on for " + strconv.Itoa(length) + " s")
		audit := openAudit(ctx)
		before, began := versions(ctx, namespace), time.Now()
		Consistently(func(g Gomega) {
			g.Expect(audit.writes(g)).To(BeEmpty(), "writes of the operator")
			g.Expect(versions(ctx, namespace)).To(ConsistOf(before), "versions of objects")
		}).WithTimeout(time.Duration(length) * time.Second).WithPolling(5 * time.Second).Should(Succeed())
		Expect(processes(ctx, p)).To(Equal(pods))
		calls := slices.DeleteFunc(strings.Split(kubectl(ctx, "logs", "-n", namespace, "sample-dashboard-0",
			"--since-time="+began.Format(time.RFC3339)), "\n"), func(line string) bool { return !strings.Contains(line, "API call") })
		Expect(calls).To(BeEmpty(), "calls that change the dashboard")
		figure("quiet", "%s without a write, an event or a call; %s", seconds(time.Since(began)), audit)
	}, SpecTimeout(15*time.Minute))
})

// versions of all objects that are ours, and the events on all but pods.
func versions(ctx context.Context, namespace string) []string {
	GinkgoHelper()
	objects := kubectl(ctx, "get", ourKinds, "-n", namespace, "--no-headers",
		"-o", "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion")
	events := kubectl(ctx, "get", "events", "-n", namespace, "--no-headers", "--field-selector=involvedObject.kind!=Pod",
		"-o", "custom-columns=KIND:.involvedObject.kind,NAME:.involvedObject.name,REASON:.reason,VERSION:.metadata.resourceVersion")
	return strings.Split(objects+events, "\n")
}

// waitSettled waits until nothing changed for ten seconds: what Kubernetes
// itself tells of a new pod comes late.
func waitSettled(ctx context.Context, namespace string) {
	GinkgoHelper()
	var last []string
	since := time.Now()
	Eventually(func(g Gomega) {
		if current := versions(ctx, namespace); !slices.Equal(current, last) {
			last, since = current, time.Now()
		}
		g.Expect(time.Since(since)).To(BeNumerically(">", 10*time.Second))
	}).WithPolling(2 * time.Second).Should(Succeed())
}

// audit reads the requests of the operator from the API server's audit log,
// where there is one.
type audit struct {
	lines *bufio.Reader
	rest  string
	seen  int
	// reads by the operator, by resource.
	reads map[string]int
}

// openAudit begins at the end of the log.
func openAudit(ctx context.Context) *audit {
	GinkgoHelper()
	path := os.Getenv("AUDIT_LOG")
	if localkube := os.Getenv("LOCALKUBE"); path == "" && localkube != "" && os.Getenv("CLUSTER") == "localkube" {
		out, err := exec.CommandContext(ctx, localkube, "audit-log", "--name", os.Getenv("CLUSTER_NAME")).Output()
		Expect(err).NotTo(HaveOccurred())
		path = strings.TrimSpace(string(out))
	}
	if path == "" {
		return &audit{}
	}
	file, err := os.Open(path)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(file.Close)
	_, err = file.Seek(0, io.SeekEnd)
	Expect(err).NotTo(HaveOccurred())
	return &audit{lines: bufio.NewReader(file), reads: map[string]int{}}
}

// String tells what the log was good for.
func (a *audit) String() string {
	if a.lines == nil {
		return "no audit log here, versions were compared"
	}
	return fmt.Sprintf("%d lines of the audit log, reads by the operator: %v", a.seen, a.reads)
}

// writes are the operator's requests since the last look that change anything
// but its lease.
func (a *audit) writes(g Gomega) []string {
	if a.lines == nil {
		return nil
	}
	var found []string
	for {
		text, err := a.lines.ReadString('\n')
		a.rest += text
		if err != nil {
			return found // The end, maybe in the midst of a line.
		}
		var entry struct {
			Stage string `json:"stage"`
			Verb  string `json:"verb"`
			URI   string `json:"requestURI"`
			User  struct {
				Username string `json:"username"`
			} `json:"user"`
			Object struct {
				Resource string `json:"resource"`
			} `json:"objectRef"`
		}
		g.Expect(json.Unmarshal([]byte(a.rest), &entry)).To(Succeed())
		a.rest = ""
		a.seen++
		if entry.User.Username != operatorAccount || entry.Stage != "ResponseComplete" || entry.Object.Resource == "leases" {
			continue
		}
		if slices.Contains([]string{"get", "list", "watch"}, entry.Verb) {
			a.reads[entry.Object.Resource]++
			continue
		}
		found = append(found, entry.Verb+" "+entry.URI)
	}
}
