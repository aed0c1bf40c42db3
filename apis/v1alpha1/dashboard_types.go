// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CodisDashboardTemplate is what a user chooses about a dashboard.
// +kubebuilder:validation:XValidation:rule="has(self.productName) == has(oldSelf.productName)",message="productName is immutable: every server, proxy and stored key carries it; create a new dashboard instead"
// +kubebuilder:validation:XValidation:rule="has(self.authSecretRef) == has(oldSelf.authSecretRef)",message="authSecretRef cannot be added or removed later, since servers, proxies and dashboard must agree on the password: create a new dashboard instead"
type CodisDashboardTemplate struct {
	Component `json:",inline"`

	// productName under which the topology is stored and that proxies ask for.
	// Letters, digits, '_', '-' and '.'. Default: <namespace>.<name>, which is
	// unique in a Kubernetes cluster. Not a secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$')",message="productName may have letters, digits, '_', '-' and '.', and must not start with '-' or '.'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="productName is immutable: every server, proxy and stored key carries it; create a new dashboard instead"
	ProductName string `json:"productName,omitempty"`

	// authSecretRef names the Secret with the product password (Codis calls it
	// product_auth) under the key "password". Servers require it, proxies and
	// the dashboard use it. Default: a Secret <name>-auth with a random password
	// is made once and kept.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="authSecretRef is immutable, since servers, proxies and dashboard must agree on the password: create a new dashboard instead"
	AuthSecretRef *SecretReference `json:"authSecretRef,omitempty"`

	// fe is the web page of the dashboard. It has no login of its own: whoever
	// reaches it administers the product. Default: none.
	// +optional
	FE *FESettings `json:"fe,omitempty"`
}

// FESettings shapes codis-fe, the web page.
type FESettings struct {
	Component `json:",inline"`

	// replicas of the web page.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	Replicas *int32 `json:"replicas,omitempty"`

	// service through which browsers reach the page, on port 8080.
	// +optional
	Service ServiceSettings `json:"service,omitempty"`
}

// CodisDashboardSpec is the wanted state of a CodisDashboard.
type CodisDashboardSpec struct {
	CodisDashboardTemplate `json:",inline"`

	// coordinatorRef names the CodisCoordinator where the topology is kept.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="coordinatorRef is immutable, since the topology would be left behind: create a new dashboard instead"
	CoordinatorRef LocalReference `json:"coordinatorRef"`

	// initialGroups are the ids of the groups that share the 1024 slots in the
	// first layout, in even shares; it is made once all of them are in sync.
	// Default: every CodisGroup that refers to this dashboard at the moment when
	// all of them are in sync. Without effect once slots are assigned.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=9999
	InitialGroups []int32 `json:"initialGroups,omitempty"`
}

// SlotCounts counts the 1024 slots of a product.
type SlotCounts struct {
	// assigned is the number of slots that have an owner.
	// +required
	Assigned int32 `json:"assigned"`
	// migrating is the number of slots that are on their way to another group.
	// +required
	Migrating int32 `json:"migrating"`
	// offline is the number of slots that nobody owns.
	// +required
	Offline int32 `json:"offline"`
}

// GroupSlots tells which slots a group owns.
type GroupSlots struct {
	// group is the id of the group.
	// +required
	Group int32 `json:"group"`
	// slots that it owns, as ranges: "0-511" or "0-99,200,300-511".
	// +required
	// +kubebuilder:validation:MaxLength=8192
	Slots string `json:"slots"`
}

// CodisDashboardStatus is what the operator saw last.
type CodisDashboardStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the dashboard: Ready, WorkloadReady, SlotsAssigned, FEReady.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// address of the dashboard's HTTP API inside the Kubernetes cluster.
	// +optional
	Address string `json:"address,omitempty"`

	// productName in use.
	// +optional
	ProductName string `json:"productName,omitempty"`

	// authSecretName is the Secret in use for the product password.
	// +optional
	AuthSecretName string `json:"authSecretName,omitempty"`

	// version that the dashboard reports.
	// +optional
	Version string `json:"version,omitempty"`

	// slots counted by state.
	// +optional
	Slots *SlotCounts `json:"slots,omitempty"`

	// layout of the slots as last seen complete. From it the operator puts the
	// topology back when the store of the dashboard was lost.
	// +optional
	// +listType=map
	// +listMapKey=group
	Layout []GroupSlots `json:"layout,omitempty"`
}

// CodisDashboard is the one dashboard of a product, its web page, and the
// layout of the product's slots.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cda,categories=codis
// +kubebuilder:printcolumn:name="Product",type=string,JSONPath=`.status.productName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Slots",type=integer,JSONPath=`.status.slots.assigned`
// +kubebuilder:printcolumn:name="Migrating",type=integer,JSONPath=`.status.slots.migrating`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",message="metadata.name must be at most 40 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it"
type CodisDashboard struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the wanted state.
	// +required
	Spec CodisDashboardSpec `json:"spec"`
	// status is what the operator saw last.
	// +optional
	Status CodisDashboardStatus `json:"status,omitempty"`
}

// CodisDashboardList is a list of CodisDashboards.
// +kubebuilder:object:root=true
type CodisDashboardList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CodisDashboard `json:"items"`
}
