// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/codis-io/codis-operator/test/standin/rpc"
)

func TestXAuth(t *testing.T) {
	zeros := strings.Repeat("0", 32)
	tests := map[string]struct {
		segments []string
		want     string
	}{
		"of a dashboard":               {[]string{"codis-demo"}, "95b62887719520f17e312eaa76d28f2b"},
		"of a proxy without password":  {[]string{"codis-demo", "", zeros}, "ba93bd6c6ba3461ff1ba52297e587cba"},
		"of a proxy with the password": {[]string{"codis-demo", "secret", zeros}, "6e3707d9d468debee401f4aa395c73db"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rpc.XAuth(tt.segments...); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestToken(t *testing.T) {
	mac := []string{"02:42:ac:11:00:02"}
	got := rpc.Token(mac, "codis-demo", "0.0.0.0:19000", "[::]:11080")
	if want := "15fba3007f3c6ee0887749681cb82307"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if rpc.Token([]string{"b", "a"}, "x") != rpc.Token([]string{"a", "b"}, "x") {
		t.Error("the order of MAC addresses matters")
	}
	if rpc.Token(nil, "x") != rpc.Token([]string{}, "x") {
		t.Error("hosts without MAC addresses do not share a token")
	}
}

func newServer(t *testing.T) *httptest.Server {
	t.Helper()
	r := rpc.NewRouter("/home", log.New(io.Discard, "", 0))
	r.Handle(http.MethodGet, "/home", func(*http.Request, rpc.Params) (any, error) { return "home", nil })
	r.Handle(http.MethodPut, "/api/x/:xauth/:addr", func(_ *http.Request, p rpc.Params) (any, error) {
		return p["addr"], nil
	})
	r.Handle(http.MethodGet, "/fail", func(*http.Request, rpc.Params) (any, error) {
		return nil, rpc.Errorf("went %s", "wrong")
	})
	r.Handle(http.MethodGet, "/plain", func(*http.Request, rpc.Params) (any, error) {
		return nil, rpc.ErrInvalidXAuth
	})
	r.Handle(http.MethodGet, "/panic", func(*http.Request, rpc.Params) (any, error) { panic("oops") })
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s
}

func TestRouter(t *testing.T) {
	s := newServer(t)
	tests := map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"the root redirects":                {http.MethodGet, "/", 200, `"home"`},
		"a trailing slash does not matter":  {http.MethodGet, "/home/", 200, `"home"`},
		"parameters are decoded":            {http.MethodPut, "/api/x/a/h%3A1", 200, `"h:1"`},
		"an error is 800 with its stack":    {http.MethodGet, "/fail", 800, `"Cause": "went wrong"`},
		"an untraced error has no stack":    {http.MethodGet, "/plain", 800, `"Stack": null`},
		"an unknown path is 404":            {http.MethodGet, "/nope", 404, ""},
		"a known path, wrong method is 404": {http.MethodPost, "/home", 404, ""},
		"a missing parameter is 404":        {http.MethodPut, "/api/x/a", 404, ""},
		"a panic is 200 to who takes gzip":  {http.MethodGet, "/panic", 200, ""},
		"the root redirects GET alone":      {http.MethodPut, "/", 404, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+tt.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			rsp, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rsp.Body.Close() }()
			b, err := io.ReadAll(rsp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if rsp.StatusCode != tt.status || !strings.Contains(string(b), tt.body) {
				t.Errorf("got %d %s, want %d with %s", rsp.StatusCode, b, tt.status, tt.body)
			}
		})
	}
}

func TestClient(t *testing.T) {
	s := newServer(t)
	names := rpc.DialFunc(func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.Listener.Addr().String())
	})
	c := rpc.NewClient(t.Context(), names)
	defer c.Close()
	var got string
	if err := c.Get("some.name:80", "/home", &got); err != nil || got != "home" {
		t.Errorf("got %q, %v", got, err)
	}
	err := c.Get("some.name:80", "/fail", &got)
	if err == nil || err.Error() != "[Remote Error] went wrong" {
		t.Errorf("got %v, want the remote cause", err)
	}
	if _, ok := errors.AsType[*rpc.RemoteError](err); ok {
		t.Error("a remote error must be wrapped anew when it is passed on")
	}
	if r := rpc.NewRemoteError(err); len(r.Stack) == 0 {
		t.Error("the remote stack is lost")
	}
}

func TestAnnounce(t *testing.T) {
	tests := map[string]struct {
		listen, host, want string
		fails              bool
	}{
		"a host is taken as it is":              {"0.0.0.0:1", "localhost:18080", "localhost:18080", false},
		"a listen address is taken as it is":    {"127.0.0.1:5", "", "127.0.0.1:5", false},
		"a host that does not resolve":          {"0.0.0.0:1", "no-such-host.invalid:1", "", true},
		"a host without a port":                 {"0.0.0.0:1", "127.0.0.1:0", "", true},
		"a host that is unspecified is refused": {"127.0.0.1:5", "0.0.0.0:1", "", true},
	}
	resolve := func(network, addr string) (*net.TCPAddr, error) {
		if strings.Contains(addr, "invalid") {
			return nil, errors.New("no such host")
		}
		return net.ResolveTCPAddr(network, addr)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := rpc.Announce("tcp", tt.listen, tt.host, resolve)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
