// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. Ready and Available head every kind that has them: Ready
// means that the spec of this generation is fully realised and healthy,
// Available that clients are served now, maybe degraded.
const (
	// ConditionReady is what `kubectl wait --for=condition=Ready` asks for.
	ConditionReady = "Ready"
	// ConditionAvailable tells whether clients are served right now.
	ConditionAvailable = "Available"

	// ConditionWorkloadReady tells whether the pods run this generation.
	ConditionWorkloadReady = "WorkloadReady"
	// ConditionMasterReachable tells whether the group's master answers as master.
	ConditionMasterReachable = "MasterReachable"
	// ConditionReplicasInSync tells whether every replica follows the master.
	ConditionReplicasInSync = "ReplicasInSync"
	// ConditionRegistered tells whether the dashboard knows exactly what runs.
	ConditionRegistered = "Registered"
	// ConditionVolumesReady tells whether every member has a volume of the size that is asked for.
	ConditionVolumesReady = "VolumesReady"
	// ConditionSlotsAssigned tells whether each of the 1024 slots has an owner.
	ConditionSlotsAssigned = "SlotsAssigned"
	// ConditionRebalanced tells whether the groups own the shares of the slots that they should.
	ConditionRebalanced = "Rebalanced"
	// ConditionFEReady tells whether the web page runs.
	ConditionFEReady = "FEReady"
	// ConditionSentinelsReady tells whether the sentinels can replace a master.
	ConditionSentinelsReady = "SentinelsReady"

	// ConditionCoordinatorReady mirrors the coordinator of a cluster.
	ConditionCoordinatorReady = "CoordinatorReady"
	// ConditionDashboardReady mirrors the dashboard of a cluster.
	ConditionDashboardReady = "DashboardReady"
	// ConditionGroupsReady mirrors the groups of a cluster.
	ConditionGroupsReady = "GroupsReady"
	// ConditionProxiesReady mirrors the proxies of a cluster.
	ConditionProxiesReady = "ProxiesReady"
)

// Reasons of conditions and events. A reason that heads an event names an act
// that cannot be undone or a state that a person has to look at.
const (
	// ReasonReady: everything this condition speaks of is as it should be.
	ReasonReady = "Ready"
	// ReasonProgressing: work is under way and ends by itself.
	ReasonProgressing = "Progressing"
	// ReasonPaused: the annotation codis.io/paused stops the operator.
	ReasonPaused = "Paused"
	// ReasonInvalidSpec: the spec contradicts itself; the message names the field.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNameCollision: an object of that name belongs to somebody else.
	ReasonNameCollision = "NameCollision"
	// ReasonApplyFailed: the API server refused an object.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonNotObserved: nobody could look yet, so nothing is claimed.
	ReasonNotObserved = "NotObserved"

	// ReasonCoordinatorMissing: the coordinator that is referred to does not exist or is not ready.
	ReasonCoordinatorMissing = "CoordinatorMissing"
	// ReasonLockHeld: another dashboard has the lock of the product.
	ReasonLockHeld = "LockHeld"
	// ReasonQuorumLost: too few members of the coordinator answer for it to store anything.
	ReasonQuorumLost = "QuorumLost"
	// ReasonMemberUnhealthy: a member of the coordinator does not answer or lags behind.
	ReasonMemberUnhealthy = "MemberUnhealthy"
	// ReasonMemberForeign: the coordinator has a member that the operator did not add.
	ReasonMemberForeign = "MemberForeign"
	// ReasonMemberAdded: a member was added to the coordinator.
	ReasonMemberAdded = "MemberAdded"
	// ReasonMemberRemoved: a member was taken out of the coordinator.
	ReasonMemberRemoved = "MemberRemoved"
	// ReasonOutOfSpace: the coordinator has raised its alarm about space.
	ReasonOutOfSpace = "OutOfSpace"
	// ReasonLoginRefused: the coordinator does not take the login of the Secret.
	ReasonLoginRefused = "LoginRefused"
	// ReasonEndpointUnreachable: an endpoint of the coordinator does not answer.
	ReasonEndpointUnreachable = "EndpointUnreachable"
	// ReasonAPIMissing: the coordinator lacks the API that Codis speaks.
	ReasonAPIMissing = "APIMissing"
	// ReasonDashboardMissing: the dashboard that is referred to does not exist.
	ReasonDashboardMissing = "DashboardMissing"
	// ReasonDashboardUnreachable: the dashboard does not answer.
	ReasonDashboardUnreachable = "DashboardUnreachable"
	// ReasonDashboardRefused: the dashboard answered a call with an error.
	ReasonDashboardRefused = "DashboardRefused"
	// ReasonDashboardBehind: the proxies were told of a master without the dashboard,
	// which is told as soon as it can be.
	ReasonDashboardBehind = "DashboardBehind"
	// ReasonSecretMissing: a Secret that is referred to, or its key, does not exist.
	ReasonSecretMissing = "SecretMissing"
	// ReasonGroupIDTaken: another CodisGroup of the dashboard has the same id.
	ReasonGroupIDTaken = "GroupIDTaken"
	// ReasonPodsNotReady: pods are missing, starting or of an old revision.
	ReasonPodsNotReady = "PodsNotReady"
	// ReasonImageNotFound: a pod cannot get its image.
	ReasonImageNotFound = "ImageNotFound"
	// ReasonUnschedulable: no node takes a pod.
	ReasonUnschedulable = "Unschedulable"

	// ReasonMasterUnreachable: the master does not answer.
	ReasonMasterUnreachable = "MasterUnreachable"
	// ReasonPromotionHeld: no member can be made master without risking data.
	ReasonPromotionHeld = "PromotionHeld"
	// ReasonMasterFenced: the pod of a silent master was deleted.
	ReasonMasterFenced = "MasterFenced"
	// ReasonSwitchoverHeld: a switchover that was asked for waits.
	ReasonSwitchoverHeld = "SwitchoverHeld"
	// ReasonPromoted: a member became master.
	ReasonPromoted = "Promoted"
	// ReasonReplicaNotInSync: a replica does not follow the master.
	ReasonReplicaNotInSync = "ReplicaNotInSync"
	// ReasonServerRegistered: a codis-server was added to its group.
	ReasonServerRegistered = "ServerRegistered"
	// ReasonServerRemoved: a codis-server was taken out of its group.
	ReasonServerRemoved = "ServerRemoved"
	// ReasonGroupOwnsSlots: the group cannot go while it owns slots.
	ReasonGroupOwnsSlots = "GroupOwnsSlots"
	// ReasonScaleInHeld: members cannot be removed now; the message says why.
	ReasonScaleInHeld = "ScaleInHeld"

	// ReasonVolumeGrowing: a volume is being made larger.
	ReasonVolumeGrowing = "VolumeGrowing"
	// ReasonVolumeNotExpandable: the StorageClass of a volume does not let it grow.
	ReasonVolumeNotExpandable = "VolumeNotExpandable"
	// ReasonVolumeResizeFailed: a volume cannot be made larger.
	ReasonVolumeResizeFailed = "VolumeResizeFailed"
	// ReasonVolumeShrinkRefused: a volume is larger than asked for and cannot shrink.
	ReasonVolumeShrinkRefused = "VolumeShrinkRefused"
	// ReasonVolumeResizeAsked: a claim was told to ask for another size.
	ReasonVolumeResizeAsked = "VolumeResizeAsked"

	// ReasonSentinelDecides: the sentinels replace this master, or wait.
	ReasonSentinelDecides = "SentinelDecides"
	// ReasonSentinelsStarting: sentinels are being started or made known.
	ReasonSentinelsStarting = "SentinelsStarting"
	// ReasonSentinelsLeaving: sentinels are being removed.
	ReasonSentinelsLeaving = "SentinelsLeaving"
	// ReasonSentinelsDegraded: a sentinel does not answer, a majority does.
	ReasonSentinelsDegraded = "SentinelsDegraded"
	// ReasonNoMajority: too few sentinels answer for them to replace a master.
	ReasonNoMajority = "NoMajority"
	// ReasonSentinelForeign: a sentinel is registered that the operator did not add.
	ReasonSentinelForeign = "SentinelForeign"
	// ReasonSentinelAdded: a sentinel was made known to the dashboard.
	ReasonSentinelAdded = "SentinelAdded"
	// ReasonSentinelRemoved: a sentinel was taken out of the dashboard.
	ReasonSentinelRemoved = "SentinelRemoved"
	// ReasonMonitorCorrected: sentinels watched what is not the master of a group.
	ReasonMonitorCorrected = "MonitorCorrected"
	// ReasonFailoverHandedOver: somebody else replaces the masters of a group from now on.
	ReasonFailoverHandedOver = "FailoverHandedOver"

	// ReasonSlotsAssigned: the first layout of the slots was made.
	ReasonSlotsAssigned = "SlotsAssigned"
	// ReasonDashboardLost: the pod of a dashboard on a lost node was given up.
	ReasonDashboardLost = "DashboardLost"
	// ReasonDashboardToldToEnd: the pod of a dashboard was deleted, since nothing on its
	// node answers.
	ReasonDashboardToldToEnd = "DashboardToldToEnd"
	// ReasonDashboardRestarted: a dashboard that ended or hung was started again in its
	// container, or its pod was replaced for that.
	ReasonDashboardRestarted = "DashboardRestarted"
	// ReasonRemovingTopology: a deleted dashboard's product is being removed from its store.
	ReasonRemovingTopology = "RemovingTopology"
	// ReasonTopologyRemoved: a product was removed from its store.
	ReasonTopologyRemoved = "TopologyRemoved"
	// ReasonTopologyLeft: a product stays in its store though its dashboard was deleted.
	ReasonTopologyLeft = "TopologyLeft"
	// ReasonLayoutRestored: an emptied store got its recorded layout back.
	ReasonLayoutRestored = "LayoutRestored"
	// ReasonWaitingForGroups: the first layout waits for groups to be in sync.
	ReasonWaitingForGroups = "WaitingForGroups"
	// ReasonRebalancing: slots move between groups.
	ReasonRebalancing = "Rebalancing"
	// ReasonRebalanced: slots have moved, and every group has its share.
	ReasonRebalanced = "Rebalanced"
	// ReasonApprovalNeeded: moves are planned and wait for a person.
	ReasonApprovalNeeded = "ApprovalNeeded"
	// ReasonMigrationPaused: spec.migration.state keeps slots where they are.
	ReasonMigrationPaused = "MigrationPaused"
	// ReasonFailoverFirst: moves wait for a group that has no master that answers.
	ReasonFailoverFirst = "FailoverFirst"
	// ReasonTargetSlow: a group that should get slots answers late.
	ReasonTargetSlow = "TargetSlow"
	// ReasonTargetFull: a group that should get slots has no memory left for them.
	ReasonTargetFull = "TargetFull"
	// ReasonSlotStuck: a slot is on its way and gets no further.
	ReasonSlotStuck = "SlotStuck"
	// ReasonNoGroupForSlots: every group is to be emptied, and none is left to take slots.
	ReasonNoGroupForSlots = "NoGroupForSlots"
	// ReasonDraining: a group gives its slots to others.
	ReasonDraining = "Draining"
	// ReasonWaitingForSlots: proxies wait until every slot has an owner.
	ReasonWaitingForSlots = "WaitingForSlots"

	// ReasonProxyOnline: a proxy was brought online.
	ReasonProxyOnline = "ProxyOnline"
	// ReasonProxyNotOnline: a proxy runs but does not serve yet.
	ReasonProxyNotOnline = "ProxyNotOnline"
	// ReasonProxyDrained: a proxy that was to go had no client left, or gave them their time.
	ReasonProxyDrained = "ProxyDrained"
	// ReasonProxyEntryRemoved: the entry of a dead proxy was removed.
	ReasonProxyEntryRemoved = "ProxyEntryRemoved"

	// ReasonChildNotReady: a child of a cluster is not ready.
	ReasonChildNotReady = "ChildNotReady"
	// ReasonDisabled: the part is not asked for.
	ReasonDisabled = "Disabled"
)
