// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/codis-io/codis-operator/internal/seat"
)

func TestWhatKeepsAMemberFromStartingIsLeftAsAMessage(t *testing.T) {
	tests := map[string]struct {
		seat    string
		message string
		passes  bool
	}{
		"a new member passes":                  {seat.Seat{ID: "a1", Fresh: true}.Encode(), "", true},
		"a member without its data is stopped": {seat.Seat{ID: "a1"}.Encode(), "emptied a1", false},
		"a pod without a seat is stopped":      {"", "vacant", false},
		"a file that is no seat stops it too":  {"x", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, message := filepath.Join(dir, "seat"), filepath.Join(dir, "message")
			if tt.seat != "" {
				if err := os.WriteFile(file, []byte(tt.seat), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := pass(options{seat: file, volume: t.TempDir(), message: message}); (err == nil) != tt.passes {
				t.Errorf("passes: %v", err)
			}
			said, err := os.ReadFile(message)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if string(said) != tt.message {
				t.Errorf("it said %q", said)
			}
		})
	}
}

func TestAMemberOfAZooKeeperGetsItsFilesAndAProbe(t *testing.T) {
	files, volume, probe := t.TempDir(), t.TempDir(), t.TempDir()
	o := options{
		seat: filepath.Join(files, "m-0.json"), zookeeper: filepath.Join(files, "m-0"), volume: volume, install: probe,
		message: filepath.Join(files, "message"),
	}
	const members = "server.10=m-0:2888:3888:participant;2181\n"
	for name, text := range map[string]string{
		"m-0.json": seat.Seat{ID: "a", Fresh: true, Founder: true}.Encode(), "m-0.cfg": "tickTime=1\n", "m-0.members": members,
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if said, err := os.ReadFile(o.message); err != nil || string(said) != members {
		t.Errorf("it said %q, %v", said, err)
	}
	if id, err := os.ReadFile(filepath.Join(volume, "current", "myid")); err != nil || string(id) != "10\n" {
		t.Errorf("myid is %q, %v", id, err)
	}
	if info, err := os.Stat(filepath.Join(probe, "member-gate")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("no probe: %v", err)
	}
	if err := os.WriteFile(o.seat, []byte(seat.Seat{ID: "a"}.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o); err == nil {
		t.Error("a member that was taken in starts without its data")
	}
}

func TestAsk(t *testing.T) {
	tests := map[string]struct {
		says   string
		passes bool
	}{
		"it lives":                 {"imok", true},
		"it has a quorum":          {"Zxid: 0x1\nMode: follower\nNode count: 5\n", true},
		"it has none":              {"This ZooKeeper instance is not currently serving requests\n", false},
		"it says nothing and ends": {"", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := io.ReadFull(conn, make([]byte, 4)); err == nil {
					_, _ = io.WriteString(conn, tt.says)
				}
				_ = conn.Close()
			}()
			if err := run(t.Context(), options{ask: "srvr", addr: l.Addr().String()}); (err == nil) != tt.passes {
				t.Errorf("passes: %v", err)
			}
		})
	}
}
