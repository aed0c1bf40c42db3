// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/codis-io/codis-operator/internal/lock"
)

const own = "d-dashboard-0.d-dashboard.ns.svc:18080"

// addrOf starts a server that gives every request one answer.
func addrOf(t *testing.T, code int, answer string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); strings.HasPrefix(r.URL.Path, "/v2/") && ok && user+password != "rootx" {
			code = http.StatusUnauthorized
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, answer)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// refusing is an address where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

// hanging is an address where somebody listens who says nothing.
func hanging(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestCheck(t *testing.T) {
	held := func(addr string) string {
		return fmt.Sprintf(`{"action":"get","node":{"key":"/codis3/p/topom","value":%q}}`, `{"admin_addr":"`+addr+`"}`)
	}
	live := addrOf(t, http.StatusOK, `{"product_name":"p"}`)
	other := addrOf(t, http.StatusOK, `{"product_name":"q"}`)
	refused := addrOf(t, http.StatusServiceUnavailable, "no healthy upstream")
	dead, mute := refusing(t), hanging(t)
	tests := map[string]struct {
		code   int
		answer string
		want   lock.Finding
		fails  bool
	}{
		"nobody has it":                  {404, `{"errorCode":100,"message":"Key not found"}`, lock.Finding{}, false},
		"the dashboard itself had it":    {200, held(own), lock.Finding{}, false},
		"a dashboard has it":             {200, held(live), lock.Finding{Kind: lock.Held, Addr: live}, false},
		"one of another product answers": {200, held(other), lock.Finding{}, false},
		"something on the way refuses":   {200, held(refused), lock.Finding{Kind: lock.Silent, Addr: refused}, false},
		"a host that refuses had it":     {200, held(dead), lock.Finding{}, false},
		"one that is silent has it":      {200, held(mute), lock.Finding{Kind: lock.Silent, Addr: mute}, false},
		"the store has no leader":        {503, `{"errorCode":300,"message":"Raft Internal Error"}`, lock.Finding{}, true},
		"the store has no such API":      {404, "404 page not found", lock.Finding{}, true},
		"the lock is something else":     {200, `{"node":{"value":"x"}}`, lock.Finding{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := lock.Lock{Store: "etcd", Addr: dead + "," + addrOf(t, tt.code, tt.answer), Auth: "root:x", Product: "p", Holder: own}
			got, err := lock.Check(t.Context(), l)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %v, %v", got, err)
			}
			if parsed := lock.Parse(got.String()); parsed != got {
				t.Errorf("%q reads as %v", got, parsed)
			}
		})
	}
}

// A store that others share has locks of dashboards whose names and addresses are those of
// another Kubernetes cluster. What is there in this one is no sign of them.
func TestCheckOfAForeignLock(t *testing.T) {
	live := addrOf(t, http.StatusOK, `{"product_name":"p"}`)
	tests := map[string]struct {
		holder string
		want   lock.Kind
	}{
		"it answers":                       {live, lock.Held},
		"its host refuses, here":           {refusing(t), lock.Silent},
		"its name is not known, here":      {"d-dashboard-0.d-dashboard.there.svc.invalid:18080", lock.Silent},
		"its address is another's, here":   {addrOf(t, http.StatusOK, `{"product_name":"q"}`), lock.Silent},
		"it is the dashboard's own of old": {own, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			answer := fmt.Sprintf(`{"node":{"key":"/codis3/p/topom","value":%q}}`, `{"admin_addr":"`+tt.holder+`"}`)
			l := lock.Lock{Store: "etcd", Addr: addrOf(t, http.StatusOK, answer), Product: "p", Holder: own, Foreign: true}
			got, err := lock.Check(t.Context(), l)
			if err != nil || got.Kind != tt.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestNobodyToAskIsAnError(t *testing.T) {
	for _, store := range []string{"etcd", "zookeeper"} {
		l := lock.Lock{Store: store, Addr: refusing(t), Product: "p", Holder: own}
		if got, err := lock.Check(t.Context(), l); err == nil {
			t.Errorf("%s: %v", store, got)
		}
	}
}

func TestParseTakesNothingElse(t *testing.T) {
	for _, text := range []string{"", "held", "silent ", "lost a:1", "error: held by a:1"} {
		if got := lock.Parse(text); got.Present() {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// Nobody starts on a product that is being removed, not even a namesake of its dashboard.
func TestCheckOfALockThatIsPinned(t *testing.T) {
	pinned := func(tombstone string) string {
		return fmt.Sprintf(`{"node":{"key":"/codis3/p/topom","dir":true,"nodes":[{"key":"/codis3/p/topom/removing","value":%q}]}}`, tombstone)
	}
	tests := map[string]struct{ answer, want string }{
		"for a namesake":               {pinned(`{"owner":"uid","dashboard":"ns/d"}`), "removing ns/d"},
		"for who knows whom":           {pinned("x"), "removing unknown"},
		"its place is empty":           {`{"node":{"key":"/codis3/p/topom","dir":true}}`, "removing unknown"},
		"it is somebody's, and no pin": {`{"node":{"key":"/codis3/p/topom","value":"{\"admin_addr\":\"` + own + `\"}"}}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := lock.Lock{Store: "etcd", Addr: addrOf(t, http.StatusOK, tt.answer), Product: "p", Holder: own}
			got, err := lock.Check(t.Context(), l)
			if err != nil || got.String() != tt.want || lock.Parse(got.String()) != got {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
