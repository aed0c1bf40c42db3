// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
)

// reportSentinels writes what was seen of the sentinels into the status. While the
// dashboard cannot be asked, what was seen last stays.
func reportSentinels(s *state, domain naming.Domain) {
	d := s.dashboard
	if s.sentinelsGone() {
		d.Status.Sentinel = nil
	}
	if !s.sentinelsConcern() {
		return
	}
	if s.stats == nil || d.Status.Sentinel == nil {
		return
	}
	status := v1alpha1.SentinelStatus{Foreign: s.sentinels.plan.foreign}
	if d.Spec.Sentinel != nil {
		status.Quorum = int32(config.MonitorOf(d.Spec.Sentinel).Quorum) //nolint:gosec // At most 9 by the API.
	}
	ready := 0
	for ordinal := range maxSentinels {
		addr := domain.SentinelAddr(d.Namespace, d.Name, ordinal)
		m := s.sentinelMember(ordinal, addr)
		if s.sentinels.pods[ordinal] == nil && m.State == v1alpha1.SentinelUnregistered && ordinal >= sentinelsWanted(d) {
			continue
		}
		if m.State == v1alpha1.SentinelReady {
			ready++
		}
		status.Members = append(status.Members, m)
	}
	status.Ready = fmt.Sprintf("%d/%d", ready, sentinelsWanted(d))
	d.Status.Sentinel = &status
}

func (s *state) sentinelMember(ordinal int, addr string) v1alpha1.SentinelMember {
	look := s.sentinels.looks[ordinal]
	m := v1alpha1.SentinelMember{Name: naming.SentinelPod(s.dashboard.Name, ordinal), State: v1alpha1.SentinelSilent}
	switch {
	case !slices.Contains(s.knownSentinels(), addr):
		m.State = v1alpha1.SentinelUnregistered
	case look.Answers:
		m.State = v1alpha1.SentinelReady
	}
	m.Monitors = int32(len(look.Flags)) //nolint:gosec // As many as groups.
	return m
}

// sentinelsGone tells that none is wanted, none is known, and none can run any more.
func (s *state) sentinelsGone() bool {
	d := s.dashboard
	return d.Spec.Sentinel == nil && d.Status.Sentinel != nil && s.stats != nil && s.sentinels.live == nil &&
		len(s.sentinels.ending) == 0 && len(s.sentinels.plan.remove) == 0
}

// answering counts the sentinels of the operator that are registered and answer.
func (s *state) answering() int {
	count := 0
	if status := s.dashboard.Status.Sentinel; status != nil {
		for _, m := range status.Members {
			if m.State == v1alpha1.SentinelReady {
				count++
			}
		}
	}
	return count
}

// sentinelsCondition speaks of the status that reportSentinels wrote.
func sentinelsCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionSentinelsReady
	foreign := strings.Join(s.sentinels.plan.foreign, ", ")
	switch d := s.dashboard; {
	case !s.sentinelsConcern() && foreign != "":
		return conditions.False(t, v1alpha1.ReasonSentinelForeign, fmt.Sprintf("somebody registered sentinels (%s), "+
			"which replace masters as the operator does: take them out (codis-admin --sentinel-del), "+
			"or set spec.sentinel for the operator to leave it to sentinels", foreign))
	case !s.sentinelsConcern():
		return conditions.True(t, v1alpha1.ReasonDisabled, "no sentinels are asked for: the operator replaces masters")
	case s.stats == nil:
		return conditions.Unknown(t, s.problemReason(), s.problemMessage())
	case s.sentinels.refused != nil:
		return conditions.False(t, v1alpha1.ReasonDashboardRefused,
			"the dashboard refused to "+s.sentinels.refused.Error())
	case d.Spec.Sentinel == nil:
		return conditions.False(t, v1alpha1.ReasonSentinelsLeaving, s.leavingMessage())
	}
	return wantedSentinels(s, foreign)
}

// leavingMessage says what the operator waits for until it replaces masters again.
func (s *state) leavingMessage() string {
	message := "sentinels are being removed; the operator replaces masters again once they are gone"
	if len(s.sentinels.ending) > 0 {
		message += ", and waits for the pods " + strings.Join(s.sentinels.ending, ", ")
	}
	return message
}

// wantedSentinels speaks of sentinels that are asked for.
func wantedSentinels(s *state, foreign string) conditions.Condition {
	const t = v1alpha1.ConditionSentinelsReady
	wanted, answering := sentinelsWanted(s.dashboard), s.answering()
	needed := config.SentinelsNeeded(s.dashboard.Spec.Sentinel)
	led, others := s.ledGroups()
	switch {
	case answering < needed && led == 0:
		return conditions.False(t, v1alpha1.ReasonSentinelsStarting, fmt.Sprintf(
			"%d of %d sentinels answer: the operator replaces masters until %d do", answering, wanted, needed))
	case answering < needed:
		return conditions.False(t, v1alpha1.ReasonNoMajority, fmt.Sprintf(
			"%d of %d sentinels answer: no master that fails is replaced until %d do: bring them back, or remove "+
				"spec.sentinel, and the operator replaces masters once all sentinels are gone",
			answering, wanted, needed))
	case len(s.unwatched(needed)) > 0:
		return conditions.False(t, v1alpha1.ReasonProgressing, fmt.Sprintf(
			"fewer than %d sentinels watch groups %s, and replace no master of theirs: the operator tells them "+
				"once the master takes writes, and not while the group is paused", needed, join(s.unwatched(needed))))
	case answering < wanted:
		return conditions.False(t, v1alpha1.ReasonSentinelsDegraded,
			fmt.Sprintf("%d of %d sentinels answer: masters are replaced, and %d more may fail", answering, wanted,
				answering-needed))
	case foreign != "":
		return conditions.False(t, v1alpha1.ReasonSentinelForeign, fmt.Sprintf("somebody registered other sentinels (%s), "+
			"which count as well: take them out (codis-admin --sentinel-del)", foreign))
	case others != "":
		return conditions.False(t, v1alpha1.ReasonSentinelsStarting,
			fmt.Sprintf("groups %s are about to be handed over to the sentinels", others))
	case s.sentinels.untold != nil:
		return conditions.False(t, v1alpha1.ReasonProgressing, s.sentinels.untold.Error()+", and is tried again")
	case s.sentinels.held != "":
		return conditions.False(t, v1alpha1.ReasonProgressing,
			"the dashboard is to tell proxies and sentinels anew, and waits: "+s.sentinels.held)
	}
	return conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("all %d sentinels answer and replace masters", wanted))
}

// unwatched lists the groups that sentinels replace the masters of, and that fewer of
// them watch than it takes.
func (s *state) unwatched(needed int) []int {
	var ids []int
	for _, g := range s.groups {
		monitor, watching := naming.Monitor(product.Name(s.dashboard), g.id), 0
		for _, look := range s.sentinels.looks {
			if look.Flags[monitor] != "" {
				watching++
			}
		}
		if g.sentinelLed && watching < needed {
			ids = append(ids, g.id)
		}
	}
	return ids
}

// ledGroups counts the groups that sentinels replace the masters of, and names the others.
func (s *state) ledGroups() (led int, others string) {
	var ids []int
	for _, g := range s.groups {
		if g.sentinelLed {
			led++
		} else if !g.leaving {
			ids = append(ids, g.id)
		}
	}
	return led, join(ids)
}
