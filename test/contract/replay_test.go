// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record is one line of a recording.
type record struct {
	Note     string          `json:"note"`
	Method   string          `json:"method"`
	Path     string          `json:"path"`
	Request  json.RawMessage `json:"request"`
	Status   int             `json:"status"`
	Response json.RawMessage `json:"response"`
}

// The identities in the recordings. Each is replaced by that of the process which plays the part now.
const (
	recordedIP        = "127.0.0.1"
	recordedDashboard = "a31d537ba5165ca0c9d86f493efb6238"
	recordedToken1    = "23e8702bdd4443a13c3340d214d43128"
	recordedToken2    = "9e67ba966ff39b4f59f2c1ddd64cc609"
	recordedXauth1    = "ad42e477be37952620b3feaa768d865d"
	recordedXauth2    = "5c0b8193001df792baab33acceca7d88"
)

// readRecords reads a recording and replaces the identities in it.
func readRecords(t *testing.T, name string, identities *strings.Replacer) []record {
	t.Helper()
	var all []record
	for line := range strings.Lines(identities.Replace(readFile(t, filepath.Join("testdata", name)))) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v in %.200s", name, err, line)
		}
		all = append(all, r)
	}
	return all
}

// scene is the world of the recordings: the requests make two groups of two servers and two proxies of it.
type scene struct {
	*world
	d       *dashboard
	servers []*server
	proxies []*proxy
	// kept60 is set when slot 60 kept its group because its action could still be cancelled, as when recorded.
	kept60 bool
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := newWorld(t)
	s := &scene{world: w}
	for n := range 4 {
		s.servers = append(s.servers, w.server(n+1))
	}
	w.vanillaServer(9)
	s.d = w.dashboard(dashboardSpec{})
	for n := range 2 {
		s.proxies = append(s.proxies, w.proxy(n+1, proxySpec{}))
	}
	return s
}

func (s *scene) identities() *strings.Replacer {
	var m topomModel
	s.d.get("/topom/model", &m)
	return strings.NewReplacer(
		recordedIP, s.ip, recordedDashboard, m.Token,
		recordedToken1, s.proxies[0].token, recordedToken2, s.proxies[1].token,
		recordedXauth1, s.proxies[0].xauth, recordedXauth2, s.proxies[1].xauth,
	)
}

// TestReplay sends the recorded requests in their order and compares every answer with the recorded one.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	fromProxy := readRecords(t, "proxy.jsonl", s.identities())
	for i, r := range readRecords(t, "dashboard.jsonl", s.identities()) {
		if before, ok := unrecorded[r.Note]; ok {
			before(s)
		}
		if r.Note == "shutdown" {
			for _, p := range fromProxy {
				s.compare(s.proxies[0].addr, p)
			}
		}
		if special, ok := timed[r.Note]; ok {
			special(s, r)
		} else {
			s.compare(s.d.addr, r)
		}
		if t.Failed() {
			t.Fatalf("stopped at line %d: %s", i+1, r.Note)
		}
	}
}

// compare sends the request and compares the answer. What is read is polled, since it is refreshed in the
// background; what is written has to be answered as recorded at once.
func (s *scene) compare(addr string, r record) {
	s.t.Helper()
	var diff string
	attempt := func() bool {
		diff = s.difference(addr, r)
		return diff == ""
	}
	if r.Method == http.MethodGet {
		poll(patience, attempt)
	} else {
		attempt()
	}
	if diff != "" {
		s.t.Errorf("%s %s (%s): -recorded +got\n%s", r.Method, r.Path, r.Note, diff)
	}
}

func (s *scene) difference(addr string, r record) string {
	s.t.Helper()
	got, err := s.exchange(addr, r)
	if err != nil || r.Status == 0 {
		// The recordings have status 0 for a refused connection.
		return cmp.Diff(r.Status == 0, err != nil)
	}
	if got.status != r.Status {
		return cmp.Diff(r.Status, got.status) + string(got.body)
	}
	doc := decode(s.t, got.body)
	if r.Status == http.StatusOK {
		doc = project(s.t, r.Path, doc)
	}
	return cmp.Diff(normalise(decode(s.t, r.Response), doc))
}

func (s *scene) exchange(addr string, r record) (reply, error) {
	path, _, _ := strings.Cut(r.Path, "#")
	path = strings.ReplaceAll(path, "{xauth}", s.d.xauth)
	var body any
	if len(r.Request) > 0 && string(r.Request) != "null" {
		body = string(r.Request)
		// A body that is no JSON document was recorded as a string.
		var text string
		if json.Unmarshal(r.Request, &text) == nil {
			body = text
		}
	}
	return request(r.Method, "http://"+addr+path, body)
}
