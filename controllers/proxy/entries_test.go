// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/internal/codis"
)

const (
	podA = "p-proxy-6b8d9f7c5d-aaaaa"
	podB = "p-proxy-6b8d9f7c5d-bbbbb"
)

// fate is what a proxy pod may be found in.
type fate int

const (
	online     fate = iota // answers and serves
	offline                // answers and does not serve
	closing                // answers and is shutting down
	half                   // answers who it is, not how it is
	silent                 // does not answer
	crashing               // its container ended and kubelet backs off
	terminated             // its pod failed
	leaving                // serves, and its pod is being deleted
	fates
)

// view is a proxy pod in a fate; the process in it has the token of its name.
func view(name string, f fate) proxyView {
	v := proxyView{pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "proxy"}}},
	}}
	switch f {
	case silent:
		return v
	case crashing:
		v.pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "proxy", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		}}
		return v
	case terminated:
		v.pod.Status.Phase = corev1.PodFailed
		return v
	case leaving:
		// Asked to go a second ago, with 25 seconds to do so.
		v.pod.DeletionTimestamp, v.pod.DeletionGracePeriodSeconds = new(metav1.Unix(1024, 0)), new(int64(25))
	}
	v.model = &codis.Proxy{Token: "token-" + name, Hostname: name, AdminAddr: name + ":11080"}
	if f != half {
		v.status = &codis.ProxyState{Online: f == online || f == leaving || f == closing, Closed: f == closing}
	}
	return v
}

func entry(hostname, token string) codis.Proxy {
	return codis.Proxy{Hostname: hostname, Token: token, AdminAddr: hostname + ":11080"}
}

func own(pod string) codis.Proxy { return entry(pod, "token-"+pod) }

// stats is a dashboard with entries; every slot has an owner, or none has.
func stats(assigned bool, entries ...codis.Proxy) *codis.Stats {
	s := &codis.Stats{Slots: make([]codis.SlotMapping, codis.Slots)}
	for id := range s.Slots {
		s.Slots[id].ID = id
		if assigned {
			s.Slots[id].GroupID = 1
		}
	}
	s.Proxy.Models = entries
	return s
}

func TestDecide(t *testing.T) {
	foreign := entry("db07.example.com", "t1")
	other := entry("q-proxy-6b8d9f7c5d-aaaaa", "t2")
	old := entry(podA, "old")
	tests := map[string]struct {
		entries []codis.Proxy
		proxies []proxyView
		// cached are pods that the API server has, beside those of the cache.
		there      []string
		unassigned bool
		remove     []string
		online     []string
	}{
		"nothing to do": {entries: []codis.Proxy{own(podA)}, proxies: []proxyView{view(podA, online)}},
		"a new proxy goes online": {
			proxies: []proxyView{view(podA, offline)}, online: []string{podA + ":11080"},
		},
		"a proxy that serves without entry is registered": {
			proxies: []proxyView{view(podA, online)}, online: []string{podA + ":11080"},
		},
		"a registered proxy that does not serve goes online": {
			entries: []codis.Proxy{own(podA)}, proxies: []proxyView{view(podA, offline)}, online: []string{podA + ":11080"},
		},
		"nobody goes online before every slot has an owner": {
			proxies: []proxyView{view(podA, offline), view(podB, online)}, unassigned: true,
		},
		"a proxy that is being stopped does not go online": {proxies: []proxyView{view(podA, leaving)}},
		"a proxy that says half does not go online":        {proxies: []proxyView{view(podA, half)}},
		"the entry of a silent proxy stays":                {entries: []codis.Proxy{own(podA)}, proxies: []proxyView{view(podA, silent)}},
		"the entry of a proxy that is being stopped stays": {entries: []codis.Proxy{own(podA)}, proxies: []proxyView{view(podA, leaving)}},
		"the entry of a pod that is gone goes":             {entries: []codis.Proxy{own(podA)}, remove: []string{"token-" + podA}},
		"the entry of a pod that the cache does not show stays": {
			entries: []codis.Proxy{own(podA)}, there: []string{podA},
		},
		"the entry of a crashed proxy goes": {
			entries: []codis.Proxy{own(podA)}, proxies: []proxyView{view(podA, crashing)}, remove: []string{"token-" + podA},
		},
		"the entry of a failed pod goes": {
			entries: []codis.Proxy{own(podA)}, proxies: []proxyView{view(podA, terminated)}, remove: []string{"token-" + podA},
		},
		"the entry of a process that was replaced goes, the new one goes online": {
			entries: []codis.Proxy{old}, proxies: []proxyView{view(podA, offline)},
			remove: []string{"old"}, online: []string{podA + ":11080"},
		},
		"of two entries of a pod the old one goes": {
			entries: []codis.Proxy{old, own(podA)}, proxies: []proxyView{view(podA, online)}, remove: []string{"old"},
		},
		"dead entries go before every slot has an owner": {
			entries: []codis.Proxy{own(podA), own(podB)}, proxies: []proxyView{view(podB, offline)}, unassigned: true,
			remove: []string{"token-" + podA},
		},
		"entries of others are left alone": {entries: []codis.Proxy{foreign, other}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			exists := func(pod string) bool { return slices.Contains(tt.there, pod) }
			got := decide("p", stats(!tt.unassigned, tt.entries...), tt.proxies, exists, time.Unix(1000, 0))
			var remove []string
			for _, entry := range got.remove {
				remove = append(remove, entry.Token)
			}
			if diff := cmp.Diff(tt.remove, remove); diff != "" {
				t.Errorf("removed: %s", diff)
			}
			if diff := cmp.Diff(tt.online, got.online); diff != "" {
				t.Errorf("brought online: %s", diff)
			}
		})
	}
}

// A proxy whose pod goes serves the clients it has, but not for ever.
func TestMayStop(t *testing.T) {
	const grace, began = 25, 1000 // Ten seconds for clients, fifteen to end.
	tests := map[string]struct {
		fate     fate
		now      int64
		sessions int64
		want     bool
	}{
		"it stays":              {online, began + 60, 0, false},
		"its clients have time": {leaving, began + 9, 1, false},
		"their time is over":    {leaving, began + 10, 1, true},
		"nobody is connected, but may be in a while": {leaving, began + 2, 0, false},
		"nobody is connected":                        {leaving, began + 3, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := view(podA, tt.fate)
			v.status.Sessions.Alive = tt.sessions
			if tt.fate == leaving {
				v.pod.DeletionTimestamp = new(metav1.Unix(began+grace, 0))
			}
			if got := mayStop(v, time.Unix(tt.now, 0)); got != tt.want {
				t.Errorf("got %v", got)
			}
			v.status = nil
			if mayStop(v, time.Unix(began+60, 0)) {
				t.Error("a proxy that does not say how it is was stopped")
			}
		})
	}
	short := view(podA, leaving)
	short.pod.DeletionTimestamp, short.pod.DeletionGracePeriodSeconds = new(metav1.Unix(1001, 0)), new(int64(1))
	short.status.Sessions.Alive = 5
	if !mayStop(short, time.Unix(1000, 0)) {
		t.Error("a pod that was given no time to go is waited for")
	}
}

func TestAProxyThatMayStopIsStopped(t *testing.T) {
	stops := func(f fate, token string, seconds int64) []codis.Proxy {
		return decide("p", stats(true, entry(podA, token)), []proxyView{view(podA, f)}, nil, time.Unix(seconds, 0)).stop
	}
	if diff := cmp.Diff([]codis.Proxy{own(podA)}, stops(leaving, "token-"+podA, 1003)); diff != "" {
		t.Error(diff)
	}
	for name, got := range map[string][]codis.Proxy{
		"too early":        stops(leaving, "token-"+podA, 1000),
		"one that stays":   stops(online, "token-"+podA, 1003),
		"an old entry":     stops(leaving, "old", 1003),
		"one that crashed": stops(crashing, "token-"+podA, 1003),
	} {
		if len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Removed but alive, a proxy would go on serving stale routes.
func TestInvariant5OnlyEntriesOfDeadProcessesAreRemoved(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	names := []string{podA, podB, "p-proxy-6b8d9f7c5d-ccccc"}
	hosts := append(slices.Clone(names), "q-proxy-6b8d9f7c5d-aaaaa", "outside")
	removed, broughtOnline := 0, 0
	for range 5000 {
		in := map[string]fate{}
		var views []proxyView
		for _, name := range names {
			if random.IntN(4) > 0 {
				in[name] = fate(random.IntN(int(fates)))
				views = append(views, view(name, in[name]))
			}
		}
		var entries []codis.Proxy
		for range random.IntN(5) {
			host := hosts[random.IntN(len(hosts))]
			entries = append(entries, entry(host, []string{"token-" + host, "old"}[random.IntN(2)]))
		}
		unseen := random.IntN(2) == 0 // The API server has every pod.
		assigned := random.IntN(2) == 0
		got := decide("p", stats(assigned, entries...), views, func(string) bool { return unseen }, time.Unix(1000, 0))
		for _, e := range got.remove {
			removed++
			f, cached := in[e.Hostname]
			answers := cached && f != silent && f != crashing && f != terminated
			switch {
			case !slices.Contains(names, e.Hostname):
				t.Fatalf("removed the entry of %s", e.Hostname)
			case !cached && unseen:
				t.Fatalf("removed the entry of a pod that exists")
			case cached && f == silent:
				t.Fatalf("removed the entry of a silent proxy")
			case answers && e.Token == "token-"+e.Hostname:
				t.Fatalf("removed the entry of a living process")
			}
		}
		broughtOnline += len(got.online)
		if len(got.online) > 0 && !assigned {
			t.Fatal("brought a proxy online before every slot has an owner")
		}
	}
	if removed == 0 || broughtOnline == 0 {
		t.Errorf("removed %d, brought online %d: this test shows nothing", removed, broughtOnline)
	}
}
