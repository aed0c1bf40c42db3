// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/redis"
	"github.com/codis-io/codis-operator/test/standin/proxy"
)

// g-1 is to become master.
func TestInvariant2PromotionThatLostItsDataIsNotFinished(t *testing.T) {
	tests := map[string]struct {
		in      []situation
		changes []change
		held    string
	}{
		"the candidate is whole":                       {in: []situation{fencedEmpty, cutOffData}},
		"the candidate is master":                      {in: []situation{fencedData, masterData}},
		"nobody has data":                              {in: []situation{fencedEmpty, fencedEmpty}},
		"the candidate is empty and another is silent": {in: []situation{unreachable, fencedEmpty}, held: "g-0, which may have some"},
		"the candidate was in sync with an empty one": {
			in: []situation{ended, cutOffData}, changes: []change{keys(1, 0), wasInSync(1)},
		},
		"another was in sync":                  {in: []situation{fencedEmpty, cutOffData, cutOffData}, changes: []change{wasInSync(2)}, held: "g-2 has newer data"},
		"the candidate was in sync too":        {in: []situation{fencedEmpty, cutOffData, cutOffData}, changes: []change{everybodyInSync}},
		"the candidate takes writes as meant":  {in: []situation{masterData, masterData}, changes: []change{knownMaster(0), meantMaster(1)}},
		"somebody made it a second master":     {in: []situation{masterData, masterData}, changes: []change{knownMaster(0)}, held: "g-0 has newer data"},
		"the candidate lost its data":          {in: []situation{fencedData, fencedEmpty}, held: "it lost its data since"},
		"the candidate is silent":              {in: []situation{fencedData, unreachable}, held: "no answer in time"},
		"the candidate reads its disk":         {in: []situation{fencedData, loading}, held: "it is loading its data"},
		"a person chose the emptied candidate": {in: []situation{fencedData, fencedEmpty}, changes: []change{accepted(1)}},
		"it was not in sync with one that is silent": {
			in: []situation{unreachable, neverSynced, masterData}, held: "g-0, and that one cannot be asked",
		},
		"it was not in sync with one that ended": {in: []situation{ended, neverSynced}},
		"another one that took over meanwhile is silent": {
			in: []situation{fencedData, fencedData, unreachable}, changes: []change{lastMaster(2), behind}, held: "not in sync with g-2, and that one cannot be asked",
		},
		"the last master is silent, which the dashboard knows": {
			in: []situation{fencedData, fencedData, unreachable}, changes: []change{lastMaster(2)},
		},
		"it was not in sync with one that ended and has a volume": {
			in: []situation{ended, neverSynced}, changes: []change{persistent}, held: "cannot be asked",
		},
		"it was in sync with one that ended and has a volume": {
			in: []situation{ended, cutOffData}, changes: []change{persistent, wasInSync(1)},
		},
		"it was not in sync and one that was is silent": {
			in: []situation{fencedEmpty, cutOffData, unreachable}, changes: []change{wasInSync(2)}, held: "g-2, which was in sync",
		},
		"it was not in sync and one that was has ended with its volume": {
			in: []situation{fencedEmpty, cutOffData, ended}, changes: []change{persistent, wasInSync(2)}, held: "g-2, which was in sync",
		},
		"it was not in sync and one that was has ended without a volume": {
			in: []situation{fencedEmpty, cutOffData, ended}, changes: []change{wasInSync(2)},
		},
		"it was in sync and another one that was is silent": {
			in: []situation{fencedEmpty, cutOffData, unreachable}, changes: []change{everybodyInSync},
		},
		"it was not in sync and another one has more": {
			in: []situation{fencedData, neverSynced}, changes: []change{keys(0, 9)}, held: "g-0 has more keys",
		},
		"it was in sync and another one has more": {
			in: []situation{fencedData, cutOffData}, changes: []change{keys(0, 9), wasInSync(1)},
		},
		"a person chose another": {in: []situation{fencedData, fencedEmpty}, changes: []change{accepted(0)}, held: "lost"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := finishHeld(smallWorld(tt.in, 0).with(tt.changes), memberAddr(1))
			if (got == "") != (tt.held == "") || !strings.Contains(got, tt.held) {
				t.Errorf("held %q, want %q", got, tt.held)
			}
		})
	}
	if got := finishHeld(smallWorld([]situation{fencedData}, 0), strayAddr); got != "" {
		t.Errorf("a candidate that is no member is held: %s", got)
	}
}

func TestSwitchoverThatWasTakenBackIsNotFinished(t *testing.T) {
	tests := map[string]struct {
		in     []situation
		change change
		held   bool
	}{
		"the old master is silent":             {[]situation{unreachable, masterData}, func(*world) {}, true},
		"the old master has ended":             {[]situation{ended, masterData}, func(*world) {}, true},
		"the old master reads its disk":        {[]situation{loading, masterData}, func(*world) {}, true},
		"the old master was started again":     {[]situation{fencedData, masterData}, func(*world) {}, false},
		"its volume has more":                  {[]situation{fencedData, masterData}, keys(0, 9), true},
		"its replica has more":                 {[]situation{fencedEmpty, masterData, cutOffData}, keys(2, 9), true},
		"its replica has as much":              {[]situation{fencedEmpty, masterData, cutOffData}, wasInSync(2), false},
		"its replica is silent":                {[]situation{fencedEmpty, masterData, unreachable}, wasInSync(2), true},
		"a replica is silent that lacked data": {[]situation{fencedEmpty, masterData, unreachable}, wasInSync(1), false},
		"its replica has ended":                {[]situation{fencedEmpty, masterData, ended}, wasInSync(2), false},
		"its replica has ended with a volume": {[]situation{fencedEmpty, masterData, ended}, func(w *world) {
			wasInSync(2)(w)
			w.persistent = true
		}, true},
		"a copy that is under way has more keys": {[]situation{fencedEmpty, masterData, syncingData}, keys(2, 9), false},
		"it was a failover":                      {[]situation{unreachable, masterData}, func(w *world) { w.switching = false }, false},
		"the dashboard has promoted it":          {[]situation{unreachable, masterData}, func(w *world) { w.promoted = memberName(0) }, false},
		"a person accepts the loss of writes":    {[]situation{unreachable, masterData}, accepted(1), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld(tt.in, 0)
			w.promoted, w.switching = memberName(1), true
			tt.change(&w)
			if got := w.switchedBack(); (got != "") != tt.held {
				t.Errorf("held %q, want %t", got, tt.held)
			}
		})
	}
}

func behind(w *world) { w.behind = true }

// The dashboard locks the slots and makes g-1 master, whatever g-0 acknowledged meanwhile.
func TestPromotionIsNotFinishedWhileTheMasterMayServe(t *testing.T) {
	const waitsForIt = "waiting whether it does again"
	tests := map[string]struct {
		state  string
		change func(w *world)
		want   string // "" is to finish it
	}{
		"it has not answered once":          {"preparing", func(w *world) { w.members[0].silent = 0 }, waitsForIt},
		"it is silent":                      {"preparing", func(*world) {}, ""},
		"it is silent, and a replica hears": {"preparing", func(w *world) { w.members[2].deaf = 0 }, "g-2 still hears it"},
		"it has ended": {"preparing", func(w *world) {
			w.members[0].dead, w.members[0].silent = true, 0
			w.members[1].redis.LinkUp, w.members[2].redis.LinkUp = false, false
		}, ""},
		"it was started again":           {"preparing", func(w *world) { w.members[0].redis = fencedData.observed("") }, ""},
		"a person accepts what it has":   {"preparing", func(w *world) { w.accepted, w.members[0].silent = "g-1", 0 }, ""},
		"the slots are locked":           {"prepared", func(w *world) { w.members[0].silent = 0 }, ""},
		"the proxies do not write to it": {"finished", func(w *world) { w.members[0].silent = 0 }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := silentMaster()
			tt.change(&w)
			known := &codis.Group{}
			for _, addr := range w.order {
				known.Servers = append(known.Servers, codis.GroupServer{Addr: addr})
			}
			known.Promoting.State, known.Promoting.Index = tt.state, 1
			got := w.mayServe(known)
			if (got == nil) != (tt.want == "") || got != nil && !strings.Contains(got.message, tt.want) {
				t.Errorf("got %+v, want %q", got, tt.want)
			}
		})
	}
}

func everybodyInSync(w *world) {
	w.inSync = map[string]bool{}
	for _, m := range w.members {
		w.inSync[m.name] = true
	}
}

func meantMaster(ordinal int) change {
	return func(w *world) { w.members[ordinal].redis.RunID, w.promotedRunID = "meant", "meant" }
}

func TestMembersThatTheDashboardShouldKnow(t *testing.T) {
	tests := map[string]struct {
		in      []situation
		wanted  int32
		prepare func(s *state)
		want    []string
		held    string
	}{
		"the master first": {
			in: []situation{syncedData, masterData}, wanted: 2, want: addrs(1, 0),
			prepare: func(s *state) { s.decision = decision{verb: keep, master: &s.world.members[1]} },
		},
		"not who never answered": {
			in: []situation{masterData, unreachable}, wanted: 2, want: addrs(0), prepare: func(s *state) { s.world.order = addrs(0) },
		},
		"who is silent and known":     {in: []situation{masterData, unreachable}, wanted: 2, want: addrs(0, 1)},
		"not who is no longer wanted": {in: []situation{masterData, syncedData, syncedData}, wanted: 2, want: addrs(0, 1)},
		"the master, though not wanted": {
			in: []situation{syncedData, masterData}, wanted: 1, want: addrs(1, 0), held: "set replicas to 2 or more",
			prepare: func(s *state) { s.decision = decision{verb: keep, master: &s.world.members[1]} },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			s.group.Spec.Replicas = &tt.wanted
			if tt.prepare != nil {
				tt.prepare(s)
			}
			if diff := cmp.Diff(tt.want, (&Reconciler{}).wantedAddresses(s)); diff != "" {
				t.Error(diff)
			}
			if (s.scaleHeld == "") != (tt.held == "") || !strings.Contains(s.scaleHeld, tt.held) {
				t.Errorf("held %q, want %q", s.scaleHeld, tt.held)
			}
		})
	}
}

func TestEveryMemberThatAnswersFollows(t *testing.T) {
	tests := map[string]struct {
		in   []situation
		want bool
	}{
		"all follow":                 {[]situation{masterData, syncedData, cutOffData}, true},
		"who is silent is not asked": {[]situation{masterData, unreachable, loading}, true},
		"one is fenced":              {[]situation{masterData, fencedEmpty}, false},
		"one is a master, too":       {[]situation{masterData, masterData}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := smallWorld(tt.in, 0)
			if got := w.allFollow(w.members[0]); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// offline takes the owners of slots away, from the first on.
func offline(s *state, slots int) {
	for i := range s.stats.Slots[:slots] {
		s.stats.Slots[i].GroupID = 0
	}
}

func TestKeySlotsAreLookedAtWhileNoSlotHasAnOwner(t *testing.T) {
	wrongPassword := func(_ *lab, s *state) { s.servers = &redis.Client{Password: "wrong"} }
	tests := map[string]struct {
		in      situation
		offline int
		prepare func(l *lab, s *state)
		want    string
		asked   int
		fails   bool
	}{
		"no slot has an owner":       {in: masterData, offline: codis.Slots, want: "103,300", asked: 1},
		"one slot has no owner":      {in: masterData, offline: 1, want: "103,300", asked: 1},
		"every slot has an owner":    {in: masterData},
		"the master is empty":        {in: masterEmpty, offline: codis.Slots},
		"the master is gone":         {masterData, codis.Slots, func(l *lab, _ *state) { l.end(0) }, "unknown", 0, false},
		"the master breaks off":      {masterData, codis.Slots, func(l *lab, _ *state) { l.outcome["SLOTSINFO"] = fixture.Fail }, "unknown", 1, false},
		"the master does not let in": {masterData, codis.Slots, wrongPassword, "unknown", 0, true},
	}
	a, b := keyOf(103), keyOf(300)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1)
			l.server(0).Set(fixture.Dataset{a: "1", b: "2"})
			s := l.state(tt.in)
			s.group.Status.KeySlots = "0-1023" // Of an earlier pass.
			offline(s, tt.offline)
			if tt.prepare != nil {
				tt.prepare(l, s)
			}
			if err := l.r.observeKeySlots(t.Context(), s, s.world.members[0]); (err != nil) != tt.fails {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(tt.want, s.group.Status.KeySlots); diff != "" {
				t.Error(diff)
			}
			if got := l.count("SLOTSINFO"); got != tt.asked {
				t.Errorf("asked %d times, want %d", got, tt.asked)
			}
		})
	}
}

// keyOf returns a key of a slot.
func keyOf(slot int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("k%d", i); proxy.SlotOf([]byte(key)) == slot {
			return key
		}
	}
}

// writer is a reconciler whose API server knows a group and counts the writes of
// its status.
func writer(t *testing.T, s *state) (r *Reconciler, writes *int) {
	t.Helper()
	writes = new(int)
	count := func(
		ctx context.Context, c client.Client, _ string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption,
	) error {
		*writes++
		return c.Status().Patch(ctx, o, p, opts...)
	}
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(s.group).WithStatusSubresource(s.group).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: count}).Build()
	s.group = stored(t, c)
	s.before = s.group.DeepCopy()
	return &Reconciler{Client: c, Reader: c, Recorder: &said{}, Clock: clocktesting.NewFakePassiveClock(now)}, writes
}

func TestIntentIsWrittenOnceForEachProcess(t *testing.T) {
	s := stateOfWorld(ended, cutOffData)
	r, writes := writer(t, s)
	m := s.world.members[1]
	intend := func(from string, wantWrites int) {
		t.Helper()
		if err := r.intend(t.Context(), s, m, from, v1alpha1.CauseMasterDead); err != nil {
			t.Fatal(err)
		}
		want := &v1alpha1.Promotion{
			Member: m.name, RunID: m.redis.RunID, From: "g-0", Cause: v1alpha1.CauseMasterDead, StartTime: metav1.NewMicroTime(now),
		}
		if diff := cmp.Diff(want, stored(t, r.Client).Status.Promotion); diff != "" {
			t.Errorf("after %d writes: %s", *writes, diff)
		}
		if *writes != wantWrites {
			t.Errorf("%d writes, want %d", *writes, wantWrites)
		}
	}
	intend("g-0", 1)
	intend("another", 1) // The first one stands.
	m.redis.RunID = "restarted"
	intend("g-0", 2)
	m.name = "g-2"
	intend("g-0", 3)
}

// Who replaces a master that is only silent is not made master before the slots are locked.
func TestIntentSaysThatTheMasterMayLive(t *testing.T) {
	s := stateOfWorld(ended, cutOffData)
	r, writes := writer(t, s)
	intend := func(cause, want v1alpha1.FailoverCause, wantWrites int) {
		t.Helper()
		if err := r.intend(t.Context(), s, s.world.members[1], "g-0", cause); err != nil {
			t.Fatal(err)
		}
		if got := stored(t, r.Client).Status.Promotion.Cause; got != want || *writes != wantWrites {
			t.Errorf("recorded %s with %d writes, want %s with %d", got, *writes, want, wantWrites)
		}
	}
	intend(v1alpha1.CauseMasterDead, v1alpha1.CauseMasterDead, 1)
	intend(v1alpha1.CauseMasterSilent, v1alpha1.CauseMasterSilent, 2)
	intend(v1alpha1.CauseMasterSilent, v1alpha1.CauseMasterSilent, 2)
	intend(v1alpha1.CauseMasterDead, v1alpha1.CauseMasterSilent, 2) // It was known only later.
}

func TestIntentFailsWhereTheGroupChangedMeanwhile(t *testing.T) {
	s := stateOfWorld(ended, cutOffData)
	r, _ := writer(t, s)
	other := stored(t, r.Client)
	other.Status.State = "seen by another operator"
	if err := r.Client.Status().Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	err := r.intend(t.Context(), s, s.world.members[1], "g-0", v1alpha1.CauseMasterDead)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "record the promotion") {
		t.Errorf("got %v", err)
	}
	report(s, now)
	if err := r.patch(t.Context(), s); !apierrors.IsConflict(err) {
		t.Errorf("the end of the pass: %v", err)
	}
	if got := stored(t, r.Client).Status.Promotion; got != nil || s.group.Status.Promotion != nil {
		t.Errorf("recorded %+v, remembered %+v", got, s.group.Status.Promotion)
	}
}

// Nobody is made master before it is recorded who shall be.
func TestNothingIsDoneThatIsNotRecorded(t *testing.T) {
	acts := map[string]struct {
		in  []situation
		act func(r *Reconciler, s *state) (time.Duration, error)
	}{
		"lift": {[]situation{fencedData, fencedEmpty}, func(r *Reconciler, s *state) (time.Duration, error) { return r.lift(t.Context(), s) }},
		"promote": {[]situation{fencedEmpty, cutOffData}, func(r *Reconciler, s *state) (time.Duration, error) {
			return r.promote(t.Context(), s, s.decision.master)
		}},
	}
	for name, tt := range acts {
		t.Run(name, func(t *testing.T) {
			s := stateOfWorld(tt.in...)
			if string(s.decision.verb) != strings.ToUpper(name[:1])+name[1:] {
				t.Fatalf("decided to %s", s.decision.text())
			}
			refused := errors.New("refused")
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(s.group).WithInterceptorFuncs(interceptor.Funcs{
				SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
					return refused
				},
			}).Build()
			// Without servers and a dashboard to call, going on would be a panic.
			if _, err := tt.act(&Reconciler{Client: c, Clock: clocktesting.NewFakePassiveClock(now)}, s); !errors.Is(err, refused) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// watched is a client that tells what is written, in order.
type watched struct {
	client.Client

	got *[]string
}

func (w watched) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	grace, uid := int64(-1), ""
	if options.GracePeriodSeconds != nil {
		grace = *options.GracePeriodSeconds
	}
	if p := options.Preconditions; p != nil && p.UID != nil {
		uid = string(*p.UID)
	}
	*w.got = append(*w.got, fmt.Sprintf("delete %s with uid %s and grace %d", o.GetName(), uid, grace))
	return w.Client.Delete(ctx, o, opts...)
}

func (w watched) Status() client.SubResourceWriter { return watchedStatus{w.Client.Status(), w.got} }

type watchedStatus struct {
	client.SubResourceWriter

	got *[]string
}

func (w watchedStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	*w.got = append(*w.got, "write the status of "+o.GetName())
	return w.SubResourceWriter.Patch(ctx, o, p, opts...)
}

// silentInLab is a pass that decided to fence g-0, in favour of g-1.
func silentInLab(t *testing.T) (l *lab, s *state, got *[]string) {
	t.Helper()
	l = newLab(t, 2)
	s = l.state(unreachable, syncedData)
	if err := l.r.Client.Create(t.Context(), s.group); err != nil {
		t.Fatal(err)
	}
	s.before = s.group.DeepCopy()
	got = new([]string)
	l.r.Client = watched{l.r.Client, got}
	s.world.members[0].silent, s.world.members[1].deaf = defaultSilence, defaultSilence
	s.world.inSync = map[string]bool{memberName(1): true}
	if s.decision = decideMaster(s.world); s.decision.verb != fence {
		t.Fatalf("decided to %s", s.decision.text())
	}
	return l, s, got
}

func TestFenceRecordsThePromotionAndDeletesThePod(t *testing.T) {
	l, s, got := silentInLab(t)
	uid := l.pod(0).UID
	after, err := l.r.fence(t.Context(), s)
	if err != nil || after != reconcile.Closely {
		t.Fatalf("got %s, %v", after, err)
	}
	want := []string{"write the status of g", fmt.Sprintf("delete g-0 with uid %s and grace 1", uid)}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
	promotion := &v1alpha1.Promotion{
		Member: "g-1", RunID: "run", From: "g-0", Cause: v1alpha1.CauseMasterSilent, StartTime: metav1.NewMicroTime(now),
	}
	if diff := cmp.Diff(promotion, stored(t, l.r.Client).Status.Promotion); diff != "" {
		t.Error(diff)
	}
	if l.pod(0).DeletionTimestamp == nil || l.pod(1).DeletionTimestamp != nil {
		t.Error("another pod than that of the master was deleted")
	}
	if len(l.events) != 1 || !strings.HasPrefix(l.events[0], "MasterFenced Fence: Deleted pod g-0") {
		t.Errorf("events %q", l.events)
	}
}

func TestFenceLeavesAnotherPodAlone(t *testing.T) {
	tests := map[string]func(t *testing.T, l *lab){
		"another pod of that name": func(t *testing.T, l *lab) {
			if err := l.r.Client.Delete(t.Context(), l.pod(0), client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			l.makePod(0)
		},
		"a group that changed meanwhile": func(_ *testing.T, l *lab) { l.r.Client = refusing{l.r.Client} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l, s, _ := silentInLab(t)
			change(t, l)
			if _, err := l.r.fence(t.Context(), s); err != nil && !apierrors.IsConflict(err) {
				t.Errorf("got %v", err)
			}
			if p := l.pod(0); p.DeletionTimestamp != nil {
				t.Errorf("pod %s was deleted", p.UID)
			}
		})
	}
}

// refusing is a client whose writes of a status come too late.
type refusing struct{ client.Client }

func (r refusing) Status() client.SubResourceWriter { return refusingStatus{r.Client.Status()} }

type refusingStatus struct{ client.SubResourceWriter }

func (refusingStatus) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("codisgroups").GroupResource(), o.GetName(), errors.New("changed"))
}

func TestFenceOfAPodThatIsGone(t *testing.T) {
	l, s, _ := silentInLab(t)
	if err := l.r.Client.Delete(t.Context(), l.pod(0), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	if after, err := l.r.fence(t.Context(), s); err != nil || after != reconcile.Soon {
		t.Errorf("got %s, %v", after, err)
	}
}

// Another operator made g-1 master, and the cache does not know yet.
func TestASecondMasterIsDemotedByWhoKnowsTheGroup(t *testing.T) {
	for name, tt := range map[string]struct {
		second  situation
		changed bool
		want    map[string]string
	}{
		"nothing changed":             {masterEmpty, false, map[string]string{"10.0.0.1:6379": memberAddr(0)}},
		"the group changed meanwhile": {masterEmpty, true, map[string]string{}},
		"who is no master follows":    {fencedEmpty, true, map[string]string{"10.0.0.1:6379": memberAddr(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			r, s, told := takingBack(t, nil)
			s.group.Status.Promotion = nil
			s.world.members[1].redis = tt.second.observed(memberAddr(0))
			if tt.changed {
				other := stored(t, r.Client)
				other.Status.State = "changed by another operator"
				if err := r.Client.Status().Update(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.settle(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, told.follow); diff != "" {
				t.Error(diff)
			}
		})
	}
}
