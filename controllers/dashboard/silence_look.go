// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
)

const (
	// answerTime is how long a dashboard may take for an answer before it is seen
	// whether its host is there at all.
	answerTime = 300 * time.Millisecond
	// dialTimeout is how long a host may take to accept a connection.
	dialTimeout = 700 * time.Millisecond
	// storeTimeout bounds a look into the store, and one at a Lease. Dead members were left
	// out.
	storeTimeout = time.Second
	// lookTimeout is more than a look takes. One that takes longer says that the operator
	// stood still, and nothing about a node.
	lookTimeout = 3 * storeTimeout
	// maxAsked bounds how many pods are asked on the silent node, and how many nodes else.
	maxAsked = 64
	// askedOf is how many pods are asked on each other node.
	askedOf = 2
	// askedBeside is how many pods of the dashboard's namespace are asked on other nodes.
	askedBeside = 8
)

// silence is what is remembered of a dashboard that does not answer.
type silence struct {
	node string
	// since is when nothing on the node has answered any more; zero if something did.
	since time.Time
	// told tells that a pod was told to end.
	told bool
	// renewal is the Lease of the node as it was read first, renewed when it was seen
	// to be another; zero if it was not.
	renewal string
	renewed time.Time
}

// stats asks a dashboard for the topology, and gives up early where its host does not
// even accept a connection: a dashboard that pushes to dead proxies may take seconds
// for an answer, a host that is cut off never gives one.
func (r *Reconciler) stats(ctx context.Context, s *state, api codis.Dashboard) (*codis.Stats, error) {
	s.asked = r.Clock.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-ctx.Done():
		case <-time.After(answerTime):
			if unanswered(r.dial(ctx, api.Addr)) {
				cancel(errDeaf)
			}
		}
	}()
	stats, err := product.Stats(ctx, api)
	s.deaf = err != nil && errors.Is(context.Cause(ctx), errDeaf)
	return stats, err
}

// quiet tells whether nothing on the node of a pod answered when that was looked at last.
func (r *Reconciler) quiet(d *v1alpha1.CodisDashboard, pod *corev1.Pod) bool {
	found, _ := r.silences.Load(d.UID)
	known, _ := found.(*silence)
	return known != nil && !known.since.IsZero() && pod != nil && known.node == pod.Spec.NodeName
}

// errDeaf says that a host accepts no connection.
var errDeaf = errors.New("nothing there accepts a connection")

// dial tries to connect.
func (r *Reconciler) dial(ctx context.Context, addr string) error {
	if r.Dial != nil {
		return r.Dial(ctx, addr)
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// unanswered tells whether an attempt to connect was not answered. A host that refuses lives.
func unanswered(err error) bool {
	return err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET)
}

// lookAround finds out what can be known of the node of a dashboard that does not answer.
func (r *Reconciler) lookAround(ctx context.Context, s *state, known *silence) (quietNode, error) {
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.UnsafeDisableDeepCopy); err != nil {
		return quietNode{}, fmt.Errorf("list pods: %w", err)
	}
	node := s.pod.Spec.NodeName
	here, elsewhere := byNode(pods.Items, node)
	if addressOf(s.pod) != "" {
		here = append(here, *s.pod) // Whatever the cache has.
	}
	now := r.Clock.Now()
	seen := quietNode{
		served: podtemplate.HasCondition(s.pod, corev1.PodReady), again: known.told,
		moving:  s.wasMoving || underWay(s.dashboard.Status.Rebalance),
		working: len(s.dashboard.Status.Unfinished) > 0 || changing(s.groups),
		ending:  s.pod.DeletionTimestamp != nil, others: len(elsewhere),
	}
	var heardHere bool
	var lease *coordinationv1.Lease
	var all sync.WaitGroup
	all.Go(func() {
		heardHere = slices.ContainsFunc(r.dialAll(ctx, here), func(err error) bool { return !unanswered(err) })
	})
	all.Go(func() { seen.heard = r.countAnswering(ctx, elsewhere) })
	beside := besides(pods.Items, s.pod)
	seen.beside = len(beside)
	all.Go(func() { seen.besideHeard = slices.Contains(r.dialAll(ctx, beside), nil) })
	all.Go(func() { lease = r.leaseOf(ctx, node) })
	if seen.ending {
		all.Go(func() { seen.stored = r.storeAnswers(ctx, s, here) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return quietNode{}, err // What was cut short says nothing.
	}
	over := r.Clock.Now()
	known.note(node, heardHere || over.Sub(now) > lookTimeout, lease, s.asked, now)
	seen.leased, seen.renewed = lease != nil, lease != nil && known.kubeletLives(lease, now)
	if !known.since.IsZero() {
		seen.quiet = over.Sub(known.since)
	}
	if seen.ending { // Up to the end of the look: a pod that changes meanwhile is not given up.
		seen.graceOver = r.graceOver(s.dashboard, s.pod, over)
	}
	return seen, nil
}

// note remembers what was seen of the node. It is silent since the dashboard was asked
// what it did not answer, unless that took too long, too.
func (k *silence) note(node string, heard bool, lease *coordinationv1.Lease, asked, now time.Time) {
	if k.node != node {
		*k = silence{node: node, told: k.told}
	}
	switch {
	case heard:
		k.since = time.Time{}
	case k.since.IsZero() && now.Sub(asked) <= lookTimeout:
		k.since = asked
	case k.since.IsZero():
		k.since = now
	}
	if lease == nil {
		return
	}
	renewal := lease.Spec.RenewTime.String()
	if k.renewal != "" && k.renewal != renewal {
		k.renewed = now
	}
	k.renewal = renewal
}

// kubeletLives tells whether a Lease was renewed under the operator's eyes. A kubelet
// renews it four times in its duration, so that the next time is due by now if the last
// one is longer ago.
func (k *silence) kubeletLives(lease *coordinationv1.Lease, now time.Time) bool {
	lasts := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 40)) * time.Second
	return !k.renewed.IsZero() && now.Sub(k.renewed) < lasts*3/10
}

// leaseOf reads the Lease that the kubelet of a node renews, past the cache; nil if it
// cannot be read, or says nothing.
func (r *Reconciler) leaseOf(ctx context.Context, node string) *coordinationv1.Lease {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	lease := &coordinationv1.Lease{}
	err := r.Reader.Get(ctx, types.NamespacedName{Namespace: corev1.NamespaceNodeLease, Name: node}, lease)
	if err != nil || lease.Spec.RenewTime == nil {
		return nil
	}
	return lease
}

// storeAnswers tells whether the store answers a read that a majority of its members has
// to agree on, asked by those that are not on the silent node.
func (r *Reconciler) storeAnswers(ctx context.Context, s *state, here []corev1.Pod) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kept := s.store.status(s.coordinator.Spec.Type)
	if kept == nil {
		return false
	}
	kept.Endpoints = slices.DeleteFunc(kept.Endpoints, func(endpoint string) bool {
		return slices.ContainsFunc(here, func(pod corev1.Pod) bool {
			return pod.Namespace == s.dashboard.Namespace && strings.HasPrefix(endpoint, pod.Name+".")
		})
	})
	wanted, err := r.lockIn(ctx, s.dashboard, kept)
	if err != nil || len(kept.Endpoints) == 0 {
		return false
	}
	_, err = lock.Read(ctx, wanted)
	return err == nil
}

// countAnswering counts the nodes of which a pod accepts a connection. That one refuses
// is no answer: it may come from this side.
func (r *Reconciler) countAnswering(ctx context.Context, nodes [][]corev1.Pod) int {
	answers := make([]bool, len(nodes))
	var all sync.WaitGroup
	for i, pods := range nodes {
		all.Go(func() { answers[i] = slices.Contains(r.dialAll(ctx, pods), nil) })
	}
	all.Wait()
	heard := 0
	for _, answer := range answers {
		if answer {
			heard++
		}
	}
	return heard
}

// dialAll tries to connect to pods, all at once.
func (r *Reconciler) dialAll(ctx context.Context, pods []corev1.Pod) []error {
	errs := make([]error, len(pods))
	var all sync.WaitGroup
	for i := range pods {
		all.Go(func() { errs[i] = r.dial(ctx, addressOf(&pods[i])) })
	}
	all.Wait()
	return errs
}

// byNode finds the pods to ask on a node, and some that are ready on each other one.
// Web pages are closed to the operator. It is pure.
func byNode(pods []corev1.Pod, node string) (here []corev1.Pod, elsewhere [][]corev1.Pod) {
	others := map[string][]corev1.Pod{}
	var names []string
	for i := range pods {
		at, page := pods[i].Spec.NodeName, pods[i].Labels[v1alpha1.LabelComponent] == naming.ComponentFE
		switch {
		case at == "" || page || addressOf(&pods[i]) == "" || podtemplate.Ended(&pods[i]):
		case at == node && len(here) < maxAsked:
			here = append(here, pods[i])
		case at != node && podtemplate.Ready(&pods[i]) && len(others[at]) < askedOf:
			if others[at] == nil {
				names = append(names, at)
			}
			others[at] = append(others[at], pods[i])
		}
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), maxAsked)] {
		elsewhere = append(elsewhere, others[name])
	}
	return here, elsewhere
}

// besides finds pods in the namespace of a pod that are ready on other nodes: what keeps
// the operator from a namespace keeps it from them as well. It is pure.
func besides(pods []corev1.Pod, pod *corev1.Pod) []corev1.Pod {
	var beside []corev1.Pod
	for i := range pods {
		p := &pods[i]
		if p.Namespace == pod.Namespace && p.Spec.NodeName != "" && p.Spec.NodeName != pod.Spec.NodeName &&
			p.Labels[v1alpha1.LabelComponent] != naming.ComponentFE && addressOf(p) != "" && podtemplate.Ready(p) &&
			len(beside) < askedBeside {
			beside = append(beside, *p)
		}
	}
	return beside
}

// addressOf is where the main container of a pod listens; empty if that is not known.
func addressOf(pod *corev1.Pod) string {
	if pod.Status.PodIP == "" || len(pod.Spec.Containers) == 0 || len(pod.Spec.Containers[0].Ports) == 0 {
		return ""
	}
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(pod.Spec.Containers[0].Ports[0].ContainerPort)))
}
