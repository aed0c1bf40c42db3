// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tells the stories of users against a real Kubernetes cluster, a
// story a file. It sees what a user sees, and what a witness inside the cluster
// sees of Codis; it knows nothing of how the operator works.
package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	operatorNamespace = "codis-operator-system"
	installManifest   = "../../deploy/manager/deployment-dev.yml"
	sampleManifest    = "../../examples/sample-1.yml"
)

var (
	cluster *framework.Cluster
	// namespaces that stories made.
	namespaces []string
)

func TestStories(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(2 * time.Minute)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	SetDefaultConsistentlyPollingInterval(200 * time.Millisecond)
	RunSpecs(t, "User stories")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = framework.Connect()
	Expect(err).NotTo(HaveOccurred())
	if _, err := cluster.Kubectl(ctx, "get", "-n", operatorNamespace, "deployment", "codis-operator"); err != nil {
		kubectl(ctx, "create", "-f", installManifest)
	}
	kubectl(ctx, "rollout", "status", "-n", operatorNamespace, "deployment/codis-operator", "--timeout=3m")
}, NodeTimeout(4*time.Minute))

var _ = AfterSuite(func(ctx SpecContext) {
	for _, namespace := range namespaces {
		Eventually(func() (string, error) {
			return cluster.Kubectl(ctx, "get", "namespace", namespace, "--ignore-not-found")
		}).WithTimeout(3*time.Minute).WithPolling(time.Second).Should(BeEmpty(), "the namespace must go")
	}
}, NodeTimeout(5*time.Minute))

// Figures that stories measured end the report.
var _ = ReportAfterSuite("figures", func(report Report) {
	var out strings.Builder
	for _, spec := range report.SpecReports.WithLeafNodeType(types.NodeTypeIt) {
		fmt.Fprintf(&out, "%-7s %6s  %s\n", spec.State, spec.RunTime.Round(time.Second), spec.FullText())
		for _, entry := range spec.ReportEntries {
			if entry.Visibility == ReportEntryVisibilityAlways {
				fmt.Fprintf(&out, "                  %s: %s\n", entry.Name, entry.StringRepresentation())
			}
		}
	}
	fmt.Fprintf(os.Stdout, "\nStories and figures\n%s", out.String())
})

// What went wrong is told before it is cleaned up.
var _ = JustAfterEach(func(ctx SpecContext) {
	if !CurrentSpecReport().Failed() || len(namespaces) == 0 {
		return
	}
	namespace := lastLeft(ctx)
	for _, args := range [][]string{
		{"get", "codis,pods,pvc", "-n", namespace, "-o", "wide"},
		{"describe", "codis", "-n", namespace},
		{"describe", "pods", "-n", namespace, "-l", "app.kubernetes.io/name=codis"},
		{"get", "events", "-n", namespace, "--sort-by=.metadata.creationTimestamp"},
		{"logs", "-n", namespace, "-l", "app.kubernetes.io/managed-by=codis-operator", "--prefix", "--tail=60"},
		{"logs", "-n", operatorNamespace, "-l", "app.kubernetes.io/name=codis-operator", "--prefix", "--tail=200"},
	} {
		out, err := cluster.Kubectl(ctx, args...)
		if err != nil {
			out += "\n" + err.Error()
		}
		AddReportEntry("kubectl "+strings.Join(args, " "), out, ReportEntryVisibilityFailureOrVerbose)
	}
}, NodeTimeout(time.Minute))

// lastLeft is the newest namespace that nobody deletes: of stories that make several,
// that of what failed.
func lastLeft(ctx context.Context) string {
	for _, namespace := range slices.Backward(namespaces) {
		out, err := cluster.Kubectl(ctx, "get", "namespace", namespace, "-o", "jsonpath={.status.phase}")
		if err == nil && out == "Active" {
			return namespace
		}
	}
	return namespaces[len(namespaces)-1]
}

// figure puts a measured value into the report.
func figure(name, format string, args ...any) {
	GinkgoHelper()
	AddReportEntry(name, fmt.Sprintf(format, args...), ReportEntryVisibilityAlways)
}

// lostNothing ends a load, and tells what became of its writes: all that were
// acknowledged are there.
func lostNothing(ctx context.Context, load *framework.Load) framework.Outcome {
	GinkgoHelper()
	outcome := stopped(ctx, load)
	Expect(outcome.Lost).To(BeZero(), "%v", outcome.Examples)
	return outcome
}

// stopped ends a load that can read back all it was acknowledged, there or not.
func stopped(ctx context.Context, load *framework.Load) framework.Outcome {
	GinkgoHelper()
	outcome, err := load.Stop(ctx)
	Expect(err).NotTo(HaveOccurred())
	figure("writes", "%d acknowledged, %d failed %v, %d lost, longest stall %d ms",
		outcome.Acknowledged, outcome.Failed, outcome.Errors, outcome.Lost, outcome.LongestStallMS)
	Expect(outcome.Checked).To(Equal(outcome.Acknowledged))
	return outcome
}

// newNamespace makes a namespace for a story; it goes with the story.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	namespace, err := cluster.CreateNamespace(ctx, "e2e")
	Expect(err).NotTo(HaveOccurred())
	namespaces = append(namespaces, namespace)
	DeferCleanup(cluster.DeleteNamespace, namespace)
	return namespace
}

// kubectl runs a command that must succeed.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := cluster.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	return out
}
