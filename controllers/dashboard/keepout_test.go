// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

// A node that is kept free of a dashboard is another one by now, or back.
func TestKeepOut(t *testing.T) {
	tests := map[string]struct {
		change func(p *corev1.Pod)
		kept   bool
	}{
		"it is kept free already":   {nil, true},
		"another node is":           {func(p *corev1.Pod) { p.Spec.NodeName = "node-3" }, false},
		"its kubelet is back":       {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		"the name is somebody's":    {func(p *corev1.Pod) { p.OwnerReferences = nil }, false},
		"the name was somebody's  ": {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "before" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := newLostNode(t)
			s := &state{dashboard: n.d, pod: n.pod(naming.DashboardPod("d"))}
			if kept, err := n.r.keepOut(t.Context(), s); !kept || err != nil {
				t.Fatalf("node-1 is not kept free: %v", err)
			}
			if tt.change != nil {
				pod := n.pod(naming.KeepOut("d"))
				if err := n.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
					t.Fatal(err)
				}
				tt.change(pod)
				pod.ResourceVersion = ""
				n.add(pod)
			}
			if kept, err := n.r.keepOut(t.Context(), s); kept != tt.kept || err != nil {
				t.Errorf("kept free: %v, %v", kept, err)
			}
			pod := n.pod(naming.KeepOut("d"))
			if foreign := pod != nil && !isOwned(pod, n.d); !tt.kept && !foreign && pod != nil {
				t.Error("it is in the way")
			}
		})
	}
}

// strict is an API server whose namespaces take no keep-out pod, as with a quota of pods.
type strict struct{ client.Client }

// Create refuses pods.
func (s strict) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if pod, ok := o.(*corev1.Pod); ok {
		return apierrors.NewForbidden(corev1.Resource("pods"), pod.Name, errors.New("exceeded quota"))
	}
	return s.Client.Create(ctx, o, opts...)
}

// A node that cannot be kept free is waited for, and no error has the queue wait longer.
func TestDashboardOfASilentNodeWhereTheNamespaceIsFull(t *testing.T) {
	n := newLostNode(t)
	n.r.Client = strict{n.client}
	n.passes(20)
	if n.pod(naming.DashboardPod("d")) == nil {
		t.Fatalf("it was given up: %s", n.events())
	}
	if !strings.Contains(n.problem.Message, "not replaced yet: keep the dashboard from node node-1: ") ||
		!strings.Contains(n.problem.Message, "exceeded quota") {
		t.Errorf("it is said: %s", n.problem.Message)
	}
	n.r.Client = n.client
	n.passes(1)
	if n.pod(naming.DashboardPod("d")) != nil {
		t.Error("there is room now, and it is not given up")
	}
}

// A quota of CPU or memory refuses pods that do not say what they need, and restricted
// namespaces those that do not say what they do without.
func TestKeepOutPodIsTakenByStrictNamespaces(t *testing.T) {
	d := &v1alpha1.CodisDashboard{}
	d.Namespace, d.Name = "ns", "d"
	pod, err := keepOutPod(d, "node-1", podtemplate.Images{ConfigWriter: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	for _, amounts := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
		if amounts.Cpu().IsZero() || amounts.Memory().IsZero() {
			t.Errorf("it asks for %v", amounts)
		}
	}
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !slices.Contains(s.Capabilities.Drop, "ALL") ||
		!*pod.Spec.SecurityContext.RunAsNonRoot ||
		pod.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("it is not restricted: %+v, %+v", s, pod.Spec.SecurityContext)
	}
}
