// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package config renders the files that Codis processes read. A password is
// never in a template: the config writer, an init container, adds it inside the
// pod from the mounted Secret. It refuses everything but text.
package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Format of a file, which decides how a password is quoted.
type Format string

// Formats.
const (
	// TOML is the format of codis-dashboard and codis-proxy.
	TOML Format = "toml"
	// Redis is the format of codis-server.
	Redis Format = "redis"
)

// WithSettings appends settings to the text of a configuration, sorted by name.
// Passwords must be printable ASCII without spaces and quotes, which Codis and
// Redis both take: anything else is refused, by name and never by value.
func WithSettings(format Format, text string, settings map[string]string) (string, error) {
	var out strings.Builder
	out.WriteString(text)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		if err := validPassword(value); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		switch format {
		case TOML:
			fmt.Fprintf(&out, "%s = %q\n", name, value)
		case Redis:
			fmt.Fprintf(&out, "%s %q\n", name, value)
		default:
			return "", fmt.Errorf("unknown format %q, want %q or %q", format, TOML, Redis)
		}
	}
	return out.String(), nil
}

func validPassword(value string) error {
	if value == "" {
		return fmt.Errorf("the password is empty")
	}
	for _, r := range value {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' || r == '\'' {
			return fmt.Errorf("the password has a character that Codis cannot take: " +
				"use letters, digits and signs other than quotes, backslash and space")
		}
	}
	return nil
}

// Store is where a dashboard keeps the topology.
type Store struct {
	// Name that Codis gives its kind: filesystem, etcd or zookeeper.
	Name string
	// Addr is a directory, or addresses separated by commas.
	Addr string
}

// migrationTimeout in seconds is how long a step of a move may wait for a server
// that hangs. The dashboard refuses to promote meanwhile, so that it bounds how
// soon a failover may begin; Codis's own default is 30 s.
const migrationTimeout = 5

// Dashboard renders dashboard.toml of a product, without product_auth and the
// login of the store.
func Dashboard(
	product string, store Store, port int, migration *v1alpha1.Migration, sentinel *v1alpha1.SentinelSettings,
) string {
	settings := map[string]string{
		"coordinator_name":  strconv.Quote(store.Name),
		"coordinator_addr":  strconv.Quote(store.Addr),
		"product_name":      strconv.Quote(product),
		"admin_addr":        strconv.Quote("0.0.0.0:" + strconv.Itoa(port)),
		"migration_timeout": strconv.Quote(strconv.Itoa(migrationTimeout) + "s"),
	}
	if sentinel != nil {
		maps.Copy(settings, sentinelSettings(MonitorOf(sentinel)))
	}
	if migration != nil {
		maps.Copy(settings, migrationSettings(migration))
	}
	return toml(settings, nil)
}

// migrationSettings tell a dashboard how slots move.
func migrationSettings(migration *v1alpha1.Migration) map[string]string {
	settings := map[string]string{}
	for name, value := range map[string]*int32{
		"migration_parallel_slots": migration.ParallelSlots,
		"migration_async_maxbulks": migration.MaxBulks,
		"migration_async_numkeys":  migration.NumKeys,
	} {
		if value != nil {
			settings[name] = strconv.Itoa(int(*value))
		}
	}
	if migration.MaxBytes != nil {
		settings["migration_async_maxbytes"] = strconv.Quote(strconv.FormatInt(migration.MaxBytes.Value(), 10))
	}
	if migration.TimeoutSeconds != nil {
		settings["migration_timeout"] = strconv.Quote(strconv.Itoa(int(*migration.TimeoutSeconds)) + "s")
	}
	return settings
}

// proxyDefaults are the settings of a proxy that differ from its own defaults.
// backend_recv_timeout bounds how long a request may wait for a backend that
// hangs, and with it how long a promotion may take (measured: 30 s of stall
// with Codis's default of 30 s). It is a little longer than it takes to begin
// the promotion: requests that are freed before find the same master again, or,
// on a lost node, a connect that takes 5 s to fail. A command that takes longer also
// blocks its master for longer than it takes to be replaced. The off-heap pool and
// the heap placeholder would cost 1.25 GiB of memory in each pod.
var proxyDefaults = map[string]string{
	"backend_recv_timeout":     strconv.Quote("2500ms"),
	"proxy_max_offheap_size":   strconv.Quote("0"),
	"proxy_heap_placeholder":   strconv.Quote("0"),
	"proxy_max_clients":        "10000",
	"backend_primary_only":     "true",
	"session_max_pipeline":     "10000",
	"backend_send_timeout":     strconv.Quote("5s"),
	"session_recv_timeout":     strconv.Quote("30m"),
	"backend_keepalive_period": strconv.Quote("75s"),
}

// Proxy renders proxy.toml of a product, without product_auth, session_auth and
// jodis_auth. Settings of the user come last and win.
func Proxy(
	product string, adminPort, proxyPort int, jodis *v1alpha1.Jodis, user map[string]v1alpha1.ProxyValue,
) string {
	settings := map[string]string{
		"product_name": strconv.Quote(product),
		"proto_type":   strconv.Quote("tcp4"),
		"admin_addr":   strconv.Quote("0.0.0.0:" + strconv.Itoa(adminPort)),
		"proxy_addr":   strconv.Quote("0.0.0.0:" + strconv.Itoa(proxyPort)),
	}
	maps.Copy(settings, proxyDefaults)
	if jodis != nil {
		maps.Copy(settings, jodisSettings(jodis))
	}
	return toml(settings, user)
}

// jodisSettings have a proxy register itself.
func jodisSettings(j *v1alpha1.Jodis) map[string]string {
	settings := map[string]string{
		"jodis_name": strconv.Quote(strings.ToLower(string(j.Kind))),
		"jodis_addr": strconv.Quote(strings.Join(j.Endpoints, ",")),
	}
	if j.TimeoutSeconds != nil {
		settings["jodis_timeout"] = strconv.Quote(strconv.Itoa(int(*j.TimeoutSeconds)) + "s")
	}
	if j.Layout == v1alpha1.JodisLayoutCodis2 {
		settings["jodis_compatible"] = "true"
	}
	return settings
}

// toml renders settings, those of the user quoted unless they are a number or a boolean.
func toml(settings map[string]string, user map[string]v1alpha1.ProxyValue) string {
	all := maps.Clone(settings)
	for name, value := range user {
		all[name] = tomlValue(string(value))
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&out, "%s = %s\n", name, all[name])
	}
	return out.String()
}

func tomlValue(value string) string {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil || value == "true" || value == "false" {
		return value
	}
	return strconv.Quote(value)
}

// Server renders redis.conf of a member, without passwords and without
// replication: both are added at start. On a volume every write is logged to
// disk within a second; without one nothing is written, since the files would
// go with the pod. Directives of the user come last and win.
func Server(
	directory string, port int, persistent bool, memoryLimit resource.Quantity, user map[string]v1alpha1.RedisValue,
) string {
	settings := map[string]string{
		"bind":           "0.0.0.0",
		"port":           strconv.Itoa(port),
		"protected-mode": "no",
		"daemonize":      "no",
		"logfile":        `""`,
		"dir":            directory,
		"dbfilename":     "dump.rdb",
		"databases":      "16",
		"tcp-keepalive":  "60",
		"appendonly":     "no",
		"save":           `""`,
		// A replica that asks for a copy gets it at once, not after the five
		// seconds that newer servers wait for others to join in.
		"repl-diskless-sync-delay": "0",
		// A replica hears something of an idle master every second. Silence is then
		// a sign of a lost master within two, not within ten as by default.
		"repl-ping-slave-period": "1",
		// A copy for a replica must not be left on the master's disk: after a
		// restart it would pass for the master's own data, hours old.
		"repl-diskless-sync": "yes",
	}
	if persistent {
		settings["appendonly"] = "yes"
		settings["appendfsync"] = "everysec"
		delete(settings, "save")
	}
	if limit := memoryLimit.Value(); limit > 0 {
		// A quarter is left for buffers, fragmentation and the copy-on-write of a fork.
		settings["maxmemory"] = strconv.FormatInt(limit/4*3, 10)
	}
	for name, value := range user {
		settings[name] = string(value)
		if value == "" {
			settings[name] = `""` // A directive without an argument stops the server.
		}
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&out, "%s %s\n", name, settings[name])
	}
	return out.String()
}
