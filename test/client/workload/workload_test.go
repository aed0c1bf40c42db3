// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server is a store that speaks enough RESP for a client, and fails on request.
type server struct {
	net.Listener

	mu     sync.Mutex
	values map[string]string
	// answer, where it is set and returns a text, replaces the proper answer;
	// "close" ends the connection instead.
	answer func(args []string) string
	// accepted connections.
	accepted atomic.Int64
}

func newServer(t *testing.T) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: listener, values: map[string]string{}}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			connections.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	return s
}

func (s *server) target() Target {
	return Target{Address: s.Addr().String(), Timeout: 5 * time.Second}
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		args, err := readRequest(in)
		if err != nil {
			return
		}
		reply := s.reply(args)
		if reply == "close" {
			return
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func readRequest(in *bufio.Reader) ([]string, error) {
	header, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	var args []string
	for range int(header[1] - '0') {
		size, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		arg, err := readBulk(in, strings.Trim(size, "$\r\n"))
		if err != nil {
			return nil, err
		}
		args = append(args, *arg)
	}
	return args, nil
}

func (s *server) reply(args []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		if reply := s.answer(args); reply != "" {
			return reply
		}
	}
	switch args[0] {
	case "SET":
		s.values[args[1]] = args[2]
		return "+OK\r\n"
	case "GET":
		value, found := s.values[args[1]]
		if !found {
			return "$-1\r\n"
		}
		return string(encode([]string{value})[4:])
	default:
		return "-ERR unknown command\r\n"
	}
}

func TestRoundtripWritesAndReadsEveryKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if err := Roundtrip(t.Context(), s.target(), "p", 100, time.Minute); err != nil {
		t.Fatal(err)
	}
	if len(s.values) != 100 {
		t.Errorf("%d keys were written, want 100", len(s.values))
	}
}

func TestRoundtripTriesAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	failures := 3
	s.answer = func([]string) string {
		if failures > 0 {
			failures--
			return []string{"close", "-ERR router is not online\r\n", "close"}[failures]
		}
		return ""
	}
	if err := Roundtrip(t.Context(), s.target(), "p", 10, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestRoundtripDoesNotAcceptAWrongValue(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"a value that was not written": "$5\r\nother\r\n",
		"no value":                     "$-1\r\n",
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.answer = func(args []string) string {
				if args[0] == "GET" {
					return answer
				}
				return ""
			}
			err := Roundtrip(t.Context(), s.target(), "p", 3, time.Minute)
			if !errors.Is(err, errWrongValue) {
				t.Errorf("Roundtrip() = %v, want %v", err, errWrongValue)
			}
		})
	}
}

func TestRoundtripGivesUpWhenPatienceIsOver(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.answer = func([]string) string { return "-ERR router is not online\r\n" }
	err := Roundtrip(t.Context(), s.target(), "p", 3, 50*time.Millisecond)
	if _, ok := errors.AsType[ReplyError](err); !ok {
		t.Errorf("Roundtrip() = %v, want the server's answer", err)
	}
}

func TestLoadKeepsBooksThatVerifyReads(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	s.answer = func(args []string) string {
		if args[0] != "SET" {
			return ""
		}
		seen++
		switch {
		case seen == 40:
			cancel()
		case seen%10 == 0:
			return "close"
		case seen%10 == 5:
			return "-ERR handle response, backend conn reset\r\n"
		}
		return ""
	}
	load := Load{Target: s.target(), Prefix: "p", Writers: 2, Rate: 1000, Size: 64, Report: time.Hour}
	var last Report
	summary, err := load.Run(ctx, func(r Report) { last = r })
	if err != nil {
		t.Fatal(err)
	}

	if summary.Acknowledged != int64(len(s.values)) || last.Acknowledged != summary.Acknowledged {
		t.Errorf("acknowledged %d, reported %d, stored %d", summary.Acknowledged, last.Acknowledged, len(s.values))
	}
	if summary.Errors["closed"]+summary.Errors["reset"] < 3 || summary.Errors["reply ERR"] < 3 {
		t.Errorf("errors by kind: %v", summary.Errors)
	}
	s.answer = nil
	v, err := Verify(t.Context(), s.target(), summary, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if v.Lost != 0 || v.Checked < summary.Acknowledged {
		t.Errorf("verification %+v of %d acknowledged", v, summary.Acknowledged)
	}
	for _, writer := range []int{0, 1} {
		first := 0 // Of those that were acknowledged: the very first may have met an error.
		for s.values[Key("p", writer, first)] == "" {
			first++
		}
		delete(s.values, Key("p", writer, first))
	}
	if v, err = Verify(t.Context(), s.target(), summary, time.Minute); err != nil || v.Lost != 2 {
		t.Errorf("Verify() = %+v, %v after two values were lost", v, err)
	}
	if len(v.LostWritten) != 2 || !v.LostWritten[0].Acknowledged.Equal(summary.Writers[0].First) ||
		!v.LostWritten[0].Sent.Before(v.LostWritten[0].Acknowledged) {
		t.Errorf("the lost were written %v, the first of all was acknowledged at %v", v.LostWritten, summary.Writers[0].First)
	}
}

// Half of the connections end without an answer: a client that opens another one
// notices no more than that. An answer is an answer, also when it is an error.
func TestLoadReconnectsWhereItsConnectionIsClosed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	s.answer = func([]string) string {
		seen++
		switch {
		case seen >= 40:
			cancel()
		case seen == 20:
			return "-ERR handle request, use of closed router\r\n"
		case seen%4 == 0:
			return "close"
		}
		return ""
	}
	load := Load{Target: s.target(), Prefix: "p", Writers: 1, Rate: 1000, Report: time.Hour, Reconnect: true}
	var last Report
	summary, err := load.Run(ctx, func(r Report) { last = r })
	if err != nil {
		t.Fatal(err)
	}
	if summary.Failed != 1 || summary.Errors["reply ERR"] != 1 || summary.Repeated != 8 || last.Repeated != 8 {
		t.Errorf("%d failed %v, %d repeated, %d reported", summary.Failed, summary.Errors, summary.Repeated, last.Repeated)
	}
	if summary.Acknowledged != int64(len(s.values)) {
		t.Errorf("acknowledged %d, stored %d", summary.Acknowledged, len(s.values))
	}
}

// A server that only closes is not asked for ever.
func TestLoadRepeatsOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	s.answer = func([]string) string {
		if asked++; asked == 4 {
			cancel()
		}
		return "close"
	}
	load := Load{Target: s.target(), Prefix: "p", Writers: 1, Rate: 1000, Report: time.Hour, Reconnect: true}
	summary, err := load.Run(ctx, func(Report) {})
	if err != nil {
		t.Fatal(err)
	}
	if asked != 4 || summary.Failed != 2 || summary.Repeated != 2 {
		t.Errorf("asked %d times, %d failed, %d repeated", asked, summary.Failed, summary.Repeated)
	}
}

func TestLoadRenewsItsConnections(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lifetime time.Duration
		renewed  bool
	}{"never": {0, false}, "before each write": {time.Nanosecond, true}} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			ctx, cancel := context.WithCancel(t.Context())
			written := 0
			s.answer = func([]string) string {
				if written++; written == 10 {
					cancel()
				}
				return ""
			}
			load := Load{Target: s.target(), Prefix: "p", Writers: 1, Rate: 1000, Report: time.Hour, Lifetime: tt.lifetime}
			summary, err := load.Run(ctx, func(Report) {})
			if err != nil || summary.Failed != 0 {
				t.Fatalf("%d failed %v, %v", summary.Failed, summary.Errors, err)
			}
			if want := map[bool]int64{false: 1, true: summary.Acknowledged}[tt.renewed]; s.accepted.Load() != want {
				t.Errorf("%d connections for %d writes, want %d", s.accepted.Load(), summary.Acknowledged, want)
			}
		})
	}
}

func TestLoadIsPinnedAndKeepsToItsSlots(t *testing.T) {
	t.Parallel()
	proxies := []*server{newServer(t), newServer(t)}
	store := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	pinned := []string{proxies[0].Addr().String(), proxies[1].Addr().String()}
	load := Load{
		Target: store.target(), Pins: pinned, Slots: "0-511", Prefix: "p", Writers: 4, Rate: 4000, Report: time.Millisecond,
	}
	summary, err := load.Run(ctx, func(r Report) {
		if r.Acknowledged >= 40 {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slots, err := ParseSlots("0-511")
	if err != nil {
		t.Fatal(err)
	}
	for i, proxy := range proxies {
		acknowledged := summary.Writers[i].Acknowledged + summary.Writers[i+2].Acknowledged
		if summary.Writers[i].Address != pinned[i] || acknowledged != int64(len(proxy.values)) || acknowledged == 0 {
			t.Errorf("%d of %d writes went to %s", len(proxy.values), acknowledged, summary.Writers[i].Address)
		}
		for key, value := range proxy.values {
			if !slots.Hold(key) {
				t.Errorf("%s is in no slot of the load", key)
			}
			store.values[key] = value
		}
	}
	v, err := Verify(t.Context(), store.target(), summary, time.Minute)
	if err != nil || v.Lost != 0 || v.Checked != summary.Acknowledged {
		t.Errorf("Verify() = %+v, %v of %d acknowledged", v, err, summary.Acknowledged)
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	acknowledged := []int{100, 110, 160, 170, 170 + int(MinGap.Milliseconds())}
	j := newJournal(Load{Writers: 1})
	j.record(0, 0, at(0), at(0), at(90), errors.New("failed"))
	for i, ms := range acknowledged {
		j.record(0, i+1, at(ms-5), at(ms-5), at(ms), nil)
	}
	j.record(0, 9, at(400), at(400), at(410), errors.New("failed"))
	got := j.summary(at(500)).Writers[0]
	last := at(acknowledged[4])
	want := []Gap{{at(110), at(160)}, {at(170), last}, {last, at(500)}}
	if !slices.Equal(got.Gaps, want) {
		t.Errorf("gaps %v, want %v", got.Gaps, want)
	}
	if got.First != at(100) || got.Acknowledged != 5 || got.Errors["other"] != 2 || got.Texts["other"] != "failed" {
		t.Errorf("summary of the writer: %+v", got)
	}
}

func TestStalls(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	failed := errors.New("failed")
	type write struct {
		writer, number, from, to int
		err                      error
	}
	tests := map[string]struct {
		writes []write
		now    int
		want   int64
	}{
		"an acknowledged write stalls for as long as it takes": {
			writes: []write{{0, 0, 0, 7, nil}, {0, 1, 100, 105, nil}}, now: 200, want: 7,
		},
		"a pause of the writer is no stall": {
			writes: []write{{0, 0, 0, 1, nil}, {0, 1, 1000, 1001, nil}}, now: 1001, want: 1,
		},
		"failed writes stall until the next acknowledgement": {
			writes: []write{{0, 0, 0, 10, failed}, {0, 1, 30, 40, failed}, {0, 2, 60, 65, nil}}, now: 100, want: 65,
		},
		"a stall that has not ended counts so far": {
			writes: []write{{0, 0, 0, 10, failed}}, now: 300, want: 300,
		},
		"the acknowledgement of another writer ends nothing": {
			writes: []write{{0, 0, 0, 10, failed}, {1, 0, 20, 21, nil}, {0, 1, 50, 55, nil}}, now: 60, want: 55,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal(Load{Prefix: "p", Writers: 2})
			for _, w := range tt.writes {
				j.record(w.writer, w.number, at(w.from), at(w.from), at(w.to), w.err)
			}
			if got := j.report(at(tt.now)); got.LongestStallMS != tt.want || got.StallMS != tt.want {
				t.Errorf("longest stall %d ms, recent %d ms, want %d ms", got.LongestStallMS, got.StallMS, tt.want)
			}
		})
	}
}

// A writer that has stopped waits for nothing while another one's last answer is out.
func TestNoStallGrowsAfterItsWriterStopped(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	j := newJournal(Load{Prefix: "p", Writers: 3})
	j.record(0, 0, at(0), at(0), at(1), nil)
	j.record(1, 0, at(0), at(0), at(1), nil)
	j.record(1, 1, at(50), at(50), at(60), errors.New("failed"))
	j.record(2, 0, at(0), at(0), at(1), nil)
	j.end(0, at(10))
	j.end(1, at(100))
	if got := j.report(at(500)).LongestStallMS; got != 50 {
		t.Errorf("longest stall %d ms", got)
	}
	var got [][]Gap
	for _, w := range j.summary(at(500)).Writers {
		got = append(got, w.Gaps)
	}
	want := [][]Gap{nil, {{From: at(1), To: at(100)}}, {{From: at(1), To: at(500)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDialAuthenticates(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.answer = func(args []string) string {
		if args[0] == "AUTH" && args[1] == "right" {
			return "+OK\r\n"
		}
		return "-ERR invalid password\r\n"
	}
	for password, want := range map[string]bool{"right": true, "wrong": false} {
		target := s.target()
		target.Password = password
		conn, err := target.Dial(t.Context())
		drop(conn)
		if (err == nil) != want {
			t.Errorf("Dial() with the %s password: %v", password, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", ":1\r\n", "-ERR x\r\n", "$-1\r\n", "$2\r\nab\r\n", "*1\r\n", "\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, data string) {
		_, _ = readReply(bufio.NewReader(strings.NewReader(data))) // must not panic
	})
}
