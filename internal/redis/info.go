// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Info is the answer to INFO, key by key.
type Info map[string]string

// ParseInfo reads the answer to INFO. Lines without a colon, empty lines and
// section headers are skipped; it never fails, since a server that answers
// nonsense is told by the keys that are missing.
func ParseInfo(raw string) Info {
	info := Info{}
	for line := range strings.Lines(raw) {
		line = strings.TrimRight(line, "\r\n")
		key, value, found := strings.Cut(line, ":")
		if !found || key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		info[key] = value
	}
	return info
}

// Int returns the number under a key, 0 where there is none.
func (i Info) Int(key string) int64 {
	n, err := strconv.ParseInt(i[key], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Databases lists the numbers of the databases that hold keys, in ascending order.
func (i Info) Databases() []int {
	var numbers []int
	for key := range i {
		db, isDB := strings.CutPrefix(key, "db")
		if number, err := strconv.Atoi(db); isDB && err == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// Keys adds up the keys of all databases (lines such as "db0:keys=7,expires=0").
func (i Info) Keys() int64 {
	var total int64
	for key, value := range i {
		db, isDB := strings.CutPrefix(key, "db")
		if _, err := strconv.Atoi(db); !isDB || err != nil {
			continue
		}
		for field := range strings.SplitSeq(value, ",") {
			if count, found := strings.CutPrefix(field, "keys="); found {
				n, err := strconv.ParseInt(count, 10, 64)
				if err == nil {
					total += n
				}
			}
		}
	}
	return total
}

// observation translates INFO into what decisions are made from.
func (i Info) observation() Observation {
	// Redis shows this key only while writes are guarded.
	_, guarded := i["min_slaves_good_slaves"]
	o := Observation{
		Reachable:     true,
		RunID:         i["run_id"],
		Loading:       i["loading"] == "1",
		Saving:        i["aof_rewrite_in_progress"] == "1" || i["aof_rewrite_scheduled"] == "1",
		Keys:          i.Keys(),
		UsedMemory:    i.Int("used_memory"),
		MaxMemory:     i.Int("maxmemory"),
		Replicas:      int(i.Int("connected_slaves")),
		WritesGuarded: guarded,
	}
	switch i["role"] {
	case "master":
		o.Role = RoleMaster
		o.Offset = i.Int("master_repl_offset")
	case "slave":
		o.Role = RoleReplica
		o.MasterAddr = net.JoinHostPort(i["master_host"], i["master_port"])
		o.LinkUp = i["master_link_status"] == "up"
		o.LinkDown = time.Duration(max(0, i.Int("master_link_down_since_seconds"))) * time.Second
		o.Syncing = i["master_sync_in_progress"] == "1"
		o.Offset = i.Int("slave_repl_offset")
	}
	if o.RunID == "" || o.Role == "" {
		return Observation{Problem: "the answer to INFO makes no sense"}
	}
	return o
}
