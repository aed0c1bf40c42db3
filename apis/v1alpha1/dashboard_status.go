// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

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

// PlannedMove is a number of slots that shall move from one group to another.
type PlannedMove struct {
	// from is the id of the group that gives the slots.
	// +required
	From int32 `json:"from"`
	// to is the id of the group that takes them.
	// +required
	To int32 `json:"to"`
	// slots as ranges: "0-511" or "0-99,200".
	// +required
	// +kubebuilder:validation:MaxLength=8192
	Slots string `json:"slots"`
}

// RebalanceStatus tells how far the last rebalance is. It is refreshed every five
// seconds while slots move.
type RebalanceStatus struct {
	// moved is the number of slots that have moved since startTime.
	// +optional
	Moved int32 `json:"moved"`

	// left is the number of slots that are still to be moved.
	// +optional
	Left int32 `json:"left"`

	// estimatedSecondsLeft at the speed so far; 0 while nothing has moved.
	// +optional
	EstimatedSecondsLeft int64 `json:"estimatedSecondsLeft"`

	// startTime of the rebalance.
	// +required
	StartTime metav1.Time `json:"startTime"`

	// updateTime is when these numbers were refreshed.
	// +required
	UpdateTime metav1.Time `json:"updateTime"`

	// plan of moves that wait for a person, where rebalance.policy is Manual.
	// +optional
	// +listType=atomic
	Plan []PlannedMove `json:"plan,omitempty"`
}

// StoreStatus tells where a topology is kept, and what proves whose it is.
type StoreStatus struct {
	// type of the coordinator: Etcd, ZooKeeper or External.
	// +required
	Type CoordinatorType `json:"type"`
	// kind of the servers: Etcd or ZooKeeper.
	// +required
	Kind StoreKind `json:"kind"`
	// endpoints of the servers, host:port.
	// +required
	// +listType=atomic
	Endpoints []string `json:"endpoints"`
	// authSecretName is the Secret with the login; empty for none.
	// +optional
	AuthSecretName string `json:"authSecretName,omitempty"`
	// lock of the product as this dashboard holds it; none while another one has it.
	// +optional
	Lock *StoreLock `json:"lock,omitempty"`
	// heldBy is the address of another dashboard that once had the lock of the product.
	// What is stored may be that one's, so that it stays when this CodisDashboard is
	// deleted. Empty for none.
	// +optional
	HeldBy string `json:"heldBy,omitempty"`
	// removalTime is when the removal of the product was first tried.
	// +optional
	RemovalTime *metav1.Time `json:"removalTime,omitempty"`
}

// StoreLock tells one run of a dashboard, which took the lock of its product, from all
// others, in whatever Kubernetes cluster.
type StoreLock struct {
	// owner is the UID of the CodisDashboard.
	// +required
	Owner types.UID `json:"owner"`
	// token that the dashboard gave itself.
	// +required
	Token string `json:"token"`
	// startTime of its process, as it tells it.
	// +required
	StartTime string `json:"startTime"`
}
