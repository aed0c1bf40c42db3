// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"errors"
	"fmt"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

func set(c *v1alpha1.CodisCoordinator, list ...conditions.Condition) {
	c.Status.ObservedGeneration = c.Generation
	conditions.Set(&c.Status.Conditions, c.Generation, list...)
}

// available says the same as a Ready condition where there is no difference.
func available(ready conditions.Condition) conditions.Condition {
	ready.Type = v1alpha1.ConditionAvailable
	return ready
}

func filesystemCondition(c *v1alpha1.CodisCoordinator) conditions.Condition {
	message := "the topology is kept in the dashboard's pod and put back from its status when that pod is replaced"
	if c.Spec.Storage != nil {
		message = "the topology is kept on the dashboard's volume, which one node mounts at a time: " +
			"when that node is lost, the dashboard comes back with the volume and not before"
	}
	return conditions.True(v1alpha1.ConditionReady, v1alpha1.ReasonReady, message)
}

// report writes everything that a pass found into the status. It is pure; every
// condition is set on every path.
func report(s *state, domain naming.Domain) {
	status := &s.coordinator.Status
	reportMembers(s)
	if s.ensemble.agreed != nil {
		if leading := s.leading(); leading != nil {
			status.Leader = leading.pod
			if id := leading.status.ClusterID; id != 0 {
				status.ClusterID = id.String()
			}
		}
	} else {
		status.Leader = ""
	}
	reportEndpoints(s, domain)
	serves := availableCondition(s)
	ready := conditions.Summarize(v1alpha1.ConditionReady, fmt.Sprintf("all %d members are healthy", s.ensemble.wanted),
		objectsCondition(s), podsCondition(s), decisionCondition(s), serves, membersCondition(s))
	set(s.coordinator, ready, serves)
}

func reportMembers(s *state) {
	e := &s.ensemble
	status := &s.coordinator.Status
	status.Members = nil
	healthy := 0
	for i := range e.places {
		p := &e.places[i]
		if s.pods[i] == nil && p.seat == nil {
			continue
		}
		m := v1alpha1.CoordinatorMember{Name: p.pod, Role: roleOf(e, p), Node: p.node}
		if p.seat != nil {
			m.ID = p.seat.ID
		}
		status.Members = append(status.Members, m)
	}
	for _, m := range e.voters() {
		if p := e.placeOf(m); p != nil && p.ready && e.healthy(m) {
			healthy++
		}
	}
	status.Ready = fmt.Sprintf("%d/%d", healthy, e.wanted)
}

func roleOf(e *ensemble, p *place) v1alpha1.CoordinatorRole {
	switch {
	case p.status == nil || p.status.Leader == 0:
		return v1alpha1.CoordinatorUnknown
	case p.status.Learner:
		return v1alpha1.CoordinatorLearner
	case p.status.MemberID == e.leader():
		return v1alpha1.CoordinatorLeader
	}
	return v1alpha1.CoordinatorFollower
}

// reportEndpoints tells dashboards the wanted members, once all of them were
// there: what is on the way would restart the dashboard more than once.
func reportEndpoints(s *state, domain naming.Domain) {
	e := &s.ensemble
	wanted := 0
	for _, m := range e.voters() {
		if p := e.placeOf(m); p != nil && p.ordinal < e.wanted {
			wanted++
		}
	}
	if wanted < e.wanted {
		return
	}
	c := s.coordinator
	c.Status.Endpoints = nil
	for ordinal := range e.wanted {
		c.Status.Endpoints = append(c.Status.Endpoints,
			domain.CoordinatorAddr(c.Namespace, c.Name, ordinal, clientPort(s.keeper)))
	}
}

func availableCondition(s *state) conditions.Condition {
	const t = v1alpha1.ConditionAvailable
	switch {
	case s.ensemble.agreed != nil:
		return conditions.True(t, v1alpha1.ReasonReady, "a quorum of members answers")
	case !s.ensemble.founded:
		return conditions.False(t, v1alpha1.ReasonProgressing, "the first member is being started")
	}
	return conditions.False(t, v1alpha1.ReasonQuorumLost, quorum(&s.ensemble).message)
}

func objectsCondition(s *state) conditions.Condition {
	switch {
	case s.blocked != nil:
		return conditions.False("", s.blocked.Reason, s.blocked.Message)
	case errors.Is(s.applied, apply.ErrCollision):
		return conditions.False("", v1alpha1.ReasonNameCollision, s.applied.Error())
	case s.applied != nil:
		return conditions.False("", v1alpha1.ReasonApplyFailed, s.applied.Error())
	}
	return conditions.True("", v1alpha1.ReasonReady, "")
}

// podsCondition tells of pods that cannot start, but for what their gate found,
// which the decision speaks of.
func podsCondition(s *state) conditions.Condition {
	for i, pod := range s.pods {
		if pod == nil || s.ensemble.places[i].finding.Present() {
			continue
		}
		if reason, message := podtemplate.Trouble(pod); reason != "" {
			if reason == v1alpha1.ReasonUnschedulable {
				message += fmt.Sprintf("; if the volume or its node is lost for good, delete PersistentVolumeClaim %s-%s "+
					"and the pod: the member comes back empty and joins anew", dataVolume, pod.Name)
			}
			return conditions.False("", reason, message)
		}
	}
	return conditions.True("", v1alpha1.ReasonReady, "")
}

func decisionCondition(s *state) conditions.Condition {
	d := s.decision
	switch {
	case s.refused != nil:
		return conditions.False("", v1alpha1.ReasonProgressing, s.refused.Error())
	case d.verb == keep:
		return conditions.True("", v1alpha1.ReasonReady, "")
	case d.reason != "":
		return conditions.False("", d.reason, d.message)
	}
	return conditions.False("", v1alpha1.ReasonProgressing, progress(d))
}

func progress(d decision) string {
	switch d.verb {
	case add:
		return d.place.pod + " is being added"
	case promote:
		return d.place.pod + " is given a vote"
	case remove:
		return d.place.pod + " is being taken out"
	case transfer:
		return d.place.pod + " takes over from " + d.from.pod
	case keep, wait, hold, replace, relieve: // Their messages are their own.
	}
	return d.message
}

func membersCondition(s *state) conditions.Condition {
	if want := fmt.Sprintf("%d/%d", s.ensemble.wanted, s.ensemble.wanted); s.coordinator.Status.Ready != want {
		return conditions.False("", v1alpha1.ReasonPodsNotReady, s.coordinator.Status.Ready+" members are ready")
	}
	return conditions.True("", v1alpha1.ReasonReady, "")
}
