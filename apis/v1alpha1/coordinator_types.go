// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CoordinatorType tells where a dashboard keeps its topology.
// +kubebuilder:validation:Enum=Filesystem
type CoordinatorType string

// CoordinatorFilesystem keeps the topology in a directory on the dashboard's own volume.
const CoordinatorFilesystem CoordinatorType = "Filesystem"

// CodisCoordinatorTemplate is what a user chooses about a coordinator.
// +kubebuilder:validation:XValidation:rule="has(self.storage) == has(oldSelf.storage)",message="storage cannot be added or removed later: create a new coordinator and cluster"
type CodisCoordinatorTemplate struct {
	// type of the coordinator. Filesystem keeps the topology on the volume of
	// the dashboard and needs no other service; it is the default. Other types
	// are not offered yet.
	// +optional
	// +kubebuilder:default=Filesystem
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable: create a new coordinator instead"
	Type CoordinatorType `json:"type,omitempty"`

	// storage of the topology, a few MiB in use. Default: none; the topology is
	// then kept in the dashboard's pod and put back from the status of the
	// CodisDashboard when that pod is replaced.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storage is immutable: create a new coordinator instead"
	Storage *Storage `json:"storage,omitempty"`
}

// CodisCoordinatorSpec is the wanted state of a CodisCoordinator.
type CodisCoordinatorSpec struct {
	CodisCoordinatorTemplate `json:",inline"`
}

// CodisCoordinatorStatus is what the operator saw last.
type CodisCoordinatorStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the coordinator: Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CodisCoordinator is the place where a dashboard keeps its topology.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cco,categories=codis
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",message="metadata.name must be at most 40 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it"
type CodisCoordinator struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the wanted state.
	// +optional
	// +kubebuilder:default={}
	Spec CodisCoordinatorSpec `json:"spec,omitempty"`
	// status is what the operator saw last.
	// +optional
	Status CodisCoordinatorStatus `json:"status,omitempty"`
}

// CodisCoordinatorList is a list of CodisCoordinators.
// +kubebuilder:object:root=true
type CodisCoordinatorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CodisCoordinator `json:"items"`
}
