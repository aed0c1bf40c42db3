// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CoordinatorType tells where a dashboard keeps its topology.
// +kubebuilder:validation:Enum=Filesystem;Etcd;ZooKeeper;External
type CoordinatorType string

// Types of coordinators.
const (
	// CoordinatorFilesystem keeps the topology in a directory on the dashboard's own volume.
	CoordinatorFilesystem CoordinatorType = "Filesystem"
	// CoordinatorEtcd keeps it in an etcd that the operator runs.
	CoordinatorEtcd CoordinatorType = "Etcd"
	// CoordinatorZooKeeper keeps it in a ZooKeeper that the operator runs.
	CoordinatorZooKeeper CoordinatorType = "ZooKeeper"
	// CoordinatorExternal keeps it in an etcd or ZooKeeper that somebody else runs.
	CoordinatorExternal CoordinatorType = "External"
)

// StoreKind is what speaks at the endpoints of an External coordinator.
// +kubebuilder:validation:Enum=Etcd;ZooKeeper
type StoreKind string

// Kinds of stores.
const (
	// StoreEtcd is an etcd up to 3.5 with its v2 API switched on.
	StoreEtcd StoreKind = "Etcd"
	// StoreZooKeeper is a ZooKeeper.
	StoreZooKeeper StoreKind = "ZooKeeper"
)

// ExternalStore is an etcd or ZooKeeper that somebody else runs.
type ExternalStore struct {
	// kind of the servers: Etcd, up to 3.5 and with --enable-v2 since Codis speaks
	// nothing newer, or ZooKeeper.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="external.kind is immutable, since the topology would be left behind: create a new coordinator instead"
	Kind StoreKind `json:"kind"`

	// endpoints as host:port, for example etcd-0.example.com:2379. Codis speaks
	// plain HTTP to etcd, without TLS. All of them must belong to one ensemble;
	// the dashboard is restarted when they change.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?:[0-9]{1,5}$')",message="an endpoint is host:port without http://, for example etcd-0.example.com:2379"
	Endpoints []string `json:"endpoints"`
}

// CodisCoordinatorTemplate is what a user chooses about a coordinator.
// +kubebuilder:validation:XValidation:rule="has(self.storage) == has(oldSelf.storage)",message="storage cannot be added or removed later: create a new coordinator and cluster"
// +kubebuilder:validation:XValidation:rule="has(self.authSecretRef) == has(oldSelf.authSecretRef)",message="authSecretRef cannot be added or removed later: create a new coordinator and cluster"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || !(self.type in ['Etcd', 'ZooKeeper']) || has(self.storage)",message="types Etcd and ZooKeeper need storage, for example {size: 1Gi}: members without volumes forget the topology with their pods"
// +kubebuilder:validation:XValidation:rule="(has(self.type) && self.type == 'External') == has(self.external)",message="external belongs to type External, which needs it: set type to External and external.kind and external.endpoints, or leave both out"
// +kubebuilder:validation:XValidation:rule="has(self.type) && self.type in ['Etcd', 'ZooKeeper'] || !has(self.replicas)",message="replicas belongs to types Etcd and ZooKeeper: leave it out, or set type to one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'External' || !has(self.storage)",message="storage belongs to types Filesystem, Etcd and ZooKeeper: the operator runs nothing for type External"
// +kubebuilder:validation:XValidation:rule="has(self.type) && self.type == 'External' || !has(self.authSecretRef)",message="authSecretRef belongs to type External: leave it out; what the operator runs is guarded by a NetworkPolicy"
type CodisCoordinatorTemplate struct {
	// type of the coordinator. Filesystem keeps the topology on the volume of
	// the dashboard and needs no other service; it is the default. Etcd and
	// ZooKeeper keep it in one that the operator runs, which outlives the loss of a node.
	// External keeps it in an etcd or ZooKeeper that somebody else runs.
	// +optional
	// +kubebuilder:default=Filesystem
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable, since the topology would be left behind: create a new coordinator instead"
	Type CoordinatorType `json:"type,omitempty"`

	// replicas is the number of members of an Etcd or ZooKeeper: 1, 3 or 5. With 3 it bears the
	// loss of one member, with 5 of two, with 1 of none. It is changed by one
	// member at a time. Default: 3.
	// +optional
	// +kubebuilder:validation:Enum=1;3;5
	Replicas *int32 `json:"replicas,omitempty"`

	// storage of the topology, a few MiB in use; an Etcd, which needs it, uses up
	// to 500 MiB for its log, and so does a ZooKeeper. Default: none; the topology of a Filesystem is
	// then kept in the dashboard's pod and put back from the status of the
	// CodisDashboard when that pod is replaced.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storage is immutable: create a new coordinator instead"
	Storage *Storage `json:"storage,omitempty"`

	// authSecretRef names the Secret with the login of an External store: the keys
	// "password" and "username" (default: root). An etcd hashes the password again
	// for each of the thousand keys that a dashboard reads at its start, which
	// then takes minutes. Default: no login.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="authSecretRef is immutable: create a new coordinator instead"
	AuthSecretRef *SecretReference `json:"authSecretRef,omitempty"`

	// external is the store of type External.
	// +optional
	External *ExternalStore `json:"external,omitempty"`

	// image of the members, with etcd 3.4 or 3.5 or the zkServer.sh of a ZooKeeper
	// from 3.8 on its PATH. Default: the one that the operator was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// imagePullPolicy of the members: Always, IfNotPresent or Never. Default: IfNotPresent.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// resources of each member.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`

	// pod holds settings of the members' pods that are merged in last.
	// +optional
	Pod *PodSettings `json:"pod,omitempty"`
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

	// conditions of the coordinator: Ready, Available.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// endpoints that dashboards use, as host:port; none for a Filesystem.
	// +optional
	// +listType=atomic
	Endpoints []string `json:"endpoints,omitempty"`

	// ready members, of all that are wanted: "3/3".
	// +optional
	Ready string `json:"ready,omitempty"`

	// leader of the members, by the name of its pod.
	// +optional
	Leader string `json:"leader,omitempty"`

	// members of an Etcd or ZooKeeper.
	// +optional
	// +listType=map
	// +listMapKey=name
	Members []CoordinatorMember `json:"members,omitempty"`

	// clusterID is the identity of an Etcd, once it was founded.
	// +optional
	ClusterID string `json:"clusterID,omitempty"`
}

// CoordinatorRole is the role of a member as it tells it.
// +kubebuilder:validation:Enum=Leader;Follower;Learner;Unknown
type CoordinatorRole string

// Roles of members of an ensemble.
const (
	// CoordinatorLeader leads the ensemble.
	CoordinatorLeader CoordinatorRole = "Leader"
	// CoordinatorFollower votes and follows the leader.
	CoordinatorFollower CoordinatorRole = "Follower"
	// CoordinatorLearner joined and has no vote yet.
	CoordinatorLearner CoordinatorRole = "Learner"
	// CoordinatorUnknown does not answer, or follows nobody.
	CoordinatorUnknown CoordinatorRole = "Unknown"
)

// CoordinatorMember is a member of an ensemble.
type CoordinatorMember struct {
	// name of the pod.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// id in the ensemble, in hexadecimal; empty for a pod that is no member. A
	// member that lost its volume comes back under another id.
	// +optional
	ID string `json:"id,omitempty"`
	// role that it plays.
	// +required
	Role CoordinatorRole `json:"role"`
	// node that it runs on.
	// +optional
	Node string `json:"node,omitempty"`
}

// CodisCoordinator is the place where a dashboard keeps its topology.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cco,categories=codis
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Members",type=string,priority=1,JSONPath=`.status.ready`
// +kubebuilder:printcolumn:name="Leader",type=string,JSONPath=`.status.leader`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
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
