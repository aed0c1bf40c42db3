// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// register tells the dashboard about the members, once the group has a master
// that takes writes. Adding sends nothing to a server. At most one server is
// taken out in a pass.
func (r *Reconciler) register(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil || s.decision.verb != keep || s.invalid.Present() || s.halfDone || s.world.behind {
		return 0, nil
	}
	s.registration = planRegistration(s.known(), r.wantedAddresses(s))
	plan := s.registration
	if !r.addServers(ctx, s, plan) {
		return reconcile.Soon, nil
	}
	gid := int(s.group.Spec.ID)
	if len(plan.remove) > 0 {
		addr := plan.remove[0]
		if !s.try("remove "+addr, s.api.RemoveServer(ctx, gid, addr)) {
			return reconcile.Later, nil
		}
		r.eventOf(s, addr, v1alpha1.ReasonServerRemoved, "Unregister", "Removed %s from group %d", addr, gid)
		return reconcile.Soon, nil
	}
	if plan.resync && !s.try("resync the group", s.api.ResyncGroup(ctx, gid)) {
		return reconcile.Later, nil
	}
	s.registration = registration{}
	if !plan.done() {
		return reconcile.Soon, nil
	}
	return 0, nil
}

// addServers makes the group and adds servers to it, the master first, and
// tells whether the dashboard took all.
func (r *Reconciler) addServers(ctx context.Context, s *state, plan registration) bool {
	gid := int(s.group.Spec.ID)
	if plan.create && !s.try("create the group", codis.IgnoreAlreadyExists(s.api.CreateGroup(ctx, gid))) {
		return false
	}
	for _, addr := range plan.add {
		if !s.try("add "+addr, s.api.AddServer(ctx, gid, addr)) {
			return false
		}
		r.eventOf(s, addr, v1alpha1.ReasonServerRegistered, "Register", "Added %s to group %d", addr, gid)
	}
	return true
}

// eventOf tells about one of the members. It names the pod: of two events that differ
// by their text only, Kubernetes shows the first, counted twice.
func (r *Reconciler) eventOf(s *state, addr, reason, action, format string, args ...any) {
	pod := &corev1.Pod{}
	pod.Namespace = s.group.Namespace
	pod.Name, _, _ = strings.Cut(addr, ".")
	r.Recorder.Eventf(s.group, pod, corev1.EventTypeNormal, reason, action, format, args...)
}

// wantedAddresses are the addresses that the dashboard should know, the master
// first. A master that the spec no longer asks for stays until another is.
func (r *Reconciler) wantedAddresses(s *state) []string {
	master := s.decision.master
	wanted := []string{master.addr}
	for ordinal, m := range s.world.members {
		switch {
		case m.addr == master.addr && ordinal >= s.wanted():
			s.scaleHeld = fmt.Sprintf("%s is the master and cannot be removed: set replicas to %d or more", m.name, ordinal+1)
		case m.addr != master.addr && ordinal < s.wanted() && m.redis.Reachable:
			wanted = append(wanted, m.addr)
		case m.addr != master.addr && ordinal < s.wanted() && slices.Contains(s.world.order, m.addr):
			wanted = append(wanted, m.addr) // Unknown is not gone.
		}
	}
	return wanted
}
