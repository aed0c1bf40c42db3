// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

const domain = naming.Domain("cluster.local")

// scenes counts those of this run, which need addresses of their own.
var scenes atomic.Int32

// scene is a reconciler with an API server that only stores, a kubelet, and a
// model of an etcd behind real HTTP servers.
type scene struct {
	t        *testing.T
	c        client.Client
	r        *Reconciler
	recorder *events.FakeRecorder
	network  string

	// mu guards the model: members are asked at once.
	mu    sync.Mutex
	realm *realm
	// aliens answer at the addresses of pods that are gone.
	aliens map[int]*realm
	// fail is the number of the write that fails; 0 for none.
	writes, fail int
}

func newScene(t *testing.T, replicas int32) *scene {
	t.Helper()
	s := &scene{
		t: t, realm: newRealm(t, 1, int(replicas)), recorder: events.NewFakeRecorder(1000),
		network: fmt.Sprintf("127.%d.%d.", 20+os.Getpid()%200, scenes.Add(1)),
	}
	scheme := runtime.NewScheme()
	// Not all kinds of Kubernetes: the fake goes through them for each write.
	err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme),
		policyv1.AddToScheme(scheme), networkingv1.AddToScheme(scheme))
	if err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "m", UID: "m"}}
	c.Spec.Type, c.Spec.Replicas = v1alpha1.CoordinatorEtcd, new(replicas)
	c.Spec.Storage = &v1alpha1.Storage{Size: resource.MustParse("1Gi")}
	s.realm.url = func(ordinal int) string { return peerURL(c, domain, ordinal) }
	s.c = fake.NewClientBuilder().WithScheme(scheme).WithTypeConverters(managedfields.NewDeducedTypeConverter()).
		WithStatusSubresource(&v1alpha1.CodisCoordinator{}).WithObjects(c).Build()
	failing := interceptor.NewClient(s.c.(client.WithWatch), interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return s.write(func() error { return c.Apply(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return s.write(func() error { return c.Delete(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption,
		) error {
			return s.write(func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object,
			opts ...client.SubResourceUpdateOption,
		) error {
			return s.write(func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	})
	s.r = &Reconciler{
		Client: failing, Reader: s.c, Recorder: s.recorder, Domain: domain,
		Images: podtemplate.Images{Codis: "codis:1", Etcd: "etcd:1", ConfigWriter: "operator:1"},
	}
	for i := range maxPlaces {
		s.serve(i, naming.PortEtcd)
		s.serve(i, naming.PortEtcdPeer)
	}
	return s
}

var errWrite = errors.New("the API server is away")

func (s *scene) write(do func() error) error {
	if s.writes++; s.writes == s.fail {
		return errWrite
	}
	return do()
}

func (s *scene) ip(ordinal int) string { return fmt.Sprintf("%s%d", s.network, 10+ordinal) }

func (s *scene) serve(ordinal, port int) {
	s.t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", s.ip(ordinal), port))
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		own := s.realm
		if alien := s.aliens[ordinal]; alien != nil {
			s.realm = alien
		}
		answer, code := s.answer(ordinal, r)
		s.realm = own
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(answer)
	})}
	go func() { _ = server.Serve(l) }()
	s.t.Cleanup(func() { _ = server.Close() })
}

// answer is what the member at an ordinal says; it runs with the mutex held.
func (s *scene) answer(ordinal int, r *http.Request) (any, int) {
	const away = http.StatusServiceUnavailable
	pod := &s.realm.pods[ordinal]
	if pod.runs == "" {
		return nil, away
	}
	id, err := parseID(pod.runs)
	if err != nil {
		s.t.Error(err)
	}
	leader := s.realm.leader()
	if r.URL.Path == "/members" {
		return s.realm.members, http.StatusOK
	}
	var asked struct {
		Agreed   bool      `json:"linearizable"`
		PeerURLs []string  `json:"peerURLs"`
		ID       roster.ID `json:"ID"`
		Target   roster.ID `json:"targetID"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		s.t.Error(err)
	}
	path := strings.TrimPrefix(r.URL.Path, "/v3/")
	if leader == 0 && (asked.Agreed || path != "maintenance/status" && path != "cluster/member/list") {
		return nil, away
	}
	at := slices.IndexFunc(s.realm.members, func(m roster.Member) bool { return m.ID == asked.ID })
	switch path {
	case "maintenance/status":
		learner := slices.ContainsFunc(s.realm.members, func(m roster.Member) bool { return m.ID == id && m.Learner })
		return map[string]any{
			"header": map[string]any{"cluster_id": "7", "member_id": id}, "leader": leader,
			"raftIndex": "10", "raftAppliedIndex": "10", "isLearner": learner,
		}, http.StatusOK
	case "cluster/member/list":
		return map[string]any{"members": s.realm.members}, http.StatusOK
	case "cluster/member/add":
		s.realm.nextID++
		m := roster.Member{ID: s.realm.nextID, PeerURLs: asked.PeerURLs, Learner: true}
		s.realm.members = append(s.realm.members, m)
		return map[string]any{"member": m}, http.StatusOK
	case "cluster/member/promote":
		s.realm.members[at].Learner = false
		s.realm.voted[asked.ID.String()] = true
	case "cluster/member/remove":
		s.realm.members = slices.Delete(s.realm.members, at, at+1)
		if !s.realm.quorum(s.realm.members) {
			s.t.Errorf("the removal of %s lost the quorum", asked.ID)
		}
	case "maintenance/transfer-leadership":
		s.realm.led = asked.Target
	}
	return map[string]any{}, http.StatusOK
}

func (s *scene) get(name string, o client.Object) bool {
	s.t.Helper()
	err := s.c.Get(s.t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, o)
	if client.IgnoreNotFound(err) != nil {
		s.t.Fatal(err)
	}
	return err == nil
}

// kubelet runs the pods of the StatefulSet, each as its gate lets it.
func (s *scene) kubelet() {
	s.t.Helper()
	set, config := &appsv1.StatefulSet{}, &corev1.ConfigMap{}
	if !s.get("m-coordinator", set) || !s.get("m-coordinator", config) {
		return
	}
	if revision := set.Spec.Template.Annotations[v1alpha1.AnnotationTemplate]; set.Status.UpdateRevision != revision {
		set.Status.UpdateRevision = revision
		if err := s.c.Update(s.t.Context(), set); err != nil {
			s.t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range maxPlaces {
		pod := &corev1.Pod{}
		exists := s.get(naming.CoordinatorPod("m", i), pod)
		if !exists {
			s.realm.pods[i].runs, s.realm.pods[i].finding = "", seat.Finding{}
		}
		switch {
		case i < int(*set.Spec.Replicas):
			s.runPod(i, pod, exists, set, config)
		case exists:
			if err := s.c.Delete(s.t.Context(), pod); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func (s *scene) runPod(ordinal int, pod *corev1.Pod, exists bool, set *appsv1.StatefulSet, config *corev1.ConfigMap) {
	s.t.Helper()
	if !exists {
		*pod = corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: naming.CoordinatorPod("m", ordinal),
			Labels: map[string]string{appsv1.ControllerRevisionHashLabelKey: set.Status.UpdateRevision},
		}, Spec: set.Spec.Template.Spec}
		if err := s.c.Create(s.t.Context(), pod); err != nil {
			s.t.Fatal(err)
		}
	}
	model := &s.realm.pods[ordinal]
	if model.runs == "" {
		model.finding = seat.Finding{Kind: seat.Vacant}
		if given, err := seat.Decode(config.Data[seatFile(pod.Name)]); err == nil {
			if model.finding = check(model.data, given); !model.finding.Present() {
				s.realm.start(ordinal, given)
			}
		}
	}
	pod.Status = corev1.PodStatus{PodIP: s.ip(ordinal)}
	gate := corev1.ContainerStatus{Name: gateContainer}
	if model.finding.Present() {
		gate.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Message: model.finding.String()}
	}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{gate}
	if model.runs != "" {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "etcd", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	if err := s.c.Status().Update(s.t.Context(), pod); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) coordinator() *v1alpha1.CodisCoordinator {
	s.t.Helper()
	c := &v1alpha1.CodisCoordinator{}
	if !s.get("m", c) {
		s.t.Fatal("the coordinator is gone")
	}
	return c
}

func (s *scene) pass() (ctrl.Result, error) {
	return s.r.Reconcile(s.t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "ns", Name: "m"}})
}

// settle runs passes until the coordinator is ready with so many members.
func (s *scene) settle(members int) {
	s.t.Helper()
	for range 80 {
		if _, err := s.pass(); err != nil && !errors.Is(err, errWrite) {
			s.t.Fatal(err)
		}
		s.kubelet()
		status := s.coordinator().Status
		if meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) &&
			len(status.Members) == members && len(status.Endpoints) == members {
			return
		}
	}
	s.t.Fatalf("not ready: %+v", s.coordinator().Status)
}

// told drains the events, by their reasons.
func (s *scene) told() []string {
	var reasons []string
	for {
		select {
		case event := <-s.recorder.Events:
			reasons = append(reasons, strings.Fields(event)[1])
		default:
			return reasons
		}
	}
}

func TestEnsembleIsFoundedReplacedAndScaled(t *testing.T) {
	s := newScene(t, 3)
	s.settle(3)
	want := []string{
		"m-coordinator-0.m-coordinator.ns.svc.cluster.local:2379", "m-coordinator-1.m-coordinator.ns.svc.cluster.local:2379",
		"m-coordinator-2.m-coordinator.ns.svc.cluster.local:2379",
	}
	if diff := cmp.Diff(want, s.coordinator().Status.Endpoints); diff != "" {
		t.Error(diff)
	}
	s.told()
	lost := s.coordinator().Status.Members[1].ID
	s.mu.Lock()
	s.realm.pods[1] = realmPod{data: map[string]bool{}}
	s.mu.Unlock()
	pod := &corev1.Pod{}
	s.get("m-coordinator-1", pod)
	if err := s.c.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	s.kubelet()
	s.settle(3)
	if got := s.coordinator().Status.Members[1].ID; got == lost || got == "" {
		t.Errorf("the member that lost its data came back as %q, before it was %q", got, lost)
	}
	if told := s.told(); !slices.Contains(told, "MemberRemoved") || !slices.Contains(told, "MemberAdded") {
		t.Errorf("told %v", told)
	}
	for _, members := range []int32{5, 3, 1} {
		c := s.coordinator()
		c.Spec.Replicas = new(members)
		if err := s.c.Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		s.settle(int(members))
	}
}

// The address of a pod that is gone is used again: while the operator has not heard of
// that, members of another ensemble may answer there. They have no say.
func TestMembersOfAnotherEnsembleHaveNoSay(t *testing.T) {
	for name, ordinals := range map[string][]int{
		"at the first address": {0}, "at the last address": {2}, "at most addresses": {0, 1}, "at all addresses": {0, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 3)
			s.settle(3)
			config := &corev1.ConfigMap{}
			s.get("m-coordinator", config)
			before, members := config.Data, slices.Clone(s.realm.members)
			alien := newRealm(t, 2, 3)
			alien.url = func(ordinal int) string { return fmt.Sprintf("http://alien-%d:2380", ordinal) }
			for i := range 3 {
				id := roster.ID(0xa0 + i)
				alien.members = append(alien.members, roster.Member{ID: id, Name: "alien", PeerURLs: []string{alien.url(i)}})
				alien.pods[i].runs = id.String()
			}
			s.mu.Lock()
			s.aliens = map[int]*realm{}
			for _, ordinal := range ordinals {
				s.aliens[ordinal] = alien
			}
			s.mu.Unlock()
			for range 5 {
				if _, err := s.pass(); err != nil {
					t.Fatal(err)
				}
			}
			set, pods := &appsv1.StatefulSet{}, &corev1.PodList{}
			s.get("m-coordinator", config)
			s.get("m-coordinator", set)
			if err := s.c.List(t.Context(), pods); err != nil || len(pods.Items) != 3 || *set.Spec.Replicas != 3 {
				t.Errorf("%d pods, %d wanted, %v", len(pods.Items), *set.Spec.Replicas, err)
			}
			if diff := cmp.Diff(before, config.Data); diff != "" {
				t.Errorf("who sits where changed:\n%s", diff)
			}
			if diff := cmp.Diff(members, s.realm.members); diff != "" || len(alien.members) != 3 {
				t.Errorf("the members changed:\n%s", diff)
			}
			if meta.IsStatusConditionTrue(s.coordinator().Status.Conditions, v1alpha1.ConditionReady) {
				t.Error("it counts as ready")
			}
		})
	}
}

func TestInvariant7AConvergedEnsembleGetsNoWrite(t *testing.T) {
	s := newScene(t, 3)
	s.settle(3)
	s.told()
	before := s.writes
	for range 3 {
		result, err := s.pass()
		if err != nil || result.RequeueAfter != reconcile.Steady {
			t.Errorf("%v, %v", result, err)
		}
	}
	if s.writes != before || len(s.told()) != 0 {
		t.Errorf("%d writes", s.writes-before)
	}
}

// Whichever write fails, the next passes come to the same end.
func TestInvariant8AnEnsembleIsFoundedWhateverWriteFails(t *testing.T) {
	s := newScene(t, 3)
	s.settle(3)
	total := s.writes
	if total < 10 {
		t.Fatalf("only %d writes", total)
	}
	for n := 1; n <= total; n++ {
		t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) {
			s := newScene(t, 3)
			s.fail = n
			s.settle(3)
			if ids := len(s.realm.members); ids != 3 {
				t.Errorf("%d members", ids)
			}
		})
	}
}
