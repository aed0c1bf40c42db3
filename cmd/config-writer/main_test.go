// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/naming"
)

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWriteJoinsTemplateAndPasswords(t *testing.T) {
	out := filepath.Join(t.TempDir(), "redis.conf")
	password := file(t, "password", "s3cret\n")
	err := write(config.Redis, file(t, "template", "port 6379\n"), out, secrets{"requirepass": password, "masterauth": password}, nil, identity{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("port 6379\nmasterauth \"s3cret\"\nrequirepass \"s3cret\"\n", string(got)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the passwords: %s", info.Mode())
	}
}

func TestWriteLeavesNoFileBehindWhenItCannot(t *testing.T) {
	template, password := file(t, "template", "x = 1\n"), file(t, "password", "two words")
	missing := filepath.Join(t.TempDir(), "missing")
	tests := map[string]struct {
		template string
		files    secrets
	}{
		"a password is none":      {template, secrets{"product_auth": password}},
		"a Secret is missing":     {template, secrets{"product_auth": missing}},
		"the template is missing": {missing, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "dashboard.toml")
			err := write(config.TOML, tt.template, out, tt.files, nil, identity{})
			if err == nil {
				t.Fatal("it succeeded")
			}
			if strings.Contains(err.Error(), "two words") {
				t.Errorf("the error shows the password: %v", err)
			}
			if _, err := os.Stat(out); !os.IsNotExist(err) {
				t.Errorf("there is a file: %v", err)
			}
		})
	}
}

func TestSecretsAreSettingAndFile(t *testing.T) {
	s := secrets{}
	if err := s.Set("product_auth=/etc/a=b"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(secrets{"product_auth": "/etc/a=b"}, s); diff != "" {
		t.Error(diff)
	}
	if err := s.Set("product_auth"); err == nil {
		t.Error("a setting without file was taken")
	}
}

func TestALoginIsUserAndPassword(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"both":                     {map[string]string{"username": "codis\n", "password": "s3cret\n"}, "codis:s3cret"},
		"root unless named":        {map[string]string{"password": "s3cret"}, "root:s3cret"},
		"a password is needed":     {map[string]string{"username": "codis"}, ""},
		"a user name has no colon": {map[string]string{"username": "a:b", "password": "s3cret"}, ""},
		"nor is it empty":          {map[string]string{"username": "", "password": "s3cret"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out := filepath.Join(t.TempDir(), "dashboard.toml")
			err := write(config.TOML, file(t, "template", ""), out, nil, secrets{"coordinator_auth": dir}, identity{})
			if (err == nil) != (tt.want != "") {
				t.Fatalf("got %v", err)
			}
			if got, _ := os.ReadFile(out); tt.want != "" && string(got) != fmt.Sprintf("coordinator_auth = %q\n", tt.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

// A store that is away is waited for; whose lock it then is decides.
func TestLookAtTheLock(t *testing.T) {
	tests := map[string]struct {
		holder, message string
		passes          bool
	}{
		"its own":       {"own:18080", "", true},
		"somebody else": {"127.0.0.1:%d", "held 127.0.0.1:%d", false},
		"it is pinned":  {"", "removing ns/d", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			var port int
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				holder := strings.ReplaceAll(tt.holder, "%d", strconv.Itoa(port))
				asked++
				switch {
				case r.URL.Path == "/topom/model":
					_, _ = fmt.Fprint(w, `{"product_name":"p"}`)
				case asked == 1:
					w.WriteHeader(http.StatusServiceUnavailable)
				case holder == "":
					_, _ = fmt.Fprint(w, `{"node":{"dir":true,"nodes":[{"key":"/codis3/p/topom/removing",`+
						`"value":"{\"owner\":\"uid\",\"dashboard\":\"ns/d\"}"}]}}`)
				default:
					_, _ = fmt.Fprintf(w, `{"node":{"value":"{\"admin_addr\":\"%s\"}"}}`, holder)
				}
			}))
			defer server.Close()
			port = server.Listener.Addr().(*net.TCPAddr).Port
			message := filepath.Join(t.TempDir(), "message")
			wanted := lock.Lock{Store: "etcd", Addr: server.Listener.Addr().String(), Product: "p", Holder: "own:18080"}
			if err := look(t.Context(), wanted, "", message, time.Millisecond); (err == nil) != tt.passes {
				t.Errorf("passes: %v", err)
			}
			said, err := os.ReadFile(message)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(tt.message, "%d", strconv.Itoa(port)); string(said) != want {
				t.Errorf("it said %q, want %q", said, want)
			}
		})
	}
}

func TestLookNeedsTheLoginThatItIsTold(t *testing.T) {
	err := look(t.Context(), lock.Lock{Store: "etcd"}, filepath.Join(t.TempDir(), "none"), "", time.Millisecond)
	if err == nil {
		t.Error("a login that is missing is no error")
	}
}

// A container of another image runs what the writer leaves for it, also where an earlier
// writer left something.
func TestAProgramIsLeft(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"an older and longer one", "program"} {
		if err := leave(file(t, "keeper", content), dir); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(dir, "keeper")
	if got, err := os.ReadFile(left); err != nil || string(got) != "program" {
		t.Errorf("left is %q, %v", got, err)
	}
	if info, err := os.Stat(left); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it cannot be run: %v, %v", info, err)
	}
	if err := leave(filepath.Join(dir, "none"), dir); err == nil {
		t.Error("a program that is missing is no error")
	}
}

// A sentinel keeps who it is and the number of its last election, and nothing else.
func TestSentinelStartsWithNobodyToWatch(t *testing.T) {
	out := file(t, "sentinel.conf", "port 1\nsentinel myid old\nsentinel monitor p-1 10.0.0.1 6379 2\n"+
		"sentinel known-slave p-1 10.0.0.2 6379\nsentinel current-epoch 7\n")
	err := write(config.Redis, file(t, "template", "port 26379\n"), out, nil, nil, identity{"ns/s-0", "10.0.0.9"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "port 26379\nsentinel myid " + naming.SentinelID("ns", "s-0") + "\nsentinel announce-ip 10.0.0.9\n" +
		"sentinel current-epoch 7\n"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, incomplete := range []identity{{pod: "s-0", ip: "10.0.0.9"}, {pod: "ns/s-0"}} {
		if err := write(config.Redis, file(t, "template", ""), out, nil, nil, incomplete); err == nil {
			t.Errorf("%+v was taken", incomplete)
		}
	}
}
