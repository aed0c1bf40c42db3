// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package network builds the rules of NetworkPolicies. It refuses to know who
// is protected by them.
package network

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

// Allow lets peers reach a TCP port; without peers, everybody.
func Allow(port int32, peers ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyIngressRule {
	return networkingv1.NetworkPolicyIngressRule{
		From: peers,
		Ports: []networkingv1.NetworkPolicyPort{{
			Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(port)),
		}},
	}
}

// Product is every part of the product of a dashboard, in the same namespace.
func Product(dashboard string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		v1alpha1.LabelName:      naming.Application,
		v1alpha1.LabelDashboard: dashboard,
	}}}
}

// Part is one part of the product of a dashboard, in the same namespace.
func Part(dashboard, component string) networkingv1.NetworkPolicyPeer {
	peer := Product(dashboard)
	peer.PodSelector.MatchLabels[v1alpha1.LabelComponent] = component
	return peer
}

// Component is a part of any product in the same namespace.
func Component(component string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		v1alpha1.LabelName:      naming.Application,
		v1alpha1.LabelComponent: component,
	}}}
}

// Namespace is every pod in the same namespace.
func Namespace() networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}
}

// Operator is the operator in its namespace, or in any if that is not known: a
// label alone could be worn by anybody.
func Operator(namespace string) networkingv1.NetworkPolicyPeer {
	selector := &metav1.LabelSelector{}
	if namespace != "" {
		selector.MatchLabels = map[string]string{corev1.LabelMetadataName: namespace}
	}
	return networkingv1.NetworkPolicyPeer{
		NamespaceSelector: selector,
		PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
			v1alpha1.LabelName: naming.Operator,
		}},
	}
}
