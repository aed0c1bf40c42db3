// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bufio"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Refusals have status 800, which is not a status that HTTP knows.
func TestRefusalsHaveStatus800(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, p := w.dashboard(dashboardSpec{}), w.proxy(1, proxySpec{})
	for _, a := range []*api{d.api, p.api} {
		r := a.send(http.MethodGet, "/api/"+a.prefix+"/xping/wrong", nil)
		if r.status != statusError {
			t.Errorf("%s: status %d", a.prefix, r.status)
		}
		if got := r.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
			t.Errorf("%s: content type %q", a.prefix, got)
		}
		if got := r.cause(); got != "invalid xauth, please check product name & auth" {
			t.Errorf("%s: %s", a.prefix, got)
		}
		if !strings.Contains(string(r.body), `"Stack": null`) {
			t.Errorf("%s: the stack of an error that came from nowhere is not null: %s", a.prefix, r.body)
		}
	}
}

func TestRoutesOfTheAdminInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, p := w.dashboard(dashboardSpec{}), w.proxy(1, proxySpec{})
	for _, a := range []*api{d.api, p.api} {
		root := a.send(http.MethodGet, "/", nil)
		if root.status != http.StatusFound || root.header.Get("Location") != "/"+a.prefix {
			t.Errorf("%s: / answers %d %v", a.prefix, root.status, root.header)
		}
		if r := a.send(http.MethodPut, "/", nil); r.status != http.StatusNotFound {
			t.Errorf("%s: PUT / answers %d", a.prefix, r.status)
		}
		for _, path := range []string{
			"/" + a.prefix, "/" + a.prefix + "/model", "/" + a.prefix + "/stats", "/" + a.prefix + "/slots",
			"/api/" + a.prefix + "/model", a.path("xping"), a.path("stats"), a.path("slots"),
		} {
			if r := a.send(http.MethodGet, path, nil); r.status != http.StatusOK {
				t.Errorf("GET %s: %s", path, r.cause())
			}
		}
		for _, path := range []string{"/nothing", "/" + a.prefix + "/nothing", a.path("nothing"), "/api/" + a.prefix + "/xping"} {
			if r := a.send(http.MethodGet, path, nil); r.status != http.StatusNotFound {
				t.Errorf("GET %s: status %d", path, r.status)
			}
		}
		if r := a.send(http.MethodGet, a.path("shutdown"), nil); r.status != http.StatusNotFound {
			t.Errorf("GET of a PUT route: status %d", r.status)
		}
	}
}

// Whoever asks can make a dashboard send product_auth to any address.
func TestGroupInfoSendsProductAuthToAnyAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.productAuth = "secret"
	d := w.dashboard(dashboardSpec{})
	l, err := net.Listen("tcp", w.at(portNobody))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer conn.Close()
		var words []string
		scanner := bufio.NewScanner(conn)
		for len(words) < 5 && scanner.Scan() {
			words = append(words, scanner.Text())
		}
		got <- strings.Join(words, " ")
	}()
	if r := d.send(http.MethodGet, "/api/topom/group/info/"+w.at(portNobody), nil); r.status != statusError {
		t.Errorf("status %d", r.status)
	}
	if sent := <-got; sent != "*2 $4 AUTH $6 secret" {
		t.Errorf("the dashboard sent %q", sent)
	}
}

func TestOverviewShowsCoordinatorAuthAndHidesProductAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.productAuth = "hidden-one"
	d := w.dashboard(dashboardSpec{settings: settings{"coordinator_auth": "user:shown-one"}})
	overview := string(d.send(http.MethodGet, "/topom", nil).body)
	if !strings.Contains(overview, `"coordinator_auth": "user:shown-one"`) {
		t.Error("coordinator_auth is not shown")
	}
	if strings.Contains(overview, "hidden-one") {
		t.Error("product_auth is shown")
	}
}

// Parameters that are no numbers are refused, not taken for zero.
func TestParametersThatAreNoNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	for _, verb := range []string{"group/create", "group/remove", "slots/action/disabled", "slots/action/interval"} {
		r := d.put(verb, "many")
		if r.status != statusError || !strings.Contains(r.cause(), "many") && !strings.Contains(r.cause(), "invalid") {
			t.Errorf("%s: status %d: %s", verb, r.status, r.cause())
		}
	}
	d.refused("group-[7] doesn't exist", "group/remove", 7)
	d.refused("slot-[1024] doesn't exist", "slots/action/remove", 1024)
}

// A call that makes the dashboard panic is answered 200 without a body to whoever takes gzip, as most libraries do by
// themselves: only "OK" in the body is a success.
func TestPanicIsAnsweredWithStatus200AndNoBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.dashboard(dashboardSpec{})
	for encoding, want := range map[string]int{"gzip": http.StatusOK, "identity": http.StatusInternalServerError} {
		req, err := http.NewRequest(http.MethodPut, d.url(d.path("slots/assign")), strings.NewReader("[null]"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", encoding)
		res, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("%s: status %d", encoding, res.StatusCode)
		}
		if encoding == "gzip" {
			unpacked, err := gzip.NewReader(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(unpacked); err != nil || len(body) != 0 {
				t.Errorf("the body is %v %q", err, body)
			}
		}
		res.Body.Close()
	}
	// The lock is free again.
	d.ok("group/create", 1)
}

// A server that hangs is neither stats nor error.
func TestHungServerIsATimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(1)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, s)
	health := func() serverStats { return d.stats().Group.Stats[s.addr] }
	eventually(t, patience, "the server has stats", func() bool { return health().Stats["role"] == "master" })
	s.proc.signal(stopSignal)
	eventually(t, patience, "the server is a timeout", func() bool {
		h := health()
		return h.Timeout && h.Stats == nil && h.Error == nil
	})
	s.proc.signal(continueSignal)
	eventually(t, patience, "the server has stats", func() bool { return health().Stats["role"] == "master" })
}

// GET /topom/stats of a dashboard that has just started has no entry for servers it has not asked yet, and then one
// with either stats or error.
func TestStatsOfServersAreFilledInTheBackground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(1)
	d := w.dashboard(dashboardSpec{})
	d.newGroup(1, s)
	eventually(t, patience, "the server has stats", func() bool {
		got, ok := d.stats().Group.Stats[s.addr]
		return ok && got.Stats["role"] == "master" && got.Error == nil && got.UnixTime > 0
	})
	s.proc.kill()
	eventually(t, patience, "the server has an error", func() bool {
		got := d.stats().Group.Stats[s.addr]
		return got.Error != nil && got.Stats == nil &&
			got.Error.Cause == "dial tcp "+s.addr+": connect: connection refused"
	})
}
