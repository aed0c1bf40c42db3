// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/redis"
)

const (
	oldRevision = "g-old"
	newRevision = "g-new"
)

// pod of a member that runs a template and is ready.
func pod(ordinal int, revision string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: memberName(ordinal),
			Labels: map[string]string{appsv1.ControllerRevisionHashLabelKey: revision},
		},
		Status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "server", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
}

// waiting makes a pod one whose container waits for a reason.
func waiting(p *corev1.Pod, reason string) *corev1.Pod {
	p.Status.Conditions = nil
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	return p
}

// serverStats is a dashboard that knows group 1 with the servers of a world.
func serverStats(w world) *codis.Stats {
	stats := &codis.Stats{Slots: make([]codis.SlotMapping, codis.Slots)}
	for i := range stats.Slots {
		stats.Slots[i] = codis.SlotMapping{ID: i, GroupID: 2}
	}
	group := codis.Group{ID: 1}
	for _, addr := range w.order {
		group.Servers = append(group.Servers, codis.GroupServer{Addr: addr})
	}
	if len(w.order) > 0 {
		stats.Group.Models = append(stats.Group.Models, group)
	}
	return stats
}

// stateOfWorld is a pass over a group of such members, decided and with every
// pod ready; g-0 is the dashboard's master.
func stateOfWorld(in ...situation) *state {
	w := smallWorld(in, 0)
	s := &state{
		group: &v1alpha1.CodisGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g", Generation: 3},
			Spec: v1alpha1.CodisGroupSpec{
				ID: 1, CodisGroupTemplate: v1alpha1.CodisGroupTemplate{Replicas: new(int32(len(in)))},
				DashboardRef: v1alpha1.LocalReference{Name: "d"},
			},
		},
		dashboard: &v1alpha1.CodisDashboard{},
		live: &appsv1.StatefulSet{Status: appsv1.StatefulSetStatus{
			UpdateRevision: newRevision,
		}},
		stats:  serverStats(w),
		world:  w,
		looked: now,
	}
	for ordinal := range in {
		s.pods = append(s.pods, pod(ordinal, newRevision))
	}
	s.before = s.group.DeepCopy()
	s.decision = decideMaster(w)
	if s.decision.verb == keep {
		_, s.held = decideFollowers(w, *s.decision.master)
	}
	return s
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// said are the events that a reconciler recorded.
type said []string

// Eventf implements events.EventRecorder.
func (s *said) Eventf(_, _ runtime.Object, _, reason, action, note string, args ...any) {
	*s = append(*s, fmt.Sprintf("%s %s: %s", reason, action, fmt.Sprintf(note, args...)))
}

// lab is a reconciler with codis-servers that really answer, g-0 and so on.
type lab struct {
	t       *testing.T
	api     *fixture.API
	cluster *fixture.Cluster
	clock   *clocktesting.FakeClock
	events  said
	r       *Reconciler

	mu sync.Mutex
	// outcome of a command, by its first word; what has none passes.
	outcome map[string]fixture.Outcome
	// asked counts the commands that the operator sent, by their first word.
	asked map[string]int
}

func newLab(t *testing.T, members int) *lab {
	t.Helper()
	l := &lab{t: t, clock: clocktesting.NewFakeClock(now), outcome: map[string]fixture.Outcome{}, asked: map[string]int{}}
	l.api = fixture.NewAPI(scheme(t), l.clock.Now)
	l.cluster = fixture.NewCluster(l.api.Client(nil, nil), &fixture.Gate{Decide: l.decide})
	t.Cleanup(l.cluster.Close)
	c := l.api.Client(nil, nil)
	l.r = &Reconciler{Client: c, Reader: c, Recorder: &l.events, Clock: l.clock, Domain: "cluster.local"}
	for ordinal := range members {
		l.makePod(ordinal)
	}
	l.step()
	return l
}

func (l *lab) decide(c fixture.Call) fixture.Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[c.Verb]++
	return l.outcome[c.Verb]
}

// count returns how often a command was sent.
func (l *lab) count(command string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[command]
}

// makePod makes the pod of a member, which is master.
func (l *lab) makePod(ordinal int) {
	l.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: memberName(ordinal), Labels: map[string]string{v1alpha1.LabelComponent: naming.ComponentServer},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "server", Command: []string{"codis-server"}}}},
	}
	if err := l.r.Client.Create(l.t.Context(), p); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) step() {
	l.t.Helper()
	if _, err := l.cluster.Step(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) pod(ordinal int) *corev1.Pod {
	l.t.Helper()
	p := &corev1.Pod{}
	if err := l.r.Client.Get(l.t.Context(), client.ObjectKey{Namespace: "ns", Name: memberName(ordinal)}, p); err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *lab) server(ordinal int) *fixture.Server { return l.cluster.Server("ns", memberName(ordinal)) }

// end kills the process of a member, which is not started again.
func (l *lab) end(ordinal int) {
	l.t.Helper()
	l.cluster.Hold("ns", memberName(ordinal), true)
	if err := l.cluster.KillProcess("ns", memberName(ordinal)); err != nil {
		l.t.Fatal(err)
	}
}

// state is a pass over a group whose members are in such situations, at the
// addresses of the pods that there are.
func (l *lab) state(in ...situation) *state {
	l.t.Helper()
	s := stateOfWorld(in...)
	s.servers = &redis.Client{Timeout: 10 * time.Second}
	for ordinal := range s.world.members {
		p := l.pod(ordinal)
		s.pods[ordinal] = p
		s.world.members[ordinal].ip, s.world.members[ordinal].uid = p.Status.PodIP, p.UID
	}
	return s
}

// stored is the group as the API server has it.
func stored(t *testing.T, c client.Reader) *v1alpha1.CodisGroup {
	t.Helper()
	g := &v1alpha1.CodisGroup{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "g"}, g); err != nil {
		t.Fatal(err)
	}
	return g
}
