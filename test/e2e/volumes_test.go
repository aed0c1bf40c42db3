// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// stored is a cluster of one group of two on volumes of a class.
const stored = "{groups: {count: 1, replicas: 2, storage: {size: 1Gi, storageClassName: %s}}, proxy: {replicas: 1}}"

// fixedClass makes a StorageClass like the default one, whose volumes may not grow.
func fixedClass(ctx context.Context, name string) *storagev1.StorageClass {
	GinkgoHelper()
	list := &storagev1.StorageClassList{}
	Expect(cluster.List(ctx, list)).To(Succeed())
	for i := range list.Items {
		like := &list.Items[i]
		if like.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
			continue
		}
		class := &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: like.Provisioner, Parameters: like.Parameters,
			ReclaimPolicy: like.ReclaimPolicy, VolumeBindingMode: like.VolumeBindingMode, AllowVolumeExpansion: new(false),
		}
		Expect(cluster.Create(ctx, class)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(cluster.Delete(ctx, class)).To(Succeed()) })
		return class
	}
	Fail("the cluster has no default StorageClass")
	return nil
}

var _ = Describe("Volumes", func() {
	It("grow under running pods, where they may, and never shrink", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		class := fixedClass(ctx, namespace)
		_, err := cluster.KubectlWith(ctx, document("CodisCluster", "stored", fmt.Sprintf(stored, class.Name)), "create", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		waitReady(ctx, namespace, "stored", time.Now())
		waitForWebhooks(ctx, namespace)
		load, err := cluster.StartLoad(ctx, namespace, "stored")
		Expect(err).NotTo(HaveOccurred())

		resize := func(size string) error {
			_, err := cluster.Kubectl(ctx,
				"patch", "codiscluster", "stored", "-n", namespace, "--type=merge",
				"-p", fmt.Sprintf(`{"spec":{"groups":{"storage":{"size":%q}}}}`, size), "--warnings-as-errors")
			return err
		}
		said := func(kind string) func() (string, error) {
			return func() (string, error) {
				return cluster.Kubectl(ctx, "get", "codiscluster", "stored", "-n", namespace,
					"-o", fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].status} {.status.conditions[?(@.type==%q)].message}`, kind, kind))
			}
		}
		volumes := func() (sizes []string) {
			claims := &corev1.PersistentVolumeClaimList{}
			Expect(cluster.List(ctx, claims, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelInstance: "stored-1"})).To(Succeed())
			for i := range claims.Items {
				sizes = append(sizes, claims.Items[i].Status.Capacity.Storage().String())
			}
			return sizes
		}
		running := func() (found []string) {
			pods, err := cluster.Pods(ctx, namespace, map[string]string{v1alpha1.LabelInstance: "stored-1"})
			Expect(err).NotTo(HaveOccurred())
			for i := range pods {
				found = append(found, fmt.Sprintf("%s %s %d", pods[i].Name, pods[i].UID, restarts(&pods[i])))
			}
			return found
		}
		before := running()

		By("asking for more than the class allows")
		Expect(resize("2Gi")).To(MatchError(ContainSubstring("does not allow it (allowVolumeExpansion); the condition VolumesReady tells more")))
		Eventually(said("GroupsReady")).Should(And(HavePrefix("False "), ContainSubstring("data-stored-1-0 cannot go from 1Gi to 2Gi"),
			ContainSubstring("does not allow it (allowVolumeExpansion)"), ContainSubstring("set storage.size to what it was")))
		Expect(said("Available")()).To(HavePrefix("True "))
		Expect(volumes()).To(Equal([]string{"1Gi", "1Gi"}))

		By("letting the volumes of the class grow")
		allowed := time.Now()
		kubectl(ctx, "patch", "storageclass", class.Name, "--type=merge", "-p", `{"allowVolumeExpansion":true}`)
		Eventually(volumes).Should(Equal([]string{"2Gi", "2Gi"}))
		Eventually(said("Ready")).Should(HavePrefix("True "))
		figure("grown after the class allowed it", "%s", seconds(time.Since(allowed)))
		began := time.Now()
		Expect(resize("3Gi")).To(Succeed())
		Eventually(volumes).Should(Equal([]string{"3Gi", "3Gi"}))
		Eventually(said("Ready")).Should(HavePrefix("True "))
		figure("grown after it was asked for", "%s", seconds(time.Since(began)))
		Expect(running()).To(Equal(before), "a pod is another one")

		By("asking for less")
		Expect(resize("2Gi")).To(MatchError(And(ContainSubstring("spec.groups.storage.size"), ContainSubstring("volumes cannot shrink"))))
		size, err := resource.ParseQuantity(kubectl(ctx, "get", "codiscluster", "stored", "-n", namespace, "-o", "jsonpath={.spec.groups.storage.size}"))
		Expect(err).NotTo(HaveOccurred())
		Expect(size.String()).To(Equal("3Gi"))

		outcome := lostNothing(ctx, load)
		Expect(outcome.Failed).To(BeZero(), "%v", outcome.Errors)
	}, SpecTimeout(6*time.Minute))
})
