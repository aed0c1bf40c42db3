// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/redis"
)

// holdingWorld is a cut-off master that does not refuse writes yet, and its recorded heir.
func holdingWorld() world {
	w := cutOffMaster()
	w.members[0].silent, w.promoted = w.window, "g-1"
	return w
}

func TestRequestsAreHeldOnlyWhereTheWaitEndsByItself(t *testing.T) {
	tests := map[string]struct {
		change func(w *world)
		want   bool
	}{
		"until the master refuses writes":       {func(*world) {}, true},
		"the same without a dashboard":          {func(w *world) { w.blind, w.deafProxies = true, nil }, true},
		"not before its heir is recorded":       {func(w *world) { w.promoted = "" }, false},
		"not where another heir is":             {func(w *world) { w.promoted = "g-2" }, false},
		"not for a switchover to it":            {func(w *world) { w.switching = true }, false},
		"not while another member is unknown":   {func(w *world) { w.members[2].redis = redis.Observation{} }, false},
		"where another member has ended":        {func(w *world) { w.members[2].redis, w.members[2].dead = redis.Observation{}, true }, true},
		"not where writes are not guarded":      {func(w *world) { w.guarded = false }, false},
		"not before its pod is deleted":         {func(w *world) { w.members[0].leaving = false }, false},
		"not before the window is over":         {func(w *world) { w.members[0].silent-- }, false},
		"not while a replica hears it":          {func(w *world) { w.members[1].deaf = 0 }, false},
		"not where the dashboard tells proxies": {func(w *world) { w.deafProxies = nil }, false},
		"not while only a move of slots runs":   {func(w *world) { w.deafProxies, w.refusing = nil, true }, false},
		"not of one that is started again while another one takes writes": {func(w *world) {
			w.members[0].silent, w.behind = w.window-1, true
			w.members[1].redis = masterData.observed("heir")
			w.promotedRunID = "heir"
		}, false},
		"not of another suspect": {func(w *world) {
			w.lastMaster, w.members[0].dead, w.members[2].redis = "g-2", true, redis.Observation{}
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := holdingWorld()
			tt.change(&w)
			if got := decideMaster(w); got.locks != tt.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// recordingProxies keep what they are told, and what the status said by then.
type recordingProxies struct {
	routingProxies

	status func() v1alpha1.RequestState
	told   map[string][]codis.Route
	before []v1alpha1.RequestState
}

func (p *recordingProxies) FillSlots(_ context.Context, proxy codis.Proxy, routes []codis.Route) error {
	p.told[proxy.AdminAddr] = routes
	p.before = append(p.before, p.status())
	return nil
}

// holding is a pass over holdingWorld with two proxies, of which one does not answer.
func holding(t *testing.T, routes ...codis.Route) (*Reconciler, *state, *recordingProxies) {
	t.Helper()
	s := stateOfWorld(unreachable, cutOffData, cutOffData)
	s.group.Status.Promotion = &v1alpha1.Promotion{
		Member: "g-1", RunID: "run", Cause: v1alpha1.CauseMasterSilent, StartTime: metav1.NewMicroTime(now),
	}
	r, _ := writer(t, s)
	p := &recordingProxies{
		routingProxies: routingProxies{routes: map[string][]codis.Route{"a": routes}}, told: map[string][]codis.Route{},
		status: func() v1alpha1.RequestState { return stored(t, r.Client).Status.Requests },
	}
	s.proxies = p
	s.routers = []router{{Proxy: codis.Proxy{AdminAddr: "a"}, answers: true}, {Proxy: codis.Proxy{AdminAddr: "b"}}}
	return r, s, p
}

func TestHeldRequestsAreThoseOfTheMaster(t *testing.T) {
	master := memberAddr(0)
	r, s, p := holding(t,
		codis.Route{ID: 1, Group: 1, Master: master},
		codis.Route{ID: 2, Group: 1, Master: master, Locked: true},
		codis.Route{ID: 3, Group: 2, Master: strayAddr},
		codis.Route{ID: 4, Group: 1, Master: master, FromGroup: 2, From: strayAddr},
		codis.Route{ID: 5, Group: 1, Master: memberAddr(1)},
	)
	if err := r.holdRequests(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := map[string][]codis.Route{"a": {{ID: 1, Group: 1, Master: master, Locked: true}}}
	if diff := cmp.Diff(want, p.told, cmp.AllowUnexported(codis.Route{})); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(p.before, []v1alpha1.RequestState{v1alpha1.RequestsHeld}) {
		t.Errorf("the status said %q when a proxy was told", p.before)
	}
	s.looked = now.Add(-2 * passLimit)
	if err := r.holdRequests(t.Context(), s); err == nil || len(p.before) != 1 {
		t.Errorf("an operator that was held up locked %v: %v", p.told, err)
	}
}

func TestRequestsGoOnWhereNobodyWillTakeOver(t *testing.T) {
	heir := func(change func(m *member)) func(s *state) { return func(s *state) { change(&s.world.members[1]) } }
	promoting := func(step string) func(s *state) {
		return func(s *state) { s.halfDone, s.stats.Group.Models[0].Promoting.State = true, step }
	}
	tests := map[string]struct {
		change func(s *state)
		want   int
	}{
		"the heir is a replica still":         {func(*state) {}, 1},
		"it cannot be asked":                  {heir(func(m *member) { m.redis = redis.Observation{} }), 0},
		"it takes writes":                     {heir(func(m *member) { m.redis.Role = redis.RoleMaster }), 0},
		"it was started again":                {heir(func(m *member) { m.redis.RunID = "other" }), 0},
		"nothing is recorded":                 {func(s *state) { s.world.promoted = "" }, 0},
		"another one takes writes":            {func(s *state) { s.world.members[2].redis.Role = redis.RoleMaster }, 0},
		"the master answers":                  {func(s *state) { s.world.members[0].redis.Reachable = true }, 0},
		"it has been asked for a moment only": {func(s *state) { s.world.members[0].silent = s.world.window - 1 }, 0},
		"its pod is gone":                     {func(s *state) { s.world.members[0].silent, s.world.members[0].ip = 0, "" }, 1},
		"another one was master last":         {func(s *state) { s.world.lastMaster = "g-2" }, 0},
		"they are not held":                   {func(s *state) { s.world.holding = false }, 0},
		"proxies were told of another one":    {func(s *state) { s.world.behind = true }, 0},
		"the operator was held up":            {func(s *state) { s.looked = now.Add(-2 * passLimit) }, 0},
		"the dashboard holds them as well":    {promoting("prepared"), 0},
		"the dashboard could not hold them":   {promoting("preparing"), 1},
		"the dashboard cannot be asked now":   {func(s *state) { s.halfDone, s.stats = true, nil }, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, s, p := released(t)
			tt.change(s)
			if _, err := r.carryOut(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if got := p.told["a"]; len(got) != tt.want || len(got) == 1 && (got[0].Locked || got[0].Master != memberAddr(0)) {
				t.Errorf("told %+v, want %d", got, tt.want)
			}
		})
	}
}

// released is a pass that waits for a master which is silent, with requests held for it.
func released(t *testing.T, routes ...codis.Route) (*Reconciler, *state, *recordingProxies) {
	t.Helper()
	if routes == nil {
		routes = []codis.Route{{ID: 1, Group: 1, Master: memberAddr(0), Locked: true}}
	}
	r, s, p := holding(t, routes...)
	s.world.holding, s.world.lastMaster, s.world.promoted, s.world.promotedRunID = true, "g-0", "g-1", "run"
	s.world.window = defaultSilence
	s.world.members[0].silent, s.world.members[0].ip = s.world.window, "10.0.0.1"
	s.decision = decision{verb: wait, reason: v1alpha1.ReasonMasterUnreachable}
	return r, s, p
}

// A person may have had the dashboard make another member master meanwhile.
func TestOnlyRequestsThatWaitForTheMasterAreReleased(t *testing.T) {
	r, s, p := released(t,
		codis.Route{ID: 1, Group: 1, Master: memberAddr(0), Locked: true},
		codis.Route{ID: 2, Group: 1, Master: memberAddr(1)},
		codis.Route{ID: 3, Group: 1, Master: memberAddr(1), Locked: true},
		codis.Route{ID: 4, Group: 2, Master: strayAddr, Locked: true},
		codis.Route{ID: 5, Group: 1, Master: memberAddr(0), FromGroup: 2, From: strayAddr, Locked: true},
	)
	if _, err := r.carryOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := map[string][]codis.Route{"a": {{ID: 1, Group: 1, Master: memberAddr(0)}}}
	if diff := cmp.Diff(want, p.told, cmp.AllowUnexported(codis.Route{})); diff != "" {
		t.Error(diff)
	}
}

// One of which nobody can ask what it holds, for it waits for a lost node, keeps no other
// from being told.
func TestRequestsGoOnBesideAProxyThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, p := released(t)
		s.proxies = slow{p, "0"}
		s.routers = slices.Insert(s.routers, 0, router{Proxy: codis.Proxy{AdminAddr: "0"}, answers: true})
		if _, err := r.carryOut(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := p.told["a"]; len(got) != 1 || got[0].Locked || s.unrouted == nil {
			t.Errorf("told %+v; %v", p.told, s.unrouted)
		}
	})
}

// slow are recordingProxies of which one tells nothing in time.
type slow struct {
	*recordingProxies

	addr string
}

func (p slow) Routes(ctx context.Context, addr string) ([]codis.Route, error) {
	if addr == p.addr {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return p.recordingProxies.Routes(ctx, addr)
}

// The dashboard began to promote the heir and could not, since a proxy did not answer. A
// master that only the operator does not reach may go on for hours.
func TestRequestsGoOnWhileAHalfDonePromotionWaits(t *testing.T) {
	tests := map[string]func(r *Reconciler, s *state) error{
		"a replica hears the master": func(r *Reconciler, s *state) error {
			s.world.members[1].redis.LinkUp, s.world.members[1].deaf = true, 0
			s.world.inSync = map[string]bool{"g-1": true}
			_, err := r.finishPromotion(t.Context(), s, s.known())
			return err
		},
		"the heir copies": func(r *Reconciler, s *state) error {
			s.world.members[1].redis.Syncing = true
			_, err := r.finishPromotion(t.Context(), s, s.known())
			return err
		},
	}
	for name, finish := range tests {
		t.Run(name, func(t *testing.T) {
			r, s, p := released(t)
			s.stats.Group.Models[0].Promoting.State, s.stats.Group.Models[0].Promoting.Index = "preparing", 1
			s.stats.Proxy.Models = []codis.Proxy{{AdminAddr: "a"}}
			s.proxies = answering{recordingProxies: p}
			if err := finish(r, s); err != nil {
				t.Fatal(err)
			}
			if got := p.told["a"]; len(got) != 1 || got[0].Locked {
				t.Errorf("told %+v; %s", p.told, s.decision.message)
			}
		})
	}
}

// answering are recordingProxies that say who they are.
type answering struct {
	*recordingProxies

	product string
}

func (a answering) Model(context.Context, string) (*codis.Proxy, error) {
	return &codis.Proxy{Product: a.product}, nil
}

func TestRequestsGoOnWithoutTheDashboard(t *testing.T) {
	tests := map[string]struct {
		change   func(s *state)
		told     int
		requests v1alpha1.RequestState
	}{
		"the master answers again":     {func(*state) {}, 1, ""},
		"a proxy does not answer":      {func(s *state) { s.world.deafProxies = []string{"b"} }, 1, v1alpha1.RequestsHeld},
		"this operator has just begun": {func(s *state) { s.world.watched = lockLimit - 1 }, 1, v1alpha1.RequestsHeld},
		"the dashboard made the heir master": {func(s *state) {
			s.world.members[1].redis = masterData.observed("run")
			s.world.promoted, s.world.promotedRunID = "g-1", "run"
		}, 0, v1alpha1.RequestsHeld},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, s, p := holding(t,
				codis.Route{ID: 1, Group: 1, Master: memberAddr(0), Locked: true},
				codis.Route{ID: 2, Group: 1, Master: memberAddr(1)},
			)
			s.stats, s.world.holding, s.group.Status.Requests = nil, true, v1alpha1.RequestsHeld
			s.world.watched, s.decision = lockLimit, decision{verb: keep, master: &s.world.members[0]}
			tt.change(s)
			r.straighten(t.Context(), s)
			if got := p.told["a"]; len(got) != tt.told || s.group.Status.Requests != tt.requests {
				t.Errorf("told %+v, and the status says %q", got, s.group.Status.Requests)
			}
		})
	}
}

// A deleted group may serve for hours until its slots have moved.
func TestRequestsOfADeletedGroupGoOnWithoutTheDashboard(t *testing.T) {
	r, s, p := holding(t)
	admin := net.JoinHostPort("10.1.0.1", strconv.Itoa(naming.PortProxyAdmin))
	p.routes = map[string][]codis.Route{admin: {{ID: 1, Group: 1, Master: memberAddr(0), Locked: true}}}
	s.dashboard.Name, s.dashboard.Spec.ProductName = "d", "d"
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p-0", Labels: map[string]string{
		v1alpha1.LabelComponent: naming.ComponentProxy, v1alpha1.LabelDashboard: "d",
	}}, Status: corev1.PodStatus{PodIP: "10.1.0.1"}}
	if err := r.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	s.proxies, s.stats = answering{p, "d"}, nil
	s.world = smallWorld([]situation{masterData, syncedData}, 0)
	s.world.holding, s.group.Status.Requests = true, v1alpha1.RequestsHeld
	s.group.Status.Master, s.group.Status.Slots = "g-0", 512
	s.servers = toldServers{follow: map[string]string{}}
	if _, err := r.takeOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := p.told[admin]; len(got) != 1 || got[0].Locked {
		t.Errorf("told %+v", p.told)
	}
}

// A proxy that is starved may lock after it was told to go on.
func TestRoutesAreSentUntilNoLockIsOnItsWay(t *testing.T) {
	r, s, _ := holding(t)
	api := &resyncingDashboard{}
	s.api, s.routers = api, nil
	if err := r.holdRequests(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.decision = decision{verb: keep, master: &s.world.members[0]}
	s.world.watched = time.Hour
	straightened := func(after time.Duration) v1alpha1.RequestState {
		r.Clock = clocktesting.NewFakePassiveClock(now.Add(after))
		r.straighten(t.Context(), s)
		return s.group.Status.Requests
	}
	if got := straightened(lockLimit - 1); got != v1alpha1.RequestsHeld || api.asked != 1 {
		t.Errorf("forgotten while a lock may be on its way: %q, asked %d times", got, api.asked)
	}
	if got := straightened(lockLimit); got != "" || api.asked != 2 {
		t.Errorf("%q after %d times", got, api.asked)
	}
	if _, remembered := r.heldAt.Load(s.group.UID); remembered {
		t.Error("memory grows")
	}
	s.group.Status.Requests, s.world.watched = v1alpha1.RequestsHeld, lockLimit-1
	if got := straightened(time.Hour); got != v1alpha1.RequestsHeld {
		t.Error("forgotten though the operator before, which ended a moment ago, may have sent a lock")
	}
}

func TestNoPauseBeginsWhileProxiesHoldRequests(t *testing.T) {
	s := stateOfWorld(unreachable, cutOffData)
	s.group.Status.Promotion = &v1alpha1.Promotion{Member: "g-1", Cause: v1alpha1.CauseMasterSilent}
	if s.clientsWait() {
		t.Error("nothing is held")
	}
	s.group.Status.Requests = v1alpha1.RequestsHeld
	if !s.clientsWait() {
		t.Error("clients wait for a failover")
	}
}

func TestWhatProxiesDoWithRequestsIsTold(t *testing.T) {
	tests := map[string]struct {
		verb   verb
		behind bool
		want   string
	}{
		"nobody takes writes":            {wait, false, "hold the requests until the group has a master"},
		"the master answers again":       {keep, false, "are told to let them go on"},
		"the heir is master":             {keep, true, "told who is master"},
		"the heir is master, and silent": {wait, true, "told who is master"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(masterData, syncedData)
			s.world.holding, s.world.behind, s.decision.verb = true, tt.behind, tt.verb
			if got := registeredCondition(s); got.Reason != v1alpha1.ReasonDashboardBehind || !strings.Contains(got.Message, tt.want) {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
		})
	}
}
