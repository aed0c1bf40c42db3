// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	// product is the name of the CodisCluster.
	product = "bench"
	// extra is the group that comes and goes.
	extra   = "bench-extra"
	extraID = 3
	// share is what the third of three groups has of the slots.
	share = 1024 / 3
	poll  = 100 * time.Millisecond
)

// bench is a run of the benchmark.
type bench struct {
	options

	cluster   *framework.Cluster
	namespace string
	witness   *framework.Witness
}

// setUp makes the product, fills it, and adds the third group without slots.
func (b *bench) setUp(ctx context.Context) error {
	c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: product}}
	c.Spec.Groups.Count, c.Spec.Groups.Replicas = new(int32(2)), new(int32(2))
	c.Spec.Proxy.Replicas = new(int32(2))
	g := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: extra}}
	g.Spec.DashboardRef.Name, g.Spec.ID, g.Spec.Replicas = product, extraID, new(int32(2))
	g.Spec.SlotPolicy = v1alpha1.SlotsDrain
	for _, object := range []client.Object{c, g} {
		if err := b.cluster.Create(ctx, object); err != nil {
			return fmt.Errorf("create the product: %w", err)
		}
	}
	started, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if _, err := b.cluster.WatchReady(started, b.namespace, product); err != nil {
		return err
	}
	const fillSeconds = 20
	values := b.megabytes << 20 / b.size
	said, err := b.cluster.RunClient(ctx, b.namespace, product, "load", "-addr", product+"-proxy:19000", "-prefix", "fill",
		"-writers", "16", "-rate", strconv.Itoa(values/fillSeconds), "-size", strconv.Itoa(b.size),
		"-duration", fmt.Sprintf("%ds", fillSeconds), "-report", "1m")
	if err != nil {
		return fmt.Errorf("fill the product: %w: %s", err, said)
	}
	b.witness, err = b.cluster.StartWitness(ctx, b.namespace, product, product+"-auth")
	if err != nil {
		return err
	}
	return b.await(ctx, "the group without slots", b.isReady(extra))
}

// run lets the third group get its share by one way, and give it back.
func (b *bench) run(ctx context.Context, move func(context.Context) (time.Time, error)) (trial, error) {
	began, err := move(ctx)
	if err != nil {
		return trial{}, err
	}
	var t trial
	err = b.await(ctx, "the slots to move", func(context.Context) (bool, error) {
		seen, err := b.witness.Since(began)
		if err != nil || len(seen) == 0 {
			return false, err
		}
		at, slots := settled(seen, share)
		// What comes to rest between two batches goes on within a second.
		if at.IsZero() || seen[len(seen)-1].Time.Sub(at) < 2*time.Second {
			return false, nil
		}
		t = trial{took: at.Sub(began), waited: firstMove(seen).Sub(began), slots: slots}
		return true, nil
	})
	if err != nil {
		return t, err
	}
	return t, b.giveBack(ctx)
}

// askCodis has the dashboard plan and queue by itself, the operator looking on.
func (b *bench) askCodis(ctx context.Context) (time.Time, error) {
	if err := b.policy(ctx, v1alpha1.RebalanceOff); err != nil {
		return time.Time{}, err
	}
	address := fmt.Sprintf("%[1]s-dashboard-0.%[1]s-dashboard.%[2]s.svc:18080", product, b.namespace)
	said, err := b.cluster.RunClient(ctx, b.namespace, product,
		"rebalance", "-dashboard", address, "-product", b.namespace+"."+product)
	if err != nil {
		return time.Time{}, err
	}
	var asked struct {
		Time  time.Time `json:"time"`
		Slots int       `json:"slots"`
	}
	if err := json.Unmarshal([]byte(said), &asked); err != nil || asked.Slots < share {
		return time.Time{}, fmt.Errorf("rebalance said %q: %w", said, err)
	}
	return asked.Time, nil
}

// askOperator lets the third group share the slots.
func (b *bench) askOperator(ctx context.Context) (time.Time, error) {
	if err := b.policy(ctx, v1alpha1.RebalanceAuto); err != nil {
		return time.Time{}, err
	}
	asked := time.Now()
	return asked, b.slotPolicy(ctx, v1alpha1.SlotsShare)
}

// giveBack lets the third group give its slots away, and waits until all is well.
func (b *bench) giveBack(ctx context.Context) error {
	if err := b.slotPolicy(ctx, v1alpha1.SlotsDrain); err != nil {
		return err
	}
	if err := b.policy(ctx, v1alpha1.RebalanceAuto); err != nil {
		return err
	}
	err := b.await(ctx, "the slots to move back", func(context.Context) (bool, error) {
		last, err := b.witness.Last()
		return last.Problem == "" && last.Moving == 0 && last.Slots[extraID] == "" && last.InRole(), err
	})
	if err != nil {
		return err
	}
	return b.await(ctx, "the product to be ready", b.isReady(product))
}

// slotPolicy changes what the third group shall have.
func (b *bench) slotPolicy(ctx context.Context, policy v1alpha1.SlotPolicy) error {
	g := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: extra}}
	return b.cluster.Patch(ctx, g, merge(`{"spec":{"slotPolicy":%q}}`, string(policy)))
}

// policy changes whether the operator moves slots, and waits until it knows.
func (b *bench) policy(ctx context.Context, policy v1alpha1.RebalancePolicy) error {
	c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: product}}
	err := b.cluster.Patch(ctx, c, merge(`{"spec":{"dashboard":{"rebalance":{"policy":%q}}}}`, string(policy)))
	if err != nil {
		return fmt.Errorf("change the policy: %w", err)
	}
	return b.await(ctx, "the operator to know the policy", func(ctx context.Context) (bool, error) {
		d := &v1alpha1.CodisDashboard{}
		if err := b.cluster.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: product}, d); err != nil {
			return false, err
		}
		said := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionRebalanced)
		return d.Spec.Rebalance != nil && d.Spec.Rebalance.Policy == policy && said != nil &&
			said.ObservedGeneration == d.Generation, nil
	})
}

func merge(format string, args ...any) client.Patch {
	return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, format, args...))
}

// isReady tells whether an object of a name, a CodisCluster or a CodisGroup, is Ready.
func (b *bench) isReady(name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		key := client.ObjectKey{Namespace: b.namespace, Name: name}
		if name == product {
			c := &v1alpha1.CodisCluster{}
			err := b.cluster.Get(ctx, key, c)
			return err == nil && framework.Ready(c), err
		}
		g := &v1alpha1.CodisGroup{}
		err := b.cluster.Get(ctx, key, g)
		if err != nil {
			return false, err
		}
		ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == g.Generation, nil
	}
}

// await waits until something is so.
func (b *bench) await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if err := wait.PollUntilContextCancel(ctx, poll, true, done); err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}
