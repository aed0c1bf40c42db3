// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

const (
	componentsDir = "../../examples/components"
	orders        = 10
	sideBySide    = 2
)

var _ = Describe("Components", func() {
	It("converge to the same cluster, whatever order they are created in", func(ctx SpecContext) {
		seed := uint64(GinkgoRandomSeed())
		figure("seed (--seed)", "%d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		documents := componentDocuments()
		var tookMu sync.Mutex
		var took []string
		var running sync.WaitGroup
		places := make(chan struct{}, sideBySide)
		for number := range orders {
			order := random.Perm(len(documents))
			namespace := newNamespace(ctx)
			places <- struct{}{}
			running.Go(func() {
				defer GinkgoRecover()
				defer func() { <-places }()
				// Every other time the operator gets to see each before the next one is there.
				d := createInOrder(ctx, namespace, documents, order, number%2 == 1)
				tookMu.Lock()
				defer tookMu.Unlock()
				took = append(took, seconds(d))
			})
		}
		running.Wait()
		figure("last created to healthy", "%s", strings.Join(took, ", "))
	}, SpecTimeout(10*time.Minute))
})

// componentDocuments are the objects of the examples, each as text.
func componentDocuments() []string {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join(componentsDir, "*.yml"))
	Expect(err).NotTo(HaveOccurred())
	var documents []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		documents = append(documents, strings.Split(string(content), "\n---\n")...)
	}
	Expect(documents).To(HaveLen(5))
	return documents
}

// createInOrder creates the components, waits until they are the cluster that
// they should be, and removes them. It returns how long the last one took.
func createInOrder(ctx context.Context, namespace string, documents []string, order []int, stepwise bool) time.Duration {
	GinkgoHelper()
	var last time.Time
	for step, index := range order {
		last = time.Now()
		_, err := cluster.KubectlWith(ctx, documents[index], "create", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		if stepwise {
			Eventually(func(g Gomega) {
				g.Expect(componentsSeen(ctx, g, namespace)).To(Equal(step + 1))
			}).Should(Succeed())
		}
	}
	p := watchProduct(ctx, namespace, "parts")
	Eventually(func(g Gomega) {
		g.Expect(p.topology()).To(Equal(twoByTwo("parts")), "order %v", order)
		g.Expect(p.seen().InRole()).To(BeTrue(), "%+v", p.seen())
		g.Expect(componentsReady(ctx, g, namespace)).To(Equal(len(documents)))
	}).Should(Succeed(), "order %v", order)
	took := time.Since(last)
	Expect(cluster.DeleteNamespace(ctx, namespace)).To(Succeed())
	return took
}

// componentsSeen counts the components that the operator has looked at.
func componentsSeen(ctx context.Context, g Gomega, namespace string) int {
	return countComponents(ctx, g, namespace, func([]metav1.Condition, int64) bool { return true })
}

// componentsReady counts the components that are ready as they are now.
func componentsReady(ctx context.Context, g Gomega, namespace string) int {
	return countComponents(ctx, g, namespace, func(conditions []metav1.Condition, generation int64) bool {
		ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
		return ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == generation
	})
}

// countComponents counts those that have conditions which are as asked for.
func countComponents(ctx context.Context, g Gomega, namespace string, is func([]metav1.Condition, int64) bool) int {
	count := 0
	add := func(conditions []metav1.Condition, generation int64) {
		if meta.FindStatusCondition(conditions, v1alpha1.ConditionReady) != nil && is(conditions, generation) {
			count++
		}
	}
	coordinators, dashboards := &v1alpha1.CodisCoordinatorList{}, &v1alpha1.CodisDashboardList{}
	groups, proxies := &v1alpha1.CodisGroupList{}, &v1alpha1.CodisProxyList{}
	for _, list := range []client.ObjectList{coordinators, dashboards, groups, proxies} {
		g.Expect(cluster.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
	}
	for _, o := range coordinators.Items {
		add(o.Status.Conditions, o.Generation)
	}
	for _, o := range dashboards.Items {
		add(o.Status.Conditions, o.Generation)
	}
	for _, o := range groups.Items {
		add(o.Status.Conditions, o.Generation)
	}
	for _, o := range proxies.Items {
		add(o.Status.Conditions, o.Generation)
	}
	return count
}
