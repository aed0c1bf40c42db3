// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/dashboard"
	"github.com/codis-io/codis-operator/test/standin/memsentinel"
	"github.com/codis-io/codis-operator/test/standin/memserver"
	"github.com/codis-io/codis-operator/test/standin/models"
)

const sentinelAddr = "s-0.sentinel:26379"

// watching makes a dashboard look at its sentinels without long pauses, and find servers by their names.
func (w *world) watching(cfg *dashboard.Config) {
	cfg.WatchPause = time.Millisecond
	cfg.Resolve = func(network, addr string) (*net.TCPAddr, error) {
		if addr == dashAddr {
			return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 18080}, nil
		}
		return w.net.Resolve(network, addr)
	}
}

// sentinel is a cluster with one sentinel that monitors its groups.
func (w *world) sentinel() *memsentinel.Sentinel {
	w.t.Helper()
	w.must(w.dash.Close())
	w.start(w.watching)
	w.layout()
	s := &memsentinel.Sentinel{}
	w.listen(sentinelAddr, s.Serve)
	w.t.Cleanup(s.Kill)
	w.ok("sentinels/add/%s/%s", sentinelAddr)
	w.ok("sentinels/resync-all/%s")
	return s
}

// address is what sentinels know a server by.
func (w *world) address(name string) string {
	w.t.Helper()
	a, err := w.net.Resolve("tcp", name)
	w.must(err)
	return a.String()
}

func (w *world) sees(gid, addr string) bool { return w.stats().Sentinels.Masters[gid] == addr }

func TestSentinelResync(t *testing.T) {
	w := newWorld(t)
	s := w.sentinel()
	if got := s.Names(); !slices.Equal(got, []string{"demo-1", "demo-2"}) {
		t.Errorf("it monitors %v", got)
	}
	if m := s.Monitor("demo-1"); net.JoinHostPort(m["ip"], m["port"]) != w.address(server(1, 0)) || m["auth-pass"] != password {
		t.Errorf("it monitors %v", m)
	}
	if w.stats().Sentinels.Model.OutOfSync {
		t.Error("it is out of sync")
	}
	for _, p := range w.proxies {
		if got := p.Stats().Sentinels.Servers; !slices.Equal(got, []string{sentinelAddr}) {
			t.Errorf("a proxy listens to %v", got)
		}
	}
	w.eventually("the dashboard hears of the masters", func() bool { return w.sees("2", w.address(server(2, 0))) })
	w.eventually("the statistics show the groups", func() bool {
		x := w.stats().Sentinels.Stats[sentinelAddr]
		return x != nil && len(x.Sentinel) == 2
	})
	w.ok("group/promote/%s/1/%s", server(1, 1))
	if got := s.Names(); !slices.Equal(got, []string{"demo-2"}) {
		t.Errorf("it monitors %v after a promotion", got)
	}
	w.ok("sentinels/del/%s/%s/0", sentinelAddr)
	if got := s.Names(); len(got) != 0 {
		t.Errorf("it monitors %v after its removal", got)
	}
}

func TestSentinelSwitch(t *testing.T) {
	w := newWorld(t)
	s := w.sentinel()
	w.addServer("stray.srv:6379", memserver.Config{})
	for _, p := range w.proxies {
		w.must(p.SetSentinels(nil))
	}
	w.eventually("the dashboard hears of the masters", func() bool { return w.sees("1", w.address(server(1, 0))) })
	w.must(s.Switch("demo-2", w.address("stray.srv:6379")))
	w.must(s.Switch("demo-1", w.address(server(1, 1))))
	w.eventually("a member known by its process becomes the first", func() bool {
		return w.order(1) == server(1, 1)+" "+server(1, 0)
	})
	w.eventually("the dashboard hears of the stray", func() bool { return w.sees("2", w.address("stray.srv:6379")) })
	if g := w.group(1); !g.OutOfSync || g.Servers[0].Action.State != models.ActionSynced {
		t.Errorf("the group is %+v", g)
	}
	if got := w.order(2); got != server(2, 0)+" "+server(2, 1) {
		t.Errorf("group 2 is %s", got)
	}
	if !w.routed(0, server(1, 0), false) {
		t.Error("a proxy was told")
	}
}
