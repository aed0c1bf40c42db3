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
	// A larger size makes the volumes grow where they are, if their StorageClass
	// allows it; they cannot shrink.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="storageClassName is immutable: create a new group instead"
	// +kubebuilder:validation:XValidation:rule="has(self.reclaimPolicy) == has(oldSelf.reclaimPolicy) && (!has(self.reclaimPolicy) || self.reclaimPolicy == oldSelf.reclaimPolicy)",message="reclaimPolicy is immutable: create a new group instead"
	Storage *Storage `json:"storage,omitempty"`

	// config adds directives to redis.conf, for example {"maxmemory-policy": "allkeys-lru"}.
	// What the operator decides (addresses, passwords, replication) cannot be set here.
	// Default for maxmemory: three quarters of the memory limit, if there is one.
	// A change restarts the members.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 64 && k.matches('^[a-z][a-z0-9-]*$'))",message="config keys are directives of redis.conf in lower case, for example maxmemory-policy"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['requirepass','masterauth','slaveof','replicaof','port','bind','protected-mode','daemonize','dir','dbfilename','pidfile','logfile','include','loadmodule','rename-command','supervised','unixsocket','min-slaves-to-write','min-replicas-to-write','min-slaves-max-lag','min-replicas-max-lag','slave-read-only','replica-read-only','repl-ping-slave-period','repl-ping-replica-period']))",message="config must not set requirepass, masterauth, slaveof, replicaof, port, bind, protected-mode, daemonize, dir, dbfilename, pidfile, logfile, include, loadmodule, rename-command, supervised, unixsocket, min-slaves-to-write, min-slaves-max-lag, slave-read-only or repl-ping-slave-period: the operator decides these; passwords come from the dashboard's authSecretRef"
	Config map[string]RedisValue `json:"config,omitempty"`

	// failover tells how the loss of a master is noticed. The defaults suit most networks.
	// +optional
	Failover *Failover `json:"failover,omitempty"`
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

	// slotPolicy is Share or Drain. A group that is drained gives all its slots to
	// the others and gets none, as one that is being deleted does; but it stays, and
	// may share again at any time. Moves need rebalance.policy Auto of the
	// dashboard, or an approval. Default: Share.
	// +optional
	// +kubebuilder:default=Share
	SlotPolicy SlotPolicy `json:"slotPolicy,omitempty"`
}

// SlotPolicy tells whether a group owns slots.
// +kubebuilder:validation:Enum=Share;Drain
type SlotPolicy string

// Slot policies.
const (
	// SlotsShare gives a group its share of the slots.
	SlotsShare SlotPolicy = "Share"
	// SlotsDrain moves the slots of a group to others.
	SlotsDrain SlotPolicy = "Drain"
)

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
	// runID of the process, new with each start, as it was last seen.
	// +optional
	RunID string `json:"runID,omitempty"`
}

// DashboardState is what the dashboard knows of a group's master.
// +kubebuilder:validation:Enum=Behind
type DashboardState string

// DashboardBehind means that proxies know of a master that the dashboard does not.
const DashboardBehind DashboardState = "Behind"

// RequestState says what proxies do with the requests of a group, other than pass them on.
// +kubebuilder:validation:Enum=Held
type RequestState string

// RequestsHeld means that proxies hold them back.
const RequestsHeld RequestState = "Held"

// WriteState is how a master takes writes.
// +kubebuilder:validation:Enum=Guarded
type WriteState string

// WritesGuarded means only while a replica keeps up with it.
const WritesGuarded WriteState = "Guarded"

// CodisGroupStatus is what the operator saw last.
type CodisGroupStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the group: Ready, Available, WorkloadReady, MasterReachable,
	// ReplicasInSync, Registered, VolumesReady.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// master is the pod that the dashboard calls master.
	// +optional
	Master string `json:"master,omitempty"`

	// masterRunID is the process that took writes, as the operator made or found
	// it. A process that somebody else made master over members with other data
	// is not copied to them.
	// +optional
	MasterRunID string `json:"masterRunID,omitempty"`

	// savedMaster is the pod of the last master, once its volume was seen to hold all of
	// its data but for the last second. A member that copied its data a moment ago still
	// has older data on its volume. Empty without volumes.
	// +optional
	SavedMaster string `json:"savedMaster,omitempty"`

	// promotion that is being carried out.
	// +optional
	Promotion *Promotion `json:"promotion,omitempty"`

	// dashboard is Behind while proxies were told of a master which the dashboard does
	// not know yet: it was down, or a proxy did not answer it. It is told as soon as it
	// can be. Empty at all other times.
	// +optional
	Dashboard DashboardState `json:"dashboard,omitempty"`

	// requests is Held while proxies may hold the requests of the group: the master does
	// not answer, and another member takes its place as soon as that one certainly takes
	// no writes any more. Empty at all other times, also during a switchover.
	// +optional
	Requests RequestState `json:"requests,omitempty"`

	// writes is Guarded while the master refuses writes when no replica keeps up with
	// it (spec.failover.splitBrainProtection). Empty at all other times.
	// +optional
	Writes WriteState `json:"writes,omitempty"`

	// failoverBy is Sentinel while sentinels replace a master that fails. It is written
	// before the first of them watches the group, and taken back when none can any
	// more; only one of both ever acts. Empty while the operator does.
	// +optional
	FailoverBy FailoverAuthority `json:"failoverBy,omitempty"`

	// lastFailover is the last change of master that was not the first.
	// +optional
	LastFailover *FailoverRecord `json:"lastFailover,omitempty"`

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

	// keySlots are the slots whose keys the master holds, as ranges: "0-511".
	// Looked at only while slots of the product have no owner, so that the first
	// layout gives each group the slots whose keys it has.
	// +optional
	KeySlots string `json:"keySlots,omitempty"`

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
