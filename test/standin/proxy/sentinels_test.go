// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/memsentinel"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/proxy"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
)

func TestProxyFollowsSentinels(t *testing.T) {
	w := newWorld(t, func(cfg *proxy.Config) { cfg.ProductName, cfg.WatchPause = "demo", time.Millisecond })
	s := &memsentinel.Sentinel{}
	serve(t, w.net, "s:26379", s.Serve)
	t.Cleanup(s.Kill)
	product := sentinel.New(sentinel.Product{Name: "demo", Dial: w.net.Dial, Resolve: w.net.Resolve})
	masters := map[int]string{1: addrA, 2: addrB}
	must(t, product.Monitor(t.Context(), []string{"s:26379"}, 10*time.Second, &sentinel.Options{Quorum: 1}, masters))
	address := func(name string) string {
		a, err := w.net.Resolve("tcp", name)
		must(t, err)
		return a.String()
	}
	slots := []*models.Slot{
		{ID: 0, BackendAddr: addrA, BackendAddrGroupID: 1},
		{ID: 1, BackendAddr: addrA, BackendAddrGroupID: 1, MigrateFrom: addrB, MigrateFromGroupID: 2, Locked: true},
		{ID: 2, BackendAddr: addrB, BackendAddrGroupID: 2, ForwardMethod: models.ForwardSemiAsync},
	}
	must(t, w.proxy.FillSlots(slots))
	must(t, w.proxy.SetSentinels([]string{"s:26379"}))
	told := func(addr string) func() bool {
		return func() bool { return w.proxy.Stats().Sentinels.Masters["2"] == addr }
	}
	w.eventually(t, told(address(addrB)))
	if got := w.proxy.Slots()[0]; got.BackendAddr != addrA || w.proxy.Stats().Sentinels.Switched {
		t.Errorf("another address of the same server changed a route: %+v", got)
	}

	// An address of nobody is as good as any.
	nobody := net.JoinHostPort("127.0.0.1", "1")
	must(t, s.Switch("demo-2", nobody))
	w.eventually(t, told(nobody))
	want := []*models.Slot{slots[0], {}, {}}
	*want[1], *want[2] = *slots[1], *slots[2]
	want[1].MigrateFrom, want[2].BackendAddr = nobody, nobody
	for id, m := range want {
		if got := w.proxy.Slots()[id]; fmt.Sprint(*got) != fmt.Sprint(*m) {
			t.Errorf("slot %d is %+v, want %+v", id, *got, *m)
		}
	}
	if !w.proxy.Stats().Sentinels.Switched {
		t.Error("it does not say that it switched")
	}
	must(t, w.proxy.FillSlots(slots))
	if w.proxy.Stats().Sentinels.Switched {
		t.Error("it still says so after a push")
	}
	must(t, w.proxy.SetSentinels(nil))
	if got := w.proxy.Stats().Sentinels; got.Servers != nil || len(got.Masters) != 0 {
		t.Errorf("without sentinels it has %+v", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
