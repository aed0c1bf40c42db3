// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	// lead is the time that agents need to be ready to strike at once.
	lead = 1500 * time.Millisecond
	// hungFor is how long a stopped process is left to the operator.
	hungFor = 20 * time.Second
	// loopFor is how long a process is killed whenever it comes back.
	loopFor = 10 * time.Second
	// cutFor is how long a node is cut off.
	cutFor = 15 * time.Second
)

// blow is a signal to the process of a role; the keeper of a dashboard is none.
type blow struct {
	role, signal string
	// container tells that the main process of the container is struck, whatever it is.
	container bool
	// length after which a stopped process goes on.
	length time.Duration
}

// signals sends signals, all at one moment.
func signals(blows ...blow) strike {
	return func(ctx context.Context, b *bench, s *scene) (time.Time, error) {
		moment := time.Now().Add(lead)
		sent, errs := make([]time.Time, len(blows)), make([]error, len(blows))
		var all sync.WaitGroup
		for i, blow := range blows {
			all.Go(func() {
				pod := s.pods[blow.role]
				agent := b.agents[pod.Spec.NodeName]
				send := agent.SignalAt
				if blow.role == roleDashboard && !blow.container {
					send = agent.SignalChildAt
				}
				sent[i], errs[i] = send(ctx, &pod, container(&pod), blow.signal, moment, blow.length)
			})
		}
		all.Wait()
		return sent[0], errors.Join(errs...)
	}
}

// stopped sends signals, of which the first stops a process that the operator
// has to kill.
func stopped(blows ...blow) strike {
	return func(ctx context.Context, b *bench, s *scene) (time.Time, error) {
		at, err := signals(blows...)(ctx, b, s)
		if err != nil {
			return at, err
		}
		pod := s.pods[blows[0].role]
		waiting, cancel := context.WithTimeout(ctx, hungFor)
		defer cancel()
		if b.waitEnded(waiting, &pod) == nil {
			return at, nil
		}
		_, err = b.agents[pod.Spec.NodeName].Signal(context.WithoutCancel(ctx), &pod, container(&pod), "CONT", "")
		return at, errors.Join(fmt.Errorf("%s hung for %s and was not killed", pod.Name, hungFor), err)
	}
}

// waitEnded waits until the process of a pod is no more.
func (b *bench) waitEnded(ctx context.Context, pod *corev1.Pod) error {
	return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		now := &corev1.Pod{}
		err := b.cluster.Get(ctx, client.ObjectKeyFromObject(pod), now)
		return apierrors.IsNotFound(err) || err == nil && process(now) != process(pod), nil
	})
}

// deletePod deletes a pod as kubectl does.
func deletePod(role string) strike {
	return func(ctx context.Context, b *bench, s *scene) (time.Time, error) {
		at, pod := time.Now(), s.pods[role]
		return at, b.cluster.Delete(ctx, &pod)
	}
}

// crashLoop kills the process whenever it runs.
func crashLoop(ctx context.Context, b *bench, s *scene) (time.Time, error) {
	at, err := signals(blow{role: roleMaster, signal: "KILL"})(ctx, b, s)
	if err != nil {
		return at, err
	}
	looping, cancel := context.WithDeadline(ctx, at.Add(loopFor))
	defer cancel()
	master := s.pods[roleMaster]
	for killed := process(&master); looping.Err() == nil; {
		pod := &corev1.Pod{}
		// What cannot be killed now may be a moment later, or be back only then.
		err := b.cluster.Get(looping, client.ObjectKeyFromObject(&master), pod)
		if current := process(pod); err == nil && current != "" && current != killed {
			if _, err := b.agents[pod.Spec.NodeName].Signal(looping, pod, container(pod), "KILL", ""); err == nil {
				killed = current
			}
		}
		rest(looping, poll)
	}
	return at, ctx.Err()
}

// cutNode cuts the master's node off, and connects it again.
func cutNode(ctx context.Context, _ *bench, s *scene) (at time.Time, err error) {
	at = time.Now()
	defer func() { err = errors.Join(err, framework.Localkube(context.WithoutCancel(ctx), "heal-node", s.node)) }()
	if err := framework.Localkube(ctx, "cut-node", s.node); err != nil {
		return at, err
	}
	rest(ctx, cutFor)
	return at, ctx.Err()
}

// container names the one that does the work of a pod.
func container(pod *corev1.Pod) string { return pod.Spec.Containers[0].Name }

// process identifies the running process of a pod; it is empty if there is none.
func process(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container(pod) && status.State.Running != nil {
			return status.ContainerID
		}
	}
	return ""
}

// rest waits, unless the context ends before.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
