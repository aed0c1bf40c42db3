// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RedisValue is the value of a directive of redis.conf.
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="!self.contains('\\n') && !self.contains('\\r')",message="config values must be one line"
type RedisValue string

// CodisGroupTemplate is what a user chooses about a group.
// +kubebuilder:validation:XValidation:rule="has(self.storage) == has(oldSelf.storage)",message="storage cannot be added or removed later: create a new group instead"
type CodisGroupTemplate struct {
	Component `json:",inline"`

	// replicas is the number of members of the group, the master included.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9
	Replicas *int32 `json:"replicas,omitempty"`

	// storage of each member. Default: none; the data of a member that is
	// replaced is then copied from the others, and gone if it was the only one.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storage is immutable for now: create a new group instead"
	Storage *Storage `json:"storage,omitempty"`

	// config adds directives to redis.conf, for example {"maxmemory-policy": "allkeys-lru"}.
	// What the operator decides (addresses, passwords, replication) cannot be set here.
	// Default for maxmemory: three quarters of the memory limit, if there is one.
	// A change restarts the members.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 64 && k.matches('^[a-z][a-z0-9-]*$'))",message="config keys are directives of redis.conf in lower case, for example maxmemory-policy"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['requirepass','masterauth','slaveof','replicaof','port','bind','protected-mode','daemonize','dir','dbfilename','pidfile','logfile','include','loadmodule','rename-command','supervised','unixsocket','min-slaves-to-write','min-replicas-to-write','slave-read-only','replica-read-only']))",message="config must not set requirepass, masterauth, slaveof, replicaof, port, bind, protected-mode, daemonize, dir, dbfilename, pidfile, logfile, include, loadmodule, rename-command, supervised, unixsocket, min-slaves-to-write or slave-read-only: the operator decides these; passwords come from the dashboard's authSecretRef"
	Config map[string]RedisValue `json:"config,omitempty"`
}

// CodisGroupSpec is the wanted state of a CodisGroup.
type CodisGroupSpec struct {
	CodisGroupTemplate `json:",inline"`

	// dashboardRef names the CodisDashboard that the group belongs to.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="dashboardRef is immutable: create a new group instead"
	DashboardRef LocalReference `json:"dashboardRef"`

	// id of the group in its product, 1 to 9999, unique among the groups of a dashboard.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9999
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="id is immutable: slots are owned by id; create a new group instead"
	ID int32 `json:"id"`
}

// Role of a member, as the member itself says.
// +kubebuilder:validation:Enum=Master;Replica;Fenced;Unknown
type Role string

// Roles.
const (
	// RoleMaster takes writes.
	RoleMaster Role = "Master"
	// RoleReplica follows another member.
	RoleReplica Role = "Replica"
	// RoleFenced is freshly started, read-only, and follows nobody: the
	// operator has yet to compare datasets and give it a role.
	RoleFenced Role = "Fenced"
	// RoleUnknown could not be asked.
	RoleUnknown Role = "Unknown"
)

// LinkState is the state of a replica's link to its master.
// +kubebuilder:validation:Enum=Up;Syncing;Down;None;Unknown
type LinkState string

// Link states.
const (
	// LinkUp means in sync, apart from what is in flight.
	LinkUp LinkState = "Up"
	// LinkSyncing means that the whole dataset is being copied.
	LinkSyncing LinkState = "Syncing"
	// LinkDown means that the master is not followed right now.
	LinkDown LinkState = "Down"
	// LinkNone is the link of a master.
	LinkNone LinkState = "None"
	// LinkUnknown means that the member could not be asked.
	LinkUnknown LinkState = "Unknown"
)

// MemberStatus is what a member of a group said last.
type MemberStatus struct {
	// name of the pod.
	// +required
	Name string `json:"name"`
	// role that the member says it has.
	// +required
	Role Role `json:"role"`
	// link to the master.
	// +required
	Link LinkState `json:"link"`
	// node that the pod runs on.
	// +optional
	Node string `json:"node,omitempty"`
}

// CodisGroupStatus is what the operator saw last.
type CodisGroupStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the group: Ready, Available, WorkloadReady, MasterReachable,
	// ReplicasInSync, Registered.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// master is the pod that the dashboard calls master.
	// +optional
	Master string `json:"master,omitempty"`

	// members of the group.
	// +optional
	// +listType=map
	// +listMapKey=name
	Members []MemberStatus `json:"members,omitempty"`

	// inSync are the replicas that were in sync when the master last answered:
	// they are first to take over.
	// +optional
	// +listType=set
	InSync []string `json:"inSync,omitempty"`

	// replicas is the number of member pods.
	// +optional
	Replicas int32 `json:"replicas"`

	// ready is the number of members in their role, of all: "2/2".
	// +optional
	Ready string `json:"ready,omitempty"`

	// slots that the group owns.
	// +optional
	Slots int32 `json:"slots"`

	// keys on the master. Refreshed when it moved by a tenth, and then at most
	// twice a minute.
	// +optional
	Keys int64 `json:"keys"`

	// memory used on the master, of its maxmemory: "1.2Gi/4Gi". Refreshed with keys.
	// +optional
	Memory string `json:"memory,omitempty"`

	// usageTime is when keys and memory were refreshed.
	// +optional
	UsageTime *metav1.Time `json:"usageTime,omitempty"`

	// state in one word: Stable, Progressing, Healing, Held or Deleting.
	// +optional
	State string `json:"state,omitempty"`
}

// CodisGroup is a group of codis-servers, one master and its replicas, that
// owns a share of the slots of its product.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas
// +kubebuilder:resource:shortName=cg,categories=codis
// +kubebuilder:printcolumn:name="ID",type=integer,JSONPath=`.spec.id`
// +kubebuilder:printcolumn:name="Master",type=string,JSONPath=`.status.master`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.ready`
// +kubebuilder:printcolumn:name="Slots",type=integer,JSONPath=`.status.slots`
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.keys`
// +kubebuilder:printcolumn:name="Memory",type=string,JSONPath=`.status.memory`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",message="metadata.name must be at most 40 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it"
type CodisGroup struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the wanted state.
	// +required
	Spec CodisGroupSpec `json:"spec"`
	// status is what the operator saw last.
	// +optional
	Status CodisGroupStatus `json:"status,omitempty"`
}

// CodisGroupList is a list of CodisGroups.
// +kubebuilder:object:root=true
type CodisGroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CodisGroup `json:"items"`
}
