// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
)

// lostNode is node-1 with a dashboard, beside two others.
type lostNode struct {
	t        *testing.T
	clock    *clocktesting.FakePassiveClock
	api      *fixture.API
	client   *fixture.Client
	etcd     *fixture.Etcd
	recorder *events.FakeRecorder
	r        *Reconciler
	d        *v1alpha1.CodisDashboard
	// cut are the addresses of hosts that say nothing.
	cut []string
	// kind and addr of the store, moving whether slots were, last what the dashboard answered.
	kind, addr string
	moving     bool
	last       *codis.Stats
	// groups of the product.
	groups []groupView
	// problem that users are told of.
	problem *product.Problem
}

// coordinatorAddr is that of a member on node-1.
const coordinatorAddr = "d-coordinator-0.d-coordinator.ns.svc.cluster.local:2379"

func newLostNode(t *testing.T) *lostNode {
	t.Helper()
	n := &lostNode{
		t: t, clock: clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second)), etcd: fixture.NewEtcd(t),
		recorder: events.NewFakeRecorder(16), cut: []string{"1:18080", "2:80", "6:80"}, kind: "etcd",
	}
	n.addr = coordinatorAddr + "," + n.etcd.Addr
	n.etcd.Set(lockKey, lockText(ownAddr, "own"))
	n.api = fixture.NewAPI(scheme(t), n.clock.Now)
	n.client = n.api.Client(nil, nil)
	n.r = &Reconciler{
		Client: n.client, Reader: n.client, Recorder: n.recorder, Clock: n.clock, Domain: "cluster.local",
		Images: podtemplate.Images{Codis: "codis", ConfigWriter: "operator"},
		Dial: func(_ context.Context, addr string) error {
			if slices.Contains(n.cut, addr) {
				return errTimeout
			}
			return nil
		},
	}
	n.d = &v1alpha1.CodisDashboard{}
	n.d.Namespace, n.d.Name, n.d.Spec.ProductName = "ns", "d", "p"
	n.add(n.d)
	n.add(leaseAt(n.clock.Now(), 40))
	n.dashboardOn("node-1", "1")
	for node, ip := range map[string]string{"node-1": "2", "node-2": "3", "node-3": "4"} {
		pod := podOn(node, "proxy-"+ip, ip, nil)
		n.add(&pod)
	}
	member := podOn("node-1", "d-coordinator-0", "6", nil)
	n.add(&member)
	return n
}

func (n *lostNode) add(object client.Object) {
	n.t.Helper()
	if err := n.client.Create(n.t.Context(), object); err != nil {
		n.t.Fatal(err)
	}
}

// dashboardOn does what the StatefulSet, the scheduler and a kubelet do.
func (n *lostNode) dashboardOn(node, ip string) {
	n.t.Helper()
	pod := podOn(node, naming.DashboardPod("d"), ip, func(p *corev1.Pod) {
		p.Labels = naming.Labels(naming.ComponentDashboard, "d", "d")
		p.Spec.Containers[0].Ports[0].ContainerPort = naming.PortDashboard
	})
	n.add(&pod)
}

func (n *lostNode) pod(name string) *corev1.Pod {
	n.t.Helper()
	pod := &corev1.Pod{}
	err := n.client.Get(n.t.Context(), types.NamespacedName{Namespace: "ns", Name: name}, pod)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return pod
}

// renew does what the kubelet of node-1 does.
func (n *lostNode) renew() {
	n.t.Helper()
	if err := n.client.Delete(n.t.Context(), leaseAt(n.clock.Now(), 40)); err != nil {
		n.t.Fatal(err)
	}
	n.add(leaseAt(n.clock.Now(), 40))
}

// passes looks once a second, for some seconds.
func (n *lostNode) passes(seconds int) {
	n.t.Helper()
	for range seconds {
		c := &v1alpha1.CodisCoordinator{}
		c.Spec.Type = v1alpha1.CoordinatorEtcd
		s := &state{
			dashboard: n.d, coordinator: c, pod: n.pod(naming.DashboardPod("d")), stats: n.last, wasMoving: n.moving,
			groups:  n.groups,
			store:   store{Store: config.Store{Name: n.kind, Addr: n.addr}},
			problem: &product.Problem{Reason: v1alpha1.ReasonDashboardUnreachable, Message: "silent"},
		}
		if s.pod != nil && s.pod.DeletionTimestamp == nil {
			s.asked = n.clock.Now()
		}
		for _, step := range []func(context.Context, *state) (time.Duration, error){n.r.replaceSilent, n.r.letIn} {
			if _, err := step(n.t.Context(), s); err != nil {
				n.t.Fatal(err)
			}
		}
		n.problem = s.problem
		n.clock.SetTime(n.clock.Now().Add(time.Second))
	}
}

func (n *lostNode) events() string {
	var all []string
	for len(n.recorder.Events) > 0 {
		all = append(all, <-n.recorder.Events)
	}
	return strings.Join(all, "\n")
}

// The whole story: told to end, given up, kept out, and let in again.
func TestDashboardOfASilentNode(t *testing.T) {
	n := newLostNode(t)
	n.passes(3)
	if pod := n.pod(naming.DashboardPod("d")); pod.DeletionTimestamp != nil || len(n.recorder.Events) > 0 {
		t.Fatalf("it is told to end too early: %s", n.events())
	}
	n.passes(1)
	if pod := n.pod(naming.DashboardPod("d")); pod.DeletionTimestamp == nil || !strings.HasPrefix(n.events(), "Warning DashboardToldToEnd ") {
		t.Fatal("it is not told to end")
	}
	n.passes(1)
	if pod := n.pod(naming.DashboardPod("d")); pod == nil || n.pod(naming.KeepOut("d")) != nil {
		t.Fatal("it is given up too early")
	}
	n.passes(1)
	if told := n.events(); n.pod(naming.DashboardPod("d")) != nil || !strings.HasPrefix(told, "Warning DashboardLost ") {
		t.Fatalf("it is not given up: %s", told)
	}
	mustKeepOut(t, n.pod(naming.KeepOut("d")), "node-1")

	n.dashboardOn("node-2", "5")
	n.passes(1)
	n.last = &codis.Stats{}
	n.passes(58)
	if n.pod(naming.KeepOut("d")) == nil {
		t.Error("the dashboard may be started on the lost node, which Kubernetes may not call lost yet")
	}
	n.passes(2)
	if n.pod(naming.KeepOut("d")) != nil {
		t.Error("the node is kept free for ever")
	}
	if told := n.events(); told != "" {
		t.Errorf("more was told: %s", told)
	}
}

// mustKeepOut fails unless a pod is on a node, by itself, and wants no dashboard there.
func mustKeepOut(t *testing.T, pod *corev1.Pod, node string) {
	t.Helper()
	if pod == nil || pod.Spec.NodeName != node || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Fatalf("node %s is not kept free: %+v", node, pod)
	}
	term := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
	unwanted := labels.SelectorFromSet(term.LabelSelector.MatchLabels)
	if !unwanted.Matches(labels.Set(naming.Labels(naming.ComponentDashboard, "d", "d"))) || term.TopologyKey != corev1.LabelHostname {
		t.Errorf("it does not keep the dashboard away: %+v", term)
	}
	if unwanted.Matches(labels.Set(naming.Labels(naming.ComponentDashboard, "other", "other"))) {
		t.Error("it keeps other dashboards away")
	}
	if pod.Labels[v1alpha1.LabelDashboard] != "" {
		t.Error("network policies take it for a part of the product")
	}
}

// A pod of a silent node that is not given up, and why.
func TestDashboardThatIsNotGivenUp(t *testing.T) {
	tests := map[string]struct {
		change func(n *lostNode)
		each   func(n *lostNode) // Every five seconds.
		told   bool
		why    string
	}{
		"it is hung, and its kernel accepts connections": {change: func(n *lostNode) { n.cut = nil }, why: "silent"},
		"it has a directory of its own":                  {change: func(n *lostNode) { n.kind = filesystem }, why: "silent"},
		"a proxy on its node answers":                    {change: func(n *lostNode) { n.cut = []string{"1:18080", "6:80"} }, why: "silent"},
		"a proxy on its node answers again": {each: func(n *lostNode) {
			if n.pod(naming.DashboardPod("d")).DeletionTimestamp != nil {
				n.cut = []string{"1:18080"}
			}
		}, told: true, why: "silent"},
		"another node is silent, too": {
			change: func(n *lostNode) { n.cut = append(n.cut, "3:80") },
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"most other nodes do not answer either, so that the operator may be cut off",
		},
		"a NetworkPolicy keeps the operator from the namespace": {
			change: func(n *lostNode) { // Others, of other namespaces, answer.
				n.cut = append(n.cut, "3:80", "4:80")
				for node, ip := range map[string]string{"node-2": "7", "node-3": "8"} {
					pod := podOn(node, "a-"+ip, ip, func(p *corev1.Pod) { p.Namespace = "another" })
					n.add(&pod)
				}
			},
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"no pod of its namespace answers on any other node either, so that a NetworkPolicy may keep the operator out",
		},
		"its kubelet renews the Lease": {
			each: func(n *lostNode) { n.renew() }, told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"its kubelet renews the Lease of the node, and has to end it",
		},
		"the operator may not read Leases": {
			change: func(n *lostNode) {
				if err := n.client.Delete(n.t.Context(), leaseAt(n.clock.Now(), 40)); err != nil {
					n.t.Fatal(err)
				}
			},
			told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"the Lease of the node in kube-node-lease cannot be read",
		},
		"slots were moving": {
			change: func(n *lostNode) { n.moving = true }, told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"slots were moving, with which it may go on when it is back",
		},
		"slots were to move, and none did when that was recorded": {
			change: func(n *lostNode) { n.d.Status.Rebalance = &v1alpha1.RebalanceStatus{Left: 7} }, told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"slots were moving, with which it may go on when it is back",
		},
		"a sync action was pending when it answered last": {
			change: func(n *lostNode) { n.d.Status.Unfinished = []v1alpha1.DashboardWork{v1alpha1.WorkSync} }, told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"a promotion or a sync action was not finished, with which it may go on when it is back",
		},
		"a promotion is being carried out": {
			change: func(n *lostNode) { n.groups = []groupView{{id: 1}, {id: 2, promoting: true, changing: true}} }, told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"a promotion or a sync action was not finished, with which it may go on when it is back",
		},
		"the only member of its store is on its node": {
			change: func(n *lostNode) { n.addr = coordinatorAddr }, told: true,
			why: "nothing on node node-1 answers, where pod d-dashboard-0 is, and it is not replaced yet: " +
				"its store does not answer without that node",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := newLostNode(t)
			if tt.change != nil {
				tt.change(n)
			}
			for range 6 {
				if tt.each != nil {
					tt.each(n)
				}
				n.passes(5)
			}
			pod := n.pod(naming.DashboardPod("d"))
			if pod == nil || n.pod(naming.KeepOut("d")) != nil {
				t.Fatalf("it was given up: %s", n.events())
			}
			if told := pod.DeletionTimestamp != nil; told != tt.told {
				t.Errorf("told to end: %v, %s", told, n.events())
			}
			if n.problem.Message != tt.why {
				t.Errorf("it is said: %s", n.problem.Message)
			}
		})
	}
}

// A dashboard that was ended in order, and cannot be reached in its new pod either, is
// not started anew for ever: the operator alone may be cut off from that node.
func TestDashboardIsToldToEndOnceOnly(t *testing.T) {
	n := newLostNode(t)
	n.passes(4)
	pod := n.pod(naming.DashboardPod("d"))
	if pod.DeletionTimestamp == nil {
		t.Fatal("it is not told to end")
	}
	if err := n.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil { // Its kubelet has ended it.
		t.Fatal(err)
	}
	n.passes(1)
	n.dashboardOn("node-1", "1")
	n.passes(30)
	if pod := n.pod(naming.DashboardPod("d")); pod == nil || pod.DeletionTimestamp != nil {
		t.Error("it is told to end again")
	}
	n.last = &codis.Stats{}
	n.passes(1)
	n.last = nil
	n.passes(4)
	if pod := n.pod(naming.DashboardPod("d")); pod.DeletionTimestamp == nil {
		t.Error("it answered since, and is not told to end any more")
	}
}

// An operator that takes over goes on where it finds a pod that is ending.
func TestAnotherOperatorGoesOnWithALostNode(t *testing.T) {
	n := newLostNode(t)
	n.passes(4)
	n.r.silences.Clear()
	n.passes(3)
	if n.pod(naming.DashboardPod("d")) == nil {
		t.Fatal("it is given up by somebody who has just begun to look")
	}
	n.passes(1)
	if n.pod(naming.DashboardPod("d")) != nil {
		t.Fatal("it is not given up")
	}
	n.r.keptOut.Clear()
	n.passes(59)
	if n.pod(naming.KeepOut("d")) == nil {
		t.Error("the node is not kept free for a minute by an operator that took over")
	}
}

// Moves that somebody has to agree to first keep no dashboard from being replaced.
func TestDashboardWithMovesThatAreOnlyPlannedIsGivenUp(t *testing.T) {
	n := newLostNode(t)
	n.d.Status.Rebalance = &v1alpha1.RebalanceStatus{Left: 7, Plan: []v1alpha1.PlannedMove{{From: 1, To: 2, Slots: "0-6"}}}
	n.passes(8)
	if n.pod(naming.DashboardPod("d")) != nil {
		t.Error("it is not given up")
	}
}

// A failover that was carried out without the dashboard waits for a new one.
func TestDashboardThatIsBehindIsGivenUp(t *testing.T) {
	n := newLostNode(t)
	n.groups = []groupView{{id: 1, promoting: true}}
	n.passes(8)
	if n.pod(naming.DashboardPod("d")) != nil {
		t.Error("it is not given up")
	}
}

// An operator that stood still finds its connections timed out, and has seen no silence.
func TestAnOperatorThatStoodStillHasSeenNothing(t *testing.T) {
	n := newLostNode(t)
	dial, once := n.r.Dial, sync.Once{}
	n.r.Dial = func(ctx context.Context, addr string) error {
		if addr == "2:80" { // It stands still while it looks around.
			once.Do(func() { n.clock.SetTime(n.clock.Now().Add(time.Minute)) })
		}
		return dial(ctx, addr)
	}
	n.passes(4)
	if pod := n.pod(naming.DashboardPod("d")); pod == nil || pod.DeletionTimestamp != nil {
		t.Fatal("it is told to end for the time in which nobody looked")
	}
	n.passes(1)
	if pod := n.pod(naming.DashboardPod("d")); pod.DeletionTimestamp == nil {
		t.Error("it has been silent since, and is not told to end")
	}
}

// A dashboard may be away for long after its node was silent for a moment. Nobody else is
// asked meanwhile.
func TestNobodyElseIsAskedOnceTheNodeAnswers(t *testing.T) {
	n := newLostNode(t)
	n.passes(1)
	n.cut = nil
	n.passes(1)
	var asked atomic.Int32
	n.r.Dial = func(context.Context, string) error {
		asked.Add(1)
		return nil
	}
	n.passes(10)
	if got := asked.Load(); got != 10 {
		t.Errorf("%d connections in 10 passes", got)
	}
}
