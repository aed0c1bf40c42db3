// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
	// the dashboard use it. Default: a Secret <name>-auth with a random password is
	// made once, and kept while the dashboard, a group or a proxy of it is there, or
	// the CodisCluster of these.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="authSecretRef is immutable, since servers, proxies and dashboard must agree on the password: create a new dashboard instead"
	AuthSecretRef *SecretReference `json:"authSecretRef,omitempty"`

	// fe is the web page of the dashboard, and of all others in the namespace that
	// use the same coordinator. It has no login of its own: whoever reaches it
	// administers the products. Default: none.
	// +optional
	FE *FESettings `json:"fe,omitempty"`

	// sentinel has redis-sentinels replace masters that fail, as Codis itself does,
	// instead of the operator. Planned changes of master stay with the operator.
	// Default: none, and the operator replaces them.
	// +optional
	Sentinel *SentinelSettings `json:"sentinel,omitempty"`

	// rebalance tells when slots move between groups. Default: by themselves, so
	// that all groups own the same number.
	// +optional
	Rebalance *Rebalance `json:"rebalance,omitempty"`

	// migration tells how slots move. The defaults are those of Codis.
	// +optional
	Migration *Migration `json:"migration,omitempty"`

	// reclaimPolicy says what becomes of the topology in an etcd or ZooKeeper that
	// stays when this dashboard is deleted: Delete removes it, if this dashboard has
	// its lock; Retain leaves it, and a namesake made later finds it. What becomes of
	// volumes is said by each storage.reclaimPolicy. Default: Delete.
	// +optional
	ReclaimPolicy ReclaimPolicy `json:"reclaimPolicy,omitempty"`
}

// RebalancePolicy tells who decides that slots move.
// +kubebuilder:validation:Enum=Auto;Manual;Off
type RebalancePolicy string

// Rebalance policies.
const (
	// RebalanceAuto moves slots whenever groups come or go.
	RebalanceAuto RebalancePolicy = "Auto"
	// RebalanceManual plans and waits for a person.
	RebalanceManual RebalancePolicy = "Manual"
	// RebalanceOff leaves the layout alone.
	RebalanceOff RebalancePolicy = "Off"
)

// RebalanceBy tells what groups share evenly.
// +kubebuilder:validation:Enum=Slots;Memory
type RebalanceBy string

// What groups share evenly.
const (
	// RebalanceBySlots gives each group the same number of slots.
	RebalanceBySlots RebalanceBy = "Slots"
	// RebalanceByMemory gives each group slots that use about the same memory.
	RebalanceByMemory RebalanceBy = "Memory"
)

// Rebalance tells when slots move between groups.
type Rebalance struct {
	// policy is Auto, Manual or Off. Auto moves slots to groups that join, once
	// they are in sync, and from groups that leave; pending moves that somebody
	// else queued are cancelled where they do not fit. Manual shows in
	// status.rebalance.plan what Auto would do, and does it while the dashboard has
	// the annotation codis.io/rebalance=now. Off moves nothing. Default: Auto.
	// +optional
	// +kubebuilder:default=Auto
	Policy RebalancePolicy `json:"policy,omitempty"`

	// by is Slots or Memory: whether groups own the same number of slots, or slots
	// that use about the same memory. By memory, slots move once a group uses a
	// tenth more or less than the mean. Default: Slots.
	// +optional
	// +kubebuilder:default=Slots
	By RebalanceBy `json:"by,omitempty"`

	// maxConcurrentMoves is how many slots move at a time. No group takes part in
	// two moves at a time. Default: 4.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	MaxConcurrentMoves *int32 `json:"maxConcurrentMoves,omitempty"`
}

// MigrationState tells whether slots may move.
// +kubebuilder:validation:Enum=Running;Paused
type MigrationState string

// Migration states.
const (
	// MigrationRunning lets slots move.
	MigrationRunning MigrationState = "Running"
	// MigrationPaused stops every move between two steps.
	MigrationPaused MigrationState = "Paused"
)

// Migration tells how slots move. state and intervalMicroseconds take effect at
// once, also after a restart of the dashboard; all others restart the dashboard,
// which clients do not notice.
type Migration struct {
	// state is Running or Paused. Paused stops every move between two steps,
	// whoever began it; clients are served as before. Default: Running.
	// +optional
	// +kubebuilder:default=Running
	State MigrationState `json:"state,omitempty"`

	// intervalMicroseconds to wait between two steps of a move, to spare the servers. Default: 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	IntervalMicroseconds *int32 `json:"intervalMicroseconds,omitempty"`

	// parallelSlots is how many slots the dashboard works on at a time, of whatever
	// groups: migration_parallel_slots of Codis. Default: 100.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	ParallelSlots *int32 `json:"parallelSlots,omitempty"`

	// maxBulks is how many elements of a big key are sent at a time:
	// migration_async_maxbulks. Default: 200.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxBulks *int32 `json:"maxBulks,omitempty"`

	// maxBytes is how much is sent at a time, for example 32Mi:
	// migration_async_maxbytes. Default: 32Mi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0')) && !quantity(string(self)).isGreaterThan(quantity('1Gi'))",message="migration.maxBytes must be greater than 0 and at most 1Gi, for example 32Mi"
	MaxBytes *resource.Quantity `json:"maxBytes,omitempty"`

	// numKeys is how many keys a step moves: migration_async_numkeys. Default: 500.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	NumKeys *int32 `json:"numKeys,omitempty"`

	// timeoutSeconds that a step may take: migration_timeout. A failover cannot
	// begin while a step waits for a server that hangs. Default: 5, where Codis has 30.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=600
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`
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

	// service through which browsers reach the page, on port 8080. Of type
	// ClusterIP and without an ingress, only the namespace reaches it, where the
	// network enforces NetworkPolicies.
	// +optional
	Service ServiceSettings `json:"service,omitempty"`

	// ingress through which browsers reach the page from outside. Have it ask for a
	// login. Default: none.
	// +optional
	Ingress *FEIngress `json:"ingress,omitempty"`
}

// FEIngress shapes the Ingress of the web page.
type FEIngress struct {
	// host is the name under which browsers find the page.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="ingress.host must be a DNS name, for example codis.example.com"
	Host string `json:"host"`

	// className of the IngressClass. Default: that of the Kubernetes cluster.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ClassName string `json:"className,omitempty"`

	// annotations of the Ingress, such as those that make its controller ask for a login.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// tlsSecretName is the Secret with the certificate of the host. Default: no TLS.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TLSSecretName string `json:"tlsSecretName,omitempty"`
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

// CodisDashboardStatus is what the operator saw last.
type CodisDashboardStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the dashboard: Ready, WorkloadReady, SlotsAssigned, Rebalanced, FEReady,
	// SentinelsReady.
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

	// store that has the topology, where others than the dashboard can reach it;
	// known once the dashboard has answered, or another one kept it out. When the dashboard is deleted, the
	// product is removed from there.
	// +optional
	Store *StoreStatus `json:"store,omitempty"`

	// version that the dashboard reports.
	// +optional
	Version string `json:"version,omitempty"`

	// slots counted by state.
	// +optional
	Slots *SlotCounts `json:"slots,omitempty"`

	// sentinel is what was last seen of the sentinels; empty where there are none.
	// +optional
	Sentinel *SentinelStatus `json:"sentinel,omitempty"`

	// rebalance is how far the last rebalance is.
	// +optional
	Rebalance *RebalanceStatus `json:"rebalance,omitempty"`

	// unfinished is what the dashboard had begun when it answered last, or was about to
	// begin, besides moves of slots. A dashboard on a lost node is not replaced within
	// seconds then: it may go on with it when the node is back.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Unfinished []DashboardWork `json:"unfinished,omitempty"`

	// layout of the slots as last seen complete. From it the operator puts the
	// topology back when the store of the dashboard was lost. Refreshed every five
	// seconds while slots move.
	// +optional
	// +listType=map
	// +listMapKey=group
	Layout []GroupSlots `json:"layout,omitempty"`
}

// DashboardWork is something that a dashboard does to servers.
// +kubebuilder:validation:Enum=Promotion;Sync
type DashboardWork string

// Works of a dashboard.
const (
	// WorkPromotion makes another member the master of a group.
	WorkPromotion DashboardWork = "Promotion"
	// WorkSync makes a member follow the master of its group, as asked for in the web page.
	WorkSync DashboardWork = "Sync"
)

// CodisDashboard is the one dashboard of a product, its web page, its sentinels if
// it has any, and the layout of the product's slots.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cda,categories=codis
// +kubebuilder:printcolumn:name="Product",type=string,JSONPath=`.status.productName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Slots",type=integer,JSONPath=`.status.slots.assigned`
// +kubebuilder:printcolumn:name="Migrating",type=integer,JSONPath=`.status.slots.migrating`
// +kubebuilder:printcolumn:name="Balanced",type=string,JSONPath=`.status.conditions[?(@.type=="Rebalanced")].status`
// +kubebuilder:printcolumn:name="Left",type=integer,JSONPath=`.status.rebalance.left`
// +kubebuilder:printcolumn:name="Sentinels",type=string,priority=1,JSONPath=`.status.sentinel.ready`
// +kubebuilder:printcolumn:name="Moved",type=integer,priority=1,JSONPath=`.status.rebalance.moved`
// +kubebuilder:printcolumn:name="Seconds",type=integer,priority=1,JSONPath=`.status.rebalance.estimatedSecondsLeft`
// +kubebuilder:printcolumn:name="Balance",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Rebalanced")].message`
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
