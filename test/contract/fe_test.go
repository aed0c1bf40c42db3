// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

type frontend struct {
	*api
	proc *process
}

// frontend starts a codis-fe with assets of its own and waits until it answers.
func (w *world) frontend(args ...string) *frontend {
	w.t.Helper()
	assets := filepath.Join(w.dir, "assets")
	writeFile(w.t, filepath.Join(assets, "index.html"), "<html>the page</html>")
	args = append([]string{"--assets-dir", assets, "--listen", w.at(portFE)}, args...)
	fe := &frontend{
		api:  &api{t: w.t, addr: w.at(portFE)},
		proc: startProcess(w.t, w.dir, "fe", binary("codis-fe"), args...),
	}
	eventually(w.t, patience, "the frontend answers", func() bool {
		return fe.proc.exited() || fe.answers("/", http.StatusOK)
	})
	if fe.proc.exited() {
		w.t.Fatalf("codis-fe left with code %d", fe.proc.exitCode(patience))
	}
	return fe
}

// list is the names of the products. It is also the only thing that makes the frontend look for them.
func (fe *frontend) list() string {
	fe.t.Helper()
	r := fe.send(http.MethodGet, "/list", nil)
	if r.status != http.StatusOK {
		fe.t.Fatalf("list: %d %s", r.status, r.body)
	}
	var names any
	if err := json.Unmarshal(r.body, &names); err != nil {
		fe.t.Fatal(err)
	}
	return fmt.Sprint(names)
}

func TestFrontendForwardsByProductName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	list := filepath.Join(w.dir, "list.json")
	writeFile(t, list, fmt.Sprintf(`[{"name": "demo", "dashboard": %q}, {"name": "another", "dashboard": %q}]`,
		d.addr, w.at(portNobody)))
	fe := w.frontend("--dashboard-list", list)
	// Nothing is known before the first list.
	if r := fe.send(http.MethodGet, "/topom/model?forward=demo", nil); r.status != http.StatusForbidden {
		t.Errorf("status %d before the first list", r.status)
	}
	if got := fe.list(); got != "[another demo]" {
		t.Errorf("list is %s", got)
	}
	var m topomModel
	fe.get("/topom/model?forward=demo", &m)
	if m.AdminAddr != d.addr {
		t.Errorf("model is %+v", m)
	}
	if r := fe.send(http.MethodPut, d.path("group/create", 1)+"?forward=demo", nil); !r.isOK() {
		t.Errorf("a PUT got %s", r.cause())
	}
	if got := fe.send(http.MethodPut, d.path("group/create", 1)+"?forward=demo", nil).cause(); got != "group-[1] already exists" {
		t.Errorf("a refusal came through as %s", got)
	}
	for _, path := range []string{"/topom/model?forward=unknown", "/topom/model"} {
		if r := fe.send(http.MethodGet, path, nil); r.status != http.StatusForbidden {
			t.Errorf("GET %s: status %d", path, r.status)
		}
	}
	if r := fe.send(http.MethodGet, "/topom/model?forward=another", nil); r.status != http.StatusBadGateway {
		t.Errorf("a dead dashboard is status %d", r.status)
	}
	if got := string(fe.send(http.MethodGet, "/", nil).body); got != "<html>the page</html>" {
		t.Errorf("the page is %q", got)
	}
}

// A list that cannot be read empties the table, and is read again at most every five seconds.
func TestFrontendForgetsWhatItCannotReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	list := filepath.Join(w.dir, "list.json")
	writeFile(t, list, fmt.Sprintf(`[{"name": "demo", "dashboard": %q}]`, d.addr))
	fe := w.frontend("--dashboard-list", list)
	started := time.Now()
	if got := fe.list(); got != "[demo]" {
		t.Fatalf("list is %s", got)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if got := fe.list(); got != "[demo]" && time.Since(started) < 5*time.Second {
		t.Errorf("list is %s at once", got)
	}
	eventually(t, patience, "the table is empty", func() bool { return fe.list() == "<nil>" })
	if r := fe.send(http.MethodGet, "/topom/model?forward=demo", nil); r.status != http.StatusForbidden {
		t.Errorf("status %d", r.status)
	}
}

// In a coordinator, products are found by their locks: one whose dashboard is stopped is not there, and one whose
// dashboard was killed is.
func TestFrontendFindsProductsByTheirLocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	d.ok("group/create", 1)
	d.proc.kill()
	w.product = "stopped"
	stopped := w.dashboard(dashboardSpec{port: portDashboard + 1})
	stopped.ok("group/create", 1)
	stopped.proc.stop()
	fe := w.frontend("--filesystem", w.coordinator())
	if got := fe.list(); got != "[demo]" {
		t.Errorf("list is %s", got)
	}
}

func TestFrontendNeedsItsAssets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := filepath.Join(w.dir, "list.json")
	writeFile(t, list, `[]`)
	p := startProcess(t, w.dir, "fe", binary("codis-fe"),
		"--dashboard-list", list, "--assets-dir", filepath.Join(w.dir, "nothing"), "--listen", w.at(portFE))
	if code := p.exitCode(patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
}
