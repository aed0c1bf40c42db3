// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A flag whose value is empty ends the process: leave the flag out instead.
func TestEmptyFlagValueEndsTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.loopbackConfig()
	tests := map[string][]string{
		"codis-dashboard": {"--config", config, "--product_auth", ""},
		"codis-proxy":     {"--config", config, "--session_auth", ""},
		"codis-fe":        {"--dashboard-list", "", "--listen", w.at(portFE)},
	}
	for name, args := range tests {
		p := startProcess(t, w.dir, name, binary(name), args...)
		if code := p.exitCode(patience); code == 0 {
			t.Errorf("%s left with code 0", name)
		}
	}
}

func TestVersionAndDefaultConfig(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"codis-dashboard", "codis-proxy", "codis-fe"} {
		out, err := exec.Command(binary(name), "--version").Output()
		if err != nil || !strings.HasPrefix(string(out), "version: ") || !strings.Contains(string(out), "\ncompile: ") {
			t.Errorf("%s --version: %v %q", name, err, out)
		}
	}
	for name, line := range map[string]string{
		"codis-dashboard": `migration_timeout = "30s"`,
		"codis-proxy":     `backend_recv_timeout = "30s"`,
	} {
		out, err := exec.Command(binary(name), "--default-config").Output()
		if err != nil || !strings.Contains(string(out), line) {
			t.Errorf("%s --default-config: %v has no %s", name, err, line)
		}
	}
}

// Missing keys keep their defaults, unknown keys mean nothing, and flags come before the file.
func TestFlagsOverrideTheFileAndUnknownKeysMeanNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.product = "flagged"
	d := w.dashboard(dashboardSpec{
		settings: settings{"product_name": "filed", "no_such_key": 1, "coordinator_name": "zookeeper"},
		args: []string{
			"--product_name", "flagged", "--filesystem", w.coordinator(),
			"--host-admin", fmt.Sprintf("localhost:%d", portDashboard),
		},
	})
	var overview struct {
		Config map[string]any `json:"config"`
		Model  topomModel     `json:"model"`
	}
	d.get("/topom", &overview)
	if overview.Model.ProductName != "flagged" || overview.Config["coordinator_name"] != "filesystem" {
		t.Errorf("model %+v, config %v", overview.Model, overview.Config)
	}
	if overview.Config["migration_timeout"] != "30s" || overview.Config["migration_method"] != "semi-async" {
		t.Errorf("config %v", overview.Config)
	}
	// An announced name stays a name.
	if want := fmt.Sprintf("localhost:%d", portDashboard); overview.Model.AdminAddr != want {
		t.Errorf("admin_addr is %s", overview.Model.AdminAddr)
	}
}

// Whatever is wrong with a configuration file ends the process, keys that mean nothing included if they are no TOML.
func TestMalformedConfigEndsTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, line := range []string{
		"no toml ===", "product_name = demo", `product_name = "demo`, `product_name = 5`, `product_name = "a/b"`,
		"product_name = \"a\"\nproduct_name = \"b\"", `product_name = ""`, "unknown =",
		`Product_Name = "a/b"`,
	} {
		config := filepath.Join(w.dir, fmt.Sprintf("%d.toml", i))
		writeFile(t, config, readFile(t, w.loopbackConfig())+line+"\n")
		for _, name := range []string{"codis-dashboard", "codis-proxy"} {
			p := startProcess(t, w.dir, name, binary(name), "--config", config)
			if code := p.exitCode(patience); code != 1 {
				t.Errorf("%s with %q: exit code %d", name, line, code)
			}
		}
	}
}

// Ways to go online, and to find dashboards, exclude each other.
func TestContradictingFlagsEndTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.loopbackConfig()
	for name, args := range map[string][]string{
		"codis-dashboard": {"--config", config, "--filesystem", w.coordinator(), "--etcd", w.at(portNobody)},
		"codis-proxy":     {"--config", config, "--filesystem", w.coordinator(), "--dashboard", w.at(portDashboard)},
		"codis-fe":        {"--listen", w.at(portFE), "--filesystem", w.coordinator(), "--dashboard-list", config},
	} {
		p := startProcess(t, w.dir, name, binary(name), args...)
		if code := p.exitCode(patience); code != 1 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}

// A duration is a number with one unit, or a number of seconds. What Go prints for a minute, 1m0s, is none.
func TestDurationsHaveOneUnit(t *testing.T) {
	t.Parallel()
	for value, shown := range map[string]string{"2": "2s", "500ms": "500ms", "90s": "90s", "120s": "2m", "1.5s": "1500ms"} {
		w := newWorld(t)
		p := w.proxy(1, proxySpec{settings: settings{"backend_recv_timeout": value}})
		var overview struct {
			Config map[string]any `json:"config"`
		}
		p.get("/proxy", &overview)
		if got := overview.Config["backend_recv_timeout"]; got != shown {
			t.Errorf("%s is %v", value, got)
		}
	}
	for _, value := range []string{"1m0s", "1m30s", "soon"} {
		w := newWorld(t)
		config := filepath.Join(w.dir, "bad.toml")
		settings{
			"admin_addr": w.at(portAdmin), "proxy_addr": w.at(portProxy),
			"backend_recv_timeout": value, "migration_timeout": value,
		}.write(t, config)
		for _, name := range []string{"codis-dashboard", "codis-proxy"} {
			p := startProcess(t, w.dir, name, binary(name), "--config", config)
			if code := p.exitCode(patience); code != 1 {
				t.Errorf("%s with %s: exit code %d", name, value, code)
			}
		}
	}
}

func TestPidfileIsRemovedOnCleanExitOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pidfile := filepath.Join(w.dir, "dashboard.pid")
	spec := dashboardSpec{args: []string{"--pidfile", pidfile, "--remove-lock"}}
	there := func() bool {
		_, err := os.Stat(pidfile)
		return err == nil
	}
	d := w.dashboard(spec)
	eventually(t, patience, "the pidfile is there", there)
	if got := readFile(t, pidfile); got != fmt.Sprint(d.proc.pid()) {
		t.Errorf("pidfile has %q", got)
	}
	d.proc.kill()
	if !there() {
		t.Error("SIGKILL removed the pidfile")
	}
	w.dashboard(spec).proc.stop()
	if there() {
		t.Error("SIGTERM left the pidfile")
	}
}

func TestLogFileIsNamedByTheDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logPath := filepath.Join(w.dir, "logs", "dashboard.log")
	w.dashboard(dashboardSpec{args: []string{"--log", logPath, "--log-level", "INFO"}})
	eventually(t, patience, "a log file of the day", func() bool {
		found, _ := filepath.Glob(logPath + ".20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]")
		return len(found) == 1
	})
}

// A product name becomes part of keys and of sentinel names.
func TestBadProductNameEndsTheDashboard(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a/b", "-a", "a b"} {
		w := newWorld(t)
		p := startProcess(t, w.dir, "dashboard", binary("codis-dashboard"),
			"--config", w.loopbackConfig(), "--filesystem", w.coordinator(), "--product_name="+name)
		if code := p.exitCode(patience); code != 1 {
			t.Errorf("%q: exit code %d", name, code)
		}
	}
}

// The address that is announced has to resolve when the process starts.
func TestUnresolvableHostAdminEndsTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := startProcess(t, w.dir, "proxy", binary("codis-proxy"),
		"--config", w.loopbackConfig(), "--host-admin", "no-such-host.invalid:11080")
	if code := p.exitCode(patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if _, err := request(http.MethodGet, "http://"+w.at(portAdmin)+"/proxy/model", nil); err == nil {
		t.Error("somebody answers")
	}
}

// loopbackConfig serves dashboards and proxies alike, and keeps one that starts against all expectations off the
// machine's other addresses.
func (w *world) loopbackConfig() string {
	config := filepath.Join(w.dir, "loopback.toml")
	settings{"admin_addr": w.at(portAdmin), "proxy_addr": w.at(portProxy)}.write(w.t, config)
	return config
}
