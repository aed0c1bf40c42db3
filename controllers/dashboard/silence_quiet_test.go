// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// A node that says nothing is seen lost in less time than its dashboard would be given for
// each answer, and a dashboard that answers again is asked again.
func TestDashboardOfAQuietNodeIsNotAskedItself(t *testing.T) {
	var asked atomic.Int32
	l, err := net.Listen("tcp", "127.77.0.3:18080")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	n := newLostNode(t)
	if err := n.client.Delete(t.Context(), n.pod(naming.DashboardPod("d")), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	n.cut = append(n.cut, "127.77.0.3:18080")
	n.dashboardOn("node-1", "127.77.0.3")
	n.passes(1)
	observe := func() *product.Problem {
		s := &state{dashboard: n.d, pod: n.pod(naming.DashboardPod("d"))}
		if err := n.r.observeTopology(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return s.problem
	}
	if told := observe(); asked.Load() != 0 || told == nil || told.Message != "the dashboard does not answer yet" {
		t.Errorf("it is asked %d times, and said: %+v", asked.Load(), told)
	}
	n.cut = nil
	n.passes(1)
	if observe(); asked.Load() != 1 {
		t.Errorf("its host answers, and it is asked %d times", asked.Load())
	}
}

// Where nobody looks at the node any more, the dashboard is asked as any other.
func TestQuietNodeIsForgottenWhereNobodyLooks(t *testing.T) {
	n := newLostNode(t)
	n.passes(1)
	s := &state{dashboard: n.d, pod: n.pod(naming.DashboardPod("d"))}
	if !n.r.quiet(n.d, s.pod) {
		t.Fatal("the node is not known to be quiet")
	}
	if _, err := n.r.replaceSilent(t.Context(), s); err != nil { // Its coordinator is gone.
		t.Fatal(err)
	}
	if n.r.quiet(n.d, s.pod) {
		t.Error("the dashboard is never asked again")
	}
}

func TestLookAgainAfter(t *testing.T) {
	tests := map[string]struct {
		quiet, want time.Duration
	}{
		"something answers":                        {0, reconcile.Closely},
		"nothing answers, and every moment counts": {10 * time.Second, reconcile.Closely},
		"something keeps it from being replaced":   {20 * time.Second, reconcile.Soon},
		"Kubernetes sees to it":                    {2 * time.Minute, reconcile.Steady},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := lookAgainAfter(tt.quiet); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
}
