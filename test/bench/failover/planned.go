// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	// blindFor is how long an operator reaches no server.
	blindFor = 20 * time.Second
	// frozenFor is how long the API server stands still.
	frozenFor = 5 * time.Minute
	// stallsATrial is how many short stalls there are in a trial, of up to
	// longestStall: a server that stalls for longer than silenceMilliseconds is lost.
	stallsATrial, longestStall = 100, 1100 * time.Millisecond
	// movedSlots is how many slots are on their way when a master is killed.
	movedSlots = 64
)

// switchOver asks for another master of the group.
func switchOver(ctx context.Context, b *bench, s *scene) (time.Time, error) {
	at, replica := time.Now(), s.pods[roleReplica]
	return at, b.switchTo(ctx, replica.Name)
}

// switchTo makes a replica the master of its group.
func (b *bench) switchTo(ctx context.Context, replica string) error {
	pod, group := &corev1.Pod{}, &v1alpha1.CodisGroup{}
	if err := b.cluster.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: replica}, pod); err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: b.namespace, Name: pod.Labels[v1alpha1.LabelInstance]}
	if err := b.cluster.Get(ctx, key, group); err != nil {
		return err
	}
	before := group.DeepCopy()
	if group.Annotations == nil {
		group.Annotations = map[string]string{}
	}
	group.Annotations[v1alpha1.AnnotationSwitchOverTo] = replica
	if err := b.cluster.Patch(ctx, group, client.MergeFrom(before)); err != nil {
		return err
	}
	return b.await(ctx, "the switchover", func(ctx context.Context) string {
		if err := b.cluster.Get(ctx, client.ObjectKeyFromObject(group), group); err != nil {
			return err.Error()
		}
		if _, asked := group.Annotations[v1alpha1.AnnotationSwitchOverTo]; asked {
			return "it is still asked for"
		}
		return ""
	})
}

// rollOut changes the template of every member, and waits until none is left.
func rollOut(ctx context.Context, b *bench, s *scene) (time.Time, error) {
	at := time.Now()
	c := &v1alpha1.CodisCluster{}
	c.Namespace, c.Name = b.namespace, product
	if err := b.cluster.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
		return at, err
	}
	before := c.DeepCopy()
	length := v1alpha1.RedisValue(strconv.Itoa(128 + b.loads))
	c.Spec.Groups.Config = map[string]v1alpha1.RedisValue{"slowlog-max-len": length}
	if err := b.cluster.Patch(ctx, c, client.MergeFrom(before)); err != nil {
		return at, err
	}
	return at, b.await(ctx, "every member to be replaced", func(ctx context.Context) string {
		for _, old := range s.members {
			now := &corev1.Pod{}
			err := b.cluster.Get(ctx, client.ObjectKeyFromObject(&old), now)
			if client.IgnoreNotFound(err) != nil || err == nil && now.UID == old.UID {
				return old.Name + " is the old one " + text(client.IgnoreNotFound(err))
			}
			if apierrors.IsNotFound(err) {
				return old.Name + " is not there"
			}
		}
		return ""
	})
}

// blindOperator keeps the leading operator from reaching any server.
func blindOperator(ctx context.Context, _ *bench, s *scene) (at time.Time, err error) {
	leader := s.pods[roleOperator]
	rule := func(ctx context.Context, verb string) error {
		var errs []error
		for _, member := range s.members {
			errs = append(errs, framework.Localkube(ctx, "node-exec", leader.Spec.NodeName, "--", "ip", "rule", verb,
				"from", leader.Status.PodIP, "to", member.Status.PodIP, "blackhole"))
		}
		return errors.Join(errs...)
	}
	at = time.Now()
	defer func() { err = errors.Join(err, rule(context.WithoutCancel(ctx), "del")) }()
	if err := rule(ctx, "add"); err != nil {
		return at, err
	}
	rest(ctx, blindFor)
	return at, ctx.Err()
}

// freezeAPI stops the API server, which is not there for anybody.
func freezeAPI(ctx context.Context, _ *bench, _ *scene) (at time.Time, err error) {
	at = time.Now()
	signal := func(ctx context.Context, name string) error {
		return framework.Localkube(ctx, "signal", "kube-apiserver", name)
	}
	defer func() { err = errors.Join(err, signal(context.WithoutCancel(ctx), "CONT")) }()
	if err := signal(ctx, "STOP"); err != nil {
		return at, err
	}
	rest(ctx, frozenFor)
	return at, ctx.Err()
}

// stalls stops the master again and again, never for long.
func stalls(ctx context.Context, b *bench, s *scene) (time.Time, error) {
	at := time.Now()
	master := s.pods[roleMaster]
	for range stallsATrial {
		length := 50*time.Millisecond + rand.N(longestStall-50*time.Millisecond)
		agent := b.agents[master.Spec.NodeName]
		if _, err := agent.SignalAt(ctx, &master, container(&master), "STOP", time.Now(), length); err != nil {
			return at, err
		}
		rest(ctx, rand.N(500*time.Millisecond))
	}
	return at, ctx.Err()
}

// killAll kills every member of the group at one moment.
func killAll(ctx context.Context, b *bench, s *scene) (time.Time, error) {
	var blows []blow
	for i, member := range s.members {
		if member.Labels[v1alpha1.LabelInstance] == naming.ClusterGroup(product, int32(s.group)) {
			role := fmt.Sprintf("member %d", i)
			s.pods[role] = member
			blows = append(blows, blow{role: role, signal: "KILL"})
		}
	}
	return signals(blows...)(ctx, b, s)
}

// crashWhileMoving kills the master while slots of its group are on their way to
// another one.
func crashWhileMoving(ctx context.Context, b *bench, s *scene) (time.Time, error) {
	seen, err := b.witness.Last()
	if err != nil {
		return time.Now(), err
	}
	dashboard := s.pods[roleDashboard]
	api := codis.Dashboard{
		Addr:    fmt.Sprintf("%s:%d", dashboard.Status.PodIP, naming.PortDashboard),
		Product: naming.Product(b.namespace, product),
	}
	stats, err := api.Stats(ctx)
	if err != nil {
		return time.Now(), err
	}
	moved := 0
	for _, slot := range stats.Slots {
		if slot.GroupID != s.group || moved == movedSlots {
			continue
		}
		if err := api.MoveSlots(ctx, slot.ID, slot.ID, groupCount+1-s.group); err != nil {
			return time.Now(), fmt.Errorf("of %v: %w", seen.Slots, err)
		}
		moved++
	}
	return signals(blow{role: roleMaster, signal: "KILL"})(ctx, b, s)
}
