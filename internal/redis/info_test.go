// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded reads what a real server answered to INFO.
func recorded(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// with replaces the values of keys in an INFO text.
func with(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		key := "\n" + pairs[i] + ":"
		before, after, found := strings.Cut(text, key)
		if !found {
			t.Fatalf("no %s in the text", pairs[i])
		}
		_, rest, _ := strings.Cut(after, "\r\n")
		text = before + key + pairs[i+1] + "\r\n" + rest
	}
	return text
}

func TestObservationOfRecordedServers(t *testing.T) {
	tests := map[string]Observation{
		"master-3.2.11.txt": {
			Reachable: true, RunID: "98921525ce256cbd1758ea477094388a348b947d", Role: RoleMaster,
			Offset: 15, Keys: 50012, UsedMemory: 3895808, Replicas: 1,
		},
		"replica-3.2.11.txt": {
			Reachable: true, RunID: "32a385e13b5af668dd0978f151f4b1bb3dac1ce1", Role: RoleReplica,
			MasterAddr: "127.0.0.1:8001", LinkUp: true, Offset: 15, Keys: 50012, UsedMemory: 2779824,
		},
		"master-7.0.15.txt": {
			Reachable: true, RunID: "067d33b7cc7148c10a6268d11344eb39a62332c7", Role: RoleMaster,
			Keys: 2, UsedMemory: 1063288, Replicas: 1,
		},
		"replica-7.0.15.txt": {
			Reachable: true, RunID: "52cac1f4b832ed970e26c7fe8f5eccda1de37682", Role: RoleReplica,
			MasterAddr: "127.0.0.1:7398", LinkUp: true, Keys: 2, UsedMemory: 968904,
		},
		"fenced-7.0.15.txt": {
			Reachable: true, RunID: "52cac1f4b832ed970e26c7fe8f5eccda1de37682", Role: RoleReplica,
			MasterAddr: FenceAddr, Offset: 1, UsedMemory: 916952,
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, ParseInfo(recorded(t, name)).observation()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// facts are what decisions ask of an observation.
type facts struct {
	Master, Fenced, Follows, WasInSync, HasData bool
}

func TestFactsOfAnObservation(t *testing.T) {
	replica := recorded(t, "replica-3.2.11.txt")
	const down = "down"
	tests := map[string]struct {
		text string
		want facts
	}{
		"master":          {recorded(t, "master-3.2.11.txt"), facts{Master: true, HasData: true}},
		"fenced":          {recorded(t, "fenced-7.0.15.txt"), facts{Fenced: true}},
		"replica in sync": {replica, facts{Follows: true, WasInSync: true, HasData: true}},
		"replica whose link broke": {
			with(t, replica, "master_link_status", down), facts{Follows: true, WasInSync: true, HasData: true},
		},
		"replica that never reached its master": {
			with(t, replica, "master_link_status", down, "slave_repl_offset", "1"), facts{Follows: true, HasData: true},
		},
		"replica that is copying": {
			with(t, replica, "master_link_status", down, "master_sync_in_progress", "1"), facts{Follows: true, HasData: true},
		},
		"replica that reads what it copied": {with(t, replica, "loading", "1"), facts{Follows: true, HasData: true}},
		"replica of another":                {with(t, replica, "master_port", "9999"), facts{WasInSync: true, HasData: true}},
		"replica without keys": {
			with(t, replica, "db0", "keys=0,expires=0"), facts{Follows: true, WasInSync: true},
		},
		"nonsense": {"hello", facts{}},
		"nothing":  {"", facts{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := ParseInfo(tt.text).observation()
			got := facts{o.IsMaster(), o.Fenced(), o.Follows("127.0.0.1:8001"), o.WasInSync(), o.HasData()}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What cannot be reached claims nothing, whatever else it is said to be.
func TestUnreachableClaimsNothing(t *testing.T) {
	o := Observation{Role: RoleMaster, MasterAddr: FenceAddr, LinkUp: true, Offset: 9, Keys: 9}
	replica := o
	replica.Role = RoleReplica
	for _, o := range []Observation{o, replica} {
		got := facts{o.IsMaster(), o.Fenced(), o.Follows(FenceAddr), o.WasInSync(), o.HasData()}
		if diff := cmp.Diff(facts{}, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseInfo(t *testing.T) {
	tests := map[string]struct {
		text string
		want Info
	}{
		"sections and empty lines are skipped": {"# Server\r\n\r\nrole:master\r\n", Info{"role": "master"}},
		"lines may end in LF only":             {"role:master\nloading:0", Info{"role": "master", "loading": "0"}},
		"a value may hold colons":              {"master_host:fe80::1\r\n", Info{"master_host": "fe80::1"}},
		"a value may be empty":                 {"config_file:\r\n", Info{"config_file": ""}},
		"a section may hold a colon":           {"# a:b\r\n", Info{}},
		"a line without colon is skipped":      {"hello\r\n", Info{}},
		"a line without key is skipped":        {":1\r\n", Info{}},
		"the last of two wins":                 {"a:1\r\na:2\r\n", Info{"a": "2"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseInfo(tt.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeysAddsUpDatabases(t *testing.T) {
	tests := map[string]struct {
		info Info
		want int64
	}{
		"none":                      {Info{}, 0},
		"several":                   {Info{"db0": "keys=3,expires=1,avg_ttl=0", "db15": "keys=4,expires=0"}, 7},
		"no database":               {Info{"dbx": "keys=3", "db": "keys=3", "mydb0": "keys=3"}, 0},
		"no number":                 {Info{"db0": "keys=many,expires=1"}, 0},
		"fields in any order":       {Info{"db0": "expires=1,keys=3"}, 3},
		"a field that only ends so": {Info{"db0": "subkeys=3"}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.info.Keys(); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestIntIsZeroWhereThereIsNoNumber(t *testing.T) {
	info := Info{"n": "-7", "text": "many", "empty": ""}
	got := []int64{info.Int("n"), info.Int("text"), info.Int("empty"), info.Int("missing")}
	if diff := cmp.Diff([]int64{-7, 0, 0, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseInfo(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("db0:keys=9223372036854775807\ndb1:keys=1")
	f.Fuzz(func(t *testing.T, text string) {
		info := ParseInfo(text)
		for key, value := range info {
			if key == "" || strings.HasPrefix(key, "#") || strings.ContainsAny(key+value, "\n") {
				t.Fatalf("key %q, value %q", key, value)
			}
		}
		o := info.observation()
		whole := o.RunID != "" && o.Role != ""
		if o.Reachable != whole || o.IsMaster() && o.Fenced() || o.HasData() != (whole && o.Keys > 0) {
			t.Fatalf("%+v", o)
		}
	})
}

func TestDatabasesThatHoldKeys(t *testing.T) {
	tests := map[string]struct {
		info string
		want []int
	}{
		"none":          {"# Keyspace\r\n", nil},
		"one":           {"db0:keys=1,expires=0\r\n", []int{0}},
		"in order":      {"db10:keys=1\r\ndb2:keys=1\r\ndb0:keys=1\r\n", []int{0, 2, 10}},
		"no number":     {"db:keys=1\r\ndbx:keys=1\r\ndb1x:keys=1\r\ndatabases:16\r\n", nil},
		"another key":   {"xdb0:keys=1\r\nrdb_bgsave_in_progress:0\r\n", nil},
		"of a replica":  {recorded(t, "replica-3.2.11.txt"), []int{0}},
		"of a newcomer": {recorded(t, "fenced-7.0.15.txt"), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ParseInfo(tt.info).Databases()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
