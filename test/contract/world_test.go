// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
)

// The ports of the recordings. Each world has a loopback address of its own, so that worlds which run at the same
// time can all use them.
const (
	portDashboard = 18080
	portFE        = 18090
	portProxy     = 19000 // proxy N listens on portProxy+N
	portAdmin     = 11080 // its admin interface on portAdmin+N
	portServer    = 8000  // server N listens on portServer+N
	portSentinel  = 26379 // sentinel N listens on portSentinel+N
	portNobody    = 6666  // nobody ever listens here
	portReserve   = 17999 // held for as long as the world lasts
)

const defaultProduct = "demo"

// world is the scene of one test: an address, a directory, and the processes started in it.
type world struct {
	t           *testing.T
	ip          string
	dir         string
	product     string
	productAuth string
}

var worlds atomic.Int32

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, ip: reserveIP(t), dir: t.TempDir(), product: defaultProduct}
}

// reserveIP finds an address of 127.0.0.0/8 that no other world has, in this run or in another one.
func reserveIP(t *testing.T) string {
	t.Helper()
	for range 1000 {
		n := int(worlds.Add(1))
		ip := fmt.Sprintf("127.%d.%d.%d", 16+os.Getpid()%200, n/200%200, 1+n%200)
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, portReserve))
		if err != nil {
			continue
		}
		t.Cleanup(func() { l.Close() })
		return ip
	}
	t.Fatal("no free loopback address")
	return ""
}

func (w *world) at(port int) string { return fmt.Sprintf("%s:%d", w.ip, port) }

// coordinator is the root directory of the filesystem coordinator.
func (w *world) coordinator() string { return filepath.Join(w.dir, "coordinator") }

// storePath is the file behind a key of the product, such as "group/group-0001".
func (w *world) storePath(key string) string {
	return filepath.Join(w.coordinator(), "data", "codis3", w.product, key)
}

func (w *world) stored(key string) bool {
	_, err := os.Stat(w.storePath(key))
	return err == nil
}

// settings are the lines of a configuration file in TOML.
type settings map[string]any

func (s settings) write(t *testing.T, path string) {
	t.Helper()
	keys := make([]string, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		switch v := s[k].(type) {
		case string:
			fmt.Fprintf(&b, "%s = %q\n", k, v)
		default:
			fmt.Fprintf(&b, "%s = %v\n", k, v)
		}
	}
	writeFile(t, path, b.String())
}

// with is s overlaid with more.
func (s settings) with(more settings) settings {
	merged := settings{}
	maps.Copy(merged, s)
	maps.Copy(merged, more)
	return merged
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
