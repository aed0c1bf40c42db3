// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"compress/gzip"
	"errors"
	"log"
	"net/http"
	"strings"

	"github.com/codis-io/codis-operator/test/standin/models"
)

const (
	// StatusFailed is the status of every application error.
	StatusFailed    = 800
	statusFailedOld = 1500
)

const contentType = "application/json; charset=utf-8"

// The errors of a wrong xauth.
var (
	ErrMissingXAuth = errors.New("missing xauth, please check product name & auth")
	ErrInvalidXAuth = errors.New("invalid xauth, please check product name & auth")
)

// Params are the named segments of a path.
type Params map[string]string

// Handler answers a call with a value to encode or an error.
type Handler func(r *http.Request, p Params) (any, error)

type route struct {
	method   string
	segments []string
	handler  Handler
}

// Router matches paths of the form /a/:name/b. Anything unknown, a known path with another method included, is 404.
type Router struct {
	// Log receives a line for each write under /api/ and each panic.
	Log    *log.Logger
	routes []route
	home   string
}

// NewRouter returns a router whose "/" redirects to home.
func NewRouter(home string, l *log.Logger) *Router {
	return &Router{home: home, Log: l}
}

// Handle adds a route.
func (t *Router) Handle(method, pattern string, h Handler) {
	t.routes = append(t.routes, route{method: method, segments: split(pattern), handler: h})
}

func split(path string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
}

func (x route) match(method string, segments []string) (Params, bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if x.method != method || len(x.segments) != len(segments) {
		return nil, false
	}
	p := Params{}
	for i, s := range x.segments {
		switch {
		case !strings.HasPrefix(s, ":"):
			if s != segments[i] {
				return nil, false
			}
		case segments[i] == "" || strings.ContainsAny(segments[i], "#?"):
			return nil, false
		default:
			p[s[1:]] = segments[i]
		}
	}
	return p, true
}

// ServeHTTP implements http.Handler.
func (t *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			t.Log.Printf("panic in %s: %v", r.URL.Path, v)
			answerPanic(w, r)
		}
	}()
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		w.Header().Set("Content-Type", contentType)
		http.Redirect(w, r, t.home, http.StatusFound)
		return
	}
	segments := split(r.URL.Path)
	for _, x := range t.routes {
		if p, ok := x.match(r.Method, segments); ok {
			t.logCall(r, p)
			v, err := x.handler(r, p)
			answer(w, r, v, err)
			return
		}
	}
	http.NotFound(w, r)
}

// logCall leaves the xauth out: that of a proxy is derived from a password.
func (t *Router) logCall(r *http.Request, p Params) {
	if r.Method == http.MethodGet || !strings.HasPrefix(r.URL.Path, "/api/") {
		return
	}
	t.Log.Printf("API call %s from %s", strings.Replace(r.URL.Path, p["xauth"], "-", 1), r.RemoteAddr)
}

// answerPanic answers 500, but 200 and nothing if the caller takes gzip: there the original has sent its header by the
// time it recovers.
func answerPanic(w http.ResponseWriter, r *http.Request) {
	if !takesGzip(r) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Encoding", "gzip")
	_ = gzip.NewWriter(w).Close()
}

func takesGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

func answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	status := http.StatusOK
	if err != nil {
		status, v = StatusFailed, NewRemoteError(err)
	}
	b, err := models.Encode(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	if !takesGzip(r) {
		w.WriteHeader(status)
		_, _ = w.Write(b)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Vary", "Accept-Encoding")
	w.WriteHeader(status)
	z := gzip.NewWriter(w)
	_, _ = z.Write(b)
	_ = z.Close()
}
