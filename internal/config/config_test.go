// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./internal/config -update writes it):\n%s", file, diff)
	}
}

func TestFilesAsTheyAreRendered(t *testing.T) {
	golden(t, "dashboard.golden.toml", Dashboard("ns.d", Store{Name: "filesystem", Addr: "/var/lib/codis"}, 18080, nil, nil))
	golden(t, "etcd-founder.golden.yaml", Etcd(EtcdMember{
		Name: "c-coordinator-0", Directory: "/var/lib/etcd/a1", Token: "ns/c", Founds: true,
		PeerURL: "http://c-coordinator-0:2380", ClientURL: "http://c-coordinator-0:2379",
	}))
	golden(t, "etcd-joining.golden.yaml", Etcd(EtcdMember{
		Name: "c-coordinator-1", Directory: "/var/lib/etcd/b2", Token: "ns/c",
		PeerURL: "http://c-coordinator-1:2380", ClientURL: "http://c-coordinator-1:2379",
		Peers: map[string]string{"c-coordinator-0": "http://c-coordinator-0:2380"},
	}))
	golden(t, "etcd-joined.golden.yaml", Etcd(EtcdMember{
		Name: "c-coordinator-1", Directory: "/var/lib/etcd/b2", Token: "ns/c",
		PeerURL: "http://c-coordinator-1:2380", ClientURL: "http://c-coordinator-1:2379",
	}))
	golden(t, "zookeeper.golden.cfg", ZooKeeper("/var/lib/zookeeper/a"))
	golden(t, "proxy.golden.toml", Proxy("ns.d", 11080, 19000, nil, nil))
	golden(t, "server-memory.golden.conf", Server("/data", 6379, false, resource.Quantity{}, nil))
	golden(t, "server-volume.golden.conf", Server("/data", 6379, true, resource.MustParse("4Gi"), nil))
}

// settings reads rendered text back; a name that is there twice fails the test.
func settings(t *testing.T, text, separator string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), separator)
		if !ok {
			t.Fatalf("line %q has no value", line)
		}
		if _, twice := found[name]; twice {
			t.Fatalf("%s is there twice", name)
		}
		found[name] = value
	}
	return found
}

func TestSettingsOfTheUserWin(t *testing.T) {
	proxy := settings(t, Proxy("p", 1, 2, nil, map[string]v1alpha1.ProxyValue{
		"proxy_max_clients": "20", "backend_recv_timeout": "2s", "session_break_on_failure": "true", "new_setting": "a,b",
	}), " = ")
	wantProxy := map[string]string{
		"proxy_max_clients": "20", "backend_recv_timeout": `"2s"`, "session_break_on_failure": "true", "new_setting": `"a,b"`,
		"product_name": `"p"`, "admin_addr": `"0.0.0.0:1"`,
	}
	for name, want := range wantProxy {
		if proxy[name] != want {
			t.Errorf("%s is %s, want %s", name, proxy[name], want)
		}
	}
	server := settings(t, Server("/data", 6379, true, resource.MustParse("4Gi"), map[string]v1alpha1.RedisValue{
		"maxmemory": "1gb", "appendfsync": "always", "save": "", "hash-max-ziplist-entries": "64",
	}), " ")
	wantServer := map[string]string{
		"maxmemory": "1gb", "appendfsync": "always", "save": `""`, "hash-max-ziplist-entries": "64", "port": "6379",
	}
	for name, want := range wantServer {
		if server[name] != want {
			t.Errorf("%s is %s, want %s", name, server[name], want)
		}
	}
}

func TestProxiesRegisterWhereTheyAreTold(t *testing.T) {
	tests := map[string]struct {
		jodis *v1alpha1.Jodis
		want  map[string]string
	}{
		"nowhere": {nil, map[string]string{}},
		"in a ZooKeeper": {
			&v1alpha1.Jodis{Kind: v1alpha1.JodisZooKeeper, Endpoints: []string{"a:2181", "b:2181"}},
			map[string]string{"jodis_name": `"zookeeper"`, "jodis_addr": `"a:2181,b:2181"`},
		},
		"in an etcd, as of Codis 2, for a minute": {
			&v1alpha1.Jodis{
				Kind: v1alpha1.JodisEtcd, Endpoints: []string{"e:2379"}, TimeoutSeconds: new(int32(60)),
				Layout: v1alpha1.JodisLayoutCodis2, AuthSecretRef: &v1alpha1.SecretReference{Name: "login"},
			},
			map[string]string{
				"jodis_name": `"etcd"`, "jodis_addr": `"e:2379"`, "jodis_timeout": `"60s"`, "jodis_compatible": "true",
			},
		},
		"as of Codis 3": {
			&v1alpha1.Jodis{Kind: v1alpha1.JodisEtcd, Endpoints: []string{"e:2379"}, Layout: v1alpha1.JodisLayoutJodis},
			map[string]string{"jodis_name": `"etcd"`, "jodis_addr": `"e:2379"`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := settings(t, Proxy("p", 1, 2, tt.jodis, nil), " = ")
			maps.DeleteFunc(got, func(setting, _ string) bool { return !strings.HasPrefix(setting, "jodis_") })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWithoutVolumeNothingIsWrittenToDisk(t *testing.T) {
	server := settings(t, Server("/data", 6379, false, resource.Quantity{}, nil), " ")
	if server["appendonly"] != "no" || server["save"] != `""` {
		t.Errorf("appendonly %s, save %s", server["appendonly"], server["save"])
	}
	if _, set := server["maxmemory"]; set {
		t.Error("there is a maxmemory without a limit")
	}
}

func TestMaxmemoryLeavesAQuarterOfTheLimit(t *testing.T) {
	for limit, want := range map[string]string{"4Gi": "3221225472", "100M": "75000000"} {
		server := settings(t, Server("/data", 6379, false, resource.MustParse(limit), nil), " ")
		if server["maxmemory"] != want {
			t.Errorf("limit %s: maxmemory %s, want %s", limit, server["maxmemory"], want)
		}
	}
}

func TestWithSettings(t *testing.T) {
	tests := map[string]struct {
		format   Format
		settings map[string]string
		want     string
	}{
		"no settings": {TOML, nil, "x = 1\n"},
		"TOML":        {TOML, map[string]string{"session_auth": "s", "product_auth": "p#$"}, "x = 1\nproduct_auth = \"p#$\"\nsession_auth = \"s\"\n"},
		"Redis":       {Redis, map[string]string{"requirepass": "p", "masterauth": "p"}, "x = 1\nmasterauth \"p\"\nrequirepass \"p\"\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := WithSettings(tt.format, "x = 1\n", tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPasswordThatCodisCannotTakeIsRefusedUnseen(t *testing.T) {
	tests := map[string]string{
		"empty":          "",
		"a space":        "hunter 2",
		"a quote":        `hunter"2`,
		"a single quote": "hunter'2",
		"a backslash":    `hunter\2`,
		"a line break":   "hunter\n2",
		"a tab":          "hunter\t2",
		"a NUL":          "hunter\x002",
		"no ASCII":       "hünter2",
		"DEL":            "hunter\x7f2",
		"no UTF-8":       "hunter\xff2",
	}
	for name, password := range tests {
		for _, format := range []Format{TOML, Redis} {
			t.Run(name+" in "+string(format), func(t *testing.T) {
				got, err := WithSettings(format, "", map[string]string{"product_auth": password})
				if err == nil || got != "" {
					t.Fatalf("got %q, %v", got, err)
				}
				if !strings.HasPrefix(err.Error(), "product_auth: ") {
					t.Errorf("the error does not name the setting: %v", err)
				}
				if password != "" && strings.Contains(err.Error(), "nter") {
					t.Errorf("the error shows the password: %v", err)
				}
			})
		}
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	if _, err := WithSettings("yaml", "", map[string]string{"a": "b"}); err == nil || !strings.Contains(err.Error(), "yaml") {
		t.Errorf("got %v", err)
	}
}

// Whatever is taken stays one line, and reads back as what was given.
func FuzzWithSettings(f *testing.F) {
	f.Add("secret")
	f.Add(`a"b`)
	f.Add("p#$%&()*+,-./:;<=>?@[]^_`{|}~")
	f.Fuzz(func(t *testing.T, password string) {
		for format, prefix := range map[Format]string{TOML: "requirepass = ", Redis: "requirepass "} {
			got, err := WithSettings(format, "", map[string]string{"requirepass": password})
			if err == nil && got != prefix+`"`+password+"\"\n" {
				t.Errorf("%q became %q", password, got)
			}
		}
	})
}

func TestMigrationSettings(t *testing.T) {
	bytes := resource.MustParse("16Mi")
	got := settings(t, Dashboard("p", Store{Name: "filesystem", Addr: "/d"}, 1, &v1alpha1.Migration{
		ParallelSlots: new(int32(7)), MaxBulks: new(int32(8)), MaxBytes: &bytes, NumKeys: new(int32(9)), TimeoutSeconds: new(int32(10)),
	}, nil), " = ")
	want := map[string]string{
		"migration_parallel_slots": "7", "migration_async_maxbulks": "8", "migration_async_maxbytes": `"16777216"`,
		"migration_async_numkeys": "9", "migration_timeout": `"10s"`, "product_name": `"p"`,
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %s, want %s", name, got[name], value)
		}
	}
	none := settings(t, Dashboard("p", Store{Name: "filesystem", Addr: "/d"}, 1, &v1alpha1.Migration{}, nil), " = ")
	if len(none) != 5 || none["migration_timeout"] != `"5s"` {
		t.Errorf("without settings: %v", none)
	}
}
