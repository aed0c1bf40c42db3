// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/usage"
)

// States of a group in one word.
const (
	stateStable      = "Stable"
	stateProgressing = "Progressing"
	stateHealing     = "Healing"
	stateHeld        = "Held"
	stateDeleting    = "Deleting"
)

// report writes everything that a pass found into the status. It is pure but
// for the time that it is given; every condition is set in every branch.
func report(s *state, now time.Time) {
	g := s.group
	status := &g.Status
	status.ObservedGeneration = g.Generation
	workload := workloadCondition(s)
	master := masterCondition(s)
	replicas := replicasCondition(s)
	registered := registeredCondition(s)
	volumes := volumesCondition(s)
	ready := conditions.Summarize(v1alpha1.ConditionReady, "every member runs and is in its role",
		specCondition(s), workload, master, replicas, registered, volumes)
	available := conditions.Summarize(v1alpha1.ConditionAvailable, "the master takes writes", specCondition(s), master)
	conditions.Set(&status.Conditions, g.Generation, ready, available, workload, master, replicas, registered, volumes)
	reportElection(s, now)
	reportMembers(s)
	reportFailover(s, now)
	switch {
	case s.invalid != nil && s.invalid.Reason == v1alpha1.ReasonGroupIDTaken:
		status.Slots = 0 // Those of its id are the other's.
	case s.stats != nil:
		status.Slots = int32(s.stats.SlotsOf(int(g.Spec.ID))) //nolint:gosec // At most 1024.
	}
	reportUsage(s, now)
	status.State = stateOf(s, ready, available)
}

// specCondition is not shown by itself; it heads the summary when the spec
// cannot be realised.
func specCondition(s *state) conditions.Condition {
	if s.invalid != nil {
		return conditions.False("", s.invalid.Reason, s.invalid.Message)
	}
	return conditions.True("", v1alpha1.ReasonReady, "")
}

func workloadCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionWorkloadReady
	if s.applied != nil {
		reason := v1alpha1.ReasonApplyFailed
		if errors.Is(s.applied, apply.ErrCollision) {
			reason = v1alpha1.ReasonNameCollision
		}
		return conditions.False(t, reason, s.applied.Error())
	}
	if s.live == nil && s.problem != nil && s.dashboard == nil {
		return conditions.False(t, s.problem.Reason, s.problem.Message)
	}
	ready := 0
	for _, pod := range s.pods {
		if pod == nil {
			continue
		}
		if reason, message := podtemplate.Trouble(pod); reason != "" {
			return conditions.False(t, reason, message)
		}
		if podtemplate.Ready(pod) && s.live != nil && !podtemplate.Outdated(pod, s.live) {
			ready++
		}
	}
	switch {
	case s.rolloutHeld != "":
		return conditions.False(t, v1alpha1.ReasonProgressing, s.rolloutHeld)
	case ready < len(s.pods) || ready < s.wanted():
		return conditions.False(t, v1alpha1.ReasonPodsNotReady,
			fmt.Sprintf("%d of %d pods run the current template and are ready",
				ready, max(len(s.pods), s.wanted())))
	}
	return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("all %d pods are ready", ready))
}

func masterCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionMasterReachable
	switch s.decision.verb {
	case keep:
		return conditions.True(t, v1alpha1.ReasonReady,
			fmt.Sprintf("%s is the master and takes writes", s.decision.master.name))
	case lift, promote:
		message := fmt.Sprintf("%s is to become the master", s.decision.master.name)
		if s.refused != nil {
			return conditions.False(t, v1alpha1.ReasonDashboardRefused, message+"; the dashboard refused to "+s.refused.Error())
		}
		return conditions.False(t, v1alpha1.ReasonProgressing, message)
	case fence, wait, hold:
		return conditions.False(t, s.decision.reason, s.decision.message)
	}
	if m := s.world.byName(s.group.Status.Master); m != nil && m.redis.IsMaster() {
		return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("%s is the master and takes writes", m.name))
	}
	return conditions.Unknown(t, unknownReason(s), unknownMessage(s))
}

func replicasCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionReplicasInSync
	if s.held != "" {
		return conditions.False(t, v1alpha1.ReasonPromotionHeld, s.held)
	}
	if s.switchHeld != "" {
		return conditions.False(t, v1alpha1.ReasonSwitchoverHeld, s.switchHeld)
	}
	master := s.world.byName(masterName(s))
	if master == nil {
		return conditions.Unknown(t, unknownReason(s), unknownMessage(s))
	}
	for _, m := range s.world.members {
		if m.addr == master.addr || m.redis.Follows(master.addr) && m.redis.LinkUp {
			continue
		}
		return conditions.False(t, v1alpha1.ReasonReplicaNotInSync, fmt.Sprintf("%s is not in sync with %s: %s",
			m.name, master.name, whyNotInSync(m, *master)))
	}
	return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("all replicas follow %s", master.name))
}

func whyNotInSync(m, master member) string {
	switch {
	case !m.known():
		return problem(m)
	case m.redis.Syncing:
		return "it is copying the data"
	case m.redis.Follows(master.addr):
		return "its link is down"
	case m.redis.Fenced():
		return "it was started and waits to be told what to follow"
	}
	return "it does not follow it yet"
}

func registeredCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionRegistered
	switch {
	case s.stats == nil:
		return conditions.Unknown(t, unknownReason(s), unknownMessage(s))
	case s.refused != nil:
		return conditions.False(t, v1alpha1.ReasonDashboardRefused, "the dashboard refused to "+s.refused.Error())
	case s.world.behind || s.world.holding:
		return conditions.False(t, v1alpha1.ReasonDashboardBehind, behindMessage(s))
	case s.scaleHeld != "":
		return conditions.False(t, v1alpha1.ReasonScaleInHeld, s.scaleHeld)
	case s.decision.verb != keep:
		return conditions.False(t, v1alpha1.ReasonProgressing, "waiting for the group to have a master")
	case !s.registration.done() || s.known() == nil || len(s.known().Servers) != s.wanted():
		return conditions.False(t, v1alpha1.ReasonProgressing,
			fmt.Sprintf("%d of %d members are registered", len(addressesOf(s.known())), s.wanted()))
	}
	return conditions.True(t, v1alpha1.ReasonReady, "the dashboard knows every member")
}

// behindMessage names what keeps the dashboard from being told.
func behindMessage(s *state) string {
	message := "the proxies were told who is master and the dashboard will be"
	switch {
	case s.world.behind:
	case s.decision.verb == keep:
		message = "the proxies held the requests, and are told to let them go on until the dashboard has told each of them"
	default:
		message = "the proxies hold the requests until the group has a master that takes writes"
	}
	if s.unrouted != nil {
		message = "the proxies are being told who is master: " + s.unrouted.Error()
	}
	if len(s.world.deafProxies) > 0 {
		message += ": " + strings.Join(s.world.deafProxies, ", ") + " must answer first, or be gone: " +
			"bring the node back, or delete the Node object if it is lost"
	}
	return message
}

func unknownReason(s *state) string {
	if s.problem != nil {
		return s.problem.Reason
	}
	return v1alpha1.ReasonNotObserved
}

func unknownMessage(s *state) string {
	if s.problem != nil {
		return s.problem.Message
	}
	return "not looked at yet"
}

// masterName is the pod that the dashboard calls master, or the last one known.
func masterName(s *state) string {
	if s.decision.verb == keep {
		return s.decision.master.name
	}
	if len(s.world.order) > 0 && !s.world.behind {
		if m := s.world.byAddr(s.world.order[0]); m != nil {
			return m.name
		}
	}
	return s.group.Status.Master
}

func reportMembers(s *state) {
	status := &s.group.Status
	status.Master = masterName(s)
	status.Members = nil
	inRole, replicas := 0, int32(0)
	for _, m := range s.world.members {
		ms := v1alpha1.MemberStatus{Name: m.name, Node: m.node, Role: roleOf(m), Link: linkOf(m), RunID: s.runIDOf(m)}
		if m.ip != "" {
			replicas++
		}
		if m.name == status.Master && ms.Role == v1alpha1.RoleMaster || ms.Link == v1alpha1.LinkUp {
			inRole++
		}
		status.Members = append(status.Members, ms)
	}
	status.Replicas = replicas
	reportInSync(s)
	s.reportGuard()
	status.Ready = fmt.Sprintf("%d/%d", inRole, s.wanted())
}

func roleOf(m member) v1alpha1.Role {
	switch {
	case !m.redis.Reachable:
		return v1alpha1.RoleUnknown
	case m.redis.IsMaster():
		return v1alpha1.RoleMaster
	case m.redis.Fenced():
		return v1alpha1.RoleFenced
	}
	return v1alpha1.RoleReplica
}

func linkOf(m member) v1alpha1.LinkState {
	switch {
	case !m.redis.Reachable:
		return v1alpha1.LinkUnknown
	case m.redis.IsMaster():
		return v1alpha1.LinkNone
	case m.redis.LinkUp:
		return v1alpha1.LinkUp
	case m.redis.Syncing:
		return v1alpha1.LinkSyncing
	}
	return v1alpha1.LinkDown
}

// memoryFloor, in MiB, is what memory must move by to be told: an empty server
// gains and loses a few with the connections that come and go.
const memoryFloor = 8

// reportUsage refreshes keys and memory when they moved enough to matter, so
// that a steady group is not written over and over.
func reportUsage(s *state, now time.Time) {
	master := s.world.byName(s.group.Status.Master)
	if master == nil || !master.redis.IsMaster() {
		return
	}
	status := &s.group.Status
	memory := resource.NewQuantity(roundToMi(master.redis.UsedMemory), resource.BinarySI).String()
	if limit := master.redis.MaxMemory; limit > 0 {
		memory += "/" + resource.NewQuantity(roundToMi(limit), resource.BinarySI).String()
	}
	if !usage.Due(status.UsageTime, now) {
		return
	}
	// Compared in the unit that is shown: memory that wavers about the middle of
	// two units must not be written over and over.
	before, used := s.usedBefore()>>20, roundToMi(master.redis.UsedMemory)>>20
	grew := usage.Moved(before, used) && max(before-used, used-before) >= memoryFloor
	if !usage.Moved(status.Keys, master.redis.Keys) && !grew && status.UsageTime != nil {
		return
	}
	status.Keys, status.Memory, status.UsageTime = master.redis.Keys, memory, &metav1.Time{Time: now}
}

// usedBefore reads the used memory back from the status.
func (s *state) usedBefore() int64 {
	text := s.group.Status.Memory
	for i, r := range text {
		if r == '/' {
			text = text[:i]
			break
		}
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return 0
	}
	return quantity.Value()
}

func roundToMi(bytes int64) int64 { return (bytes + 1<<19) >> 20 << 20 }

// volumeHeld tells whether a reason is that of a volume that a person has to see to.
func volumeHeld(reason string) bool {
	return slices.Contains([]string{
		v1alpha1.ReasonVolumeNotExpandable, v1alpha1.ReasonVolumeResizeFailed, v1alpha1.ReasonVolumeShrinkRefused,
	}, reason)
}

func stateOf(s *state, ready, available conditions.Condition) string {
	switch {
	case s.group.DeletionTimestamp != nil:
		return stateDeleting
	case ready.Status == metav1.ConditionTrue:
		return stateStable
	case ready.Reason == v1alpha1.ReasonVolumeGrowing:
		return stateProgressing
	case volumeHeld(ready.Reason), s.decision.verb == hold || s.held != "" || s.scaleHeld != "" || s.invalid != nil:
		return stateHeld
	case len(s.world.order) > 0 && s.group.Status.Slots > 0 && available.Status != metav1.ConditionTrue,
		len(s.world.order) > 1:
		return stateHealing
	}
	return stateProgressing
}
