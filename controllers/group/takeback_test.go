// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/redis"
)

// toldServers keeps what members were told to follow.
type toldServers struct {
	servers

	follow map[string]string
}

func (t toldServers) Follow(_ context.Context, addr string, _ redis.Observation, master string) error {
	t.follow[addr] = master
	return nil
}

// deafReader does not answer.
type deafReader struct{ client.Reader }

func (deafReader) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("no answer")
}

// takingBack is a switchover from g-0 to g-1 that was given up, where both take writes.
func takingBack(t *testing.T, recorded error) (*Reconciler, *state, toldServers) {
	t.Helper()
	s := stateOfWorld(masterData, masterData)
	s.world.members[1].redis.RunID, s.world.promotedRunID = "r1", "r1"
	s.group.Status.Promotion = &v1alpha1.Promotion{
		Member: "g-1", RunID: "r1", From: "g-0", Cause: v1alpha1.CauseSwitchover, StartTime: metav1.NewMicroTime(now),
	}
	objects := []client.Object{s.group}
	for i, p := range s.pods {
		p.Status.PodIP = s.world.members[i].ip
		objects = append(objects, p)
	}
	fails := interceptor.Funcs{SubResourcePatch: func(
		ctx context.Context, c client.Client, _ string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption,
	) error {
		if recorded != nil {
			return recorded
		}
		return c.Status().Patch(ctx, o, p, opts...)
	}}
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithStatusSubresource(s.group).
		WithInterceptorFuncs(fails).Build()
	s.group = stored(t, c)
	s.before = s.group.DeepCopy()
	told := toldServers{follow: map[string]string{}}
	s.servers = told
	return &Reconciler{Client: c, Reader: c, Recorder: &said{}, Clock: clocktesting.NewFakePassiveClock(now)}, s, told
}

// Before the old master takes the next write, who was to be switched to is no master.
func TestSwitchoverIsTakenBack(t *testing.T) {
	conflict := apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("codisgroups").GroupResource(), "g", nil)
	fenced := map[string]string{"10.0.0.1:6379": redis.FenceAddr}
	tests := map[string]struct {
		recorded error
		change   func(s *state)
		want     map[string]string
		deaf     bool // the API server, when it is asked for a pod
		stored   bool
		fails    bool
	}{
		"it is fenced":                                   {want: fenced, stored: true},
		"the API server does not answer":                 {recorded: errors.New("no answer"), deaf: true, want: fenced},
		"the API server is gone after the record":        {deaf: true, stored: true},
		"somebody else changed the group":                {recorded: conflict, fails: true},
		"it is another process by now":                   {change: func(s *state) { s.world.members[1].redis.RunID = "r2" }, stored: true},
		"it takes no writes":                             {change: func(s *state) { s.world.members[1].redis.Role = redis.RoleReplica }, stored: true},
		"it is the master that goes on":                  {change: func(s *state) { s.decision.master = &s.world.members[1] }, stored: true},
		"its address belongs to another pod by now":      {change: func(s *state) { s.world.members[1].ip = "10.0.0.9" }, stored: true},
		"it is recorded already, and it takes writes":    {change: recordedBack, want: fenced},
		"it is recorded already, and somebody else acts": {recorded: conflict, change: recordedBack, want: fenced},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, s, told := takingBack(t, tt.recorded)
			if tt.deaf {
				r.Reader = deafReader{}
			}
			if tt.change != nil {
				tt.change(s)
			}
			if err := r.takeBack(t.Context(), s); (err != nil) != tt.fails {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, told.follow); diff != "" && len(tt.want)+len(told.follow) > 0 {
				t.Error(diff)
			}
			if !tt.fails && s.world.promotedRunID != "" {
				t.Errorf("%q still counts as promoted", s.world.promotedRunID)
			}
			if back := stored(t, r.Client).Status.Promotion.Outcome != ""; back != tt.stored {
				t.Errorf("recorded %t", back)
			}
		})
	}
}

// deafProxies answer, hold their requests, and take no routes.
type deafProxies struct {
	routingProxies

	product string
}

func (p deafProxies) Model(context.Context, string) (*codis.Proxy, error) {
	return &codis.Proxy{Product: p.product}, nil
}

func (deafProxies) FillSlots(context.Context, codis.Proxy, []codis.Route) error {
	return errors.New("no answer")
}

// A proxy that cannot be told of the new master may be given the old one by the dashboard.
func TestOldMasterIsFencedThoughAProxyIsNotToldOfTheNewOne(t *testing.T) {
	r, s, told := takingBack(t, nil)
	proxy := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{
		v1alpha1.LabelComponent: naming.ComponentProxy, v1alpha1.LabelDashboard: s.dashboard.Name,
	}}}
	proxy.Status.PodIP = "10.1.0.0"
	if err := r.Client.Create(t.Context(), proxy); err != nil {
		t.Fatal(err)
	}
	locked := codis.Route{Group: int(s.group.Spec.ID), Master: memberAddr(0), Locked: true}
	s.proxies = deafProxies{routingProxies{routes: map[string][]codis.Route{"10.1.0.0:11080": {locked}}}, product.Name(s.dashboard)}
	s.stats = nil
	if err := r.endBlindly(t.Context(), s); err == nil {
		t.Error("that a proxy was not told is no error")
	}
	if diff := cmp.Diff(map[string]string{"10.0.0.0:6379": redis.FenceAddr}, told.follow); diff != "" {
		t.Error(diff)
	}
	status := stored(t, r.Client).Status
	if status.Promotion.Cause != v1alpha1.CauseFoundMaster || status.Dashboard != v1alpha1.DashboardBehind {
		t.Errorf("recorded %+v, dashboard %q", status.Promotion, status.Dashboard)
	}
}

func recordedBack(s *state) { s.group.Status.Promotion.Outcome = v1alpha1.PromotionTakenBack }

// A record that is written early in a pass says who is in sync by then, too.
func TestEarlyRecordsSayWhoIsInSync(t *testing.T) {
	tests := map[string]struct {
		in   []situation
		want []string
	}{
		"while the master answers":       {[]situation{masterData, syncedData, cutOffData}, []string{"g-1"}},
		"not while somebody is promoted": {[]situation{fencedEmpty, cutOffData, neverSynced}, []string{"before"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.group.Status.InSync = []string{"before"}
			r, _ := writer(t, s)
			if err := r.remember(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			for what, got := range map[string][]string{
				"stored": stored(t, r.Client).Status.InSync, "known": s.group.Status.InSync,
			} {
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
		})
	}
}

// A dashboard that lost its store knows neither the group nor who is master.
func TestSwitchoverEndsThoughTheDashboardLostTheGroup(t *testing.T) {
	r, s, _ := takingBack(t, nil)
	s.world.order, s.world.lastMaster, s.stats = nil, "g-0", &codis.Stats{}
	s.world.members[1].redis = redis.Observation{}
	s.group.Status.Promotion.StartTime = metav1.NewMicroTime(now.Add(-lockLimit))
	if s.decision = decideMaster(s.world); s.decision.verb != keep {
		t.Fatalf("decided to %s", s.decision.text())
	}
	if _, err := r.settle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if p := stored(t, r.Client).Status.Promotion; p != nil {
		t.Errorf("%+v is still recorded: the group is not registered anew", p)
	}
}

// theSame is a server that is as it was.
type theSame struct {
	servers

	seen redis.Observation
}

func (s theSame) Observe(context.Context, string) redis.Observation { return s.seen }

// lockingDashboard has one slot, which belongs to group 1.
type lockingDashboard struct{ dashboard }

func (lockingDashboard) Routes(context.Context) ([]codis.Route, error) {
	return []codis.Route{{Group: 1}}, nil
}

// A switchover that cannot lock the slots has changed nothing: where the master is lost at
// that moment, as on a node with a proxy, who was to be switched to takes its place.
func TestWhoWasNotToldToBeMasterIsInSyncStill(t *testing.T) {
	s := stateOfWorld(masterData, syncedData)
	to := s.world.members[1]
	r, _ := writer(t, s)
	s.api, s.servers = lockingDashboard{}, theSame{seen: to.redis}
	s.proxies = deafProxies{}
	s.stats.Proxy.Models = []codis.Proxy{{AdminAddr: "a"}}
	s.pods[1].Status.PodIP = to.ip
	if err := r.Client.Create(t.Context(), s.pods[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.switchOver(t.Context(), s, &s.world.members[1]); err != nil {
		t.Fatal(err)
	}
	if got := s.inSyncNow(); !slices.Equal(got, []string{"g-1"}) || !strings.Contains(s.switchHeld, "did not answer") {
		t.Errorf("in sync: %v, held %q", got, s.switchHeld)
	}
}
