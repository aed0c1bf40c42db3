// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	poll = 200 * time.Millisecond
	// steady is how long all has to be well.
	steady = 3 * time.Second
	// moves that are tried to give a fault its place.
	moves = 3
	// maxWorn is how many pods are replaced before a trial.
	maxWorn = 12
	// proxyPort is where proxies take clients.
	proxyPort = "19000"
)

// scene is what a fault finds.
type scene struct {
	placement
	// pods by their roles.
	pods map[string]corev1.Pod
	// members of all groups.
	members []corev1.Pod
	// proxies are the addresses of all, struck of those that the fault hits.
	proxies, struck []string
	// masters are the servers that each group begins with, by their addresses.
	masters map[int]string
	// slots of the group.
	slots string
	// exposed are the groups whose masters the fault hits.
	exposed []int
	// usable is when the dashboard that was struck was of use again, if ever.
	usable time.Time
}

// await asks until nothing is missing any more; what was last is in the error.
func (b *bench) await(ctx context.Context, what string, missing func(ctx context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	var last string
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		if now := missing(ctx); ctx.Err() == nil {
			last = now
		}
		return last == "", nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w: %s", what, err, last)
	}
	return nil
}

// waitWell waits until all is well and stays so for a while, and returns when
// that began.
func (b *bench) waitWell(ctx context.Context) (time.Time, error) {
	var began time.Time
	err := b.await(ctx, "all to be well", func(ctx context.Context) string {
		if problem := b.unwell(ctx); problem != "" {
			began = time.Time{}
			return problem
		}
		if began.IsZero() {
			began = time.Now()
		}
		if time.Since(began) < steady {
			return "it is well for only a moment"
		}
		return ""
	})
	return began, err
}

// stage waits until all is well, no process has a past, and the fault has its
// place. In a scene without a group it has none.
func (b *bench) stage(ctx context.Context, f fault) (*scene, error) {
	if f.cuts != cutNothing && !framework.OnLocalkube() {
		return &scene{placement: placement{problem: "only localkube can do that"}}, nil
	}
	if f.cuts == cutAlone && b.coordinator == v1alpha1.CoordinatorFilesystem {
		return &scene{placement: placement{problem: "a directory cannot be had elsewhere than on its node"}}, nil
	}
	// It was well for a while after the trial before this one.
	if err := b.await(ctx, "all to be well", b.unwell); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		if err := b.refresh(ctx); err != nil {
			return nil, err
		}
		s, err := b.scene(ctx, f)
		if err != nil || s.group != 0 || s.move+s.promote == "" || tries == moves {
			return s, err
		}
		if err := b.rearrange(ctx, s.placement); err != nil {
			return nil, err
		}
	}
}

// rearrange promotes or moves what a fault wants elsewhere.
func (b *bench) rearrange(ctx context.Context, p placement) error {
	if p.promote == "" {
		return b.replace(ctx, b.namespace, p.move)
	}
	if err := b.switchTo(ctx, p.promote); err != nil {
		return err
	}
	_, err := b.waitWell(ctx)
	return err
}

// refresh replaces every pod that had to start a process again, one by one: the
// longer such a past is, the longer the kubelet waits before the next start, and
// a trial would measure that.
func (b *bench) refresh(ctx context.Context) error {
	if b.worn {
		return nil
	}
	for range maxWorn {
		operators, err := b.cluster.Pods(ctx, operatorNamespace, map[string]string{v1alpha1.LabelName: operatorName})
		if err != nil {
			return err
		}
		pods, err := b.pods(ctx)
		if err != nil {
			return err
		}
		seen, err := b.witness.Last()
		if err != nil {
			return err
		}
		worn := firstWorn(append(operators, pods...), seen)
		if worn == nil {
			return nil
		}
		if err := b.replace(ctx, worn.Namespace, worn.Name); err != nil {
			return err
		}
	}
	return errors.New("processes end all the while")
}

// firstWorn is the pod to replace first: masters come last, since they are not
// masters any more after that.
func firstWorn(pods []corev1.Pod, seen observer.Observation) *corev1.Pod {
	restarted := func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 }
	worn := slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		return !slices.ContainsFunc(pod.Status.ContainerStatuses, restarted)
	})
	if len(worn) == 0 {
		return nil
	}
	rank := func(pod corev1.Pod) int {
		for _, servers := range seen.Groups {
			if at := slices.IndexFunc(servers, func(addr string) bool { return host(addr) == pod.Name }); at == 0 {
				return 2
			} else if at > 0 {
				return 1
			}
		}
		return 0
	}
	pod := slices.MinFunc(worn, func(x, y corev1.Pod) int { return cmp.Compare(rank(x), rank(y)) })
	return &pod
}

// replace deletes a pod and waits until all is well without it.
func (b *bench) replace(ctx context.Context, namespace, name string) error {
	pod := &corev1.Pod{}
	if err := b.cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil {
		return err
	}
	if err := b.cluster.Delete(ctx, pod); err != nil {
		return err
	}
	if err := b.await(ctx, "the end of pod "+name, func(ctx context.Context) string {
		now := &corev1.Pod{}
		err := b.cluster.Get(ctx, client.ObjectKeyFromObject(pod), now)
		if client.IgnoreNotFound(err) != nil {
			return text(err)
		}
		if err == nil && now.UID == pod.UID {
			return "it is there"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := b.waitOperators(ctx); err != nil {
		return err
	}
	_, err := b.waitWell(ctx)
	return err
}

// scene looks at what is there now.
func (b *bench) scene(ctx context.Context, f fault) (*scene, error) {
	seen, err := b.witness.Last()
	if err != nil {
		return nil, err
	}
	pods, err := b.pods(ctx)
	if err != nil {
		return nil, err
	}
	l, byName := look(b.home, pods, seen)
	s := &scene{placement: l.place(f.cuts), pods: map[string]corev1.Pod{}, masters: map[int]string{}}
	if s.group == 0 {
		return s, nil
	}
	leader, err := b.leader(ctx)
	if err != nil {
		return nil, err
	}
	members := l.members[s.group]
	s.pods[roleOperator], s.pods[roleMaster] = *leader, byName[members[0]]
	s.pods[roleReplica], s.pods[roleDashboard] = byName[members[len(members)-1]], byName[l.dashboard]
	s.pods[roleProxy] = byName[l.proxies[0]]
	s.slots = seen.Slots[s.group]
	for group, servers := range seen.Groups {
		s.masters[group] = servers[0]
		for _, server := range servers {
			s.members = append(s.members, byName[host(server)])
		}
		if group == s.group || f.all || s.node != "" && l.nodes[host(servers[0])] == s.node {
			s.exposed = append(s.exposed, group)
		}
	}
	for i, name := range l.proxies {
		addr := net.JoinHostPort(byName[name].Status.PodIP, proxyPort)
		s.proxies = append(s.proxies, addr)
		if f.proxy && i == 0 || s.node != "" && l.nodes[name] == s.node {
			s.struck = append(s.struck, addr)
		}
	}
	return s, nil
}

// look sorts the pods of a product.
func look(home string, pods []corev1.Pod, seen observer.Observation) (layout, map[string]corev1.Pod) {
	l := layout{home: home, nodes: map[string]string{}, members: map[int][]string{}}
	byName := map[string]corev1.Pod{}
	for _, pod := range pods {
		l.nodes[pod.Name], byName[pod.Name] = pod.Spec.NodeName, pod
		switch pod.Labels[v1alpha1.LabelComponent] {
		case roleProxy:
			l.proxies = append(l.proxies, pod.Name)
		case roleDashboard:
			l.dashboard = pod.Name
		}
	}
	slices.Sort(l.proxies)
	for group, servers := range seen.Groups {
		for _, addr := range servers {
			l.members[group] = append(l.members[group], host(addr))
		}
	}
	return l, byName
}
