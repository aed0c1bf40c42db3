// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

func short(ordinal int) string { return fmt.Sprintf("s-%d:26379", ordinal) }

func TestDashboardIsToldOfSentinels(t *testing.T) {
	tests := map[string]struct {
		known  []string
		wanted int
		ready  []int
		mute   []int
		want   sentinelPlan
	}{
		"none are wanted, none are known":  {},
		"those that are ready are added":   {wanted: 3, ready: []int{0, 2}, want: sentinelPlan{add: []string{short(0), short(2)}}},
		"all are known":                    {known: []string{short(0), short(1), short(2)}, wanted: 3, ready: []int{0, 1, 2}},
		"one that is not ready stays":      {known: []string{short(0), short(1), short(2)}, wanted: 3, ready: []int{0}},
		"those beyond the number go":       {known: []string{short(0), short(1), short(2)}, wanted: 1, ready: []int{0, 1, 2}, want: sentinelPlan{remove: []string{short(1), short(2)}}},
		"all go":                           {known: []string{short(0)}, want: sentinelPlan{remove: []string{short(0)}}},
		"those of somebody else are left":  {known: []string{"theirs:26379", short(0)}, wanted: 1, ready: []int{0}, want: sentinelPlan{foreign: []string{"theirs:26379"}}},
		"also where none are wanted":       {known: []string{"theirs:26379"}, want: sentinelPlan{foreign: []string{"theirs:26379"}}},
		"one that hangs goes":              {known: []string{short(0), short(1)}, wanted: 2, ready: []int{0}, mute: []int{1}, want: sentinelPlan{remove: []string{short(1)}, mute: []string{short(1)}}},
		"one that hangs is gone already":   {known: []string{short(0)}, wanted: 2, ready: []int{0}, mute: []int{1}},
		"a sentinel is not added unwanted": {wanted: 1, ready: []int{0, 1}, known: []string{short(0)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := func(ordinals []int) func(int) bool {
				return func(ordinal int) bool { return slices.Contains(ordinals, ordinal) }
			}
			got := planSentinels(tt.known, tt.wanted, short, in(tt.ready), in(tt.mute))
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(sentinelPlan{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSentinelStopsAfterTheDashboardForgotIt(t *testing.T) {
	tests := map[string]struct {
		wanted, running int
		known           []string
		asked           bool
		want            int
	}{
		"as many as wanted":                {3, 3, []string{short(2)}, true, 3},
		"more":                             {5, 3, nil, true, 5},
		"the last one is known":            {3, 5, []string{short(0), short(4)}, true, 5},
		"the last one is forgotten":        {3, 5, []string{short(0), short(3)}, true, 4},
		"all surplus ones are forgotten":   {3, 5, []string{short(0)}, true, 3},
		"the dashboard cannot be asked":    {3, 5, nil, false, 5},
		"it cannot be asked, more are due": {5, 3, nil, false, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sentinelsToRun(tt.wanted, tt.known, short, tt.running, tt.asked); got != tt.want {
				t.Errorf("%d run, want %d", got, tt.want)
			}
		})
	}
}

// watched is a pass over a dashboard whose three sentinels watch its two groups.
func watched() *state {
	s := converged()
	s.dashboard.Spec.Sentinel = &v1alpha1.SentinelSettings{}
	s.dashboard.Status.Sentinel = &v1alpha1.SentinelStatus{}
	s.sentinels.pods, s.sentinels.looks = map[int]*corev1.Pod{}, map[int]sentinel.Survey{}
	for ordinal := range 3 {
		s.sentinels.pods[ordinal] = &corev1.Pod{}
		s.sentinels.looks[ordinal] = sentinel.Survey{Answers: true, Flags: map[string]string{"ns.d-1": "master", "ns.d-2": "master"}}
		s.stats.Sentinels.Model.Servers = append(s.stats.Sentinels.Model.Servers, domain.SentinelAddr("ns", "d", ordinal))
	}
	for id := 1; id <= 2; id++ {
		s.groups = append(s.groups, groupView{
			id: id, name: fmt.Sprintf("g%d", id), master: fmt.Sprintf("g%d-0", id), sentinelLed: true, reachable: true,
		})
		s.stats.GroupByID(id).Servers = []codis.GroupServer{
			{Addr: domain.MemberAddr("ns", fmt.Sprintf("g%d", id), fmt.Sprintf("g%d-0", id))},
		}
	}
	return s
}

func leaves(s *state) { s.dashboard.Spec.Sentinel = nil }

func unheard(ordinals ...int) func(s *state) {
	return func(s *state) {
		for _, ordinal := range ordinals {
			s.sentinels.looks[ordinal] = sentinel.Survey{}
		}
	}
}

func TestConditionOfSentinels(t *testing.T) {
	tests := map[string]struct {
		prepare func(s *state)
		want    string
		words   string
	}{
		"all answer":          {func(*state) {}, "True Ready", "all 3 sentinels"},
		"one does not answer": {unheard(1), "False SentinelsDegraded", "0 more may fail"},
		"most do not answer":  {unheard(0, 2), "False NoMajority", "no master that fails is replaced until 2 do"},
		"fewer answer than have to find a master down": {func(s *state) {
			s.dashboard.Spec.Sentinel.Quorum = new(int32(3))
			unheard(1)(s)
		}, "False NoMajority", "2 of 3 sentinels answer: no master that fails is replaced until 3 do"},
		"too few watch a group": {func(s *state) {
			for _, ordinal := range []int{0, 2} {
				s.sentinels.looks[ordinal] = sentinel.Survey{Answers: true, Flags: map[string]string{"ns.d-1": "master"}}
			}
		}, "False Progressing", "fewer than 2 sentinels watch groups 2"},
		"one of them forgot a group": {func(s *state) {
			s.sentinels.looks[0] = sentinel.Survey{Answers: true, Flags: map[string]string{"ns.d-1": "master"}}
		}, "True Ready", "all 3 sentinels"},
		"nobody watches a group that is not handed over": {func(s *state) {
			s.groups[1].sentinelLed = false
			for ordinal := range 3 {
				delete(s.sentinels.looks[ordinal].Flags, "ns.d-2")
			}
		}, "False SentinelsStarting", "groups 2"},
		"they are about to be known": {func(s *state) {
			s.stats.Sentinels.Model.Servers = nil
			s.groups[0].sentinelLed, s.groups[1].sentinelLed = false, false
		}, "False SentinelsStarting", "the operator replaces masters until 2 do"},
		"a group is not handed over": {func(s *state) { s.groups[1].sentinelLed = false }, "False SentinelsStarting", "groups 2"},
		"the dashboard refuses":      {func(s *state) { s.sentinels.refused = errors.New("add sentinel x: no") }, "False DashboardRefused", "add sentinel x: no"},
		"the dashboard is silent":    {silent, "Unknown DashboardUnreachable", ""},
		"a proxy cannot be told":     {func(s *state) { s.sentinels.untold = errors.New("proxy p-1 could not be told of the sentinels") }, "False Progressing", "proxy p-1 could not be told"},
		"proxies are not told yet":   {func(s *state) { s.sentinels.held = "group 2 is late" }, "False Progressing", "group 2 is late"},
		"others are registered": {
			func(s *state) { s.sentinels.plan.foreign = []string{"x:1"} }, "False SentinelForeign", "x:1",
		},
		"others are registered and none are asked for": {func(s *state) {
			leaves(s)
			s.dashboard.Status.Sentinel = nil
			s.sentinels.plan.foreign = []string{"x:1"}
		}, "False SentinelForeign", "which replace masters as the operator does"},
		"they leave":    {func(s *state) { leaves(s); s.sentinels.ending = []string{"d-sentinel-1"} }, "False SentinelsLeaving", "d-sentinel-1"},
		"they are gone": {leaves, "True Disabled", "the operator replaces masters"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := watched()
			tt.prepare(s)
			reportSentinels(s, domain)
			c := sentinelsCondition(s)
			if got := string(c.Status) + " " + c.Reason; got != tt.want || !strings.Contains(c.Message, tt.words) {
				t.Errorf("%s: %s, want %s and %q", got, c.Message, tt.want, tt.words)
			}
		})
	}
}

// Whoever reads the status must find it for as long as a sentinel may watch a group.
func TestStatusOfSentinelsStaysUntilNoneCanRun(t *testing.T) {
	tests := map[string]struct {
		prepare func(s *state)
		gone    bool
	}{
		"nothing runs":                  {func(*state) {}, true},
		"a pod ends":                    {func(s *state) { s.sentinels.ending = []string{"d-sentinel-0"} }, false},
		"the StatefulSet is there":      {func(s *state) { s.sentinels.live = &appsv1.StatefulSet{} }, false},
		"the dashboard knows one":       {func(s *state) { s.sentinels.plan.remove = []string{"x"} }, false},
		"the dashboard cannot be asked": {silent, false},
		"they are wanted after all":     {func(s *state) { s.dashboard.Spec.Sentinel = &v1alpha1.SentinelSettings{} }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := watched()
			leaves(s)
			tt.prepare(s)
			reportSentinels(s, domain)
			if gone := s.dashboard.Status.Sentinel == nil; gone != tt.gone {
				t.Errorf("the status is gone: %v, want %v", gone, tt.gone)
			}
		})
	}
}

func TestSentinelsAreToldAnewOnlyWhileAllIsSettled(t *testing.T) {
	r := &Reconciler{Domain: domain}
	tests := map[string]struct {
		prepare func(s *state)
		want    string
	}{
		"all is settled":              {func(*state) {}, ""},
		"a sentinel does not answer":  {unheard(2), "d-sentinel-2 does not answer"},
		"a proxy does not answer":     {func(s *state) { s.stats.Proxy.Models = []codis.Proxy{{Token: "t", Hostname: "p-1"}} }, "p-1"},
		"a master does not answer":    {func(s *state) { s.groups[0].reachable = false }, "group 1 has no master"},
		"a group gets another master": {func(s *state) { s.groups[1].promoting = true }, "group 2 has no master"},
		"a promotion is half-done":    {func(s *state) { s.stats.GroupByID(2).Promoting.State = "prepared" }, "group 2 has no master"},
		"a group is not handed over":  {func(s *state) { s.groups[0].sentinelLed = false }, "group 1 is not handed over"},
		"the dashboard is behind":     {func(s *state) { s.groups[0].master = "g1-1" }, "the dashboard does not know the master of group 1"},
		"a sentinel finds one down": {
			func(s *state) { s.sentinels.looks[1].Flags["ns.d-2"] = "s_down,master" }, "the master of group 2 down",
		},
		"a group that nobody made": {func(s *state) { s.groups = s.groups[:1]; s.stats.GroupByID(2).Servers[0].Addr = "x:1" }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := watched()
			tt.prepare(s)
			if got := r.resyncHeld(s); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
				t.Errorf("held %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGroupIsForgottenOnceItIsGone(t *testing.T) {
	s := watched()
	s.groups = s.groups[:1]
	for id, gone := range map[int]bool{1: false, 2: false, 3: true} {
		if got := s.isGone(id); got != gone {
			t.Errorf("group %d is gone: %v, want %v", id, got, gone)
		}
	}
	s.stats.Group.Models = nil // The store was lost.
	if s.isGone(1) || !s.isGone(2) {
		t.Error("a CodisGroup is forgotten with the store, or one that nobody made is not")
	}
}

func TestSentinelsAreStaleWhereSomebodyWasNotTold(t *testing.T) {
	s := watched()
	proxy := &codis.ProxyState{}
	s.stats.Proxy.Models = []codis.Proxy{{Token: "t"}}
	s.stats.Proxy.Stats = map[string]codis.ProxyStats{"t": {Stats: proxy}}
	if !staleSentinels(s.stats) {
		t.Error("a proxy that knows no sentinel counts as told")
	}
	proxy.Sentinels.Servers = s.stats.Sentinels.Model.Servers
	if staleSentinels(s.stats) {
		t.Error("everybody was told")
	}
	s.stats.Sentinels.Model.OutOfSync = true
	if !staleSentinels(s.stats) {
		t.Error("the dashboard says that somebody was not told")
	}
}

func TestSentinelObjects(t *testing.T) {
	d := example()
	storage := &v1alpha1.Storage{Size: resource.MustParse("1Gi"), ReclaimPolicy: v1alpha1.ReclaimDelete}
	d.Spec.Sentinel = &v1alpha1.SentinelSettings{Storage: storage}
	objects, err := sentinelObjects(d, 3, "system", images, nil)
	if err != nil {
		t.Fatal(err)
	}
	var set *appsv1.StatefulSet
	var policy *networkingv1.NetworkPolicy
	for _, object := range objects {
		if object.GetName() != "d-sentinel" || object.GetNamespace() != "ns" {
			t.Errorf("%T is %s/%s", object, object.GetNamespace(), object.GetName())
		}
		switch o := object.(type) {
		case *appsv1.StatefulSet:
			set = o
		case *networkingv1.NetworkPolicy:
			policy = o
		}
	}
	if *set.Spec.Replicas != 3 || len(set.Spec.VolumeClaimTemplates) != 1 || set.Spec.MinReadySeconds != sentinelPause ||
		set.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted != appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		t.Errorf("StatefulSet %+v", set.Spec)
	}
	pod := set.Spec.Template.Spec
	if diff := cmp.Diff([]string{"codis-server", "/data/sentinel.conf", "--sentinel"}, pod.Containers[0].Command); diff != "" {
		t.Error(diff)
	}
	init := pod.InitContainers[0]
	if !slices.Contains(init.Args, "--out=/data/sentinel.conf") || len(init.Env) != 3 || init.VolumeMounts[1].Name != "data" {
		t.Errorf("init container %+v", init)
	}
	if len(policy.Spec.Ingress) != 1 || len(policy.Spec.Ingress[0].From) != 4 {
		t.Errorf("policy %+v", policy.Spec)
	}
	for _, peer := range policy.Spec.Ingress[0].From[:3] {
		if peer.PodSelector.MatchLabels[v1alpha1.LabelDashboard] != "d" || peer.PodSelector.MatchLabels[v1alpha1.LabelComponent] == naming.ComponentServer {
			t.Errorf("let in: %+v", peer.PodSelector)
		}
	}
}

// Sentinels of somebody else make no dashboard unready that asks for none.
func TestReadyHeedsOnlyWantedSentinels(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		s := watched()
		s.sentinels.plan.foreign = []string{"x:1"}
		if !wanted {
			leaves(s)
			s.dashboard.Status.Sentinel = nil
		}
		report(s, domain, metav1.Unix(0, 0).Time)
		if ready := meta.IsStatusConditionTrue(s.dashboard.Status.Conditions, v1alpha1.ConditionReady); ready == wanted {
			t.Errorf("ready: %v, wanted: %v", ready, wanted)
		}
	}
}
