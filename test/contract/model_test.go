// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

// The documents of the admin interfaces, as far as tests read them one by one. Their exact field sets are the
// business of the replay.

type action struct {
	Index    int    `json:"index,omitempty"`
	State    string `json:"state,omitempty"`
	TargetID int    `json:"target_id,omitempty"`
}

type groupServer struct {
	Addr         string `json:"server"`
	DataCenter   string `json:"datacenter"`
	Action       action `json:"action"`
	ReplicaGroup bool   `json:"replica_group"`
}

type group struct {
	ID        int           `json:"id"`
	Servers   []groupServer `json:"servers"`
	Promoting action        `json:"promoting"`
	OutOfSync bool          `json:"out_of_sync"`
}

// order is the addresses of the group's servers, the master's first.
func (g group) order() []string {
	addrs := make([]string, 0, len(g.Servers))
	for _, s := range g.Servers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

type slotMapping struct {
	ID      int    `json:"id"`
	GroupID int    `json:"group_id"`
	Action  action `json:"action"`
}

// slot is a slot as proxies know it.
type slot struct {
	ID            int        `json:"id"`
	Locked        bool       `json:"locked,omitempty"`
	Backend       string     `json:"backend_addr,omitempty"`
	BackendGroup  int        `json:"backend_addr_group_id,omitempty"`
	MigrateFrom   string     `json:"migrate_from,omitempty"`
	MigrateGroup  int        `json:"migrate_from_group_id,omitempty"`
	ForwardMethod int        `json:"forward_method,omitempty"`
	ReplicaGroups [][]string `json:"replica_groups,omitempty"`
}

type remoteError struct {
	Cause string
}

type serverStats struct {
	Stats    map[string]string         `json:"stats"`
	Error    *remoteError              `json:"error"`
	Sentinel map[string]monitoredGroup `json:"sentinel"`
	UnixTime int64                     `json:"unixtime"`
	Timeout  bool                      `json:"timeout"`
}

// monitoredGroup is what a sentinel tells about a group.
type monitoredGroup struct {
	Master map[string]string   `json:"master"`
	Slaves []map[string]string `json:"slaves"`
}

type sentinelModel struct {
	Servers   []string `json:"servers"`
	OutOfSync bool     `json:"out_of_sync"`
}

type proxyModel struct {
	ID         int    `json:"id"`
	Token      string `json:"token"`
	AdminAddr  string `json:"admin_addr"`
	ProxyAddr  string `json:"proxy_addr"`
	PID        int    `json:"pid"`
	Hostname   string `json:"hostname"`
	DataCenter string `json:"datacenter"`
}

type proxyStats struct {
	Online bool `json:"online"`
	Closed bool `json:"closed"`

	Sentinels struct {
		Servers  []string          `json:"servers"`
		Masters  map[string]string `json:"masters"`
		Switched bool              `json:"switched"`
	} `json:"sentinels"`
	Ops struct {
		Total int64 `json:"total"`
		Fails int64 `json:"fails"`
	} `json:"ops"`
	Sessions struct {
		Total int64 `json:"total"`
		Alive int64 `json:"alive"`
	} `json:"sessions"`
}

type proxyHealth struct {
	Stats    *proxyStats  `json:"stats"`
	Error    *remoteError `json:"error"`
	UnixTime int64        `json:"unixtime"`
	Timeout  bool         `json:"timeout"`
}

type topomModel struct {
	Token       string `json:"token"`
	AdminAddr   string `json:"admin_addr"`
	ProductName string `json:"product_name"`
	PID         int    `json:"pid"`
}

type topomStats struct {
	Closed bool          `json:"closed"`
	Slots  []slotMapping `json:"slots"`
	Group  struct {
		Models []group                `json:"models"`
		Stats  map[string]serverStats `json:"stats"`
	} `json:"group"`
	Proxy struct {
		Models []proxyModel           `json:"models"`
		Stats  map[string]proxyHealth `json:"stats"`
	} `json:"proxy"`
	SlotAction struct {
		Interval int  `json:"interval"`
		Disabled bool `json:"disabled"`
		Progress struct {
			Status string `json:"status"`
		} `json:"progress"`
		Executor int `json:"executor"`
	} `json:"slot_action"`
	Sentinels struct {
		Model   sentinelModel          `json:"model"`
		Stats   map[string]serverStats `json:"stats"`
		Masters map[string]string      `json:"masters"`
	} `json:"sentinels"`
}

// owners counts the slots of each group.
func (s topomStats) owners() map[int]int {
	counts := map[int]int{}
	for _, m := range s.Slots {
		counts[m.GroupID]++
	}
	return counts
}

// busy counts the slots that have an action.
func (s topomStats) busy() int {
	n := 0
	for _, m := range s.Slots {
		if m.Action.State != "" {
			n++
		}
	}
	return n
}
