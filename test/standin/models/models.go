// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package models holds the JSON shapes that the Codis components exchange and store. It owns field names and
// what is left out when zero, and refuses behaviour: who may change a shape, and when, is the business of the
// dashboard and proxy packages.
package models

import "encoding/json"

const (
	// MaxSlotNum is the fixed number of slots of a product.
	MaxSlotNum = 1024
	// MaxGroupID is the largest group id that can be created.
	MaxGroupID = 9999
)

// The states of server, slot and promotion actions.
const (
	ActionNothing      = ""
	ActionPending      = "pending"
	ActionPreparing    = "preparing"
	ActionPrepared     = "prepared"
	ActionMigrating    = "migrating"
	ActionFinished     = "finished"
	ActionSyncing      = "syncing"
	ActionSynced       = "synced"
	ActionSyncedFailed = "synced_failed"
)

// The ways a proxy treats keys of a migrating slot.
const (
	ForwardSync = iota
	ForwardSemiAsync
)

// Topom is the model of a dashboard and the content of its lock.
type Topom struct {
	Token       string `json:"token"`
	StartTime   string `json:"start_time"`
	AdminAddr   string `json:"admin_addr"`
	ProductName string `json:"product_name"`
	Pid         int    `json:"pid"`
	Pwd         string `json:"pwd"`
	Sys         string `json:"sys"`
}

// SlotAction is the migration a slot is in.
type SlotAction struct {
	Index    int    `json:"index,omitempty"`
	State    string `json:"state,omitempty"`
	TargetID int    `json:"target_id,omitempty"`
}

// SlotMapping says which group owns a slot, as stored.
type SlotMapping struct {
	ID      int        `json:"id"`
	GroupID int        `json:"group_id"`
	Action  SlotAction `json:"action"`
}

// Slot says where a proxy sends a slot.
type Slot struct {
	ID                 int        `json:"id"`
	Locked             bool       `json:"locked,omitempty"`
	BackendAddr        string     `json:"backend_addr,omitempty"`
	BackendAddrGroupID int        `json:"backend_addr_group_id,omitempty"`
	MigrateFrom        string     `json:"migrate_from,omitempty"`
	MigrateFromGroupID int        `json:"migrate_from_group_id,omitempty"`
	ForwardMethod      int        `json:"forward_method,omitempty"`
	ReplicaGroups      [][]string `json:"replica_groups,omitempty"`
}

// IndexedState is the action of a server or the promotion of a group.
type IndexedState struct {
	Index int    `json:"index,omitempty"`
	State string `json:"state,omitempty"`
}

// GroupServer is one member of a group.
type GroupServer struct {
	Addr         string       `json:"server"`
	DataCenter   string       `json:"datacenter"`
	Action       IndexedState `json:"action"`
	ReplicaGroup bool         `json:"replica_group"`
}

// Group is a master and its replicas; the first server is the master.
type Group struct {
	ID        int            `json:"id"`
	Servers   []*GroupServer `json:"servers"`
	Promoting IndexedState   `json:"promoting"`
	OutOfSync bool           `json:"out_of_sync"`
}

// Clone returns a deep copy.
func (g *Group) Clone() *Group {
	c := *g
	c.Servers = make([]*GroupServer, len(g.Servers))
	for i, x := range g.Servers {
		y := *x
		c.Servers[i] = &y
	}
	return &c
}

// Proxy is the model of a proxy, as it reports it and as the dashboard stores it.
type Proxy struct {
	ID          int    `json:"id,omitempty"`
	Token       string `json:"token"`
	StartTime   string `json:"start_time"`
	AdminAddr   string `json:"admin_addr"`
	ProtoType   string `json:"proto_type"`
	ProxyAddr   string `json:"proxy_addr"`
	JodisPath   string `json:"jodis_path,omitempty"`
	ProductName string `json:"product_name"`
	Pid         int    `json:"pid"`
	Pwd         string `json:"pwd"`
	Sys         string `json:"sys"`
	Hostname    string `json:"hostname"`
	DataCenter  string `json:"datacenter"`
}

// Sentinel is the list of sentinels of a product.
type Sentinel struct {
	Servers   []string `json:"servers,omitempty"`
	OutOfSync bool     `json:"out_of_sync"`
}

// Encode renders v the way every component stores and sends JSON: indented by four spaces.
func Encode(v any) ([]byte, error) {
	return json.MarshalIndent(v, "", "    ")
}
