// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// volatile are the fields whose values differ from run to run. Their presence and kind are compared all the same.
var volatile = setOf(
	// models
	"start_time", "pid", "pwd", "sys", "hostname", "unixtime", "version", "compile", "coordinator_addr",
	// proxy: rusage, ops, sessions, runtime
	"now", "cpu", "mem", "utime", "stime", "cutime", "cstime", "num_threads", "vm_size", "vm_rss",
	"total", "fails", "errors", "qps", "alive", "calls", "usecs", "usecs_percall", "redis_errtype",
	"alloc", "lookups", "mallocs", "frees", "idle", "inuse", "objects",
	"num", "cpu_fraction", "total_pausems", "num_procs", "num_goroutines", "num_cgo_call", "mem_offheap",
)

// steadyInfo are the fields of INFO that are compared by value. Of the other recorded ones only the presence is.
var steadyInfo = setOf(
	"role", "master_addr", "master_host", "master_port", "master_link_status", "master_sync_in_progress",
	"connected_slaves", "slave_read_only", "slave_priority", "maxmemory", "maxmemory_policy", "loading", "tcp_port",
	"redis_mode", "aof_enabled", "cluster_enabled",
)

// droppedInfo are fields that Redis no longer has after 3.2. The stand-in's servers run a newer one.
var droppedInfo = setOf(
	"client_biggest_input_buf", "client_longest_output_list", "used_memory_lua_human",
)

func setOf(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}

// normalise replaces what is volatile in both documents by its kind, so that what is left has to be equal. Of INFO
// it keeps the fields that were recorded: it is the servers' answer, and newer ones say more.
func normalise(want, got any) (any, any) { return normaliseField("", want, got) }

func normaliseField(key string, want, got any) (any, any) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		switch {
		case !ok:
			return want, got
		case w["role"] != nil:
			return normaliseInfo(w), keepFields(normaliseInfo(g), w)
		case w["Cause"] != nil:
			return withoutStack(w), withoutStack(g)
		}
		return normaliseFields(w, g)
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) != len(g) {
			return want, got
		}
		for i := range w {
			w[i], g[i] = normaliseField(key, w[i], g[i])
		}
		return w, g
	default:
		if volatile[key] {
			return fmt.Sprintf("<%T>", want), fmt.Sprintf("<%T>", got)
		}
		return want, got
	}
}

func normaliseFields(want, got map[string]any) (any, any) {
	for k, w := range want {
		if g, ok := got[k]; ok {
			want[k], got[k] = normaliseField(k, w, g)
		}
	}
	return want, got
}

// withoutStack hides the stack of an error, which names lines of the 2018 source. That there is one, even if null,
// is part of the protocol.
func withoutStack(e map[string]any) map[string]any {
	_, has := e["Stack"]
	return map[string]any{"Cause": e["Cause"], "has a stack": has, "fields": len(e)}
}

func normaliseInfo(info map[string]any) map[string]any {
	kept := map[string]any{}
	for k, v := range info {
		switch {
		case steadyInfo[k]:
			kept[k] = v
		case release.real || !droppedInfo[k]:
			kept[k] = "<" + k + ">"
		}
	}
	return kept
}

func keepFields(doc, of map[string]any) map[string]any {
	for k := range doc {
		if _, ok := of[k]; !ok {
			delete(doc, k)
		}
	}
	return doc
}

func decode(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatalf("%v in %.300s", err, raw)
	}
	return doc
}

// project cuts an answer to what the recording kept of it.
func project(t *testing.T, recordedPath string, doc any) any {
	t.Helper()
	path, fragment, _ := strings.Cut(recordedPath, "#")
	switch {
	case path == "/topom/slots":
		slots := doc.([]any)
		return []any{slots[0], slots[1], slots[slotCount-1]}
	case path == "/proxy/slots":
		return doc.([]any)[:2]
	case path == "/proxy":
		doc.(map[string]any)["slots"] = []any{"cut"}
	case path == "/topom":
		doc.(map[string]any)["stats"] = map[string]any{"...": "as /topom/stats"}
	case fragment == "group.models[1]":
		return selectFragment(t, doc, "group.models[1].servers")
	case fragment != "":
		return selectFragment(t, doc, fragment)
	case path == "/topom/stats":
		stats := doc.(map[string]any)
		stats["slots"] = stats["slots"].([]any)[:2]
	}
	return doc
}

var indexed = regexp.MustCompile(`^(\w+)\[(\d+)\]$`)

// selectFragment follows a path such as group.models[1].servers.
func selectFragment(t *testing.T, doc any, fragment string) any {
	t.Helper()
	for step := range strings.SplitSeq(fragment, ".") {
		name, index := step, -1
		if m := indexed.FindStringSubmatch(step); m != nil {
			name = m[1]
			index, _ = strconv.Atoi(m[2])
		}
		fields, ok := doc.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %T", step, doc)
		}
		if doc = fields[name]; index >= 0 {
			doc = doc.([]any)[index]
		}
	}
	return doc
}
