// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseInfo(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		info string
		want Member
	}{
		"a master with keys in two databases": {
			info: "# Replication\r\nrole:master\r\nloading:0\r\n# Keyspace\r\ndb0:keys=12,expires=0\r\ndb3:keys=1,expires=1\r\n",
			want: Member{Role: "master", Keys: 13},
		},
		"a replica in sync": {
			info: "role:slave\r\nmaster_host:a-0.a\r\nmaster_port:6379\r\nmaster_link_status:up\r\n",
			want: Member{Role: "slave", Master: "a-0.a:6379", LinkUp: true},
		},
		"a replica that loads": {
			info: "loading:1\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:1\r\nmaster_link_status:down\r\n",
			want: Member{Role: "slave", Master: "127.0.0.1:1", Loading: true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, parseInfo(tt.info)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for want, numbers := range map[string][]int{"": nil, "7": {7}, "0-2,5,8-9": {0, 1, 2, 5, 8, 9}} {
		if got := ranges(numbers); got != want {
			t.Errorf("ranges(%v) = %q, want %q", numbers, got, want)
		}
	}
}

func TestOutlived(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	seen := func(entries ...[]string) []Observation {
		var all []Observation
		for second, hostnames := range entries {
			o := Observation{Time: start.Add(time.Duration(second) * time.Second)}
			for _, name := range hostnames {
				o.Proxies = append(o.Proxies, Proxy{Hostname: name})
			}
			all = append(all, o)
		}
		return all
	}
	a, b, ab := []string{"a"}, []string{"b"}, []string{"a", "b"}
	tests := map[string]struct {
		seen    []Observation
		process time.Duration
		want    time.Duration
		gone    bool
	}{
		"it goes before its process":      {seen(ab, b, b), 1500 * time.Millisecond, 0, true},
		"it goes two seconds later":       {seen(ab, ab, ab, b, b), time.Second, 2 * time.Second, true},
		"it stays":                        {seen(ab, ab, a), time.Second, 0, false},
		"it was never there":              {seen(b, b), 0, 0, true},
		"a proxy of its name comes again": {seen(a, b, a, b), 2500 * time.Millisecond, 500 * time.Millisecond, true},
		"nobody looked":                   {nil, 0, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			length, gone := Outlived(tt.seen, "a", start.Add(tt.process))
			if length != tt.want || gone != tt.gone {
				t.Errorf("%s, gone: %v; want %s, %v", length, gone, tt.want, tt.gone)
			}
		})
	}
}

func TestEmptyMasters(t *testing.T) {
	t.Parallel()
	empty, full := Member{Role: "master"}, Member{Role: "slave", Keys: 9}
	tests := map[string]struct {
		members map[string]Member
		want    []string
	}{
		"an empty master over a full replica":  {members: map[string]Member{"a": empty, "b": full}, want: []string{"a"}},
		"an empty group":                       {members: map[string]Member{"a": empty, "b": {Role: "slave"}}},
		"an empty member that is fenced":       {members: map[string]Member{"a": {Role: "slave"}, "b": full}},
		"a master of which nothing is known":   {members: map[string]Member{"a": {Problem: "refused"}, "b": full}},
		"an empty master of another's dataset": {members: map[string]Member{"a": empty, "c": full}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Observation{Groups: map[int][]string{1: {"a", "b"}, 2: {"c"}}, Members: tt.members}
			if diff := cmp.Diff(tt.want, o.EmptyMasters()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInRole(t *testing.T) {
	t.Parallel()
	follows := func(master string, up bool) Member { return Member{Role: "slave", Master: master, LinkUp: up} }
	tests := map[string]struct {
		problem string
		members map[string]Member
		want    bool
	}{
		"all as it should be":        {members: map[string]Member{"a": {Role: "master"}, "b": follows("a", true)}, want: true},
		"the dashboard is gone":      {problem: "refused", members: map[string]Member{"a": {Role: "master"}, "b": follows("a", true)}},
		"a link that is down":        {members: map[string]Member{"a": {Role: "master"}, "b": follows("a", false)}},
		"a replica of somebody else": {members: map[string]Member{"a": {Role: "master"}, "b": follows("c", true)}},
		"a replica that was told where its master is": {members: map[string]Member{
			"a": {Role: "master", At: "10.0.0.1:6379"}, "b": follows("10.0.0.1:6379", true),
		}, want: true},
		"a replica of who was there before": {members: map[string]Member{
			"a": {Role: "master", At: "10.0.0.2:6379"}, "b": follows("10.0.0.1:6379", true),
		}},
		"two masters": {members: map[string]Member{"a": {Role: "master"}, "b": {Role: "master"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Observation{Problem: tt.problem, Groups: map[int][]string{1: {"a", "b"}}, Members: tt.members}
			if got := o.InRole(); got != tt.want {
				t.Errorf("InRole() = %t", got)
			}
		})
	}
}

func TestObserverTellsWhatChanged(t *testing.T) {
	t.Parallel()
	stats := `{"start_time":"then","slots":[{"id":0,"group_id":1},{"id":1,"group_id":1,"action":{"state":"pending"}},{"id":2}],
		"group":{"models":[{"id":1,"servers":[]}]},"proxy":{"models":[{"token":"t","hostname":"h"}],"stats":{"t":{"stats":{"sessions":{"alive":3}}}}}}`
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++ // one request at a time
		if asked == 3 {
			w.WriteHeader(800)
			return
		}
		_, _ = w.Write([]byte(stats))
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var told []Observation
	o := Observer{Dashboard: strings.TrimPrefix(server.URL, "http://"), Interval: time.Millisecond, Heartbeat: time.Hour}
	o.Run(ctx, func(seen Observation) {
		if seen.Time.IsZero() {
			t.Error("an observation without a time")
		}
		seen.Time = time.Time{}
		if told = append(told, seen); len(told) > 1 && seen.Problem == "" && told[len(told)-2].Problem == "status 800" {
			cancel()
		}
	})
	good := Observation{
		Since:  "then",
		Groups: map[int][]string{1: {}}, Slots: map[int]string{0: "2", 1: "0-1"}, Moving: 1,
		Proxies: []Proxy{{Hostname: "h", Token: "t", Sessions: 3}}, Members: map[string]Member{},
	}
	bad := good
	bad.Problem = "status 800"
	for len(told) > 0 && told[0].Problem == "not asked yet" {
		told = told[1:]
	}
	if diff := cmp.Diff([]Observation{good, bad, good}, told); diff != "" {
		t.Error(diff)
	}
}

func TestAMemberThatHangsHidesNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	listen := func(answer string) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					request := make([]byte, 100)
					for {
						if _, err := conn.Read(request); err != nil {
							return
						}
						_, _ = conn.Write([]byte(answer))
					}
				}()
			}
		}()
		return listener.Addr().String()
	}
	hangs, answers := listen(""), listen("$11\r\nrole:master\r\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"group":{"models":[{"id":1,"servers":[{"server":%q},{"server":%q}]}]}}`, hangs, answers)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o := Observer{Dashboard: strings.TrimPrefix(server.URL, "http://"), Interval: time.Millisecond, Heartbeat: time.Hour}
	o.Run(ctx, func(seen Observation) {
		if !seen.Members[answers].IsMaster() {
			return
		}
		if look, found := seen.Members[hangs]; found {
			t.Errorf("it had to wait for the other one: %+v", look)
		}
		cancel()
	})
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		t.Error("the member that answers was never seen")
	}
}
