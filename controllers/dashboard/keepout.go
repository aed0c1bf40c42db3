// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// keptFor is how long a node is kept free of a dashboard: Kubernetes calls a node lost,
// and keeps it free by itself, after 40 s without a word (--node-monitor-grace-period).
const keptFor = time.Minute

// keepOutPod keeps the pod of a dashboard from a node: the scheduler puts no pod where
// one is that does not want it beside itself. It is on the node from the start, without
// the scheduler, and nothing of it runs there while the kubelet is away. Once that is
// back, it starts a program that lacks all its flags and ends at once.
//
// A change of the StatefulSet's template would do as well, and restart the dashboard when
// it is taken back. A taint of the node is not the operator's to put.
func keepOutPod(d *v1alpha1.CodisDashboard, node string, images podtemplate.Images) (*corev1.Pod, error) {
	template, err := podtemplate.Template(podtemplate.Pod{
		Component: naming.ComponentKeepOut,
		Instance:  d.Name,
		Settings:  v1alpha1.Component{Resources: almostNothing()},
		Images:    images,
		Image:     images.ConfigWriter,
		Container: corev1.Container{Name: naming.ComponentKeepOut, Command: []string{"/config-writer"}},
	}, nil)
	if err != nil {
		return nil, err
	}
	template.Spec.NodeName = node
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentDashboard, d.Name)},
			TopologyKey:   corev1.LabelHostname,
		}},
	}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: naming.KeepOut(d.Name), Labels: template.Labels},
		Spec:       template.Spec,
	}, nil
}

// almostNothing is what a pod asks for that does nothing. A namespace with a quota takes no
// pod that asks for nothing at all.
func almostNothing() corev1.ResourceRequirements {
	amounts := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
	}
	return corev1.ResourceRequirements{Requests: amounts, Limits: amounts.DeepCopy()}
}

// keepOut keeps the next pod of a dashboard from the node of this one, and tells whether
// that is so. It is safe to repeat.
func (r *Reconciler) keepOut(ctx context.Context, s *state) (bool, error) {
	wanted, err := keepOutPod(s.dashboard, s.pod.Spec.NodeName, r.Images)
	if err != nil {
		return false, err
	}
	if err := controllerutil.SetControllerReference(s.dashboard, wanted, r.Client.Scheme()); err != nil {
		return false, fmt.Errorf("keep the dashboard from node %s: %w", s.pod.Spec.NodeName, err)
	}
	err = r.Client.Create(ctx, wanted)
	if err == nil {
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("keep the dashboard from node %s: %w", s.pod.Spec.NodeName, err)
	}
	there := &corev1.Pod{}
	err = r.Reader.Get(ctx, key(s.dashboard, wanted.Name), there)
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if there.Spec.NodeName == wanted.Spec.NodeName && !podtemplate.Ended(there) {
		return isOwned(there, s.dashboard), nil
	}
	return false, r.removeKeepOut(ctx, s.dashboard, there)
}

// letIn ends what keepOut began, once Kubernetes knows itself what is with the node, or
// its kubelet is back.
func (r *Reconciler) letIn(ctx context.Context, s *state) (time.Duration, error) {
	d, pod := s.dashboard, &corev1.Pod{}
	err := r.Client.Get(ctx, key(d, naming.KeepOut(d.Name)), pod)
	if err != nil {
		r.keptOut.Delete(d.UID)
		return 0, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	found, _ := r.keptOut.LoadOrStore(d.UID, now)
	since, _ := found.(time.Time)
	if left := keptFor - now.Sub(since); left > 0 && !podtemplate.Ended(pod) {
		return left, nil
	}
	return reconcile.Later, r.removeKeepOut(ctx, d, pod)
}

// removeKeepOut takes the pod away that keeps a node free. Nothing runs in it that a
// kubelet would have to end.
func (r *Reconciler) removeKeepOut(ctx context.Context, d *v1alpha1.CodisDashboard, pod *corev1.Pod) error {
	if !isOwned(pod, d) {
		return nil // Somebody else's.
	}
	err := r.Client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("let the dashboard onto node %s again: %w", pod.Spec.NodeName, err)
	}
	return nil
}
