// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server speaks just enough of the protocol of Redis to be asked.
type server struct {
	addr string

	mu sync.Mutex
	// answers by command in upper case; a command without one is unknown.
	answers map[string]string
	// inTurn are answers that are given once each, before the one above.
	inTurn map[string][]string
	// got are the commands that were received.
	got []string
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func newServer(t *testing.T, answers map[string]string) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: listener.Addr().String(), answers: answers}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	return s
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		args, err := readCommand(reader)
		if err != nil {
			return
		}
		answer := s.answer(args)
		if answer == "" {
			return // Hangs up.
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (s *server) answer(args []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, strings.Join(args, " "))
	command := strings.ToUpper(args[0])
	if next := s.inTurn[command]; len(next) > 0 {
		s.inTurn[command] = next[1:]
		return next[0]
	}
	answer, known := s.answers[command]
	if !known {
		return "-ERR unknown command\r\n"
	}
	return answer
}

// commands returns those that were received, but for the handshake of the client.
func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.got), func(c string) bool {
		return strings.HasPrefix(strings.ToUpper(c), "HELLO") || strings.HasPrefix(strings.ToUpper(c), "CLIENT")
	})
}

func readCommand(r *bufio.Reader) ([]string, error) {
	line := func(prefix string) (int, error) {
		text, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(text), prefix))
	}
	count, err := line("*")
	if err != nil {
		return nil, err
	}
	args := make([]string, count)
	for i := range args {
		size, err := line("$")
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:size])
	}
	return args, nil
}

const infoOfMaster = "role:master\r\nrun_id:abc\r\ndb0:keys=3,expires=0\r\n"

func TestObserveReadsInfo(t *testing.T) {
	s := newServer(t, map[string]string{"INFO": bulk(infoOfMaster), "AUTH": "+OK\r\n"})
	got := Client{Password: "secret"}.Observe(t.Context(), s.addr)
	if diff := cmp.Diff(Observation{Reachable: true, RunID: "abc", Role: RoleMaster, Keys: 3}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"auth secret", "info"}, s.commands()); diff != "" {
		t.Error(diff)
	}
}

func TestObserveSaysWhyAServerIsNotReachable(t *testing.T) {
	const otherPassword = "the server wants another password"
	tests := map[string]struct {
		answers map[string]string
		want    Observation
	}{
		"it wants a password": {
			map[string]string{"AUTH": "+OK\r\n", "INFO": "-NOAUTH Authentication required.\r\n"},
			Observation{Denied: true, Problem: otherPassword},
		},
		"it wants another password, in the words of Redis 3.2": {
			map[string]string{"AUTH": "-ERR invalid password\r\n"}, Observation{Denied: true, Problem: otherPassword},
		},
		"it wants another password, in the words of Redis 7": {
			map[string]string{"AUTH": "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
			Observation{Denied: true, Problem: otherPassword},
		},
		"it wants none, in the words of Redis 3.2": {
			map[string]string{"AUTH": "-ERR Client sent AUTH, but no password is set\r\n"},
			Observation{Denied: true, Problem: otherPassword},
		},
		"it wants none, in the words of Redis 7": {
			map[string]string{"AUTH": "-ERR AUTH <password> called without any password configured for the default user.\r\n"},
			Observation{Denied: true, Problem: otherPassword},
		},
		"it hangs up": {
			map[string]string{"AUTH": "+OK\r\n", "INFO": ""}, Observation{Problem: "no answer"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, tt.answers)
			got := Client{Password: "secret"}.Observe(t.Context(), s.addr)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestObserveTellsAProcessThatIsGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	got := Client{}.Observe(t.Context(), addr)
	if diff := cmp.Diff(Observation{Refused: true, Problem: "connection refused"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestObserveGivesUpInTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // Takes connections and says nothing.
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	start := time.Now()
	got := Client{Timeout: 50 * time.Millisecond}.Observe(t.Context(), listener.Addr().String())
	if diff := cmp.Diff(Observation{Problem: "no answer in time"}, got); diff != "" {
		t.Error(diff)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := (Client{}).Observe(ctx, listener.Addr().String()); got.Reachable || got.Problem == "" {
		t.Errorf("cancelled: %+v", got)
	}
}

const infoOfFenced = "run_id:abc\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:1\r\n"

func followG0(ctx context.Context, addr string, seen Observation) error {
	return Client{}.Follow(ctx, addr, seen, "g-0.g.ns.svc:6379")
}

func guardWrites(on bool) func(ctx context.Context, addr string, seen Observation) error {
	return func(ctx context.Context, addr string, seen Observation) error {
		return Client{}.GuardWrites(ctx, addr, seen, on)
	}
}

func TestRoleIsGivenOnlyToTheProcessThatWasObserved(t *testing.T) {
	fenced := Observation{Reachable: true, RunID: "abc", Role: RoleReplica, MasterAddr: FenceAddr}
	other, replica, master, guarded := fenced, fenced, fenced, fenced
	guarded.WritesGuarded = true
	other.RunID = "def"
	replica.MasterAddr = "g-1.g.ns.svc:6379"
	master.Role, master.MasterAddr = RoleMaster, ""
	leading := Observation{Reachable: true, RunID: "abc", Role: RoleMaster, WritesGuarded: true}
	gone := Observation{Reachable: true, RunID: "def", Role: RoleMaster}
	infoOf := map[Role]string{RoleReplica: infoOfFenced, RoleMaster: infoOfMaster}
	tests := map[string]struct {
		seen Observation
		act  func(ctx context.Context, addr string, seen Observation) error
		want []string
		err  error
	}{
		"lifted":                            {fenced, Client{}.MakeMaster, []string{"info", "SLAVEOF NO ONE"}, nil},
		"pointed at a master":               {fenced, followG0, []string{"info", "SLAVEOF g-0.g.ns.svc 6379"}, nil},
		"a master already":                  {master, Client{}.MakeMaster, []string{"info"}, nil},
		"a master that was restarted since": {gone, Client{}.MakeMaster, []string{"info"}, ErrRestarted},
		"no longer guarded":                 {guarded, Client{}.MakeMaster, []string{"info", "config set min-slaves-to-write 0", "SLAVEOF NO ONE"}, nil},
		"a master that is guarded until it follows": {leading, followG0, []string{
			"info", "SLAVEOF g-0.g.ns.svc 6379", "config set min-slaves-to-write 0",
		}, nil},
		"guarded": {fenced, guardWrites(true), []string{
			"info", "config set min-slaves-max-lag 2", "config set min-slaves-to-write 1",
		}, nil},
		"guarded no more":      {fenced, guardWrites(false), []string{"info", "config set min-slaves-to-write 0"}, nil},
		"guarded, but another": {other, guardWrites(true), []string{"info"}, ErrRestarted},
		"restarted since":      {other, Client{}.MakeMaster, []string{"info"}, ErrRestarted},
		"given a role since":   {replica, followG0, []string{"info"}, ErrRestarted},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, map[string]string{
				"INFO": bulk(infoOf[tt.seen.Role]), "SLAVEOF": "+OK\r\n", "CONFIG": "+OK\r\n",
			})
			if err := tt.act(t.Context(), s.addr, tt.seen); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, s.commands()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRoleThatIsNotGivenIsAnError(t *testing.T) {
	tests := map[string]map[string]string{
		"the server refuses":                 {"INFO": bulk(infoOfFenced), "SLAVEOF": "-ERR busy\r\n"},
		"the server goes before it is asked": {"INFO": ""},
		"the server goes while it is told":   {"INFO": bulk(infoOfFenced), "SLAVEOF": ""},
	}
	fenced := Observation{Reachable: true, RunID: "abc", Role: RoleReplica, MasterAddr: FenceAddr}
	for name, answers := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, answers)
			err := Client{}.MakeMaster(t.Context(), s.addr, fenced)
			if err == nil || !strings.Contains(err.Error(), s.addr) {
				t.Errorf("got %v, want an error that names %s", err, s.addr)
			}
		})
	}
	if err := (Client{}).Follow(t.Context(), "127.0.0.1:1", fenced, "no-port"); err == nil {
		t.Error("a master without port was taken")
	}
}

func TestUnexpectedDropsWhatTheNextLookTells(t *testing.T) {
	tests := map[string]struct {
		err  error
		want bool
	}{
		"none":                 {nil, false},
		"another process":      {fmt.Errorf("slaveof: %w", ErrRestarted), false},
		"the connection broke": {fmt.Errorf("slaveof: %w", io.EOF), false},
		"nobody listens":       {fmt.Errorf("ask: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), false},
		"the server said no":   {errors.New("ERR busy"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Unexpected(tt.err); (got != nil) != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// slotCounts writes an answer to SLOTSINFO: slots with one key each.
func slotCounts(slots ...int) string {
	text := fmt.Sprintf("*%d\r\n", len(slots))
	for _, slot := range slots {
		text += fmt.Sprintf("*2\r\n:%d\r\n:1\r\n", slot)
	}
	return text
}

const infoOfTwoDatabases = "role:master\r\nrun_id:abc\r\ndb0:keys=2,expires=0\r\ndb12:keys=2,expires=0\r\n"

func TestSlotsWithKeysOfEveryDatabase(t *testing.T) {
	tests := map[string]struct {
		info     string
		answers  []string
		want     []int
		commands []string
	}{
		"no keys": {"role:master\r\nrun_id:abc\r\n", nil, nil, []string{"auth secret", "info"}},
		"one database": {
			infoOfMaster, []string{slotCounts(7)}, []int{7}, []string{"auth secret", "info", "select 0", "SLOTSINFO 0 1024"},
		},
		"several databases, with a slot in common": {
			infoOfTwoDatabases,
			[]string{slotCounts(0, 512), slotCounts(3, 512, 1023)},
			[]int{0, 3, 512, 1023},
			[]string{"auth secret", "info", "select 0", "SLOTSINFO 0 1024", "select 12", "SLOTSINFO 0 1024"},
		},
		"keys that have gone since": {
			infoOfMaster, []string{slotCounts()}, nil, []string{"auth secret", "info", "select 0", "SLOTSINFO 0 1024"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, map[string]string{"AUTH": "+OK\r\n", "INFO": bulk(tt.info), "SELECT": "+OK\r\n"})
			s.inTurn = map[string][]string{"SLOTSINFO": tt.answers}
			got, err := Client{Password: "secret"}.SlotsWithKeys(t.Context(), s.addr)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.commands, s.commands()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSlotsWithKeysThatCannotBeTold(t *testing.T) {
	tests := map[string]struct {
		command, answer string
		gone            bool
		want            string
	}{
		"not a list":              {"SLOTSINFO", "+OK\r\n", false, "slotsinfo of"},
		"a slot without a count":  {"SLOTSINFO", "*1\r\n*1\r\n:7\r\n", false, "cannot read [7]"},
		"a number alone":          {"SLOTSINFO", "*1\r\n:7\r\n", false, "cannot read 7"},
		"a slot that is text":     {"SLOTSINFO", "*1\r\n*2\r\n$1\r\n7\r\n:1\r\n", false, "cannot read [7 1]"},
		"a slot that is too high": {"SLOTSINFO", slotCounts(5, 1024), false, "cannot read [1024 1]"},
		"a slot below zero":       {"SLOTSINFO", slotCounts(-1), false, "cannot read [-1 1]"},
		"no such command":         {"SLOTSINFO", "-ERR unknown command 'SLOTSINFO'\r\n", false, "unknown command"},
		"no such database":        {"SELECT", "-ERR invalid DB index\r\n", false, "select 0"},
		"another password":        {"INFO", "-NOAUTH Authentication required.\r\n", false, "NOAUTH"},
		"gone when asked":         {"INFO", "", true, "ask "},
		"gone when selected":      {"SELECT", "", true, "select 0"},
		"gone while it counts":    {"SLOTSINFO", "", true, "slotsinfo of"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, map[string]string{"INFO": bulk(infoOfTwoDatabases), "SELECT": "+OK\r\n", "SLOTSINFO": slotCounts(7)})
			s.inTurn = map[string][]string{tt.command: {tt.answer}}
			slots, err := Client{}.SlotsWithKeys(t.Context(), s.addr)
			if err == nil || slots != nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), s.addr) {
				t.Fatalf("got %v and %v, want an error with %q that names %s", slots, err, tt.want, s.addr)
			}
			if gone := Unexpected(err) == nil; gone != tt.gone {
				t.Errorf("counts as gone: %t, want %t: %v", gone, tt.gone, err)
			}
		})
	}
}

func TestSlotsWithKeysOfAServerThatIsGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	slots, err := Client{}.SlotsWithKeys(t.Context(), listener.Addr().String())
	if err == nil || slots != nil || Unexpected(err) != nil {
		t.Errorf("got %v and %v", slots, err)
	}
}
