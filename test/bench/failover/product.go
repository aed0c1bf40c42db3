// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	// product is the name of the CodisCluster.
	product           = "bench"
	groupCount        = 2
	proxyCount        = 2
	operatorNamespace = "codis-operator-system"
	operatorName      = "codis-operator"
)

// coordinators that the operator runs itself.
var coordinators = []v1alpha1.CoordinatorType{
	v1alpha1.CoordinatorFilesystem, v1alpha1.CoordinatorEtcd, v1alpha1.CoordinatorZooKeeper,
}

// bench is a run of the benchmark.
type bench struct {
	options
	cluster   *framework.Cluster
	namespace string
	// home is the node of all clients.
	home    string
	witness *framework.Witness
	// agents by their nodes.
	agents map[string]*framework.Agent
	// loads that were started.
	loads int
}

// setUp makes the product and everything to strike it with.
func (b *bench) setUp(ctx context.Context) error {
	if err := b.waitOperators(ctx); err != nil {
		return err
	}
	nodes, err := b.nodes(ctx)
	if err != nil {
		return err
	}
	b.home = nodes[0]
	if err := b.cluster.Create(ctx, b.manifest(nodes)); err != nil {
		return fmt.Errorf("create the CodisCluster: %w", err)
	}
	for _, node := range nodes {
		if b.agents[node], err = b.cluster.StartAgent(ctx, b.namespace, node); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	_, err = b.cluster.WatchReady(ctx, b.namespace, product)
	return err
}

// startWitness starts a new witness: the log of one that is old is long.
func (b *bench) startWitness(ctx context.Context) error {
	if b.witness != nil {
		if err := b.witness.Stop(ctx); err != nil {
			return err
		}
	}
	var err error
	b.witness, err = b.cluster.StartWitnessOn(ctx, b.home, b.namespace, product, product+"-auth")
	return err
}

// waitOperators waits until all operators run and one of them leads.
func (b *bench) waitOperators(ctx context.Context) error {
	deployment := "deployment/" + operatorName
	for _, args := range [][]string{
		{"scale", "-n", operatorNamespace, deployment, "--replicas", strconv.Itoa(b.operators)},
		{"rollout", "status", "-n", operatorNamespace, deployment, "--timeout=3m"},
	} {
		if _, err := b.cluster.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return b.await(ctx, "an operator that leads", func(ctx context.Context) string {
		_, err := b.leader(ctx)
		return text(err)
	})
}

// leader is the operator that acts.
func (b *bench) leader(ctx context.Context) (*corev1.Pod, error) {
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: operatorNamespace, Name: "codis-operator.codis.io"}
	if err := b.cluster.Get(ctx, key, lease); err != nil {
		return nil, err
	}
	spec := lease.Spec
	if spec.HolderIdentity == nil || spec.RenewTime == nil || time.Since(spec.RenewTime.Time) > 5*time.Second {
		return nil, fmt.Errorf("nobody renews the lease %s", key)
	}
	key.Name, _, _ = strings.Cut(*spec.HolderIdentity, "_")
	pod := &corev1.Pod{}
	return pod, b.cluster.Get(ctx, key, pod)
}

// nodes that pods can be on.
func (b *bench) nodes(ctx context.Context) ([]string, error) {
	list := &corev1.NodeList{}
	if err := b.cluster.List(ctx, list); err != nil {
		return nil, err
	}
	var names []string
	for _, node := range list.Items {
		closed := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != "PreferNoSchedule" })
		if !closed && !node.Spec.Unschedulable {
			names = append(names, node.Name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, fmt.Errorf("none of %d nodes takes pods", len(list.Items))
	}
	return names, nil
}

// manifest is the CodisCluster. Where there are nodes enough, the dashboard is
// on the first, unless a fault cuts it off, proxies on the first two, and members,
// if others can hold them all, not on the first: so there are masters whose node
// can be cut.
func (b *bench) manifest(nodes []string) *v1alpha1.CodisCluster {
	c := &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: product}}
	c.Spec.Groups.Count, c.Spec.Groups.Replicas = new(int32(groupCount)), new(int32(b.replicas))
	c.Spec.Proxy.Replicas = new(int32(proxyCount))
	// Kernels give next to nothing to a pod that asks for nothing while its node is busy.
	busy := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}
	c.Spec.Groups.Resources, c.Spec.Proxy.Resources, c.Spec.Dashboard.Resources = busy, busy, busy
	if b.storage {
		c.Spec.Groups.Storage = &v1alpha1.Storage{
			Size: resource.MustParse("1Gi"), ReclaimPolicy: v1alpha1.ReclaimDelete,
		}
	}
	c.Spec.Coordinator.Type = b.coordinator
	if b.coordinator != v1alpha1.CoordinatorFilesystem {
		c.Spec.Coordinator.Storage = &v1alpha1.Storage{
			Size: resource.MustParse("1Gi"), ReclaimPolicy: v1alpha1.ReclaimDelete,
		}
	}
	if len(nodes) < 3 {
		return c
	}
	if slices.ContainsFunc(b.faults, func(f fault) bool { return f.cuts == cutAlone }) {
		// The dashboard has a node to go to, and nothing else is on either.
		c.Spec.Dashboard.Pod = onNodes(nodes[1:])
		c.Spec.Proxy.Pod, c.Spec.Groups.Pod = onNodes(nodes[:1]), onNodes(nodes[:1])
		return c
	}
	at := b.dashboardNode()
	c.Spec.Dashboard.Pod, c.Spec.Proxy.Pod = onNodes(nodes[at:at+1]), onNodes(nodes[:2])
	if b.replicas < len(nodes) {
		c.Spec.Groups.Pod = onNodes(nodes[1:])
	}
	return c
}

// dashboardNode is which of the nodes the dashboard is on: the second has a proxy
// and can be cut off, the third has none.
func (b *bench) dashboardNode() int {
	for _, f := range b.faults {
		switch f.cuts {
		case cutDashboard:
			return 2
		case cutBoth:
			return 1
		default:
		}
	}
	return 0
}

func onNodes(names []string) *v1alpha1.PodSettings {
	affinity := fmt.Sprintf(`{"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
		{"matchExpressions": [{"key": %q, "operator": "In", "values": ["%s"]}]}]}}}`,
		corev1.LabelHostname, strings.Join(names, `", "`))
	return &v1alpha1.PodSettings{Affinity: &runtime.RawExtension{Raw: []byte(affinity)}}
}

// pods of the product.
func (b *bench) pods(ctx context.Context) ([]corev1.Pod, error) {
	return b.cluster.Pods(ctx, b.namespace, map[string]string{v1alpha1.LabelManagedBy: operatorName})
}

// unwell is why the product is not as it should be, for the witness and for
// Kubernetes; it is empty if it is.
func (b *bench) unwell(ctx context.Context) string {
	seen, err := b.witness.Last()
	switch {
	case err != nil:
		return err.Error()
	case time.Since(seen.Time) > 3*time.Second:
		return "the witness does not look"
	}
	if problem := misfit(seen, b.replicas); problem != "" {
		return problem
	}
	for _, check := range []func(context.Context, observer.Observation) (string, error){b.unready, b.unreadyPod} {
		if problem, err := check(ctx, seen); err != nil || problem != "" {
			return problem + text(err)
		}
	}
	return ""
}

// misfit is what is wrong with what the witness saw.
func misfit(seen observer.Observation, replicas int) string {
	if seen.Problem != "" {
		return "the dashboard does not answer: " + seen.Problem
	}
	if len(seen.Groups) != groupCount || seen.Moving > 0 || seen.Slots[0] != "" {
		return fmt.Sprintf("%d groups, %d slots move, slots %q have no owner", len(seen.Groups), seen.Moving, seen.Slots[0])
	}
	for id, servers := range seen.Groups {
		if masters := seen.Masters(id); len(servers) != replicas || len(masters) != 1 || masters[0] != servers[0] {
			return fmt.Sprintf("of %d servers of group %d %v are masters", len(servers), id, masters)
		}
	}
	if !seen.InRole() {
		return fmt.Sprintf("a replica is not in sync: %+v", seen.Members)
	}
	return ""
}

// unready is what is not ready in the eyes of the operator.
func (b *bench) unready(ctx context.Context, seen observer.Observation) (string, error) {
	groups, c := &v1alpha1.CodisGroupList{}, &v1alpha1.CodisCluster{}
	if err := b.cluster.List(ctx, groups, client.InNamespace(b.namespace)); err != nil {
		return "", err
	}
	for _, group := range groups.Items {
		ready := meta.FindStatusCondition(group.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != "True" || ready.ObservedGeneration != group.Generation {
			return fmt.Sprintf("CodisGroup %s is not Ready: %+v", group.Name, ready), nil
		}
		if servers := seen.Groups[int(group.Spec.ID)]; len(servers) == 0 || host(servers[0]) != group.Status.Master {
			return fmt.Sprintf("CodisGroup %s calls %s master of %v", group.Name, group.Status.Master, servers), nil
		}
	}
	err := b.cluster.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: product}, c)
	if err == nil && !framework.Ready(c) {
		return "the CodisCluster is not Ready", nil
	}
	return "", err
}

// unreadyPod is a pod that is not ready, or what the dashboard has wrong about proxies.
func (b *bench) unreadyPod(ctx context.Context, seen observer.Observation) (string, error) {
	pods, err := b.pods(ctx)
	if err != nil {
		return "", err
	}
	var proxies []string
	for i := range pods {
		ready := slices.ContainsFunc(pods[i].Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if !ready || pods[i].DeletionTimestamp != nil {
			return "pod " + pods[i].Name + " is not ready", nil
		}
		if pods[i].Labels[v1alpha1.LabelComponent] == roleProxy {
			proxies = append(proxies, pods[i].Name)
		}
	}
	slices.Sort(proxies)
	if !slices.Equal(proxies, seen.Hostnames()) {
		return fmt.Sprintf("the dashboard has entries of the proxies %v, there are %v", seen.Hostnames(), proxies), nil
	}
	return "", nil
}

// host is the pod in the address of a server.
func host(addr string) string {
	name, _, _ := strings.Cut(addr, ".")
	return name
}

// text of an error, if there is one.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
