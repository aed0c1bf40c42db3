// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// askTimeout bounds each question to a member.
const askTimeout = time.Second

// maxPlaces is the largest number of members.
const maxPlaces = 5

// state is what one pass over an ensemble has found and decided.
type state struct {
	coordinator *v1alpha1.CodisCoordinator
	keeper      keeper
	live        *appsv1.StatefulSet
	// pods by ordinal; nil for one that is not there.
	pods     []*corev1.Pod
	ensemble ensemble
	// given is who gets which seat in this pass.
	given map[int]seat.Seat
	// version of the list of members that is agreed upon; only a ZooKeeper has one.
	version int64
	// observed tells that everything above was looked at.
	observed bool

	// blocked is why no object can be made; nil if it can.
	blocked  *product.Problem
	decision decision
	// refused is what the ensemble answered to the act.
	refused error
	applied error
	// written tells that every object is as wanted.
	written bool
}

// observe finds out all that a pass is based on.
func (r *Reconciler) observe(ctx context.Context, s *state) (time.Duration, error) {
	live, config := &appsv1.StatefulSet{}, &corev1.ConfigMap{}
	if err := r.Client.Get(ctx, key(s.coordinator), live); err == nil {
		s.live = live
	} else if !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("get statefulset: %w", err)
	}
	if err := r.Client.Get(ctx, key(s.coordinator), config); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("get configmap: %w", err)
	}
	if err := r.observePods(ctx, s, config); err != nil {
		return 0, err
	}
	s.keeper.ask(ctx, s)
	s.observed = true
	return 0, nil
}

func key(c *v1alpha1.CodisCoordinator) types.NamespacedName {
	return types.NamespacedName{Namespace: c.Namespace, Name: naming.Coordinator(c.Name)}
}

// observePods looks at every place that there can be: a member may have been
// added at one that is not wanted any more and has no pod yet.
func (r *Reconciler) observePods(ctx context.Context, s *state, config *corev1.ConfigMap) error {
	e := &s.ensemble
	e.wanted = wantedReplicas(s.coordinator)
	if s.live != nil && s.live.Spec.Replicas != nil {
		e.scale = int(*s.live.Spec.Replicas)
	}
	e.founded = s.coordinator.Status.ClusterID != ""
	if last, err := roster.ParseID(config.Data[lastIDFile]); err == nil {
		e.lastID = last
	}
	for ordinal := range max(e.scale, maxPlaces) {
		name := naming.CoordinatorPod(s.coordinator.Name, ordinal)
		p := place{ordinal: ordinal, pod: name, peerURL: s.keeper.peer(s.coordinator, r.Domain, ordinal)}
		if given, err := seat.Decode(config.Data[seatFile(name)]); err == nil {
			p.seat = &given
			e.founded = e.founded || !given.Fresh
		}
		pod := &corev1.Pod{}
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: s.coordinator.Namespace, Name: name}, pod)
		switch {
		case apierrors.IsNotFound(err):
			pod = nil
		case err != nil:
			return fmt.Errorf("get pod %s: %w", name, err)
		default:
			p.look(pod, s.live)
		}
		e.places, s.pods = append(e.places, p), append(s.pods, pod)
	}
	return nil
}

// look takes over what the API server has of a pod.
func (p *place) look(pod *corev1.Pod, live *appsv1.StatefulSet) {
	p.node = pod.Spec.NodeName
	p.running = pod.DeletionTimestamp == nil
	p.ready = podtemplate.Ready(pod)
	p.outdated = live != nil && live.Status.ObservedGeneration == live.Generation &&
		live.Status.UpdateRevision != "" && podtemplate.Outdated(pod, live)
	p.idle = !podtemplate.Started(pod) || podtemplate.Dead(pod)
	p.finding = seat.Parse(podtemplate.Refusal(pod, gateContainer))
	p.said = passed(pod)
}

// passed is what the gate of a pod said when it let the pod start.
func passed(pod *corev1.Pod) string {
	for _, status := range pod.Status.InitContainerStatuses {
		if ended := status.State.Terminated; status.Name == gateContainer && ended != nil && ended.ExitCode == 0 {
			return ended.Message
		}
	}
	return ""
}

// leading is the place of the leader; nil if none is known.
func (s *state) leading() *place {
	leader := s.ensemble.leader()
	for i := range s.ensemble.places {
		if p := &s.ensemble.places[i]; leader != 0 && p.status != nil && p.status.MemberID == leader {
			return p
		}
	}
	return nil
}
