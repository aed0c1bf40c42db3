// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strings"
	"testing"
)

// xauth is what proves to a dashboard that the caller knows the product name, and to a proxy that it also knows
// product_auth and the token.
func xauth(segments ...string) string {
	text := "Codis-XAuth"
	for _, s := range segments {
		text += "-[" + s + "]"
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:32]
}

// token is the identity of a dashboard or proxy on a machine with these network interfaces.
func token(macs []string, segments ...string) string {
	text := fmt.Sprintf("Codis-Token@%v", macs)
	for _, s := range segments {
		text += "-{" + s + "}"
	}
	return fmt.Sprintf("%x", md5.Sum([]byte(text)))
}

func macs(t *testing.T) []string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, i := range interfaces {
		if mac := i.HardwareAddr.String(); mac != "" {
			all = append(all, mac)
		}
	}
	sort.Strings(all)
	return all
}

func TestVectorsOfXauthAndToken(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("0", 32)
	tests := map[string]struct{ got, want string }{
		"dashboard":           {xauth("codis-demo"), "95b62887719520f17e312eaa76d28f2b"},
		"proxy without auth":  {xauth("codis-demo", "", zeros), "ba93bd6c6ba3461ff1ba52297e587cba"},
		"proxy with auth":     {xauth("codis-demo", "secret", zeros), "6e3707d9d468debee401f4aa395c73db"},
		"token of one device": {token([]string{"02:42:ac:11:00:02"}, "codis-demo", "0.0.0.0:19000", "[::]:11080"), "15fba3007f3c6ee0887749681cb82307"},
	}
	for name, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", name, tt.got, tt.want)
		}
	}
}

func TestDashboardXauthIsTheProductNameAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.product, w.productAuth = "codis-demo", "secret"
	d := w.dashboard(dashboardSpec{})
	const known = "95b62887719520f17e312eaa76d28f2b"
	if r := d.send(http.MethodGet, "/api/topom/xping/"+known, nil); !r.isOK() {
		t.Fatalf("xping: %s", r.cause())
	}
	d.xauth = xauth("codis-demo", "secret")
	d.refused("invalid xauth, please check product name & auth", "reload")
}

func TestProxyXauthNeedsProductAuthAndToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.productAuth = "secret"
	p := w.proxy(1, proxySpec{})
	if r := p.send(http.MethodGet, p.path("xping"), nil); !r.isOK() {
		t.Fatalf("xping: %s", r.cause())
	}
	const invalid = "invalid xauth, please check product name & auth"
	for _, wrong := range []string{xauth(w.product, "", p.token), xauth(w.product, "secret"), xauth(w.product)} {
		if got := p.send(http.MethodGet, "/api/proxy/xping/"+wrong, nil).cause(); got != invalid {
			t.Errorf("xping with %s: %s", wrong, got)
		}
	}
}

// Tokens are derived from what does not change with a restart on the same machine: network devices, product and
// listen addresses. The announced addresses do not enter.
func TestTokensAreDerivedFromDevicesAndListenAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := macs(t)
	d := w.dashboard(dashboardSpec{args: []string{"--host-admin", fmt.Sprintf("localhost:%d", portDashboard)}})
	p := w.proxy(1, proxySpec{args: []string{
		"--host-admin", fmt.Sprintf("localhost:%d", portAdmin), "--host-proxy", fmt.Sprintf("localhost:%d", portProxy),
	}})
	after := macs(t)
	var m topomModel
	d.get("/topom/model", &m)
	requireToken(t, m.Token, before, after, w.product, d.addr)
	requireToken(t, p.token, before, after, w.product, p.client, p.addr)
}

// requireToken accepts the devices of before and of after, since somebody else may be adding devices meanwhile.
func requireToken(t *testing.T, got string, before, after []string, segments ...string) {
	t.Helper()
	for _, devices := range [][]string{before, after} {
		if got == token(devices, segments...) {
			return
		}
	}
	t.Fatalf("token %s is not that of %v on %v", got, segments, after)
}
