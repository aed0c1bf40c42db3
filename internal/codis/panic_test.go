// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A handler of the real dashboard that panics answers 200 without a body.
func TestAnEmptyAnswerIsNoSuccess(t *testing.T) {
	for name, body := range map[string]string{"nothing": "", "another word": `"NO"`} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if _, err := w.Write([]byte(body)); err != nil {
					t.Error(err)
				}
			}))
			t.Cleanup(server.Close)
			dashboard := Dashboard{Addr: strings.TrimPrefix(server.URL, "http://"), Product: "demo"}
			if err := dashboard.CreateGroup(t.Context(), 1); err == nil {
				t.Errorf("an answer of %q counts as success", body)
			}
		})
	}
}
