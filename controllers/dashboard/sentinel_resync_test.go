// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

// hangs makes sentinels accept connections and answer nobody.
func hangs(ordinals ...int) func(s *state) {
	return func(s *state) {
		s.stats.Sentinels.Stats = map[string]codis.ServerStats{}
		for _, ordinal := range ordinals {
			s.sentinels.pods[ordinal] = &corev1.Pod{Status: corev1.PodStatus{PodIP: "10.1.0.1"}}
			s.sentinels.looks[ordinal] = sentinel.Survey{}
			s.stats.Sentinels.Stats[domain.SentinelAddr("ns", "d", ordinal)] = codis.ServerStats{Timeout: true}
		}
	}
}

func TestSentinelThatHangs(t *testing.T) {
	tests := map[string]struct {
		prepare func(s *state)
		want    []int
	}{
		"all answer":                  {func(*state) {}, nil},
		"one hangs":                   {hangs(1), []int{1}},
		"two of three hang":           {hangs(0, 1), nil},
		"the dashboard hears it":      {func(s *state) { hangs(1)(s); s.stats.Sentinels.Stats = nil }, nil},
		"the operator hears it":       {func(s *state) { hangs(1)(s); s.sentinels.looks[1] = sentinel.Survey{Answers: true} }, nil},
		"its pod has no address":      {func(s *state) { hangs(1)(s); s.sentinels.pods[1] = &corev1.Pod{} }, nil},
		"its pod is gone":             {func(s *state) { hangs(1)(s); delete(s.sentinels.pods, 1) }, nil},
		"the dashboard forgot it":     {func(s *state) { hangs(2)(s); s.stats.Sentinels.Model.Servers = s.knownSentinels()[:2] }, nil},
		"all have to find one down":   {func(s *state) { hangs(1)(s); s.dashboard.Spec.Sentinel.Quorum = new(int32(3)) }, nil},
		"none are asked for any more": {func(s *state) { hangs(1)(s); leaves(s) }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := watched()
			tt.prepare(s)
			if diff := cmp.Diff(tt.want, s.hanging((&Reconciler{Domain: domain}).sentinelAddr(s.dashboard))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A short stall of a sentinel does not have the dashboard tell all of them anew.
func TestSentinelIsTakenOutOnceItHangsForLong(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	r := &Reconciler{Domain: domain, Clock: clock}
	steps := []struct {
		after         time.Duration
		hangs         bool
		mute, waiting bool
	}{
		{0, true, false, true},
		{muteFor - 1, true, false, true},
		{1, true, true, true},
		{time.Second, false, false, false},
		{time.Second, true, false, true}, // Counted from the beginning.
		{muteFor, true, true, true},
	}
	for i, step := range steps {
		s := watched()
		if step.hangs {
			hangs(2)(s)
		}
		clock.SetTime(clock.Now().Add(step.after))
		mute, waiting := r.muteSentinels(s)
		if mute(0) || mute(2) != step.mute || waiting != step.waiting {
			t.Errorf("step %d: mute %t, waiting %t", i, mute(2), waiting)
		}
	}
}

// proxyOf is a proxy that listens to sentinels, and notes how it is told of others.
func proxyOf(t *testing.T, listens string, fails bool) (addr string, told func() []string) {
	t.Helper()
	var mu sync.Mutex
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case req.Method == http.MethodGet:
			_, _ = w.Write([]byte(`{"sentinels":{"servers":[` + listens + `]}}`))
		case fails:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			paths = append(paths, req.URL.Path)
			_, _ = w.Write([]byte(`"OK"`))
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(paths)
	}
}

// The dashboard tells all groups or none; a group that is not handed over must not keep
// the proxies from hearing of the others.
func TestProxiesAreToldWhileTheDashboardMayNot(t *testing.T) {
	names := `"` + domain.SentinelAddr("ns", "d", 0) + `","` + domain.SentinelAddr("ns", "d", 1) + `","` + domain.SentinelAddr("ns", "d", 2) + `"`
	notHandedOver := func(s *state) {
		s.groups[0].sentinelLed = false
		for _, look := range s.sentinels.looks {
			delete(look.Flags, "ns.d-1")
		}
	}
	tests := map[string]struct {
		prepare       func(s *state)
		listens, held string
		fails         bool
		told          int
	}{
		"a group is not handed over":              {notHandedOver, "", "group 1 is not handed over", false, 1},
		"a group has no master":                   {func(s *state) { s.groups[0].reachable = false }, "", "group 1 has no master", false, 1},
		"a sentinel does not answer":              {unheard(2), "", "d-sentinel-2 does not answer", false, 1},
		"a sentinel watches it all the same":      {func(s *state) { s.groups[0].sentinelLed = false }, "", "group 1 is not handed over", false, 0},
		"the proxy was told a moment ago":         {notHandedOver, names, "group 1 is not handed over", false, 0},
		"the proxy cannot be told, which is said": {notHandedOver, "", "group 1 is not handed over", true, 0},
		"the password is not there, which is said": {func(s *state) {
			notHandedOver(s)
			s.dashboard.Spec.AuthSecretRef.Name = "other"
		}, "", "group 1 is not handed over", true, 0},
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "auth"}, Data: map[string][]byte{"password": []byte("secret")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, told := proxyOf(t, tt.listens, tt.fails)
			s := watched()
			s.dashboard.Spec.AuthSecretRef = &v1alpha1.SecretReference{Name: "auth"}
			s.stats.Proxy.Models = []codis.Proxy{{Token: "t", AdminAddr: addr, Product: "ns.d", Hostname: "p-1"}}
			s.stats.Proxy.Stats = map[string]codis.ProxyStats{"t": {Stats: &codis.ProxyState{}}}
			tt.prepare(s)
			reader := fake.NewClientBuilder().WithObjects(secret).Build()
			r := &Reconciler{Domain: domain, Reader: reader, Clock: clocktesting.NewFakePassiveClock(time.Unix(0, 0))}
			r.resyncSentinels(t.Context(), s)
			if !strings.Contains(s.sentinels.held, tt.held) {
				t.Errorf("held %q, want %q", s.sentinels.held, tt.held)
			}
			got := told()
			if len(got) != tt.told || (s.sentinels.untold != nil) != tt.fails {
				t.Errorf("told %v, %v", got, s.sentinels.untold)
			}
			if len(got) > 0 && got[0] != "/api/proxy/sentinels/"+codis.XAuth("ns.d", "secret", "t") {
				t.Errorf("told by %s", got[0])
			}
			if s.sentinels.untold != nil && strings.Contains(s.sentinels.untold.Error(), "127.0.0.1") {
				t.Errorf("the condition changes from one try to the next: %v", s.sentinels.untold)
			}
		})
	}
}
