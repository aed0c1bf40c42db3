// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// statusError is what Codis answers to whatever it refuses.
const statusError = 800

// requestTimeout is more than the minute that Codis itself gives a call.
const requestTimeout = 90 * time.Second

var httpClient = &http.Client{
	Timeout: requestTimeout,
	// A redirect is an answer to look at.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableKeepAlives: true},
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// request sends one request; body may be nil, a string that is sent as it is, or anything that marshals.
func request(method, url string, body any) (reply, error) {
	var sent []byte
	switch b := body.(type) {
	case nil:
	case string:
		sent = []byte(b)
	default:
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return reply{}, err
		}
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(sent))
	if err != nil {
		return reply{}, err
	}
	if sent != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return reply{status: res.StatusCode, header: res.Header, body: got}, err
}

// cause is the text of a refusal, or a description of whatever else was answered.
func (r reply) cause() string {
	if r.status != statusError {
		return fmt.Sprintf("status %d: %.300s", r.status, r.body)
	}
	var e map[string]any
	if err := json.Unmarshal(r.body, &e); err != nil {
		return fmt.Sprintf("not an error document: %.300s", r.body)
	}
	// The stack is null where the error did not come from below.
	_, hasStack := e["Stack"]
	cause, isText := e["Cause"].(string)
	if !hasStack || !isText || len(e) != 2 {
		return fmt.Sprintf("not an error document: %.300s", r.body)
	}
	return cause
}

func (r reply) isOK() bool {
	return r.status == http.StatusOK && strings.TrimSpace(string(r.body)) == `"OK"`
}

// api is the admin interface of one dashboard or proxy: prefix is "topom" or "proxy".
type api struct {
	t      *testing.T
	addr   string
	prefix string
	xauth  string
}

func (a *api) url(path string) string { return "http://" + a.addr + path }

// path is /api/<prefix>/<verb>/<xauth>/<params...>.
func (a *api) path(verb string, params ...any) string {
	path := "/api/" + a.prefix + "/" + verb + "/" + a.xauth
	for _, p := range params {
		path += "/" + fmt.Sprint(p)
	}
	return path
}

func (a *api) send(method, path string, body any) reply {
	a.t.Helper()
	r, err := request(method, a.url(path), body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (a *api) put(verb string, params ...any) reply {
	a.t.Helper()
	return a.send(http.MethodPut, a.path(verb, params...), nil)
}

// ok fails the test unless the call is accepted.
func (a *api) ok(verb string, params ...any) {
	a.t.Helper()
	if r := a.put(verb, params...); !r.isOK() {
		a.t.Fatalf("%s %v: %s", verb, params, r.cause())
	}
}

// refused fails the test unless the call is refused with exactly this cause.
func (a *api) refused(cause, verb string, params ...any) {
	a.t.Helper()
	if got := a.put(verb, params...).cause(); got != cause {
		a.t.Fatalf("%s %v: got %q, want %q", verb, params, got, cause)
	}
}

// get decodes the answer to a GET that has to succeed.
func (a *api) get(path string, into any) {
	a.t.Helper()
	r := a.send(http.MethodGet, path, nil)
	if r.status != http.StatusOK {
		a.t.Fatalf("GET %s: %s", path, r.cause())
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		a.t.Fatalf("GET %s: %v in %.300s", path, err, r.body)
	}
}

// answers tells whether a GET is answered with this status; an unreachable server answers nothing.
func (a *api) answers(path string, status int) bool {
	r, err := request(http.MethodGet, a.url(path), nil)
	return err == nil && r.status == status
}
