// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// request is what a dashboard received.
type request struct {
	Method, Path, Body string
}

// serve answers every call alike and records the calls.
func serve(t *testing.T, status int, answer string) (addr string, got *[]request) {
	t.Helper()
	got = &[]request{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*got = append(*got, request{r.Method, r.URL.EscapedPath(), string(body)})
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), got
}

// Vectors of the reference, §3.1.
func TestXAuth(t *testing.T) {
	zeros := strings.Repeat("0", 32)
	tests := map[string][]string{
		"95b62887719520f17e312eaa76d28f2b": {"codis-demo"},
		"ba93bd6c6ba3461ff1ba52297e587cba": {"codis-demo", "", zeros},
		"6e3707d9d468debee401f4aa395c73db": {"codis-demo", "secret", zeros},
	}
	for want, segments := range tests {
		if got := XAuth(segments...); got != want {
			t.Errorf("%v: got %s, want %s", segments, got, want)
		}
	}
}

func TestEveryActIsOnePutWithXAuth(t *testing.T) {
	const addr = "g-0.g.ns.svc.cluster.local:6379"
	slots := []SlotMapping{{ID: 7, GroupID: 2}}
	tests := map[string]struct {
		act  func(ctx context.Context, d Dashboard) error
		want request
	}{
		"create a group": {
			func(ctx context.Context, d Dashboard) error { return d.CreateGroup(ctx, 3) }, request{Path: "group/create/X/3"},
		},
		"remove a group": {
			func(ctx context.Context, d Dashboard) error { return d.RemoveGroup(ctx, 3) }, request{Path: "group/remove/X/3"},
		},
		"add a server": {
			func(ctx context.Context, d Dashboard) error { return d.AddServer(ctx, 3, addr) },
			request{Path: "group/add/X/3/" + addr},
		},
		"remove a server": {
			func(ctx context.Context, d Dashboard) error { return d.RemoveServer(ctx, 3, addr) },
			request{Path: "group/del/X/3/" + addr},
		},
		"promote": {
			func(ctx context.Context, d Dashboard) error { return d.Promote(ctx, 3, addr) },
			request{Path: "group/promote/X/3/" + addr},
		},
		"resync": {
			func(ctx context.Context, d Dashboard) error { return d.ResyncGroup(ctx, 3) }, request{Path: "group/resync/X/3"},
		},
		"add a sentinel": {
			func(ctx context.Context, d Dashboard) error { return d.AddSentinel(ctx, addr) },
			request{Path: "sentinels/add/X/" + addr},
		},
		"remove a sentinel": {
			func(ctx context.Context, d Dashboard) error { return d.RemoveSentinel(ctx, addr, false) },
			request{Path: "sentinels/del/X/" + addr + "/0"},
		},
		"remove a sentinel that is gone": {
			func(ctx context.Context, d Dashboard) error { return d.RemoveSentinel(ctx, addr, true) },
			request{Path: "sentinels/del/X/" + addr + "/1"},
		},
		"tell all sentinels anew": {
			func(ctx context.Context, d Dashboard) error { return d.ResyncSentinels(ctx) },
			request{Path: "sentinels/resync-all/X"},
		},
		"assign slots": {
			func(ctx context.Context, d Dashboard) error { return d.AssignSlots(ctx, slots) },
			request{Path: "slots/assign/X", Body: `[{"id":7,"group_id":2,"action":{}}]`},
		},
		"bring a proxy online": {
			func(ctx context.Context, d Dashboard) error { return d.OnlineProxy(ctx, "10.0.0.1:11080") },
			request{Path: "proxy/online/X/10.0.0.1:11080"},
		},
		"remove a proxy by force": {
			func(ctx context.Context, d Dashboard) error { return d.RemoveProxy(ctx, "token") },
			request{Path: "proxy/remove/X/token/1"},
		},
		"move slots": {
			func(ctx context.Context, d Dashboard) error { return d.MoveSlots(ctx, 5, 9, 3) },
			request{Path: "slots/action/create-range/X/5/9/3"},
		},
		"cancel a move": {
			func(ctx context.Context, d Dashboard) error { return d.CancelMove(ctx, 5) }, request{Path: "slots/action/remove/X/5"},
		},
		"set the interval of moves": {
			func(ctx context.Context, d Dashboard) error { return d.SetMoveInterval(ctx, 500) },
			request{Path: "slots/action/interval/X/500"},
		},
		"pause moves": {
			func(ctx context.Context, d Dashboard) error { return d.PauseMoves(ctx, true) },
			request{Path: "slots/action/disabled/X/1"},
		},
		"let moves go on": {
			func(ctx context.Context, d Dashboard) error { return d.PauseMoves(ctx, false) },
			request{Path: "slots/action/disabled/X/0"},
		},
		"stop a proxy": {
			func(ctx context.Context, d Dashboard) error { return d.StopProxy(ctx, "token") },
			request{Path: "proxy/remove/X/token/0"},
		},
		"what a path cannot hold is escaped": {
			func(ctx context.Context, d Dashboard) error { return d.RemoveProxy(ctx, "a/b?c#d e%") },
			request{Path: "proxy/remove/X/a%2Fb%3Fc%23d%20e%25/1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, got := serve(t, http.StatusOK, `"OK"`)
			if err := tt.act(t.Context(), Dashboard{Addr: addr, Product: "codis-demo"}); err != nil {
				t.Fatal(err)
			}
			tt.want.Method = http.MethodPut
			tt.want.Path = "/api/topom/" + strings.Replace(tt.want.Path, "/X", "/95b62887719520f17e312eaa76d28f2b", 1)
			if diff := cmp.Diff([]request{tt.want}, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsOfCodisAreRemoteErrors(t *testing.T) {
	tests := map[string]struct {
		status int
		answer string
		want   RemoteError
	}{
		"HTTP 800": {
			800, `{"Cause":"group-[3] already exists","Stack":[{"Name":"x","File":"y","Line":1}]}`,
			RemoteError{800, "group-[3] already exists"},
		},
		"HTTP 1500":        {999, `{"Cause":"closed"}`, RemoteError{999, "closed"}},
		"an unknown route": {404, "404 page not found", RemoteError{404, "HTTP status 404"}},
		"a panic":          {500, "", RemoteError{500, "HTTP status 500"}},
		"no cause":         {800, `{}`, RemoteError{800, "HTTP status 800"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, tt.status, tt.answer)
			err := Dashboard{Addr: addr, Product: "p"}.CreateGroup(t.Context(), 3)
			remote, ok := errors.AsType[*RemoteError](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(tt.want, *remote); diff != "" {
				t.Error(diff)
			}
			if err.Error() != tt.want.Cause {
				t.Errorf("got %q", err)
			}
		})
	}
}

func TestIgnoreAlreadyExists(t *testing.T) {
	tests := map[string]struct {
		err  error
		want bool
	}{
		"none":              {nil, false},
		"it is there":       {&RemoteError{800, "group-[1] already exists"}, false},
		"it is there, deep": {fmt.Errorf("create: %w", &RemoteError{800, "group-[1] already exists"}), false},
		"another refusal":   {&RemoteError{800, "group-[1] doesn't exist"}, true},
		"no answer":         {errors.New("already exists"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := IgnoreAlreadyExists(tt.err); (got != nil) != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestErrorsShowNoXAuth(t *testing.T) {
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hanging.Close()
	rude := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer rude.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tests := map[string]string{
		"nobody listens":            strings.TrimPrefix(gone.URL, "http://"),
		"it hangs":                  strings.TrimPrefix(hanging.URL, "http://"),
		"it hangs up":               strings.TrimPrefix(rude.URL, "http://"),
		"the address is no address": "no address",
	}
	for name, addr := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := Dashboard{Addr: addr, Product: "p"}.Promote(ctx, 1, "g-0:6379")
			if err == nil {
				t.Fatal("it succeeded")
			}
			if strings.Contains(err.Error(), XAuth("p")) || !strings.Contains(err.Error(), addr) {
				t.Errorf("%v", err)
			}
			if _, ok := errors.AsType[*RemoteError](err); ok {
				t.Errorf("%v is no answer of a dashboard", err)
			}
		})
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Dashboard{Addr: strings.TrimPrefix(server.URL, "http://")}.Stats(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if httpClient.Timeout != callTimeout {
		t.Errorf("a call without deadline takes up to %s", httpClient.Timeout)
	}
}

// The end of a connection that is broken, unlike that of one which is closed, takes with
// it what the kernel has not sent yet.
func TestRequestsThatNobodyWaitsForAreNotSentLater(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	addr := listener.Addr().String()
	if err := (Proxies{}).FillSlots(ctx, Proxy{AdminAddr: addr}, nil); err == nil {
		t.Fatal("nobody answered")
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v", err)
	}
}

func emptySlots() []SlotMapping {
	slots := make([]SlotMapping, Slots)
	for id := range slots {
		slots[id].ID = id
	}
	return slots
}

func TestStats(t *testing.T) {
	slots := emptySlots()
	slots[1].GroupID = 2
	slots[3] = SlotMapping{ID: 3, GroupID: 2, Action: SlotAction{Index: 1, State: "migrating", TargetID: 4}}
	list, err := json.Marshal(slots)
	if err != nil {
		t.Fatal(err)
	}
	addr, got := serve(t, http.StatusOK, `{"closed":false,"slots":`+string(list)+`,
		"group":{"models":[{"id":2,"servers":[{"server":"a:1","datacenter":"","action":{}}],
			"promoting":{"index":1,"state":"preparing"},"out_of_sync":true}],"stats":{}},
		"proxy":{"models":[{"id":1,"token":"t","admin_addr":"p:11080","product_name":"p","hostname":"h"}],
			"stats":{"t":{"stats":{"online":true,"ops":{"qps":7},"sessions":{"alive":3}}}}},
		"slot_action":{"interval":0,"disabled":true,"executor":0},"sentinels":{}}`)
	stats, err := Dashboard{Addr: addr, Product: "demo"}.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]request{{Method: "GET", Path: "/api/topom/stats/" + XAuth("demo")}}, *got); diff != "" {
		t.Error(diff)
	}
	group := Group{ID: 2, Servers: []GroupServer{{Addr: "a:1"}}, OutOfSync: true}
	group.Promoting.Index, group.Promoting.State = 1, "preparing"
	if diff := cmp.Diff(&group, stats.GroupByID(2)); diff != "" {
		t.Error(diff)
	}
	if stats.GroupByID(4) != nil {
		t.Error("group 4 is not there")
	}
	if diff := cmp.Diff([]int{2, 1, 0}, []int{stats.SlotsOf(2), stats.SlotsOf(4), stats.SlotsOf(5)}); diff != "" {
		t.Errorf("slots of groups 2, 4 and 5: %s", diff)
	}
	if got := stats.Offline(); got != Slots-2 {
		t.Errorf("%d slots have no owner", got)
	}
	state := stats.Proxy.Stats["t"].Stats
	if !state.Online || state.Ops.QPS != 7 || state.Sessions.Alive != 3 || !stats.SlotAction.Disabled {
		t.Errorf("%+v %+v", state, stats.SlotAction)
	}
	if diff := cmp.Diff([]Proxy{{ID: 1, Token: "t", AdminAddr: "p:11080", Product: "p", Hostname: "h"}}, stats.Proxy.Models); diff != "" {
		t.Error(diff)
	}
}

func TestDeafProxies(t *testing.T) {
	tests := map[string]struct {
		models, stats string
		want          []string
	}{
		"no proxies": {`[]`, `{}`, nil},
		"all answer": {
			`[{"token":"a","hostname":"p-1"},{"token":"b","hostname":"p-2"}]`, `{"a":{"stats":{"online":true}},"b":{"stats":{}}}`, nil,
		},
		"one answers with an error": {
			`[{"token":"a","hostname":"p-1"},{"token":"b","hostname":"p-2"}]`,
			`{"a":{"error":{"Cause":"refused"}},"b":{"stats":{"online":true}}}`,
			[]string{"p-1"},
		},
		"one did not answer in time": {
			`[{"token":"a","hostname":"p-1"},{"token":"b","hostname":"p-2"}]`, `{"a":{"stats":{}},"b":{"timeout":true}}`, []string{"p-2"},
		},
		"one was not looked at yet":           {`[{"token":"a","hostname":"p-1"}]`, `{"b":{"stats":{}}}`, []string{"p-1"}},
		"nobody was looked at":                {`[{"token":"a","hostname":"p-1"},{"token":"b","hostname":"p-2"}]`, `null`, []string{"p-1", "p-2"}},
		"one that is not registered any more": {`[{"token":"a","hostname":"p-1"}]`, `{"a":{"stats":{}},"b":{"timeout":true}}`, nil},
	}
	slots, err := json.Marshal(emptySlots())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, http.StatusOK, `{"slots":`+string(slots)+`,"proxy":{"models":`+tt.models+`,"stats":`+tt.stats+`}}`)
			stats, err := Dashboard{Addr: addr, Product: "demo"}.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, stats.DeafProxies()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswersThatAreNoAnswerAreErrors(t *testing.T) {
	tests := map[string]string{
		"no JSON":           "<html>",
		"too few slots":     `{"slots":[]}`,
		"another structure": `{"slots":7}`,
		"a part of JSON":    `{"slots":[`,
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, http.StatusOK, answer)
			stats, err := Dashboard{Addr: addr, Product: "demo"}.Stats(t.Context())
			if err == nil || stats != nil || !strings.Contains(err.Error(), addr) {
				t.Errorf("got %v and %v", stats, err)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	addr, got := serve(t, http.StatusOK, `{"version":"2018-11-04 3.2.2","model":{"product_name":"ns.d"},"stats":{}}`)
	version, product, err := Dashboard{Addr: addr}.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2018-11-04 3.2.2", "ns.d", "/topom"}, []string{version, product, (*got)[0].Path}); diff != "" {
		t.Error(diff)
	}
}

func TestProxiesAreAskedWithoutXAuth(t *testing.T) {
	addr, got := serve(t, http.StatusOK, `{"token":"t","hostname":"h","online":true,"closed":true}`)
	model, err := ProxyModel(t.Context(), addr)
	if err != nil || model.Token != "t" || model.Hostname != "h" {
		t.Errorf("got %+v, %v", model, err)
	}
	status, err := ProxyStatus(t.Context(), addr)
	if err != nil || !status.Online || !status.Closed {
		t.Errorf("got %+v, %v", status, err)
	}
	if diff := cmp.Diff([]request{{Method: "GET", Path: "/proxy/model"}, {Method: "GET", Path: "/proxy/stats"}}, *got); diff != "" {
		t.Error(diff)
	}
}

func FuzzRemoteError(f *testing.F) {
	f.Add(800, []byte(`{"Cause":"x"}`))
	f.Add(1500, []byte(`nonsense`))
	f.Fuzz(func(t *testing.T, status int, answer []byte) {
		remote, ok := errors.AsType[*RemoteError](remoteError(status, answer))
		if !ok || remote.Cause == "" || remote.Status != status {
			t.Errorf("%+v", remote)
		}
	})
}
