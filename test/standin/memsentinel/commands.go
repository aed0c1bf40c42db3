// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package memsentinel

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

func (s *Sentinel) sentinel(command string, args []string) resp.Reply {
	needed := map[string]int{"monitor": 4, "set": 1, "remove": 1, "slaves": 1, "get-master-addr-by-name": 1}[command]
	if len(args) < needed {
		return resp.Errorf("ERR Wrong number of arguments for 'sentinel %s'", command)
	}
	switch command {
	case "flushconfig":
		return resp.Simple("OK")
	case "masters":
		return s.masters()
	case "monitor":
		return s.monitor(args)
	}
	if needed == 0 {
		return resp.Errorf("ERR Unknown sentinel subcommand '%s'", command)
	}
	m := s.monitors[args[0]]
	switch {
	case m == nil && command == "get-master-addr-by-name":
		return resp.Reply("*-1\r\n")
	case m == nil:
		return resp.Errorf("ERR No such master with that name")
	}
	switch command {
	case "get-master-addr-by-name":
		out := resp.AppendArray(nil, 2)
		return resp.AppendBulk(resp.AppendBulk(out, []byte(m["ip"])), []byte(m["port"]))
	case "slaves":
		return resp.AppendArray(nil, 0)
	case "remove":
		delete(s.monitors, args[0])
	case "set":
		for pair := range slices.Chunk(args[1:], 2) {
			if len(pair) == 2 {
				m[pair[0]] = pair[1]
			}
		}
	}
	return resp.Simple("OK")
}

func (s *Sentinel) monitor(args []string) resp.Reply {
	name, ip, port := args[0], args[1], args[2]
	quorum, err := strconv.Atoi(args[3])
	switch {
	case err != nil || quorum <= 0:
		return resp.Errorf("ERR Quorum must be 1 or greater.")
	case net.ParseIP(ip) == nil:
		return resp.Errorf("ERR Invalid IP address specified")
	case s.monitors[name] != nil:
		return resp.Errorf("ERR Duplicated master name")
	}
	if s.monitors == nil {
		s.monitors = map[string]map[string]string{}
	}
	s.monitors[name] = map[string]string{
		"name": name, "ip": ip, "port": port, "quorum": args[3], "config-epoch": "0", "flags": "master",
		"num-slaves": "0", "num-other-sentinels": "0",
		"parallel-syncs": "1", "down-after-milliseconds": "30000", "failover-timeout": "180000",
	}
	return resp.Simple("OK")
}

func (s *Sentinel) masters() resp.Reply {
	out := resp.AppendArray(nil, len(s.monitors))
	for _, name := range slices.Sorted(maps.Keys(s.monitors)) {
		m := maps.Clone(s.monitors[name])
		delete(m, "auth-pass")
		out = resp.AppendArray(out, 2*len(m))
		for _, key := range slices.Sorted(maps.Keys(m)) {
			out = resp.AppendBulk(resp.AppendBulk(out, []byte(key)), []byte(m[key]))
		}
	}
	return out
}
