// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package fe_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/fe"
	"github.com/codis-io/codis-operator/test/standin/memnet"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/store"
)

// newFE returns a front end that reloads whenever it is asked, in front of one dashboard.
func newFE(t *testing.T, cfg fe.Config) *fe.FE {
	t.Helper()
	network := &memnet.Network{}
	l, err := network.Listen("dash:18080")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "dashboard "+r.URL.Path)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	cfg.Dial, cfg.ReloadPeriod = network.Dial, time.Nanosecond
	return fe.New(cfg)
}

func get(t *testing.T, f *fe.FE, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code, strings.Join(strings.Fields(w.Body.String()), " ")
}

func TestListAndForward(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	text := `[{"name":"b","dashboard":"dash:18080"},{"name":"a","dashboard":"gone:1"},{"name":"none","dashboard":""}]`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFE(t, fe.Config{Load: fe.File(file)})
	if code, _ := get(t, f, "/topom?forward=b"); code != http.StatusForbidden {
		t.Errorf("a product is known before anybody asked for the list: %d", code)
	}
	if code, body := get(t, f, "/list"); code != http.StatusOK || body != `[ "a", "b" ]` {
		t.Errorf("got %d %s", code, body)
	}
	tests := map[string]struct {
		path string
		code int
		body string
	}{
		"a product":               {"/topom/stats?forward=b", http.StatusOK, "dashboard /topom/stats"},
		"a dashboard that is not": {"/topom?forward=a", http.StatusBadGateway, ""},
		"an unknown product":      {"/topom?forward=x", http.StatusForbidden, ""},
		"no product":              {"/topom", http.StatusForbidden, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if code, body := get(t, f, tt.path); code != tt.code || body != tt.body {
				t.Errorf("got %d %q", code, body)
			}
		})
	}
	if code, body := get(t, f, "/"); code != http.StatusOK || !strings.Contains(body, "stand-in") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestFailedReloadEmptiesTheList(t *testing.T) {
	list, fail := map[string]string{"a": "dash:18080"}, error(nil)
	f := newFE(t, fe.Config{Load: func() (map[string]string, error) { return list, fail }})
	if _, body := get(t, f, "/list"); body != `[ "a" ]` {
		t.Errorf("got %s", body)
	}
	fail = errors.New("gone")
	get(t, f, "/list")
	if code, _ := get(t, f, "/topom?forward=a"); code != http.StatusForbidden {
		t.Errorf("got %d", code)
	}
}

func TestCoordinatorListsLockedProducts(t *testing.T) {
	memory := &store.Memory{}
	c := memory.Open()
	p := store.Product{Client: c, Name: "b"}
	err := errors.Join(
		p.Acquire(&models.Topom{AdminAddr: "dash:18080"}),
		store.Product{Client: c, Name: "unlocked"}.SaveGroup(&models.Group{ID: 1}),
	)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fe.Coordinator(memory.Open())()
	if err != nil || len(got) != 1 || got["b"] != "dash:18080" {
		t.Errorf("got %v, %v", got, err)
	}
}
