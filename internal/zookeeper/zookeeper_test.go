// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package zookeeper_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/zookeeper"
)

// What ZooKeeper 3.8.0 answered.
const (
	srvrLeader = "Zookeeper version: 3.8.0, built on 2024-12-29 17:54 UTC\nLatency min/avg/max: 0/0.0/0\nReceived: 1\n" +
		"Sent: 0\nConnections: 1\nOutstanding: 0\nZxid: 0x200000005\nMode: leader\nNode count: 5\n" +
		"Proposal sizes last/min/max: -1/-1/-1\n"
	conf = "clientPort=2181\nsecureClientPort=-1\ndataDir=/data/version-2\ndataDirSize=526\ntickTime=1000\nserverId=1\n" +
		"initLimit=20\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\nquorumPort=2888\npeerType=0\nmembership: \n" +
		"server.1=m-0.m:2888:3888:participant;0.0.0.0:2181\nserver.12=m-1.m:2888:3888:observer;0.0.0.0:2181\n" +
		"version=200000005"
	notServing = "This ZooKeeper instance is not currently serving requests\n"
)

// member is a fake that answers four-letter words, and closes as the real one does.
func member(t *testing.T, answers map[string]string) zookeeper.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			word := make([]byte, 4)
			if _, err := io.ReadFull(conn, word); err == nil {
				_, _ = io.WriteString(conn, answers[string(word)])
			}
			_ = conn.Close()
		}
	}()
	return zookeeper.Client{Addr: l.Addr().String()}
}

func TestLook(t *testing.T) {
	list := []roster.Member{
		{ID: 1, PeerURLs: []string{"m-0.m:2888"}}, {ID: 12, PeerURLs: []string{"m-1.m:2888"}, Learner: true},
	}
	config := zookeeper.Config{Version: 0x200000005, Members: list}
	tests := map[string]struct {
		srvr, conf string
		want       zookeeper.View
		fails      string
	}{
		"one that leads":                {srvrLeader, conf, zookeeper.View{ID: 1, Leads: true, Epoch: 2, Config: config}, ""},
		"one that follows":              {strings.Replace(srvrLeader, "leader", "follower", 1), conf, zookeeper.View{ID: 1, Epoch: 2, Config: config}, ""},
		"one that observes":             {strings.Replace(srvrLeader, "leader", "observer", 1), conf, zookeeper.View{ID: 1, Observes: true, Epoch: 2, Config: config}, ""},
		"one without a quorum":          {notServing, notServing, zookeeper.View{}, "does not serve"},
		"one that lost it in between":   {srvrLeader, notServing, zookeeper.View{}, "does not say who it is"},
		"one with a name that is no id": {srvrLeader, "serverId=x\n", zookeeper.View{}, `calls itself "x"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := member(t, map[string]string{"srvr": tt.srvr, "conf": tt.conf}).Look(t.Context())
			if tt.fails == "" && err != nil || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Fatalf("error %v, want %q", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseConfigTakesWhatItUnderstands(t *testing.T) {
	got := zookeeper.ParseConfig("# note\nserver.2=b:2888:3888;2181\nserver.x=c:1:2\nserver.0=d:1:2\nserver.3=e\n" +
		"server.1=a:2888:3888:participant\nversion=zz\n")
	want := zookeeper.Config{Members: []roster.Member{
		{ID: 1, PeerURLs: []string{"a:2888"}}, {ID: 2, PeerURLs: []string{"b:2888"}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLineIsWhatParseConfigReads(t *testing.T) {
	for _, m := range []roster.Member{
		{ID: 7, PeerURLs: []string{"m-0.m:2888"}}, {ID: 254, PeerURLs: []string{"m-1.m:2888"}, Learner: true},
	} {
		if diff := cmp.Diff([]roster.Member{m}, zookeeper.ParseConfig(zookeeper.Line(m)).Members); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSilenceEndsInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // Nobody accepts.
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := zookeeper.Client{Addr: l.Addr().String(), Timeout: 50 * time.Millisecond}
	if _, err := c.Look(t.Context()); err == nil {
		t.Error("a view of nobody")
	}
	if err := c.Leave(t.Context(), 1, 1); err == nil {
		t.Error("nobody was told and that is no error")
	}
}
