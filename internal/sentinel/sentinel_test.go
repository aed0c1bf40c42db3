// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package sentinel

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listening is a server that answers commands by a table, and errors to all others.
type listening struct {
	addr    string
	answers map[string]string

	mu  sync.Mutex
	got []string
}

func listen(t *testing.T, answers map[string]string) *listening {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &listening{addr: l.Addr().String(), answers: answers}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *listening) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var words, size int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &words); err != nil {
			return
		}
		args := make([]string, words)
		for i := range args {
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return
			}
			if _, err := fmt.Fscanf(r, "%s\r\n", &args[i]); err != nil {
				return
			}
		}
		line := strings.Join(args, " ")
		answer, known := s.answers[line]
		if !known {
			answer = "-ERR unknown command\r\n"
		}
		if strings.HasPrefix(line, "SENTINEL ") {
			s.mu.Lock()
			s.got = append(s.got, line)
			s.mu.Unlock()
		}
		if _, err := conn.Write([]byte(answer)); err != nil || answer == "" {
			return
		}
	}
}

func (s *listening) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// array writes a list of strings, items a list of such lists.
func array(words ...string) string {
	out := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		out += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	return out
}

func items(all ...string) string { return fmt.Sprintf("*%d\r\n%s", len(all), strings.Join(all, "")) }

const (
	ok      = "+OK\r\n"
	unknown = "-ERR No such master with that name\r\n"
)

func TestLookTellsWhatASentinelKnows(t *testing.T) {
	s := listen(t, map[string]string{
		"SENTINEL master p-1": array("name", "p-1", "ip", "10.0.0.1", "port", "6379", "flags", "s_down,o_down,master,failover_in_progress",
			"config-epoch", "7", "quorum", "2", "down-after-milliseconds", "5000", "failover-timeout", "60000", "parallel-syncs", "1"),
		"SENTINEL slaves p-1": items(array("ip", "10.0.0.3", "port", "6379"), array("ip", "10.0.0.2", "port", "6379")),
		"SENTINEL sentinels p-1": items(array("runid", "a", "flags", "sentinel"), array("runid", "b", "flags", "s_down,sentinel"),
			array("runid", "c", "flags", "sentinel,s_down,disconnected")),
		"SENTINEL master p-2": unknown,
	})
	client := Client{Timeout: 5 * time.Second}
	want := View{
		Answers: true, Watches: true, Addr: "10.0.0.1:6379", Epoch: 7, Down: true, FailingOver: true,
		Settings: Settings{Quorum: 2, DownAfter: 5 * time.Second, FailoverTimeout: time.Minute, ParallelSyncs: 1},
		Replicas: []string{"10.0.0.2:6379", "10.0.0.3:6379"}, Lost: []string{"b", "c"},
	}
	if diff := cmp.Diff(want, client.Look(t.Context(), s.addr, "p-1")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(View{Answers: true}, client.Look(t.Context(), s.addr, "p-2")); diff != "" {
		t.Error("a name that it does not watch: " + diff)
	}
}

// A server that wants another password answers, and what it answers is no good.
func TestRefusedAreThoseWhoAnswerErrors(t *testing.T) {
	tests := map[string]struct {
		answered, well string
		refused        bool
	}{
		"all is well":                       {"400", "400", false},
		"errors for a while":                {"400", "3400", true},
		"errors for a moment":               {"400", "3399", false},
		"no answer at all":                  {"9000", "9000", false},
		"errors, and then no answer at all": {"3000", "60000", false},
		"it does not say":                   {"", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := func(ip string) string {
				return array("ip", ip, "port", "6379", "flags", "x", "last-ok-ping-reply", tt.well, "last-ping-reply", tt.answered)
			}
			s := listen(t, map[string]string{
				"SENTINEL master p": server("10.0.0.2"), "SENTINEL slaves p": items(server("10.0.0.1")), "SENTINEL sentinels p": items(),
			})
			var want []string
			if tt.refused {
				want = []string{"10.0.0.1:6379", "10.0.0.2:6379"}
			}
			if diff := cmp.Diff(want, Client{Timeout: 5 * time.Second}.Look(t.Context(), s.addr, "p").Refused); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Half an answer claims nothing, or what is missing would pass for forgotten.
func TestSentinelThatDoesNotAnswerClaimsNothing(t *testing.T) {
	master := array("name", "p", "ip", "10.0.0.1", "port", "6379", "flags", "master")
	tests := map[string]map[string]string{
		"nothing is answered":         {"SENTINEL master p": ""},
		"replicas are not answered":   {"SENTINEL master p": master, "SENTINEL slaves p": ""},
		"sentinels are not answered":  {"SENTINEL master p": master, "SENTINEL slaves p": items(), "SENTINEL sentinels p": ""},
		"the master is an error":      {"SENTINEL master p": "-NOAUTH Authentication required.\r\n"},
		"it was removed between both": {"SENTINEL master p": master, "SENTINEL slaves p": unknown},
	}
	for name, answers := range tests {
		t.Run(name, func(t *testing.T) {
			s := listen(t, answers)
			got := Client{Timeout: 5 * time.Second}.Look(t.Context(), s.addr, "p")
			if got.Answers || got.Watches || got.Problem == "" {
				t.Errorf("view %+v", got)
			}
		})
	}
	s := listen(t, nil)
	if got := (Client{}).Survey(t.Context(), s.addr); got.Answers {
		t.Errorf("survey %+v", got)
	}
}

func TestSurveyListsWhatIsWatched(t *testing.T) {
	s := listen(t, map[string]string{
		"SENTINEL masters": items(array("name", "p-1", "flags", "master"), array("name", "p-2", "flags", "s_down,master")),
	})
	want := Survey{Answers: true, Flags: map[string]string{"p-1": "master", "p-2": "s_down,master"}}
	if diff := cmp.Diff(want, Client{Timeout: 5 * time.Second}.Survey(t.Context(), s.addr)); diff != "" {
		t.Error(diff)
	}
}

func TestSentinelIsTold(t *testing.T) {
	settings := Settings{Quorum: 2, DownAfter: 5 * time.Second, FailoverTimeout: time.Minute, ParallelSyncs: 1}
	const (
		monitor = "SENTINEL monitor p 10.0.0.1 6379 2"
		set     = "SENTINEL set p quorum 2 parallel-syncs 1 down-after-milliseconds 5000 failover-timeout 60000"
		remove  = "SENTINEL remove p"
	)
	client := Client{Timeout: 5 * time.Second}
	watch := func(addr string) error {
		return client.Watch(t.Context(), addr, "p", "10.0.0.1:6379", "secret", settings)
	}
	tests := map[string]struct {
		answers map[string]string
		tell    func(addr string) error
		sent    []string
		fails   bool
	}{
		"to watch":                               {map[string]string{monitor: ok, set + " auth-pass secret": ok}, watch, []string{monitor, set + " auth-pass secret"}, false},
		"to watch what it does":                  {map[string]string{monitor: "-ERR Duplicated master name\r\n", set + " auth-pass secret": ok}, watch, []string{monitor, set + " auth-pass secret"}, false},
		"to watch what it refuses":               {map[string]string{monitor: "-ERR Invalid IP\r\n"}, watch, []string{monitor, set + " auth-pass secret"}, true},
		"to watch, without a password":           {map[string]string{monitor: ok, set + " auth-pass secret": unknown}, watch, []string{monitor, set + " auth-pass secret"}, true},
		"to forget":                              {map[string]string{remove: ok}, func(addr string) error { return client.Forget(t.Context(), addr, "p") }, []string{remove}, false},
		"to forget what it forgot":               {map[string]string{remove: unknown}, func(addr string) error { return client.Forget(t.Context(), addr, "p") }, []string{remove}, false},
		"to forget, which fails":                 {nil, func(addr string) error { return client.Forget(t.Context(), addr, "p") }, []string{remove}, true},
		"other settings, no password":            {map[string]string{set: ok}, func(addr string) error { return client.Tune(t.Context(), addr, "p", "", settings) }, []string{set}, false},
		"other settings, which it does not know": {nil, func(addr string) error { return client.Tune(t.Context(), addr, "p", "", settings) }, []string{set}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := listen(t, tt.answers)
			err := tt.tell(s.addr)
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
			if diff := cmp.Diff(tt.sent, s.sent()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsStayTheSameFromOneTryToTheNext(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = (Client{}).Forget(t.Context(), addr, "p")
	if want := "remove p on " + addr + ": connection refused"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if view := (Client{}).Look(t.Context(), addr, "p"); view.Problem != "connection refused" {
		t.Errorf("view %+v", view)
	}
}
