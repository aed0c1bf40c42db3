// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package sentinel_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/memnet"
	"github.com/codis-io/codis-operator/test/standin/memsentinel"
	"github.com/codis-io/codis-operator/test/standin/memserver"
	"github.com/codis-io/codis-operator/test/standin/sentinel"
)

const timeout = 10 * time.Second

// world is a product and its sentinels.
type world struct {
	t         *testing.T
	net       *memnet.Network
	product   *sentinel.Product
	sentinels []*memsentinel.Sentinel
	names     []string
}

func newWorld(t *testing.T, sentinels int) *world {
	t.Helper()
	w := &world{t: t, net: &memnet.Network{}}
	w.product = sentinel.New(sentinel.Product{Name: "demo", Auth: "pw", Dial: w.net.Dial, Resolve: w.net.Resolve})
	for i := range sentinels {
		s := &memsentinel.Sentinel{}
		name := fmt.Sprintf("s%d:26379", i)
		w.sentinels, w.names = append(w.sentinels, s), append(w.names, name)
		w.listen(name, s.Serve)
		t.Cleanup(s.Kill)
	}
	return w
}

func (w *world) listen(name string, serve func(net.Listener) error) {
	w.t.Helper()
	l, err := w.net.Listen(name)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = serve(l) }()
	w.t.Cleanup(func() { _ = l.Close() })
}

// monitor makes all sentinels monitor these addresses as groups 1, 2, ...
func (w *world) monitor(addrs ...string) {
	w.t.Helper()
	masters := map[int]string{}
	for i, addr := range addrs {
		masters[i+1] = addr
	}
	if err := w.product.Monitor(w.t.Context(), w.names, timeout, &sentinel.Options{Quorum: 2}, masters); err != nil {
		w.t.Fatal(err)
	}
}

// address is what a name is resolved to.
func (w *world) address(name string) string {
	w.t.Helper()
	a, err := w.net.Resolve("tcp", name)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.String()
}

func (w *world) switchTo(i int, addr string) {
	w.t.Helper()
	if err := w.sentinels[i].Switch("demo-1", addr); err != nil {
		w.t.Fatal(err)
	}
}

func TestMonitorTellsWhatIsSet(t *testing.T) {
	w := newWorld(t, 2)
	w.listen("a:6379", memserver.New(memserver.Config{}).Serve)
	o := &sentinel.Options{Quorum: 2, DownAfter: 1500 * time.Millisecond, NotificationScript: "/bin/true"}
	for range 2 { // The second time replaces the first.
		if err := w.product.Monitor(t.Context(), w.names, timeout, o, map[int]string{7: "a:6379"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range w.sentinels {
		m := s.Monitor("demo-7")
		if m["ip"]+":"+m["port"] != w.address("a:6379") || m["quorum"] != "2" || m["auth-pass"] != "pw" ||
			m["down-after-milliseconds"] != "1500" || m["notification-script"] != "/bin/true" || m["failover-timeout"] != "180000" {
			t.Errorf("it monitors %v", m)
		}
	}
}

func TestMonitorFailures(t *testing.T) {
	tests := map[string]struct {
		prepare func(w *world)
		quorum  int
		master  string
		failure string
		left    []string
	}{
		"a master nobody knows": {master: "gone:6379", quorum: 1, failure: "no such host", left: []string{"demo-9"}},
		"a refusal":             {master: "a:6379", failure: "ERR Quorum must be 1 or greater.", left: []string{"demo-9"}},
		"another sentinel that is gone": {
			prepare: func(w *world) { w.sentinels[1].Kill() }, master: "a:6379", quorum: 1,
			failure: "connection refused", left: []string{"demo-1", "demo-9"},
		},
		"another sentinel that hangs": {
			prepare: func(w *world) { w.sentinels[1].Hang(true) }, master: "a:6379", quorum: 1,
			failure: "context deadline exceeded", left: []string{"demo-1", "demo-9"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.listen("a:6379", memserver.New(memserver.Config{}).Serve)
			kept := map[int]string{9: "a:6379"}
			if err := w.product.Monitor(t.Context(), w.names, timeout, &sentinel.Options{Quorum: 1}, kept); err != nil {
				t.Fatal(err)
			}
			if tt.prepare != nil {
				tt.prepare(w)
			}
			o, masters := &sentinel.Options{Quorum: tt.quorum}, map[int]string{1: tt.master}
			err := w.product.Monitor(t.Context(), w.names, 2*time.Second, o, masters)
			if err == nil || !strings.Contains(err.Error(), tt.failure) {
				t.Errorf("got %v, want %s", err, tt.failure)
			}
			if got := w.sentinels[0].Names(); !slices.Equal(got, tt.left) {
				t.Errorf("the first monitors %v, want %v", got, tt.left)
			}
		})
	}
}

func TestRemoveAllKnowsItsOwn(t *testing.T) {
	w := newWorld(t, 1)
	w.listen("a:6379", memserver.New(memserver.Config{}).Serve)
	for _, product := range []string{"demo", "demon", "demo-1", "other"} {
		p := sentinel.New(sentinel.Product{Name: product, Dial: w.net.Dial, Resolve: w.net.Resolve})
		masters := map[int]string{1: "a:6379", -2: "a:6379"}
		if err := p.Monitor(t.Context(), w.names, timeout, &sentinel.Options{Quorum: 1}, masters); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.product.RemoveAll(t.Context(), w.names, timeout); err != nil {
		t.Fatal(err)
	}
	want := []string{"demo-1--2", "demo-1-1", "demon--2", "demon-1", "other--2", "other-1"}
	if got := w.sentinels[0].Names(); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

func TestMasters(t *testing.T) {
	const other, third = "192.0.2.1:1", "192.0.2.2:2"
	tests := map[string]struct {
		change func(w *world)
		want   string
		fails  string
	}{
		"all agree":                 {func(*world) {}, "a:6379", ""},
		"one of three knows better": {func(w *world) { w.switchTo(2, other) }, other, ""},
		"the highest epoch wins": {func(w *world) {
			w.switchTo(0, third)
			w.switchTo(1, third)
			w.switchTo(1, other)
		}, other, ""},
		"one is gone":            {func(w *world) { w.kill(0) }, "a:6379", ""},
		"two are gone":           {func(w *world) { w.kill(0, 1) }, "", "lost majority (1/3)"},
		"two have forgotten all": {func(w *world) { w.forget(0, 1) }, "a:6379", ""},
		"all have forgotten all": {func(w *world) { w.forget(0, 1, 2) }, "none", ""},
		"two are gone, and the other has forgotten all": {func(w *world) {
			w.kill(0, 1)
			w.forget(2)
		}, "", "lost majority (1/3)"},
		"the one that knew better is gone": {func(w *world) {
			w.switchTo(0, other)
			w.kill(0)
		}, "a:6379", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.listen("a:6379", memserver.New(memserver.Config{}).Serve)
			w.monitor("a:6379")
			tt.change(w)
			got, err := w.product.Masters(t.Context(), w.names)
			if tt.fails != "" {
				if err == nil || err.Error() != tt.fails {
					t.Errorf("got %v, %v, want %s", got, err, tt.fails)
				}
				return
			}
			want := map[int]string{1: tt.want}
			switch tt.want {
			case "a:6379":
				want[1] = w.address(tt.want)
			case "none":
				want = map[int]string{}
			}
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		})
	}
}

func (w *world) kill(sentinels ...int) {
	for _, i := range sentinels {
		w.sentinels[i].Kill()
	}
}

func (w *world) forget(sentinels ...int) {
	for _, i := range sentinels {
		w.sentinels[i].Forget()
	}
}

// watched collects reports until the test ends.
func (w *world) watched() <-chan map[int]string {
	ctx, cancel := context.WithCancel(w.t.Context())
	reports, done := make(chan map[int]string), make(chan struct{})
	go func() {
		defer close(done)
		w.product.Watch(ctx, w.names, time.Millisecond, func(m map[int]string) {
			select {
			case reports <- m:
			case <-ctx.Done():
			}
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	return reports
}

func TestWatchLooksTwiceAndAtEverySwitch(t *testing.T) {
	w := newWorld(t, 3)
	w.listen("a:6379", memserver.New(memserver.Config{}).Serve)
	w.monitor("a:6379")
	reports := w.watched()
	for range 2 {
		if got := <-reports; got[1] != w.address("a:6379") {
			t.Errorf("got %v", got)
		}
	}
	select {
	case got := <-reports:
		t.Errorf("a third look: %v", got)
	case <-time.After(50 * time.Millisecond):
	}
	w.switchTo(1, "192.0.2.1:1")
	if got := <-reports; got[1] != "192.0.2.1:1" {
		t.Errorf("got %v after the switch", got)
	}
}

func TestWatchNeedsAMajority(t *testing.T) {
	w := newWorld(t, 3)
	w.listen("a:6379", memserver.New(memserver.Config{}).Serve)
	w.monitor("a:6379")
	w.kill(0, 1)
	reports := w.watched()
	select {
	case got := <-reports:
		t.Errorf("got %v from one of three", got)
	case <-time.After(50 * time.Millisecond):
	}
	again := &memsentinel.Sentinel{}
	w.listen(w.names[0], again.Serve)
	t.Cleanup(again.Kill)
	if got := <-reports; got[1] != w.address("a:6379") {
		t.Errorf("got %v from two of three", got)
	}
}
