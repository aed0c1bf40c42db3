// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
)

// The cache may not know a sentinel yet that others told to watch the group.
func TestNobodyActsInPlaceOfASentinelThatTheCacheDoesNotKnow(t *testing.T) {
	running := func(ordinal int) *corev1.Pod {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: naming.SentinelPod("d", ordinal), Labels: naming.Selector(naming.ComponentSentinel, "d"),
		}}
		pod.Status.PodIP = fmt.Sprintf("10.1.0.%d", ordinal)
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		return pod
	}
	seen := func(ordinal int) lookout {
		o := lookoutOf(running(ordinal))
		o.View = forgetful().View
		return o
	}
	absent := func(ordinal int) lookout { return lookout{pod: naming.SentinelPod("d", ordinal), absent: true} }
	tests := map[string]struct {
		prepare func(s *state)
		all     []lookout
		unseen  bool
	}{
		"all were asked":               {func(*state) {}, []lookout{seen(0), seen(1)}, false},
		"one was not there":            {func(*state) {}, []lookout{seen(0), absent(1)}, true},
		"one is not asked for":         {func(*state) {}, []lookout{seen(0)}, true},
		"one has another address":      {func(*state) {}, []lookout{seen(0), {pod: seen(1).pod, addr: "10.1.9.9:26379", View: forgetful().View}}, true},
		"the operator leads the group": {func(s *state) { s.group.Status.FailoverBy = "" }, []lookout{absent(0)}, false},
		"nobody is made master":        {func(s *state) { s.decision.verb = keep }, []lookout{absent(0)}, false},
		"it is up to the sentinels":    {func(*state) {}, []lookout{says(serverOf(0), 1)}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(running(0), running(1)).Build()
			s := stateOfWorld(ended, cutOffData)
			s.dashboard.Name, s.group.Status.FailoverBy = "d", v1alpha1.FailoverBySentinel
			s.world.lookouts = lookouts{wanted: 2, led: true, all: tt.all}
			s.decision = decision{verb: promote, master: &s.world.members[1]}
			tt.prepare(s)
			unseen, err := (&Reconciler{Reader: c}).unseenSentinels(t.Context(), s)
			if unseen != tt.unseen || err != nil || unseen != (s.decision.verb == wait) {
				t.Errorf("unseen %t, %v, decided to %s", unseen, err, s.decision.verb)
			}
		})
	}
}

// What sentinels are to forget may be an election that they held while the API server
// did not answer.
func TestSentinelsAreToldNothingByAPassThatTookTooLong(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(now)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d-sentinel-0"}}
	pod.Status.PodIP = "127.0.0.1"
	slow := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(pod).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
			clock.SetTime(clock.Now().Add(passLimit + 1))
			return c.Get(ctx, key, into, opts...)
		},
	}).Build()
	s := stateOfWorld(masterData, syncedData)
	o := says(serverOf(0), 1)
	o.pod, o.addr = pod.Name, lookoutOf(pod).addr
	s.world.lookouts = lookouts{wanted: 1, led: true, all: []lookout{o}}
	r := &Reconciler{Reader: slow, Clock: clock}
	if _, err := r.tellSentinels(t.Context(), s, monitors{forget: []int{0}}); !errors.Is(err, errHeldUp) {
		t.Errorf("got %v, want %v", err, errHeldUp)
	}
}

// How long the dashboard is left alone counts from when sentinels made a member master,
// also where they forgot it since.
func TestDashboardIsLeftAloneForAWhileAfterAnElection(t *testing.T) {
	m0, m1 := serverOf(0), serverOf(1)
	tests := map[string]struct {
		in    []situation
		all   []lookout
		led   bool
		since time.Duration
	}{
		"sentinels agree on another member":  {[]situation{ended, masterData}, []lookout{says(m1, 2), says(m1, 2), says(m1, 2)}, true, followPatience},
		"they were told of the old one anew": {[]situation{ended, masterData}, []lookout{says(m0, 0), says(m0, 0), says(m0, 0)}, true, followPatience},
		"they forgot it":                     {[]situation{ended, masterData}, []lookout{forgetful(), forgetful(), forgetful()}, true, followPatience},
		"the master serves":                  {[]situation{masterData, syncedData}, []lookout{says(m0, 1), says(m0, 1), says(m0, 1)}, true, 0},
		"it is not up to sentinels":          {[]situation{ended, masterData}, []lookout{forgetful(), forgetful(), forgetful()}, false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			r := &Reconciler{Clock: clock}
			s := &state{group: &v1alpha1.CodisGroup{}}
			s.world = smallWorld(tt.in, 0).with([]change{wasInSync(1), lookedAtBy(tt.all...)})
			s.world.lookouts.led = tt.led
			r.timeElection(s)
			if got := s.world.lookouts.electedFor; got != 0 {
				t.Errorf("at first %s", got)
			}
			clock.SetTime(clock.Now().Add(followPatience))
			r.timeElection(s)
			if got := s.world.lookouts.electedFor; got != tt.since {
				t.Errorf("later %s, want %s", got, tt.since)
			}
		})
	}
}

// resyncing is a dashboard that counts how often a group is resynced.
type resyncing struct {
	dashboard

	times *int
}

func (d resyncing) ResyncGroup(context.Context, int) error {
	*d.times++
	return nil
}

// That a proxy goes by what sentinels said of another group, which may be for long, is no
// business of this one.
func TestRoutesAreTakenBackOnlyFromProxiesThatHaveOthers(t *testing.T) {
	route := func(group int, master string) codis.Route { return codis.Route{Group: group, Master: master} }
	ours, theirs := route(1, memberAddr(0)), route(2, nowhere)
	tests := map[string]struct {
		switched bool
		routes   []codis.Route // nil is no answer
		prepare  func(s *state)
		want     int
	}{
		"the route is by address":         {true, []codis.Route{theirs, route(1, serverOf(0))}, func(*state) {}, 1},
		"the route is that of another":    {true, []codis.Route{route(1, nowhere), theirs}, func(*state) {}, 1},
		"only another group is concerned": {true, []codis.Route{ours, theirs}, func(*state) {}, 0},
		"it goes by the dashboard":        {false, []codis.Route{route(1, nowhere)}, func(*state) {}, 0},
		"it does not answer":              {true, nil, func(*state) {}, 0},
		"the dashboard is behind":         {true, []codis.Route{route(1, nowhere)}, func(s *state) { s.world.behind = true }, 0},
		"the group has no slots":          {true, []codis.Route{route(1, nowhere)}, func(s *state) { s.group.Status.Slots = 0 }, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			times := 0
			s := stateOfWorld(masterData, syncedData)
			s.group.Status.Slots = 512
			seen := &codis.ProxyState{}
			seen.Sentinels.Switched = tt.switched
			s.stats.Proxy.Models = []codis.Proxy{{Token: "t", AdminAddr: "a"}}
			s.stats.Proxy.Stats = map[string]codis.ProxyStats{"t": {Stats: seen}}
			s.api = resyncing{times: &times}
			routes := map[string][]codis.Route{}
			if tt.routes != nil {
				routes["a"] = tt.routes
			}
			s.proxies = routingProxies{routes: routes}
			tt.prepare(s)
			(&Reconciler{}).takeRoutesBack(t.Context(), s)
			if times != tt.want {
				t.Errorf("resynced %d times, want %d", times, tt.want)
			}
		})
	}
}
