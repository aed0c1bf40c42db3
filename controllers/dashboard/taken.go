// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

// taken is a pod that went without the word of its kubelet that its dashboard had ended:
// deleted by force, or with its node. The dashboard may live.
type taken struct {
	pod, node string
	// renewal is the Lease of the node as it was first read since; empty before that.
	renewal string
}

// noteTaken remembers pods that are taken away. What an operator did not see, it does not
// know: to one that has just started, a pod that is not there has ended.
func (r *Reconciler) noteTaken() predicate.Predicate {
	return predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		if pod, ok := e.Object.(*corev1.Pod); ok {
			r.noteGone(pod)
		}
		return true
	}}
}

// noteGone takes in a pod as it was last, before it went.
func (r *Reconciler) noteGone(pod *corev1.Pod) {
	ours := pod.Labels[v1alpha1.LabelComponent] == naming.ComponentDashboard
	if !ours || pod.Spec.NodeName == "" || podtemplate.Dead(pod) {
		return
	}
	r.takenPods.Store(client.ObjectKeyFromObject(pod), taken{pod: pod.Name, node: pod.Spec.NodeName})
}

// mayLive says why a dashboard may live whose pod is gone; empty if nothing is known that
// speaks for it. A kubelet that renews its Lease after the pod went knows that it went,
// and ends what is left of it.
func (r *Reconciler) mayLive(ctx context.Context, d *v1alpha1.CodisDashboard) string {
	if err := r.Client.Get(ctx, key(d, naming.DashboardPod(d.Name)), &corev1.Pod{}); !apierrors.IsNotFound(err) {
		return "how its pod went is not known yet" // The event is on its way.
	}
	name := types.NamespacedName{Namespace: d.Namespace, Name: naming.DashboardPod(d.Name)}
	found, ok := r.takenPods.Load(name)
	gone, known := found.(taken)
	if !ok || !known {
		return ""
	}
	if lease := r.leaseOf(ctx, gone.node); lease != nil {
		renewal := lease.Spec.RenewTime.String()
		if gone.renewal != "" && gone.renewal != renewal {
			r.takenPods.CompareAndDelete(name, found)
			return ""
		}
		r.takenPods.CompareAndSwap(name, found, taken{pod: gone.pod, node: gone.node, renewal: renewal})
	}
	return fmt.Sprintf("pod %s was taken away from node %s without the word of its kubelet that it had ended, "+
		"and the kubelet has not renewed its Lease since", gone.pod, gone.node)
}
