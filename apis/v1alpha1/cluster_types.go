// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GroupsSettings shapes the groups of a cluster; all are alike.
type GroupsSettings struct {
	CodisGroupTemplate `json:",inline"`

	// count is the number of groups that share the 1024 slots. Raised, groups are
	// added and get slots once they are in sync. Lowered, the groups with the highest
	// ids give their slots and keys to the others, and are deleted when they are
	// empty; it may be raised again meanwhile. Needs rebalance.policy Auto of the
	// dashboard, or an approval.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=512
	Count *int32 `json:"count,omitempty"`
}

// CodisClusterSpec is the wanted state of a CodisCluster.
type CodisClusterSpec struct {
	// image with the Codis 3.2 binaries on its PATH, for every component that
	// does not name its own. Default: the one that the operator was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// imagePullPolicy for every component that does not name its own: Always,
	// IfNotPresent or Never. Default: IfNotPresent.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// coordinator where the topology is kept.
	// +optional
	// +kubebuilder:default={}
	Coordinator CodisCoordinatorTemplate `json:"coordinator,omitempty"`

	// dashboard that owns the topology, and its web page.
	// +optional
	// +kubebuilder:default={}
	Dashboard CodisDashboardTemplate `json:"dashboard,omitempty"`

	// groups of codis-servers that hold the data.
	// +optional
	// +kubebuilder:default={}
	Groups GroupsSettings `json:"groups,omitempty"`

	// proxy that clients connect to.
	// +optional
	// +kubebuilder:default={}
	Proxy CodisProxyTemplate `json:"proxy,omitempty"`
}

// CodisClusterStatus is what the operator saw last.
type CodisClusterStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the cluster: Ready, Available, CoordinatorReady,
	// DashboardReady, GroupsReady, Rebalanced, ProxiesReady.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// groups that are ready, of all: "2/2".
	// +optional
	Groups string `json:"groups,omitempty"`

	// proxies that are online, of all: "2/2".
	// +optional
	Proxies string `json:"proxies,omitempty"`

	// slots that have an owner, of 1024.
	// +optional
	Slots int32 `json:"slots"`

	// address of the Service that clients use.
	// +optional
	Address string `json:"address,omitempty"`
}

// CodisCluster is a whole sharded cache: one coordinator, one dashboard, a
// number of groups and a set of proxies, each an object of its own kind.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cc,categories=codis
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=`.status.groups`
// +kubebuilder:printcolumn:name="Proxies",type=string,JSONPath=`.status.proxies`
// +kubebuilder:printcolumn:name="Slots",type=integer,JSONPath=`.status.slots`
// +kubebuilder:printcolumn:name="Address",type=string,priority=1,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]{0,33}[a-z0-9])?$')",message="metadata.name must be at most 35 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it"
type CodisCluster struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the wanted state.
	// +optional
	// +kubebuilder:default={}
	Spec CodisClusterSpec `json:"spec,omitempty"`
	// status is what the operator saw last.
	// +optional
	Status CodisClusterStatus `json:"status,omitempty"`
}

// CodisClusterList is a list of CodisClusters.
// +kubebuilder:object:root=true
type CodisClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CodisCluster `json:"items"`
}
