// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
)

// replacement names the pod to replace next, or the member to switch over to
// before that, or says why neither can be.
type replacement struct {
	pod  *corev1.Pod
	to   *member
	held string
}

// decideReplacement chooses a pod that runs an old template. It is pure.
// Replicas go first, and only while every member is in its role, so that a
// whole copy is never further away than the next member. A pod that does not
// run at all is replaced at any time: it holds nothing that is in use. The
// master hands over to a replica before it goes, unless it is alone.
func decideReplacement(s *state, inSync bool) replacement {
	outdated := map[string]*corev1.Pod{}
	var replica *corev1.Pod
	for _, pod := range s.pods {
		if pod == nil || pod.DeletionTimestamp != nil || s.live == nil || !podtemplate.Outdated(pod, s.live) {
			continue
		}
		if !podtemplate.Started(pod) {
			return replacement{pod: pod}
		}
		outdated[pod.Name] = pod
		if s.decision.master != nil && pod.Name != s.decision.master.name {
			replica = pod
		}
	}
	switch {
	case len(outdated) == 0 || !inSync || s.handingOver(): // One that stopped midway may need that replica.
		return replacement{}
	case replica != nil:
		return replacement{pod: replica}
	}
	return s.replaceMaster(outdated[s.decision.master.name])
}

// replaceMaster decides about the master's own pod, the last one of its group
// that is outdated.
func (s *state) replaceMaster(pod *corev1.Pod) replacement {
	master := s.decision.master
	if len(s.world.members) == 1 {
		if s.world.persistent {
			return replacement{pod: pod}
		}
		return replacement{held: fmt.Sprintf("%s runs an old template and holds the only copy of its data: "+
			"delete that pod when its data may go, or set replicas to 2", pod.Name)}
	}
	to := s.world.successor(master)
	if held := switchoverHeld(s.world, s.stats, int(s.group.Spec.ID), master, to); held != "" {
		return replacement{held: fmt.Sprintf("every replica runs the new template; master %s waits to hand over: %s",
			pod.Name, held)}
	}
	return replacement{to: to}
}

// rollOut replaces at most one outdated pod in a pass.
func (r *Reconciler) rollOut(ctx context.Context, s *state) (time.Duration, error) {
	if !s.canRollOut() || s.halfDone {
		return 0, nil
	}
	chosen := decideReplacement(s, r.inSync(s) && r.allReady(s))
	s.rolloutHeld = chosen.held
	switch {
	case chosen.to == nil && chosen.pod == nil:
		return 0, nil
	case (chosen.to != nil || podtemplate.Started(chosen.pod)) && !r.takesTurn(s):
		s.rolloutHeld = "a pod runs an old template and waits for its turn: one of another group is being replaced"
		return reconcile.Soon, nil
	case chosen.to != nil:
		return r.switchOver(ctx, s, chosen.to)
	}
	if s.decision.verb == keep && !s.guardsWrites(chosen.pod.Name) {
		if err := r.guardWrites(ctx, s, false); err != nil { // No replica keeps up while it is replaced.
			return reconcile.Soon, redis.Unexpected(err)
		}
	}
	if may, err := r.mayGo(ctx, s, chosen.pod); !may {
		return reconcile.Soon, redis.Unexpected(err)
	}
	preconditions := client.Preconditions{UID: &chosen.pod.UID, ResourceVersion: &chosen.pod.ResourceVersion}
	err := r.Client.Delete(ctx, chosen.pod, preconditions)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return 0, fmt.Errorf("replace pod %s: %w", chosen.pod.Name, err)
	}
	return reconcile.Soon, nil
}

// turn is the group of a product that replaced a pod last, or handed over, and when.
type turn struct {
	group types.UID
	began time.Time
}

// turnTime is how long the other groups of a product wait then, until that pod runs. Its
// data is copied to each one, and the dashboard does one thing at a time: clients would
// wait longer where several groups do that at one moment.
const turnTime = 5 * time.Second

// takesTurn tells whether a group may replace a pod now. Turns are kept in memory: another
// operator may begin the next one at once, which costs clients a longer stall.
func (r *Reconciler) takesTurn(s *state) bool {
	mine := turn{group: s.group.UID, began: r.Clock.Now()}
	stored, taken := r.turns.LoadOrStore(s.dashboard.UID, mine)
	last, ok := stored.(turn)
	switch {
	case !taken || !ok:
		return true
	case r.Clock.Since(last.began) < turnTime:
		return last.group == mine.group
	}
	return r.turns.CompareAndSwap(s.dashboard.UID, last, mine)
}

// mayGo asks once more, right before a pod is deleted, whether it has become master
// since: by a failover, or by a person. The only member of its group is no replica.
func (r *Reconciler) mayGo(ctx context.Context, s *state, pod *corev1.Pod) (bool, error) {
	m := s.world.byName(pod.Name)
	if m == nil || m.ip == "" || len(s.world.members) == 1 {
		return true, nil
	}
	if err := r.stillThere(ctx, s, *m); err != nil {
		return false, err
	}
	return !s.servers.Observe(ctx, redisAddr(*m)).IsMaster(), nil
}

// canRollOut tells whether pods can be compared with what they should run.
func (s *state) canRollOut() bool {
	return s.stats != nil && !s.world.behind && !s.world.holding && s.live != nil && s.applied == nil && observed(s.live)
}

// observed tells whether the StatefulSet controller has seen the template that
// pods are compared with.
func observed(live *appsv1.StatefulSet) bool {
	return live.Status.ObservedGeneration == live.Generation && live.Status.UpdateRevision != ""
}

func (r *Reconciler) allReady(s *state) bool {
	for _, pod := range s.pods {
		if pod == nil || !podtemplate.Ready(pod) {
			return false
		}
	}
	return true
}
