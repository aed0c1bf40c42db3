// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

// A dashboard keeps its token in its pod; when it started tells its runs apart.
func TestARestartInPlaceIsTold(t *testing.T) {
	type sight struct{ dashboard, pod, token, since string }
	first := sight{"d", "a", "t", "1"}
	tests := map[string]struct {
		seen []sight
		want int
	}{
		"nothing happened":                      {[]sight{first, first, first}, 0},
		"it was started again":                  {[]sight{first, {"d", "a", "t", "2"}, {"d", "a", "t", "2"}}, 1},
		"and again":                             {[]sight{first, {"d", "a", "t", "2"}, {"d", "a", "t", "3"}}, 2},
		"it did not say what it is meanwhile":   {[]sight{first, {"d", "a", "", ""}, first}, 0},
		"it did not answer meanwhile":           {[]sight{first, {}, {"d", "a", "t", "2"}}, 1},
		"its pod was replaced":                  {[]sight{first, {"d", "b", "u", "2"}}, 0},
		"another dashboard was started earlier": {[]sight{first, {"e", "c", "t", "2"}, first}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(len(tt.seen))
			r := &Reconciler{Recorder: recorder}
			for _, seen := range tt.seen {
				s := &state{
					dashboard: &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{UID: types.UID(seen.dashboard)}},
					pod:       &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(seen.pod)}},
				}
				if seen != (sight{}) {
					s.model = &codis.Topom{Token: seen.token, StartTime: seen.since}
				}
				if _, err := r.tellRestart(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(recorder.Events); got != tt.want {
				t.Errorf("%d events", got)
			}
		})
	}
}

// The lock that is recorded is that of the run that serves, which Kubernetes cannot tell
// from the one before.
func TestTheLockOfARunThatWasStartedInPlaceIsRecorded(t *testing.T) {
	f := newServing(t)
	f.prove(t)
	f.since = "later"
	f.etcd.Set(lockKey, lockTextSince(ownAddr, "own", "later"))
	f.prove(t)
	if got := f.dashboard.Status.Store.Lock; got == nil || got.StartTime != "later" {
		t.Errorf("recorded is %+v", got)
	}
}
