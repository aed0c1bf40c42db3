// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

// sentinelsConcern tells whether there is anything to do about sentinels: they are
// asked for, or were and may not all be gone.
func (s *state) sentinelsConcern() bool {
	return s.dashboard.Spec.Sentinel != nil || s.dashboard.Status.Sentinel != nil
}

// observeSentinels finds out what runs. That none does any more is asked past the
// cache: the groups rely on it.
func (r *Reconciler) observeSentinels(ctx context.Context, s *state) error {
	d := s.dashboard
	if !s.sentinelsConcern() {
		return nil
	}
	live := &appsv1.StatefulSet{}
	if err := r.sentinelReader(d).Get(ctx, key(d, naming.Sentinel(d.Name)), live); err == nil {
		s.sentinels.live = live
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get statefulset of sentinels: %w", err)
	}
	s.sentinels.pods = map[int]*corev1.Pod{}
	for ordinal := range maxSentinels {
		pod := &corev1.Pod{}
		err := r.Client.Get(ctx, key(d, naming.SentinelPod(d.Name, ordinal)), pod)
		if err == nil {
			s.sentinels.pods[ordinal] = pod
		} else if !apierrors.IsNotFound(err) {
			return fmt.Errorf("get pod of sentinel: %w", err)
		}
	}
	s.askSentinels(ctx)
	if d.Spec.Sentinel != nil {
		return nil
	}
	pods := &corev1.PodList{}
	labels := client.MatchingLabels(sentinelSelector(d))
	if err := r.Reader.List(ctx, pods, client.InNamespace(d.Namespace), labels); err != nil {
		return fmt.Errorf("list pods of sentinels: %w", err)
	}
	for i := range pods.Items {
		s.sentinels.ending = append(s.sentinels.ending, pods.Items[i].Name)
	}
	return nil
}

// tower is the client for sentinels, which need no password. A pass waits for them no
// longer than this.
var tower = sentinel.Client{Timeout: 300 * time.Millisecond}

// askSentinels asks each what it watches, side by side.
func (s *state) askSentinels(ctx context.Context) {
	looks := make([]sentinel.Survey, maxSentinels)
	var wg sync.WaitGroup
	for ordinal := range s.sentinels.pods {
		if addr := s.sentinelDial(ordinal); addr != "" {
			wg.Go(func() { looks[ordinal] = tower.Survey(ctx, addr) })
		}
	}
	wg.Wait()
	s.sentinels.looks = map[int]sentinel.Survey{}
	for ordinal := range s.sentinels.pods {
		s.sentinels.looks[ordinal] = looks[ordinal]
	}
}

// sentinelDial is where the operator reaches a sentinel; empty if it does not run.
func (s *state) sentinelDial(ordinal int) string {
	pod := s.sentinels.pods[ordinal]
	if pod == nil || pod.Status.PodIP == "" || podtemplate.Ended(pod) {
		return ""
	}
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(naming.PortSentinel))
}

// sentinelReader reads past the cache where what is not there must not be somewhere
// else: groups rely on it.
func (r *Reconciler) sentinelReader(d *v1alpha1.CodisDashboard) client.Reader {
	if d.Spec.Sentinel == nil {
		return r.Reader
	}
	return r.Client
}
