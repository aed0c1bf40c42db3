// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package zookeeper_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/codis-io/codis-operator/internal/zookeeper"
)

const (
	self   = "server.10=m-1:2888:3888:observer;2181\n"
	others = "server.1=m-0:2888:3888:participant;2181\n"
	voting = others + "server.10=m-1:2888:3888:participant;0.0.0.0:2181\n"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, text string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPrepare(t *testing.T) {
	tests := map[string]struct {
		// written is the list that ZooKeeper wrote; empty for none.
		written string
		members string
		joins   bool
		want    string
		at      string
	}{
		"one that never ran begins with what it is given": {"", others + self, true, others + self, "zoo.cfg.dynamic"},
		"one that joins begins so each time":              {"server.9=gone:2888:3888;2181\n" + self, others + self, true, others + self, "zoo.cfg.dynamic"},
		"one that votes keeps what ZooKeeper wrote":       {voting, self, false, voting, "zoo.cfg.dynamic.100000003"},
		"a founder keeps it too":                          {voting, "server.10=m-1:2888:3888:participant;2181\n", false, voting, "zoo.cfg.dynamic.100000003"},
		"one that was not taken in yet observes":          {others, self, false, others + self, "zoo.cfg.dynamic.100000003"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			volume := t.TempDir()
			dir := filepath.Join(volume, "a")
			if tt.written != "" {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, tt.written, dir, "zoo.cfg.dynamic.100000003")
				write(t, "old=1\ndynamicConfigFile="+volume+"/current/zoo.cfg.dynamic.100000003\n", dir, "zoo.cfg")
			}
			start := zookeeper.Start{Volume: volume, ID: 10, Settings: "tickTime=1\n", Members: tt.members, Joins: tt.joins}
			for range 2 { // A second start changes nothing.
				got, err := zookeeper.Prepare(start)
				if err != nil || got != tt.want {
					t.Fatalf("starts with %q, %v", got, err)
				}
				if on := read(t, dir, tt.at); on != tt.want {
					t.Errorf("the list is %q", on)
				}
				if on := read(t, volume, zookeeper.CurrentDir, "zoo.cfg"); on != "tickTime=1\ndynamicConfigFile="+dir+"/"+tt.at+"\n" {
					t.Errorf("zoo.cfg is %q", on)
				}
				if on := read(t, dir, "myid"); on != "10\n" {
					t.Errorf("myid is %q", on)
				}
			}
		})
	}
}

func TestPrepareLeadsToTheOneThatMayRun(t *testing.T) {
	volume := t.TempDir()
	for _, id := range []string{"1", "2"} {
		start := zookeeper.Start{Volume: volume, ID: 1, Members: others}
		if id == "2" {
			start.ID = 2
		}
		if _, err := zookeeper.Prepare(start); err != nil {
			t.Fatal(err)
		}
		if got := read(t, volume, zookeeper.CurrentDir, "myid"); got != id+"\n" {
			t.Errorf("the link leads to %q, not %s", got, id)
		}
	}
}

func TestPrepareNeedsMembers(t *testing.T) {
	if _, err := zookeeper.Prepare(zookeeper.Start{Volume: t.TempDir(), ID: 1}); err == nil {
		t.Error("a member starts with nobody, not even itself")
	}
}
