// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package product

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

var errDown = errors.New("the API server is down")

// reader is an API server with objects, or one that is down.
func reader(t *testing.T, down bool, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	get := func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if down {
			return errDown
		}
		return c.Get(ctx, key, o, opts...)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithInterceptorFuncs(interceptor.Funcs{Get: get}).Build()
}

func dashboard() *v1alpha1.CodisDashboard {
	return &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d"}}
}

// reasonOf returns the reason of a Problem, "unexpected" for another error.
func reasonOf(err error) string {
	problem, ok := errors.AsType[*Problem](err)
	switch {
	case err == nil:
		return ""
	case ok:
		return problem.Reason
	}
	return "unexpected"
}

func TestDashboard(t *testing.T) {
	tests := map[string]struct {
		reader client.Reader
		want   string
	}{
		"there":   {reader(t, false, dashboard()), ""},
		"missing": {reader(t, false), v1alpha1.ReasonDashboardMissing},
		"unknown": {reader(t, true, dashboard()), "unexpected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Dashboard(t.Context(), tt.reader, "ns", "d")
			if reasonOf(err) != tt.want || (err == nil) != (got != nil && got.Name == "d") {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	d := dashboard()
	if diff := cmp.Diff([]string{"ns.d", "d-auth"}, []string{Name(d), AuthSecret(d)}); diff != "" {
		t.Error(diff)
	}
	d.Spec.ProductName, d.Spec.AuthSecretRef = "shop", &v1alpha1.SecretReference{Name: "own"}
	if diff := cmp.Diff([]string{"shop", "own"}, []string{Name(d), AuthSecret(d)}); diff != "" {
		t.Error(diff)
	}
}

func TestAPIDialsThePod(t *testing.T) {
	pod := func(ip string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d-dashboard-0"}, Status: corev1.PodStatus{PodIP: ip},
		}
	}
	leaving := pod("10.0.0.1")
	leaving.DeletionTimestamp, leaving.Finalizers = new(metav1.Now()), []string{"test"}
	tests := map[string]struct {
		reader client.Reader
		want   codis.Dashboard
		reason string
	}{
		"it runs":             {reader(t, false, pod("10.0.0.1")), codis.Dashboard{Addr: "10.0.0.1:18080", Product: "ns.d"}, ""},
		"it runs on IPv6":     {reader(t, false, pod("fd00::1")), codis.Dashboard{Addr: "[fd00::1]:18080", Product: "ns.d"}, ""},
		"it has no address":   {reader(t, false, pod("")), codis.Dashboard{}, v1alpha1.ReasonDashboardUnreachable},
		"it is being stopped": {reader(t, false, leaving), codis.Dashboard{}, v1alpha1.ReasonDashboardUnreachable},
		"it is missing":       {reader(t, false), codis.Dashboard{}, v1alpha1.ReasonDashboardUnreachable},
		"it is unknown":       {reader(t, true), codis.Dashboard{}, "unexpected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := API(t.Context(), tt.reader, dashboard())
			if diff := cmp.Diff(tt.want, got); diff != "" || reasonOf(err) != tt.reason {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestStatsWordsWhatIsWrong(t *testing.T) {
	slots, err := json.Marshal(map[string]any{"slots": make([]codis.SlotMapping, codis.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		status  int
		answer  string
		message string
		close   bool
	}{
		"it answers":          {status: 200, answer: string(slots)},
		"it lacks its lock":   {status: 800, answer: `{"Cause":"topom is not online"}`, message: "the dashboard answers: topom is not online"},
		"it answers nonsense": {status: 200, answer: "{", message: "the dashboard does not answer yet"},
		"nobody listens":      {close: true, message: "the dashboard does not answer yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.answer)
			}))
			defer server.Close()
			if tt.close {
				server.Close()
			}
			stats, err := Stats(t.Context(), codis.Dashboard{Addr: strings.TrimPrefix(server.URL, "http://")})
			if (err == nil) != (stats != nil) || (err == nil) != (tt.message == "") {
				t.Fatalf("got %v, %v", stats, err)
			}
			if err != nil && (err.Error() != tt.message || reasonOf(err) != v1alpha1.ReasonDashboardUnreachable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPassword(t *testing.T) {
	secret := func(data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: data}
	}
	const missing = v1alpha1.ReasonSecretMissing
	tests := map[string]struct {
		reader       client.Reader
		want, reason string
	}{
		"there":             {reader(t, false, secret(map[string][]byte{"password": []byte("p")})), "p", ""},
		"under another key": {reader(t, false, secret(map[string][]byte{"pass": []byte("p")})), "", missing},
		"empty":             {reader(t, false, secret(map[string][]byte{"password": {}})), "", missing},
		"without any data":  {reader(t, false, secret(nil)), "", missing},
		"missing":           {reader(t, false), "", missing},
		"unknown":           {reader(t, true), "", "unexpected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Password(t.Context(), tt.reader, "ns", "s")
			if got != tt.want || reasonOf(err) != tt.reason {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestAsProblem(t *testing.T) {
	problem := &Problem{Reason: "A", Message: "a"}
	if got := AsProblem(fmt.Errorf("wrapped: %w", problem), "B"); got != problem {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(&Problem{Reason: "B", Message: "boom"}, AsProblem(errors.New("boom"), "B")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&Problem{Reason: v1alpha1.ReasonInvalidSpec, Message: "boom"}, InvalidSpec(errors.New("boom"))); diff != "" {
		t.Error(diff)
	}
	var none *Problem
	if none.Present() || !problem.Present() {
		t.Error("nil is no problem, anything else is one")
	}
}
