// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package network

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestAllow(t *testing.T) {
	product := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		"app.kubernetes.io/name": "codis", "codis.io/dashboard": "d",
	}}}
	operator := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "ops"}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "codis-operator"}},
	}
	anywhere := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: operator.PodSelector}
	port := []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(6379))}}
	tests := map[string]struct {
		got, want networkingv1.NetworkPolicyIngressRule
	}{
		"everybody": {Allow(6379), networkingv1.NetworkPolicyIngressRule{Ports: port}},
		"the product, the operator": {
			Allow(6379, Product("d"), Operator("ops")),
			networkingv1.NetworkPolicyIngressRule{Ports: port, From: []networkingv1.NetworkPolicyPeer{product, operator}},
		},
		"the operator, wherever it is": {
			Allow(6379, Operator("")),
			networkingv1.NetworkPolicyIngressRule{Ports: port, From: []networkingv1.NetworkPolicyPeer{anywhere}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
