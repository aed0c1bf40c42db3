// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// SentinelSettings shapes the redis-sentinels of a product. They have no password:
// the dashboard and the proxies could not give one. A NetworkPolicy closes them to
// all but the dashboard, the proxies, the operator and each other.
// +kubebuilder:validation:XValidation:rule="!has(self.quorum) || self.quorum <= (has(self.replicas) ? self.replicas : 3)",message="sentinel.quorum must not be more than sentinel.replicas: no master would ever be replaced"
// +kubebuilder:validation:XValidation:rule="has(self.storage) == has(oldSelf.storage)",message="sentinel.storage cannot be added or removed later: remove sentinel, wait until its pods are gone, and add it again"
type SentinelSettings struct {
	Component `json:",inline"`

	// replicas is how many sentinels run: an odd number, since a majority of them
	// has to agree before a master is replaced. One alone replaces masters too, but
	// not while its own pod is away. Default: 3.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9
	// +kubebuilder:validation:XValidation:rule="self % 2 == 1",message="sentinel.replicas must be odd, for example 3: of an even number one more has to agree, and no more may fail"
	Replicas *int32 `json:"replicas,omitempty"`

	// quorum is how many sentinels must find a master down before they vote on
	// another one, for which a majority is needed in any case. Default: a majority.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9
	Quorum *int32 `json:"quorum,omitempty"`

	// downAfterMilliseconds without an answer make a sentinel find a master down. A
	// master that was only started again is found down 20 s later than that. Default:
	// 5000, where Codis has 30000.
	// +optional
	// +kubebuilder:default=5000
	// +kubebuilder:validation:Minimum=500
	// +kubebuilder:validation:Maximum=600000
	DownAfterMilliseconds *int32 `json:"downAfterMilliseconds,omitempty"`

	// failoverTimeoutSeconds that a change of master may take; one that failed is
	// tried again after twice that time. Default: 60, where Codis has 300.
	// +optional
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=3600
	FailoverTimeoutSeconds *int32 `json:"failoverTimeoutSeconds,omitempty"`

	// parallelSyncs is how many replicas copy a new master's data at a time. Default: 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	ParallelSyncs *int32 `json:"parallelSyncs,omitempty"`

	// storage of each sentinel, some KiB in use: it remembers what it voted for last.
	// Default: none, and a pod that is replaced forgets it, which is safe unless most
	// of them are replaced within the same election.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.size == oldSelf.size && has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="size and storageClassName of sentinel.storage are immutable: remove sentinel, wait until its pods are gone, and add it again"
	Storage *Storage `json:"storage,omitempty"`
}

// SentinelState tells how a sentinel is.
// +kubebuilder:validation:Enum=Ready;Silent;Unregistered
type SentinelState string

// States of sentinels.
const (
	// SentinelReady is one that the dashboard knows and that answers.
	SentinelReady SentinelState = "Ready"
	// SentinelSilent is one that the dashboard knows and that does not answer the operator.
	SentinelSilent SentinelState = "Silent"
	// SentinelUnregistered is one that the dashboard does not know.
	SentinelUnregistered SentinelState = "Unregistered"
)

// SentinelMember is what was last seen of a sentinel.
type SentinelMember struct {
	// name of the pod.
	// +required
	Name string `json:"name"`
	// state is Ready, Silent (it does not answer the operator) or Unregistered (the
	// dashboard does not know it).
	// +required
	State SentinelState `json:"state"`
	// monitors is how many groups of the product it watches.
	// +optional
	Monitors int32 `json:"monitors"`
}

// SentinelStatus is what was last seen of the sentinels. It is there from before the
// first of them may watch a group until none can any more.
type SentinelStatus struct {
	// ready is how many sentinels are registered and answer, of all: "3/3".
	// +optional
	Ready string `json:"ready,omitempty"`

	// quorum of sentinels that must find a master down.
	// +optional
	Quorum int32 `json:"quorum,omitempty"`

	// members are the sentinels of the operator.
	// +optional
	// +listType=map
	// +listMapKey=name
	Members []SentinelMember `json:"members,omitempty"`

	// foreign are addresses of sentinels that somebody else registered in the
	// dashboard. They are left alone.
	// +optional
	// +listType=set
	Foreign []string `json:"foreign,omitempty"`
}

// FailoverAuthority is who replaces a master that fails.
// +kubebuilder:validation:Enum=Sentinel
type FailoverAuthority string

// FailoverBySentinel means that the sentinels do, and the operator follows.
const FailoverBySentinel FailoverAuthority = "Sentinel"
