// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// EtcdMember is what is particular to a member of an etcd.
type EtcdMember struct {
	// Name of the member, and its data directory.
	Name, Directory string
	// PeerURL and ClientURL that it announces.
	PeerURL, ClientURL string
	// Token of the ensemble.
	Token string
	// Founds tells that the member starts a new ensemble.
	Founds bool
	// Peers are the peer URLs of the members, by name, that a member which joins
	// finds the ensemble by. One that joined before has its own list; without
	// peers here it cannot join again should its data be gone.
	Peers map[string]string
}

// Etcd renders the file of a member. Codis keeps its keys in the v2 API, which
// has a log and no history; what is compacted is what little the v3 API has.
func Etcd(m EtcdMember) string {
	state := "existing"
	if m.Founds {
		state = "new"
	}
	peers := maps.Clone(m.Peers)
	if peers == nil {
		peers = map[string]string{}
	}
	peers[m.Name] = m.PeerURL
	var cluster []string
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		cluster = append(cluster, name+"="+peers[name])
	}
	settings := [][2]string{
		{"name", m.Name},
		{"data-dir", m.Directory},
		{"enable-v2", "true"},
		{"listen-peer-urls", "http://0.0.0.0:2380"},
		{"listen-client-urls", "http://0.0.0.0:2379"},
		{"initial-advertise-peer-urls", m.PeerURL},
		{"advertise-client-urls", m.ClientURL},
		{"initial-cluster", strings.Join(cluster, ",")},
		{"initial-cluster-state", state},
		{"initial-cluster-token", m.Token},
		{"auto-compaction-mode", "periodic"},
		{"auto-compaction-retention", "1h"},
		{"max-wals", "3"},
		{"max-snapshots", "3"},
		{"logger", "zap"},
	}
	var out strings.Builder
	for _, s := range settings {
		if s[1] == "true" || s[0] == "max-wals" || s[0] == "max-snapshots" {
			fmt.Fprintf(&out, "%s: %s\n", s[0], s[1])
			continue
		}
		fmt.Fprintf(&out, "%s: %q\n", s[0], s[1])
	}
	return out.String()
}
