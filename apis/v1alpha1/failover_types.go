// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Failover tells how the loss of a master is noticed. Smaller values notice it
// sooner and take a stall of the network, or of a server, for a loss sooner.
type Failover struct {
	// probeIntervalMilliseconds between two questions to a codis-server. A process
	// that ends is noticed at once; the interval matters for those that hang and
	// for networks that drop packets. Default: 250.
	// +optional
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=10000
	ProbeIntervalMilliseconds *int32 `json:"probeIntervalMilliseconds,omitempty"`

	// probeTimeoutMilliseconds after which a question counts as not answered. Default: 500.
	// +optional
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=10000
	ProbeTimeoutMilliseconds *int32 `json:"probeTimeoutMilliseconds,omitempty"`

	// silenceMilliseconds is how long a master must not have answered, and its
	// replicas must have heard nothing from it either, before it is replaced. A
	// command that runs longer than this on the master (KEYS on millions of keys, a
	// DEL of a huge value) costs a failover. Default: 1500.
	// +optional
	// +kubebuilder:validation:Minimum=1200
	// +kubebuilder:validation:Maximum=60000
	SilenceMilliseconds *int32 `json:"silenceMilliseconds,omitempty"`

	// splitBrainProtection makes a master refuse writes while no replica keeps up
	// with it. A master that is cut off together with clients and proxies stops
	// taking writes within 4 seconds, and only therefore may another one take over
	// while proxies are cut off with it. The price: when the last replica in sync is
	// lost, writes fail with NOREPLICAS until the operator has noticed, some tenths of
	// a second. Auto means Enabled in groups of three and more, where one replica may
	// be lost at no price, and Disabled in smaller ones. Default: Auto.
	// +optional
	SplitBrainProtection Protection `json:"splitBrainProtection,omitempty"`
}

// Protection tells whether something is protected.
// +kubebuilder:validation:Enum=Auto;Enabled;Disabled
type Protection string

// Protections.
const (
	// ProtectionAuto leaves it to the operator.
	ProtectionAuto Protection = "Auto"
	// ProtectionEnabled protects at any price.
	ProtectionEnabled Protection = "Enabled"
	// ProtectionDisabled does not protect.
	ProtectionDisabled Protection = "Disabled"
)

// FailoverCause says why a member took the place of the master.
// +kubebuilder:validation:Enum=MasterDead;MasterSilent;MasterRestarted;DataLossAccepted;FoundMaster;Switchover;Sentinel
type FailoverCause string

// Causes of failovers.
const (
	// CauseMasterDead: the process of the master had ended.
	CauseMasterDead FailoverCause = "MasterDead"
	// CauseMasterSilent: the master answered neither the operator nor its replicas.
	CauseMasterSilent FailoverCause = "MasterSilent"
	// CauseMasterRestarted: the master had been started again and may have lost writes.
	CauseMasterRestarted FailoverCause = "MasterRestarted"
	// CauseDataLossAccepted: a person named the member whose data is kept.
	CauseDataLossAccepted FailoverCause = "DataLossAccepted"
	// CauseFoundMaster: the member took writes already, the dashboard did not know.
	CauseFoundMaster FailoverCause = "FoundMaster"
	// CauseSwitchover: it was planned, by a person or to replace the master's pod.
	CauseSwitchover FailoverCause = "Switchover"
	// CauseSentinel: the sentinels of the dashboard chose it.
	CauseSentinel FailoverCause = "Sentinel"
)

// Promotion is a change of master that has been decided and is being carried out.
type Promotion struct {
	// member that becomes master.
	// +required
	Member string `json:"member"`
	// runID of the process that was chosen; another one of that member is not.
	// +required
	RunID string `json:"runID"`
	// from is the master that is replaced; empty for the first of its group.
	// +optional
	From string `json:"from,omitempty"`
	// cause of the change; empty where the member is the first master, or still is it.
	// +optional
	Cause FailoverCause `json:"cause,omitempty"`
	// startTime of the change.
	// +required
	StartTime metav1.MicroTime `json:"startTime"`
	// outcome is TakenBack once the old master goes on after a switchover that was given
	// up: what the member took to be its own from then on is not. Empty at all other times.
	// +optional
	Outcome PromotionOutcome `json:"outcome,omitempty"`
}

// PromotionOutcome is what became of a promotion that is not over yet.
// +kubebuilder:validation:Enum=TakenBack
type PromotionOutcome string

// PromotionTakenBack means that the old master goes on.
const PromotionTakenBack PromotionOutcome = "TakenBack"

// FailoverRecord is a change of master that is over.
type FailoverRecord struct {
	// from is the member that was master.
	// +required
	From string `json:"from"`
	// to is the member that became master.
	// +required
	To string `json:"to"`
	// cause of the change.
	// +required
	Cause FailoverCause `json:"cause"`
	// time when the new master was seen to take writes.
	// +required
	Time metav1.MicroTime `json:"time"`
	// durationMilliseconds from the decision until then.
	// +optional
	DurationMilliseconds int64 `json:"durationMilliseconds"`
}
