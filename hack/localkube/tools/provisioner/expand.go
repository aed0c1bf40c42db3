// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// expandVolumes grants claims which ask for more than they have. A directory has no size of its own, so growing one is
// only saying so, first in the volume and then in the claim, as a resizer does.
func expandVolumes(ctx context.Context, client kubernetes.Interface, provisioner string) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		claims, err := client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			fmt.Fprintln(os.Stderr, "provisioner: list claims:", err)
			return
		}
		for i := range claims.Items {
			if err := expand(ctx, client, provisioner, &claims.Items[i]); err != nil {
				fmt.Fprintln(os.Stderr, "provisioner: expand:", err)
			}
		}
	}, 2*time.Second)
}

func expand(ctx context.Context, client kubernetes.Interface, provisioner string, claim *v1.PersistentVolumeClaim) error {
	wanted := claim.Spec.Resources.Requests[v1.ResourceStorage]
	has := claim.Status.Capacity[v1.ResourceStorage]
	ours := claim.Annotations["volume.kubernetes.io/storage-provisioner"] == provisioner
	if !ours || claim.Status.Phase != v1.ClaimBound || wanted.Cmp(has) <= 0 {
		return nil
	}
	volume, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	volume.Spec.Capacity[v1.ResourceStorage] = wanted
	if _, err := client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return err
	}
	claim.Status.Capacity[v1.ResourceStorage] = wanted
	claim.Status.Conditions = nil
	_, err = client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	return err
}
