// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"slices"
	"strconv"
)

// Slots is the number of slots of every product.
const Slots = 1024

// Topom is the part of a dashboard's model that the operator reads: the lock that it
// takes says the same.
type Topom struct {
	Token     string `json:"token"`
	StartTime string `json:"start_time"`
	AdminAddr string `json:"admin_addr"`
	Product   string `json:"product_name"`
}

// Stats is the part of GET /topom/stats that the operator reads.
type Stats struct {
	Closed bool          `json:"closed"`
	Slots  []SlotMapping `json:"slots"`
	Group  struct {
		Models []Group                `json:"models"`
		Stats  map[string]ServerStats `json:"stats"`
	} `json:"group"`
	Proxy struct {
		Models []Proxy               `json:"models"`
		Stats  map[string]ProxyStats `json:"stats"`
	} `json:"proxy"`
	SlotAction struct {
		// Interval is the pause between two steps of a move, in microseconds.
		Interval int64 `json:"interval"`
		// Disabled tells that moves do not begin, and stop between two steps.
		Disabled bool `json:"disabled"`
		// Executor counts the steps that run.
		Executor int64 `json:"executor"`
		Progress struct {
			// Status of the last step: "", or "[OK] ..." or "[ERROR] ..." with its slot.
			Status string `json:"status"`
		} `json:"progress"`
	} `json:"slot_action"`
	Sentinels struct {
		Model struct {
			// Servers are the addresses of the registered sentinels.
			Servers []string `json:"servers"`
			// OutOfSync tells that groups, members or sentinels changed since all of them
			// were told.
			OutOfSync bool `json:"out_of_sync"`
		} `json:"model"`
		// Stats are the last looks at them, by address.
		Stats map[string]ServerStats `json:"stats"`
	} `json:"sentinels"`
}

// ServerStats is the last look of the dashboard at a server.
type ServerStats struct {
	// Stats is what INFO says; empty when the server did not answer.
	Stats struct {
		UsedMemory string `json:"used_memory"`
		MaxMemory  string `json:"maxmemory"`
	} `json:"stats"`
	// Timeout tells that the server did not answer within a second, which is neither that
	// it refused nor that it was not asked.
	Timeout bool `json:"timeout"`
}

// Memory returns how many bytes a server uses, and how many it may use, 0 for
// any number; ok is false when the dashboard could not ask it yet.
func (s ServerStats) Memory() (used, limit int64, ok bool) {
	used, err := strconv.ParseInt(s.Stats.UsedMemory, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	limit, err = strconv.ParseInt(s.Stats.MaxMemory, 10, 64)
	if err != nil {
		return used, 0, true
	}
	return used, limit, true
}

// SlotMapping is the owner of a slot as the dashboard stores it; group 0 is nobody.
type SlotMapping struct {
	ID      int        `json:"id"`
	GroupID int        `json:"group_id"`
	Action  SlotAction `json:"action"`
}

// ActionPending is the state of a move that has not begun: the only one that can be cancelled.
const ActionPending = "pending"

// actionSyncing is the state of a sync action that is being carried out.
const actionSyncing = "syncing"

// SlotAction is the move of a slot that is planned or under way.
type SlotAction struct {
	Index    int    `json:"index,omitempty"`
	State    string `json:"state,omitempty"`
	TargetID int    `json:"target_id,omitempty"`
}

// Group is a group as the dashboard stores it; the first server is the master.
type Group struct {
	ID        int           `json:"id"`
	Servers   []GroupServer `json:"servers"`
	Promoting struct {
		Index int    `json:"index,omitempty"`
		State string `json:"state,omitempty"`
	} `json:"promoting"`
	OutOfSync bool `json:"out_of_sync"`
}

// GroupServer is a member of a group as the dashboard stores it.
type GroupServer struct {
	Addr   string `json:"server"`
	Action struct {
		// State of the last sync action of the server: "" or pending, syncing, synced or
		// synced_failed, of which the first two are still to be carried out.
		State string `json:"state,omitempty"`
	} `json:"action"`
}

// Proxy is the entry of a proxy, and what a proxy answers about itself.
type Proxy struct {
	ID        int    `json:"id,omitempty"`
	Token     string `json:"token"`
	AdminAddr string `json:"admin_addr"`
	ProxyAddr string `json:"proxy_addr"`
	Product   string `json:"product_name"`
	Hostname  string `json:"hostname"`
}

// ProxyStats is the last look of the dashboard at a proxy. Stats is nil when it
// did not answer.
type ProxyStats struct {
	Stats *ProxyState `json:"stats"`
}

// ProxyState is the part of GET /proxy/stats that the operator reads.
type ProxyState struct {
	Online bool `json:"online"`
	Closed bool `json:"closed"`
	Ops    struct {
		QPS int64 `json:"qps"`
	} `json:"ops"`
	Sessions struct {
		Alive int64 `json:"alive"`
	} `json:"sessions"`
	Sentinels struct {
		// Servers are the addresses of the sentinels that the proxy listens to.
		Servers []string `json:"servers"`
		// Switched tells that the proxy has routes from sentinels which the dashboard
		// has sent it no other for since.
		Switched bool `json:"switched"`
	} `json:"sentinels"`
}

// GroupByID finds a group, or returns nil.
func (s *Stats) GroupByID(id int) *Group {
	for i := range s.Group.Models {
		if s.Group.Models[i].ID == id {
			return &s.Group.Models[i]
		}
	}
	return nil
}

// DeafProxies names the hosts of registered proxies that did not answer the
// dashboard when it last looked, about once a second, or were not looked at yet.
func (s *Stats) DeafProxies() []string {
	var hosts []string
	for _, proxy := range s.Proxy.Models {
		if s.Proxy.Stats[proxy.Token].Stats == nil {
			hosts = append(hosts, proxy.Hostname)
		}
	}
	return hosts
}

// SlotsOf counts the slots that a group owns or is about to own.
func (s *Stats) SlotsOf(group int) int {
	count := 0
	for _, slot := range s.Slots {
		if slot.GroupID == group || slot.Action.State != "" && slot.Action.TargetID == group {
			count++
		}
	}
	return count
}

// Moving tells whether a slot of a group is on its way from or to it.
func (s *Stats) Moving(group int) bool {
	for _, slot := range s.Slots {
		if slot.Action.State != "" && (slot.GroupID == group || slot.Action.TargetID == group) {
			return true
		}
	}
	return false
}

// AnyMove tells whether any slot is on its way, or about to be.
func (s *Stats) AnyMove() bool {
	for _, slot := range s.Slots {
		if slot.Action.State != "" {
			return true
		}
	}
	return false
}

// Promoting tells whether the dashboard has begun to promote a server and not ended it.
func (s *Stats) Promoting() bool {
	return slices.ContainsFunc(s.Group.Models, func(g Group) bool { return g.Promoting.State != "" })
}

// Syncing tells whether the dashboard has a server to make follow its master.
func (s *Stats) Syncing() bool {
	return slices.ContainsFunc(s.Group.Models, func(g Group) bool {
		return slices.ContainsFunc(g.Servers, func(server GroupServer) bool {
			return server.Action.State == ActionPending || server.Action.State == actionSyncing
		})
	})
}

// Offline counts the slots that nobody owns.
func (s *Stats) Offline() int {
	count := 0
	for _, slot := range s.Slots {
		if slot.GroupID == 0 {
			count++
		}
	}
	return count
}
