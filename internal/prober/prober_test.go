// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/codis-io/codis-operator/internal/redis"
)

// patience bounds what a test waits for; nothing takes nearly as long.
const patience = 30 * time.Second

var (
	group = types.NamespacedName{Namespace: "ns", Name: "g1"}
	// often asks again and again, and never gives up.
	often = Settings{Interval: 2 * time.Millisecond, Timeout: time.Hour}
	// once never asks a second time by itself.
	once = Settings{Interval: time.Hour, Timeout: time.Hour}
	// hasty gives up soon. Its interval is so long that a busy machine does not make
	// two silences of one: see unanswered.
	hasty = Settings{Interval: 500 * time.Millisecond, Timeout: 30 * time.Millisecond}

	_ manager.Runnable               = &Prober{}
	_ manager.LeaderElectionRunnable = &Prober{}
)

// start runs a prober until the test ends or stop is called, and then expects
// that nothing of it is left.
func start(tb testing.TB, p *Prober) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(patience):
			tb.Error("the prober does not end")
		}
		if runs("prober.(*probe)") {
			tb.Error("a probe outlives the prober")
		}
		eventually(tb, "all connections end", func() bool { return !runs("redis.(*wire)") })
	}
	tb.Cleanup(stop)
	return stop
}

// runs tells whether a goroutine runs a function of that name.
func runs(name string) bool {
	stacks := make([]byte, 4<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), name)
}

func started(t *testing.T, settings Settings, targets ...Target) *Prober {
	t.Helper()
	p := New(clock.RealClock{})
	p.Set(group, settings, targets)
	start(t, p)
	return p
}

func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			tb.Fatalf("never: %s", what)
		}
	}
}

func target(s *server) Target { return Target{Name: "g1-0", UID: "uid", Addr: s.addr} }

func (p *Prober) result() Result { return p.Results(group)["g1-0"] }

func (p *Prober) expectState(t *testing.T, want State) Result {
	t.Helper()
	eventually(t, string(want), func() bool { return p.result().State == want })
	return p.result()
}

// expectChange waits for one change to be told.
func (p *Prober) expectChange(t *testing.T) {
	t.Helper()
	select {
	case got := <-p.Changes():
		if got.Object.GetNamespace() != group.Namespace || got.Object.GetName() != group.Name {
			t.Errorf("told %v", got.Object)
		}
	case <-time.After(patience):
		t.Fatal("no change was told")
	}
}

// expectQuiet lets a server be asked some more, and expects nothing to be told.
func (p *Prober) expectQuiet(t *testing.T, s *server) {
	t.Helper()
	s.expectQuestions(t, 5)
	p.expectNothing(t)
}

func (p *Prober) expectNothing(t *testing.T) {
	t.Helper()
	select {
	case <-p.Changes():
		t.Errorf("a change was told: %+v", p.result())
	case <-time.After(30 * time.Millisecond):
	}
}

func (s *server) expectQuestions(tb testing.TB, more int) {
	tb.Helper()
	_, _, before := s.counts()
	eventually(tb, "more questions", func() bool {
		_, _, asked := s.counts()
		return asked >= before+more
	})
}

func TestLatency(t *testing.T) {
	var r Result
	for i, step := range []struct{ took, want time.Duration }{
		{8 * time.Millisecond, 8 * time.Millisecond}, // The first one counts alone.
		{8 * time.Millisecond, 8 * time.Millisecond},
		{88 * time.Millisecond, 18 * time.Millisecond},
		{2 * time.Millisecond, 16 * time.Millisecond},
	} {
		r.Latency, r.Answered = latency(r, step.took), time.Unix(1, 0)
		if r.Latency != step.want {
			t.Errorf("answer %d: %s, want %s", i, r.Latency, step.want)
		}
	}
}

func TestAServerThatAnswersIsToldOnce(t *testing.T) {
	s := newServer(t, masterInfo)
	began := time.Now()
	p := started(t, often, target(s))
	p.expectChange(t)
	got := p.result()
	want := Result{
		UID: "uid", Addr: s.addr, State: Up,
		Seen: redis.Observation{Reachable: true, RunID: "one", Role: redis.RoleMaster, Offset: 1},
	}
	since, answered := got.Since, got.Answered
	if got.Latency <= 0 || got.Latency > answered.Sub(began) {
		t.Errorf("an answer took %s of %s", got.Latency, answered.Sub(began))
	}
	got.Since, got.Answered, got.Latency = time.Time{}, time.Time{}, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if since.Before(began) || answered.Before(since) {
		t.Errorf("since %s, answered %s, began %s", since, answered, began)
	}
	p.expectQuiet(t, s)
	if now := p.result(); now.Since != since || !now.Answered.After(answered) {
		t.Errorf("since %s, want %s; answered %s", now.Since, since, now.Answered)
	}
	if accepted, _, _ := s.counts(); accepted != 1 {
		t.Errorf("%d connections", accepted)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[0] != "info" || slices.ContainsFunc(s.asked[1:], func(q string) bool { return q != "info replication" }) {
		t.Errorf("asked %v", s.asked)
	}
}

func TestDeathIsToldBeforeTheNextQuestion(t *testing.T) {
	s := newServer(t, masterInfo)
	p := started(t, once, target(s))
	p.expectState(t, Up)
	p.expectChange(t)
	before := time.Now()
	s.kill()
	p.expectChange(t)
	got := p.expectState(t, Dead)
	if got.Since.Before(before) {
		t.Errorf("dead since %s, killed at %s", got.Since, before)
	}
	if got.Seen.RunID != "one" {
		t.Errorf("forgot who died: %+v", got.Seen)
	}
}

func TestAServerThatComesLaterIsFound(t *testing.T) {
	s := newServer(t, masterInfo)
	s.kill()
	p := started(t, often, target(s))
	dead := p.expectState(t, Dead)
	s.listen(t)
	if up := p.expectState(t, Up); up.Since.Before(dead.Since) {
		t.Errorf("up since %s, dead since %s", up.Since, dead.Since)
	}
}

func TestARestartIsToldAsAnotherProcess(t *testing.T) {
	restarts := map[string]struct {
		settings Settings
		restart  func(s *server)
	}{
		"after a while": {often, func(s *server) { s.kill(); s.listen(t) }},
		"in no time":    {once, func(s *server) { s.dropAll() }},
	}
	for name, tt := range restarts {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, masterInfo)
			p := started(t, tt.settings, target(s))
			p.expectState(t, Up)
			p.expectChange(t)
			s.set(func() { s.info = strings.Replace(masterInfo, "one", "two", 1) })
			tt.restart(s)
			eventually(t, "two", func() bool { return p.result().State == Up && p.result().Seen.RunID == "two" })
			p.expectChange(t)
		})
	}
}

func TestAConnectionThatBreaksIsNoChange(t *testing.T) {
	s := newServer(t, masterInfo)
	p := started(t, often, target(s))
	p.expectChange(t)
	before := p.result()
	s.dropAll()
	eventually(t, "another connection", func() bool {
		accepted, open, _ := s.counts()
		return accepted == 2 && open == 1
	})
	p.expectQuiet(t, s)
	if now := p.result(); now.State != Up || now.Since != before.Since {
		t.Errorf("%+v", now)
	}
}

// Each of these takes connections, so somebody listens: none is dead.
func TestAServerThatDoesNotAnswerIsSilent(t *testing.T) {
	half := fmt.Sprintf("$%d\r\n%s", len(masterInfo), masterInfo[:20])
	tests := map[string]struct {
		settings Settings
		how      func(s *server)
	}{
		"it stalls":              {hasty, func(s *server) { s.stalled = true }},
		"it stalls in an answer": {hasty, func(s *server) { s.reply = half }},
		"it hangs up":            {often, func(s *server) { s.dropping = true }},
		"it talks nonsense":      {often, func(s *server) { s.info = "hello" }},
		"it is full":             {often, func(s *server) { s.reply = "-ERR max number of clients reached\r\n" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, masterInfo)
			tt.how(s)
			var asked time.Time
			s.onAsk = func(nth int) {
				if nth <= attempts {
					asked = time.Now()
				}
			}
			p := started(t, tt.settings, target(s))
			p.expectChange(t)
			got := p.result()
			s.mu.Lock()
			if got.State != Silent || got.Since.IsZero() || got.Since.After(asked) {
				t.Errorf("%s since %s, asked at %s", got.State, got.Since, asked)
			}
			s.mu.Unlock()
			p.expectQuiet(t, s)
			if now := p.result(); now.State != Silent || now.Since != got.Since {
				t.Errorf("%s since %s, want %s", now.State, now.Since, got.Since)
			}
			p.Set(group, often, []Target{target(s)}) // Never gives up again.
			s.set(func() { s.reply, s.stalled, s.dropping, s.info, s.onAsk = "", false, false, masterInfo, nil })
			s.dropAll()
			p.expectState(t, Up)
			eventually(t, "one connection", func() bool { _, open, _ := s.counts(); return open == 1 })
		})
	}
}

func TestADialThatHangsIsSilent(t *testing.T) {
	addr := hangingPort(t)
	before := time.Now()
	p := started(t, hasty, Target{Name: "g1-0", Addr: addr})
	p.expectChange(t)
	got := p.result()
	if got.State != Silent || got.Since.Before(before) || !got.Answered.IsZero() {
		t.Errorf("%+v", got)
	}
}

// hangingPort returns an address whose backlog is full: dials to it hang.
func hangingPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("ten connections do not fill a backlog of none")
	return ""
}

// Whoever takes connections and drops them is not asked in a loop.
func TestBreakingConnectionsAreNotHammered(t *testing.T) {
	s := newServer(t, masterInfo)
	s.dropping = true
	p := started(t, once, target(s))
	p.expectState(t, Silent)
	if accepted, _, asked := s.counts(); accepted != attempts || asked != attempts {
		t.Errorf("%d connections, %d questions", accepted, asked)
	}

	s = newServer(t, masterInfo)
	started(t, once, target(s))
	for n := range attempts + 1 {
		eventually(t, "one more connection", func() bool {
			accepted, open, asked := s.counts()
			return accepted == n+1 && open == 1 && asked == n+1
		})
		s.dropAll()
	}
	eventually(t, "no connection", func() bool { _, open, _ := s.counts(); return open == 0 })
	<-time.After(50 * time.Millisecond)
	if accepted, _, _ := s.counts(); accepted != attempts+1 {
		t.Errorf("%d connections", accepted)
	}
}

func replicaInfo(link, syncing string, offset int) string {
	return fmt.Sprintf("role:slave\r\nrun_id:one\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n"+
		"master_link_status:%s\r\nmaster_sync_in_progress:%s\r\nslave_repl_offset:%d\r\n", link, syncing, offset)
}

func TestEachChangeIsTold(t *testing.T) {
	s := newServer(t, masterInfo)
	p := started(t, often, target(s))
	p.expectChange(t)
	replica := redis.Observation{Reachable: true, RunID: "one", Role: redis.RoleReplica, MasterAddr: "10.0.0.1:6379"}
	up := replica
	up.LinkUp, up.Offset = true, 7
	syncing := replica
	syncing.Syncing, syncing.Offset = true, 1
	moved := up
	moved.MasterAddr = "10.0.0.2:6379"
	master := redis.Observation{Reachable: true, RunID: "one", Role: redis.RoleMaster, Offset: 1}
	followed := master
	followed.Replicas = 1
	guarded := followed
	guarded.WritesGuarded = true
	for _, tt := range []struct {
		name, info string
		want       redis.Observation
	}{
		{"role", replicaInfo("up", "0", 7), up},
		{"master", strings.Replace(replicaInfo("up", "0", 7), "0.1\r", "0.2\r", 1), moved},
		{"the same master", replicaInfo("up", "0", 7), up},
		{"link and sync", replicaInfo("down", "1", 1), syncing},
		{"sync", replicaInfo("down", "0", 0), replica},
		{"link", replicaInfo("up", "0", 7), up},
		{"promoted", masterInfo, master},
		{"replicas", masterInfo + "connected_slaves:1\r\n", followed},
		{"guarded", masterInfo + "connected_slaves:1\r\nmin_slaves_good_slaves:1\r\n", guarded},
	} {
		s.set(func() { s.info = tt.info })
		p.expectChange(t)
		if diff := cmp.Diff(tt.want, p.result().Seen); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		p.expectQuiet(t, s)
	}
}

func TestAnOffsetThatMovesIsNoChange(t *testing.T) {
	s := newServer(t, replicaInfo("up", "0", 100))
	p := started(t, often, target(s))
	p.expectChange(t)
	first := p.result()
	if first.Moved.IsZero() || first.Moved.After(first.Answered) {
		t.Fatalf("first seen in sync: moved %s, answered %s", first.Moved, first.Answered)
	}
	p.expectQuiet(t, s)
	if now := p.result(); now.Moved != first.Moved || !now.Answered.After(first.Answered) {
		t.Errorf("it stood still: moved %s, want %s", now.Moved, first.Moved)
	}
	s.set(func() { s.info = replicaInfo("up", "0", 114) })
	eventually(t, "moved", func() bool { return p.result().Moved.After(first.Moved) })
	p.expectQuiet(t, s)
	if got := p.result().Seen.Offset; got != 114 {
		t.Errorf("offset %d", got)
	}
}

func TestMoved(t *testing.T) {
	then := time.Unix(1000, 0)
	now := then.Add(time.Minute)
	replica := redis.Observation{
		Reachable: true, RunID: "one", Role: redis.RoleReplica, MasterAddr: "m:1", LinkUp: true, Offset: 100,
	}
	tests := map[string]struct {
		before Result
		change func(o *redis.Observation)
		want   time.Time
	}{
		"it stands still":      {Result{Seen: replica, Moved: then}, func(*redis.Observation) {}, then},
		"it grows":             {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.Offset++ }, now},
		"another process":      {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.RunID = "two" }, now},
		"another master":       {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.MasterAddr = "m:2" }, now},
		"another stream":       {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.Offset = 50 }, now},
		"the link breaks":      {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.LinkUp = false }, then},
		"it copies":            {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.Syncing = true }, time.Time{}},
		"it becomes a master":  {Result{Seen: replica, Moved: then}, func(o *redis.Observation) { o.Role = redis.RoleMaster }, time.Time{}},
		"it was never seen":    {Result{}, func(*redis.Observation) {}, now},
		"it was never in sync": {Result{Seen: redis.Observation{}}, func(o *redis.Observation) { o.LinkUp, o.Offset = false, 1 }, time.Time{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			seen := replica
			tt.change(&seen)
			if got := moved(tt.before, seen, now); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	broken := replica
	broken.LinkUp = false
	if got := moved(Result{Seen: broken, Moved: then}, replica, now); got != now {
		t.Errorf("the link came up: got %s", got)
	}
}

func TestAPasswordThatIsDeniedMakesTheStateUnknown(t *testing.T) {
	s := newServer(t, masterInfo)
	p := started(t, often, target(s))
	p.expectState(t, Up)
	p.expectChange(t)
	for _, password := range []string{"", "other"} {
		s.set(func() { s.password = "secret" })
		settings := often
		settings.Password = password
		p.Set(group, settings, []Target{target(s)})
		p.expectChange(t)
		got := p.result()
		if got.State != Unknown || !got.Seen.Denied || got.Seen.Reachable {
			t.Errorf("with %q: %+v", password, got)
		}
		p.expectNothing(t)
	}
	settings := often
	settings.Password = "secret"
	p.Set(group, settings, []Target{target(s)})
	if got := p.expectState(t, Up); got.Seen.Denied {
		t.Errorf("%+v", got)
	}
}

func TestAServerThatLoadsIsUp(t *testing.T) {
	s := newServer(t, masterInfo)
	s.reply = "-LOADING Redis is loading the dataset in memory\r\n"
	p := started(t, often, target(s))
	for _, tt := range []struct {
		reply, info string
		want        redis.Observation
	}{
		{s.reply, "", redis.Observation{Reachable: true, Loading: true}},
		{
			"", masterInfo + "loading:1\r\n",
			redis.Observation{Reachable: true, Loading: true, RunID: "one", Role: redis.RoleMaster, Offset: 1},
		},
		{"", masterInfo, redis.Observation{Reachable: true, RunID: "one", Role: redis.RoleMaster, Offset: 1}},
	} {
		s.set(func() { s.reply, s.info = tt.reply, tt.info })
		p.expectChange(t)
		got := p.result()
		if diff := cmp.Diff(tt.want, got.Seen); diff != "" || got.State != Up {
			t.Errorf("%s %s", got.State, diff)
		}
	}
	if accepted, _, _ := s.counts(); accepted != 1 {
		t.Errorf("%d connections", accepted)
	}
}

func TestSetIsSafeToRepeat(t *testing.T) {
	s, other := newServer(t, masterInfo), newServer(t, masterInfo)
	p := started(t, often, target(s))
	p.expectChange(t)
	before := p.result()
	second := Target{Name: "g1-1", UID: "other", Addr: other.addr}
	for range 3 {
		p.Set(group, often, []Target{second, target(s), second, target(s)})
	}
	p.expectChange(t) // The second one.
	p.expectQuiet(t, s)
	for _, s := range []*server{s, other} {
		if accepted, open, _ := s.counts(); accepted != 1 || open != 1 {
			t.Errorf("%d connections, %d open", accepted, open)
		}
	}
	if now := p.result(); now.Since != before.Since {
		t.Errorf("since %s, want %s", now.Since, before.Since)
	}
	p.Set(group, often, []Target{target(s)})
	eventually(t, "the second one ends", func() bool { _, open, _ := other.counts(); return open == 0 })
	if got := p.Results(group); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatDiffersStartsAnew(t *testing.T) {
	s, other := newServer(t, masterInfo), newServer(t, strings.Replace(masterInfo, "one", "two", 1))
	p := started(t, often, target(s))
	p.expectState(t, Up)
	expect := func(want Target, from *server, accepted int) {
		t.Helper()
		if got := p.result(); got.State != Unknown || got.UID != want.UID || got.Addr != want.Addr {
			// It may be up already, but it must not be what was known of another.
			if got.State != Up || got.UID != want.UID || got.Addr != want.Addr {
				t.Errorf("%+v", got)
			}
		}
		p.expectState(t, Up)
		eventually(t, "one connection", func() bool {
			got, open, _ := from.counts()
			return got == accepted && open == 1
		})
	}
	changed := target(s)
	changed.UID = "new"
	p.Set(group, often, []Target{changed})
	expect(changed, s, 2)
	slower := often
	slower.Interval *= 2
	p.Set(group, slower, []Target{changed})
	expect(changed, s, 3)
	changed.Addr = other.addr
	p.Set(group, slower, []Target{changed})
	expect(changed, other, 1)
	if got := p.result().Seen.RunID; got != "two" {
		t.Errorf("run id %s", got)
	}
	eventually(t, "the old address is left", func() bool { _, open, _ := s.counts(); return open == 0 })
}

func TestForgetEndsTheProbesOfAGroup(t *testing.T) {
	s, kept := newServer(t, masterInfo), newServer(t, masterInfo)
	p := started(t, often, target(s))
	other := types.NamespacedName{Namespace: "ns", Name: "g2"}
	p.Set(other, often, []Target{{Name: "g2-0", Addr: kept.addr}})
	p.expectState(t, Up)
	p.Forget(group)
	p.Forget(group)
	if got := p.Results(group); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	eventually(t, "it hangs up", func() bool { _, open, _ := s.counts(); return open == 0 })
	kept.expectQuestions(t, 3)
	if got := p.Results(other)["g2-0"].State; got != Up {
		t.Errorf("the other group is %s", got)
	}
}

func TestTheEndOfStartClosesEverything(t *testing.T) {
	stalled := newServer(t, masterInfo)
	stalled.stalled = true
	servers := []*server{newServer(t, masterInfo), stalled, newServer(t, masterInfo)}
	servers[2].kill()
	before := runtime.NumGoroutine()
	p := New(clock.RealClock{})
	stop := start(t, p)
	for i, s := range servers {
		p.Set(types.NamespacedName{Name: fmt.Sprint(i)}, once, []Target{target(s)})
	}
	hanging := Target{Name: "hangs", Addr: hangingPort(t)}
	p.Set(types.NamespacedName{Name: "hangs"}, once, []Target{hanging})
	eventually(t, "two connections and a refusal", func() bool {
		_, one, asked := servers[0].counts()
		_, two, waits := stalled.counts()
		return one+two+asked+waits == 4 && p.Results(types.NamespacedName{Name: "2"})["g1-0"].State == Dead
	})
	stop() // Neither the question to the stalled one nor the dial is waited for.
	for _, s := range servers {
		eventually(t, "no connection", func() bool { _, open, _ := s.counts(); return open == 0 })
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	p.Set(group, often, []Target{target(servers[0])})
	p.Forget(group)
}

func TestWhatIsSetBeforeStartWaits(t *testing.T) {
	s := newServer(t, masterInfo)
	p := New(clock.RealClock{})
	if p.NeedLeaderElection() {
		t.Error("only the leader would probe")
	}
	dropped := Target{Name: "dropped", Addr: s.addr}
	p.Set(group, often, []Target{dropped})
	p.Set(group, often, []Target{{Name: "g1-0", UID: "old", Addr: s.addr}})
	p.Set(group, often, []Target{target(s)})
	if got := p.result(); got.State != Unknown || got.Addr != s.addr || got.UID != "uid" {
		t.Errorf("%+v", got)
	}
	start(t, p)
	p.expectState(t, Up)
	s.expectQuestions(t, 3)
	if accepted, _, _ := s.counts(); accepted != 1 {
		t.Errorf("%d connections", accepted)
	}
}

func TestChangesWaitForTheReaderAsOne(t *testing.T) {
	s := newServer(t, masterInfo)
	p := started(t, often, target(s))
	for replicas := range 10 {
		s.set(func() { s.info = masterInfo + fmt.Sprintf("connected_slaves:%d\r\n", replicas) })
		eventually(t, "seen", func() bool {
			got := p.result()
			return got.State == Up && got.Seen.Replicas == replicas
		})
	}
	eventually(t, "marks are taken", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.wake) == 0 && len(p.dirty) == 0
	})
	p.expectChange(t)
	p.expectQuiet(t, s)
}

func TestNoGroupIsLostWhileNobodyReads(t *testing.T) {
	s := newServer(t, masterInfo)
	p := New(clock.RealClock{})
	start(t, p)
	want := map[string]bool{}
	for i := range 5 {
		name := types.NamespacedName{Namespace: "ns", Name: fmt.Sprint(i)}
		want[name.Name] = true
		p.Set(name, often, []Target{target(s)})
		eventually(t, "up", func() bool { return p.Results(name)["g1-0"].State == Up })
	}
	got := map[string]bool{}
	for range want {
		select {
		case told := <-p.Changes():
			got[told.Object.GetName()] = true
		case <-time.After(patience):
			t.Fatalf("told only %v", got)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAProbeWaitsForTheOneThatItReplaces(t *testing.T) {
	s := newServer(t, masterInfo)
	before := &probe{done: make(chan struct{})}
	after := newProbe(New(clock.RealClock{}), group, often, target(s), before)
	ctx, cancel := context.WithCancel(t.Context())
	go after.run(ctx)
	<-time.After(50 * time.Millisecond)
	if accepted, _, _ := s.counts(); accepted != 0 {
		t.Error("a server has two connections")
	}
	close(before.done)
	eventually(t, "a connection", func() bool { _, open, _ := s.counts(); return open == 1 })
	cancel()
	<-after.done
}

// handClock is moved by hand. It tells each time that a probe is done with all that it
// had to do and waits for the next tick: a step that comes sooner may be missed.
type handClock struct {
	*clocktesting.FakeClock

	waits chan struct{}
}

func (c handClock) NewTicker(d time.Duration) clock.Ticker {
	return handTicker{Ticker: c.FakeClock.NewTicker(d), waits: c.waits}
}

type handTicker struct {
	clock.Ticker

	waits chan struct{}
}

// C is called anew for every wait.
func (t handTicker) C() <-chan time.Time {
	t.waits <- struct{}{}
	return t.Ticker.C()
}

// expectLook waits until the look is over that a step, or the start, called for.
func (c handClock) expectLook(t *testing.T) {
	t.Helper()
	select {
	case <-c.waits:
	case <-time.After(patience):
		t.Fatal("never: a look is over")
	}
}

// held returns a prober with a clock that is moved by hand, past the moment at
// which it asks first. A question that stalls takes the timeout in real time.
func held(t *testing.T, s *server, timeout time.Duration) (*Prober, handClock) {
	t.Helper()
	// Nobody may wait for the test to end: there is room for more looks than any has.
	hand := handClock{FakeClock: clocktesting.NewFakeClock(time.Unix(1000, 0)), waits: make(chan struct{}, 100)}
	p := New(hand)
	p.Set(group, Settings{Interval: time.Second, Timeout: timeout}, []Target{target(s)})
	start(t, p)
	eventually(t, "it waits", hand.HasWaiters)
	hand.Step(time.Second)
	return p, hand
}

// slow is the timeout of a question that is to stall: a busy machine has so long to
// bring it to the server.
const slow = 500 * time.Millisecond

// A question of which this process slept through the answer proves nothing.
func TestTimeInWhichTheProberWasHeldUpIsNoSilence(t *testing.T) {
	s := newServer(t, masterInfo)
	hand := make(chan handClock, 1)
	s.stalled = true
	s.onAsk = func(nth int) {
		if nth == 1 {
			clock := <-hand
			clock.Step(time.Hour)
			return
		}
		s.stalled = false
	}
	p, c := held(t, s, slow)
	hand <- c
	p.expectChange(t)
	if got := p.result(); got.State != Up {
		t.Errorf("%s since %s", got.State, got.Since)
	}
	if accepted, _, _ := s.counts(); accepted != 2 {
		t.Errorf("%d connections: one was to be given up", accepted)
	}
}

// One that is held up all the while knows of no moment at which the server was silent.
func TestASilenceBeginsWhenTheProberIsNotHeldUpAnyMore(t *testing.T) {
	s := newServer(t, masterInfo)
	s.stalled = true
	hand := make(chan handClock, 1)
	s.onAsk = func(int) {
		clock := <-hand
		clock.Step(time.Hour)
		hand <- clock
	}
	p, c := held(t, s, slow)
	hand <- c
	c.expectLook(t)
	got := p.result()
	if _, _, asked := s.counts(); asked != attempts {
		t.Errorf("asked %d times", asked)
	}
	if now := c.Now(); got.State != Silent || got.Since != now {
		t.Errorf("%s since %s, want %s", got.State, got.Since, now)
	}
}

func TestTwoSilencesFarApartAreNotOne(t *testing.T) {
	tests := map[string]struct {
		timeout time.Duration
		how     func(s *server)
	}{
		"it stalls":   {slow, func(s *server) { s.stalled = true }},
		"it hangs up": {patience, func(s *server) { s.dropping = true }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, masterInfo)
			tt.how(s)
			p, hand := held(t, s, tt.timeout)
			hand.expectLook(t)
			first := p.expectState(t, Silent)
			_, _, before := s.counts()
			hand.Step(time.Second)
			hand.expectLook(t)
			if _, _, asked := s.counts(); asked <= before {
				t.Errorf("asked %d times, and %d times before", asked, before)
			}
			if got := p.result(); got.Since != first.Since {
				t.Errorf("the same silence: since %s, want %s", got.Since, first.Since)
			}
			hand.Step(time.Hour)
			hand.expectLook(t)
			if got := p.result(); got.State != Silent || got.Since.Sub(first.Since) < time.Hour {
				t.Errorf("%s since %s, and before since %s", got.State, got.Since, first.Since)
			}
		})
	}
}

// A process may be held up at any moment, also when it knows that no answer came and has
// not told yet.
func TestTimeAfterALookIsNoSilence(t *testing.T) {
	s := newServer(t, masterInfo)
	s.dropping = true
	p, hand := held(t, s, patience)
	hand.expectLook(t)
	first := p.expectState(t, Silent)
	p.mu.Lock() // The probe waits for it when it tells.
	hand.Step(time.Second)
	eventually(t, "it is about to tell", func() bool { return runs("prober.(*probe).tell") })
	hand.Step(time.Hour)
	p.mu.Unlock()
	hand.expectLook(t)
	hand.expectLook(t) // The hour had a tick.
	if got := p.result(); got.State != Silent || got.Since.Sub(first.Since) < time.Hour {
		t.Errorf("%s since %s, and before since %s", got.State, got.Since, first.Since)
	}
}

func TestMetricsAreRegistered(t *testing.T) {
	s := newServer(t, masterInfo)
	p := started(t, often, target(s))
	p.expectState(t, Up)
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()] = m.GetHistogram().GetSampleCount() > 0 || m.GetCounter().GetValue() > 0
		}
	}
	for _, name := range []string{"codis_operator_probe_seconds", "codis_operator_probe_state_changes_total"} {
		if !got[name] {
			t.Errorf("nothing was counted as %s", name)
		}
	}
}

// BenchmarkProbe probes 1000 servers; an iteration is one question to each. The
// time of the processor is that of both sides.
func BenchmarkProbe(b *testing.B) {
	const servers = 1000
	p := New(clock.RealClock{})
	var all []*server
	for i := range servers {
		s := newServer(b, masterInfo)
		all = append(all, s)
		name := types.NamespacedName{Name: fmt.Sprintf("g%d", i)}
		p.Set(name, Settings{}, []Target{{Name: "pod", UID: types.UID(name.Name), Addr: s.addr}})
	}
	start(b, p)
	asked := func() (total int) {
		for _, s := range all {
			_, _, n := s.counts()
			total += n
		}
		return total
	}
	eventually(b, "all are up", func() bool { return asked() >= 2*servers })
	questions, used := asked(), processorTime(b)
	for b.Loop() {
		want := asked() + servers
		for asked() < want {
			<-time.After(50 * time.Millisecond)
		}
	}
	n := asked() - questions
	b.ReportMetric(float64((processorTime(b)-used).Microseconds())/float64(n), "cpu-µs/probe")
	b.ReportMetric(float64(n)/float64(b.N), "probes/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
