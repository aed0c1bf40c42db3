// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package observer is a neutral witness of one product: it asks the dashboard
// for the topology and every codis-server for its role, many times a second,
// and tells what it saw whenever that changed. It refuses to judge or to touch
// anything, and shares no code with the operator that it is a witness of.
package observer

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Observation is what was seen at one moment.
type Observation struct {
	Time time.Time `json:"time"`
	// Problem is why /topom/stats of the dashboard did not answer 200; what
	// follows is then what it said last.
	Problem string `json:"problem,omitempty"`
	// Since is when the dashboard says that its process was started.
	Since string `json:"since,omitempty"`
	// Groups by id, with their servers in the dashboard's order, master first.
	Groups map[int][]string `json:"groups,omitempty"`
	// Slots are the ranges that each group owns; group 0 is nobody.
	Slots map[int]string `json:"slots,omitempty"`
	// Moving counts slots that are on their way to another group.
	Moving int `json:"moving,omitempty"`
	// Proxies are the entries of the dashboard.
	Proxies []Proxy `json:"proxies,omitempty"`
	// Members by address, as each says itself.
	Members map[string]Member `json:"members,omitempty"`
}

// Proxy is an entry of the dashboard.
type Proxy struct {
	Hostname string `json:"hostname"`
	Token    string `json:"token"`
	// Sessions of clients, as the dashboard last heard.
	Sessions int64 `json:"sessions"`
}

// Member is what a codis-server says of itself.
type Member struct {
	// Problem is why it did not answer.
	Problem string `json:"problem,omitempty"`
	Role    string `json:"role,omitempty"`
	Master  string `json:"master,omitempty"`
	LinkUp  bool   `json:"linkUp,omitempty"`
	Loading bool   `json:"loading,omitempty"`
	Keys    int64  `json:"keys"`
	// At is the address at which it was reached.
	At string `json:"at,omitempty"`
}

// follows tells whether the member says that it follows a server, by its name or where
// it is.
func (m Member) follows(addr string, server Member) bool {
	return m.Role == "slave" && (m.Master == addr || server.At != "" && m.Master == server.At)
}

// IsMaster tells whether the member takes writes.
func (m Member) IsMaster() bool { return m.Problem == "" && m.Role == "master" }

// EmptyMasters names every member that is master and empty while another one
// of its group has data.
func (o Observation) EmptyMasters() []string {
	var found []string
	for _, servers := range o.Groups {
		data := slices.ContainsFunc(servers, func(addr string) bool { return o.Members[addr].Keys > 0 })
		for _, addr := range servers {
			if m := o.Members[addr]; data && m.IsMaster() && !m.Loading && m.Keys == 0 {
				found = append(found, addr)
			}
		}
	}
	slices.Sort(found)
	return found
}

// Masters are the members of a group that take writes.
func (o Observation) Masters(group int) []string {
	return slices.DeleteFunc(slices.Clone(o.Groups[group]), func(addr string) bool { return !o.Members[addr].IsMaster() })
}

// InRole tells whether the dashboard answers, the first server of every group
// is its only master, and all the others follow it with their links up.
func (o Observation) InRole() bool {
	if o.Problem != "" || len(o.Groups) == 0 {
		return false
	}
	for _, servers := range o.Groups {
		if len(servers) == 0 || !o.Members[servers[0]].IsMaster() {
			return false
		}
		for _, addr := range servers[1:] {
			m := o.Members[addr]
			if m.Problem != "" || !m.follows(servers[0], o.Members[servers[0]]) || !m.LinkUp {
				return false
			}
		}
	}
	return true
}

// Hostnames of the proxies that the dashboard has entries of.
func (o Observation) Hostnames() []string {
	names := make([]string, 0, len(o.Proxies))
	for _, p := range o.Proxies {
		names = append(names, p.Hostname)
	}
	slices.Sort(names)
	return names
}

// Outlived is for how long the entry of a proxy was there after its process was seen
// for the last time, and whether it is gone.
func Outlived(seen []Observation, hostname string, process time.Time) (length time.Duration, gone bool) {
	there := false
	for _, o := range seen {
		had := there
		there = slices.Contains(o.Hostnames(), hostname)
		if had && !there && o.Time.After(process) {
			return o.Time.Sub(process), true
		}
	}
	return 0, !there
}

// HasToken tells whether the dashboard has the entry with a token.
func (o Observation) HasToken(token string) bool {
	return slices.ContainsFunc(o.Proxies, func(p Proxy) bool { return p.Token == token })
}

// Keys counts those of every master.
func (o Observation) Keys() int64 {
	var keys int64
	for _, servers := range o.Groups {
		if len(servers) > 0 {
			keys += o.Members[servers[0]].Keys
		}
	}
	return keys
}

// same tells whether two observations differ in nothing but time and numbers of
// keys and sessions; having none differs from having some.
func (o Observation) same(other Observation) bool {
	return reflect.DeepEqual(o.essence(), other.essence())
}

func (o Observation) essence() Observation {
	o.Time = time.Time{}
	o.Proxies = slices.Clone(o.Proxies)
	for i, p := range o.Proxies {
		o.Proxies[i].Sessions = min(p.Sessions, 1)
	}
	o.Members = maps.Clone(o.Members)
	for addr, m := range o.Members {
		m.Keys = min(m.Keys, 1)
		o.Members[addr] = m
	}
	return o
}

// ranges words a sorted list of numbers: "0-511,600".
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		part := strconv.Itoa(numbers[i])
		if end > i {
			part += "-" + strconv.Itoa(numbers[end])
		}
		parts = append(parts, part)
		i = end + 1
	}
	return strings.Join(parts, ",")
}
