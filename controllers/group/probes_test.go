// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/prober"
	"github.com/codis-io/codis-operator/internal/redis"
)

func TestProbingOfASpec(t *testing.T) {
	const ms = time.Millisecond
	defaults := probing{250 * ms, 500 * ms, 1500 * ms}
	tests := map[string]struct {
		spec *v1alpha1.Failover
		want probing
	}{
		"nothing is said": {nil, defaults},
		"nothing in it":   {&v1alpha1.Failover{}, defaults},
		"the interval":    {&v1alpha1.Failover{ProbeIntervalMilliseconds: new(int32(100))}, probing{100 * ms, 500 * ms, 1500 * ms}},
		"the timeout":     {&v1alpha1.Failover{ProbeTimeoutMilliseconds: new(int32(200))}, probing{250 * ms, 200 * ms, 1500 * ms}},
		"the window":      {&v1alpha1.Failover{SilenceMilliseconds: new(int32(60000))}, probing{250 * ms, 500 * ms, time.Minute}},
		"all": {&v1alpha1.Failover{
			ProbeIntervalMilliseconds: new(int32(1)), ProbeTimeoutMilliseconds: new(int32(2)), SilenceMilliseconds: new(int32(3)),
		}, probing{ms, 2 * ms, 3 * ms}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, probingOf(tt.spec), cmp.AllowUnexported(probing{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// asked is what a pass found out about a member.
type asked struct {
	Reachable, Refused, Dead bool
	Silent                   time.Duration
	Problem                  string
	Questions                int
}

func (l *lab) ask(ctx context.Context, probe prober.Result) asked {
	l.t.Helper()
	s := l.state(masterData)
	m := s.world.members[0]
	l.r.ask(ctx, s, &m, probe)
	return asked{m.redis.Reachable, m.redis.Refused, m.dead, m.silent, m.redis.Problem, l.count("INFO")}
}

func TestAskAMember(t *testing.T) {
	silent := prober.Result{State: prober.Silent, Since: now.Add(-3 * time.Second)}
	tests := map[string]struct {
		prepare func(l *lab)
		probe   prober.Result
		want    asked
	}{
		"it answers":                       {probe: prober.Result{State: prober.Up}, want: asked{Reachable: true, Questions: 1}},
		"the prober knows nothing":         {want: asked{Reachable: true, Questions: 1}},
		"the prober takes it for dead":     {probe: prober.Result{State: prober.Dead}, want: asked{Reachable: true, Questions: 1}},
		"the prober knows it to be silent": {probe: silent, want: asked{Silent: 3 * time.Second, Problem: "no answer in time"}},
		"nobody listens, twice": {
			prepare: func(l *lab) { l.end(0) }, probe: prober.Result{State: prober.Dead},
			want: asked{Refused: true, Dead: true, Problem: "connection refused"},
		},
		"it refuses, and answers the prober": {
			prepare: func(l *lab) { l.end(0) }, probe: prober.Result{State: prober.Up},
			want: asked{Refused: true, Problem: "connection refused"},
		},
		"it hangs up": {
			prepare: func(l *lab) { l.outcome["INFO"] = fixture.Fail }, probe: prober.Result{State: prober.Dead},
			want: asked{Problem: "no answer", Questions: 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1)
			if tt.prepare != nil {
				tt.prepare(l)
			}
			if diff := cmp.Diff(tt.want, l.ask(t.Context(), tt.probe)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// onDialError is called when the Redis library tells that it cannot connect.
type onDialError func()

// Printf implements the logger of the library.
func (f onDialError) Printf(_ context.Context, format string, _ ...any) {
	if strings.Contains(format, "failed to dial") {
		f()
	}
}

func TestAskAMemberThatStartsInBetween(t *testing.T) {
	l := newLab(t, 1)
	l.end(0)
	refused := 0
	goredis.SetLogger(onDialError(func() {
		if refused++; refused == 1 {
			l.cluster.Hold("ns", memberName(0), false)
			l.step()
		}
	}))
	defer goredis.SetLogger(onDialError(func() {}))
	if diff := cmp.Diff(asked{Reachable: true, Questions: 1}, l.ask(t.Context(), prober.Result{State: prober.Dead})); diff != "" {
		t.Error(diff)
	}
	if refused != 1 {
		t.Errorf("refused %d times, want once", refused)
	}
}

func TestAskAReplicaWhatItHears(t *testing.T) {
	const quiet = 4 * time.Second
	// seen is what the prober saw a second ago.
	of := func(seen redis.Observation, moved time.Time) prober.Result {
		return prober.Result{State: prober.Up, Seen: seen, Answered: now.Add(-time.Second), Moved: moved}
	}
	behind := func(seen redis.Observation, moved time.Time) prober.Result {
		seen.Offset--
		return of(seen, moved)
	}
	standing := now.Add(-time.Second - quiet)
	tests := map[string]struct {
		master bool
		gone   bool
		probe  func(seen redis.Observation) prober.Result
		want   time.Duration
	}{
		"its offset stands still": {
			probe: func(seen redis.Observation) prober.Result { return of(seen, standing) }, want: quiet + time.Second,
		},
		"its offset moved after the probe": {
			probe: func(seen redis.Observation) prober.Result { return behind(seen, standing) }, want: quiet,
		},
		"its offset moved at the probe": {
			probe: func(seen redis.Observation) prober.Result { return behind(seen, now.Add(-time.Second)) },
		},
		"it was never in sync":  {probe: func(seen redis.Observation) prober.Result { return of(seen, time.Time{}) }},
		"it is another process": {probe: func(redis.Observation) prober.Result { return of(redis.Observation{RunID: "before"}, standing) }},
		"it is master":          {master: true, probe: func(seen redis.Observation) prober.Result { return of(seen, standing) }},
		"it is gone":            {gone: true, probe: func(seen redis.Observation) prober.Result { return of(seen, standing) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1)
			s := l.state(syncedData)
			m := s.world.members[0]
			if !tt.master {
				first := s.servers.Observe(t.Context(), redisAddr(m))
				if err := s.servers.Follow(t.Context(), redisAddr(m), first, strayAddr); err != nil {
					t.Fatal(err)
				}
			}
			seen := s.servers.Observe(t.Context(), redisAddr(m))
			if tt.gone {
				l.end(0)
			}
			l.r.ask(t.Context(), s, &m, tt.probe(seen))
			if m.redis.Reachable == tt.gone || m.redis.IsMaster() != tt.master || m.deaf != tt.want {
				t.Errorf("reachable %t, %s, deaf for %s, want %s", m.redis.Reachable, m.redis.Role, m.deaf, tt.want)
			}
		})
	}
}

func TestProbeOfAnotherProcessIsIgnored(t *testing.T) {
	l := newLab(t, 2)
	l.r.Prober = prober.New(clock.RealClock{}) // Not started: it only knows whom to ask.
	s := l.state(masterData, syncedData)
	l.r.setTargets(s)
	tests := map[string]struct {
		change func(m *member)
		known  bool
	}{
		"the one that was asked": {func(*member) {}, true},
		"another pod":            {func(m *member) { m.uid = "another" }, false},
		"another address":        {func(m *member) { m.ip = "127.0.0.9" }, false},
		"another member":         {func(m *member) { m.name = "g-7" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := s.world.members[0]
			tt.change(&m)
			got, want := l.r.probe(s, m), prober.Result{}
			if tt.known {
				want = prober.Result{UID: m.uid, Addr: net.JoinHostPort(m.ip, "6379"), State: prober.Unknown, Since: got.Since}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTargetsOfTheProber(t *testing.T) {
	l := newLab(t, 3)
	l.r.Prober = prober.New(clock.RealClock{})
	s := l.state(masterData, syncedData, unreachable)
	s.world.members[2].ip = ""
	key := client.ObjectKeyFromObject(s.group)
	password := s.servers
	s.servers = nil
	if l.r.setTargets(s); len(l.r.Prober.Results(key)) > 0 {
		t.Error("members are asked without the password")
	}
	s.servers = password
	l.r.setTargets(s)
	want := map[string]string{"g-0": redisAddr(s.world.members[0]), "g-1": redisAddr(s.world.members[1])}
	got := map[string]string{}
	for name, result := range l.r.Prober.Results(key) {
		got[name] = result.Addr
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.world.members[1].ip = ""
	if l.r.setTargets(s); len(l.r.Prober.Results(key)) != 1 {
		t.Error("a member without a pod is asked on")
	}
}

// intervals is a clock that tells how often it is asked to tick.
type intervals struct {
	clock.RealClock

	got chan time.Duration
}

func (i intervals) NewTicker(d time.Duration) clock.Ticker {
	i.got <- d
	return i.RealClock.NewTicker(d)
}

// result waits until the prober has a result about g-0 that is not Unknown, or
// was denied.
func (l *lab) result(s *state) prober.Result {
	l.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		got := l.r.Prober.Results(client.ObjectKeyFromObject(s.group))["g-0"]
		if got.State != prober.Unknown || got.Seen.Denied {
			return got
		}
		select {
		case <-deadline:
			l.t.Fatal("the prober finds out nothing")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestTheProberUsesTheSpecAndThePassword(t *testing.T) {
	l := newLab(t, 1)
	ticks := intervals{got: make(chan time.Duration, 10)}
	probes := prober.New(ticks)
	l.r.Prober = probes
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- probes.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	s := l.state(masterData)
	s.group.Spec.Failover = &v1alpha1.Failover{ProbeIntervalMilliseconds: new(int32(321)), ProbeTimeoutMilliseconds: new(int32(10000))}
	l.r.setTargets(s)
	if got := l.result(s); got.State != prober.Up || got.Seen.RunID == "" {
		t.Errorf("with the right password: %+v", got)
	}
	if got := <-ticks.got; got != 321*time.Millisecond {
		t.Errorf("asks every %s", got)
	}
	before := l.r.probe(s, s.world.members[0])
	if l.r.setTargets(s); !l.r.probe(s, s.world.members[0]).Since.Equal(before.Since) {
		t.Error("the same settings start anew")
	}
	s.group.Spec.Failover.ProbeTimeoutMilliseconds = new(int32(9000))
	if l.r.setTargets(s); l.r.probe(s, s.world.members[0]).Since.Equal(before.Since) {
		t.Error("another timeout changes nothing")
	}
	s.password = "wrong"
	l.r.setTargets(s)
	if got := l.result(s); got.State != prober.Unknown || !got.Seen.Denied {
		t.Errorf("with another password: %+v", got)
	}
}

func TestPassesWithoutAProber(t *testing.T) {
	l := newLab(t, 1)
	s := l.state(masterData)
	l.r.setTargets(s)
	if diff := cmp.Diff(prober.Result{}, l.r.probe(s, s.world.members[0])); diff != "" {
		t.Error(diff)
	}
	m := l.r.observeMember(t.Context(), s, 0)
	if !m.redis.IsMaster() || m.dead || m.silent != 0 || m.deaf != 0 {
		t.Errorf("observed %+v", m)
	}
}
