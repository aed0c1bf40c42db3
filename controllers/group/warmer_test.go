// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/prober"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

func TestOperatorThatDoesNotLeadProbesTheServers(t *testing.T) {
	l := newLab(t, 2)
	l.r.Prober = prober.New(clock.RealClock{})
	s := l.state(masterData, syncedData)
	elected := make(chan struct{})
	w := NewWarmer(l.r, elected)
	key := client.ObjectKeyFromObject(s.group)
	probed := func() (int, ctrl.Result) {
		t.Helper()
		result, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.r.Prober.Results(key)), result
	}
	create := func(objects ...client.Object) {
		t.Helper()
		for _, object := range objects {
			if err := l.r.Client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, _ := probed(); n != 0 {
		t.Errorf("%d servers of a group that does not exist", n)
	}
	create(s.group, &v1alpha1.CodisDashboard{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d"}})
	if n, result := probed(); n != 0 || result.RequeueAfter != reconcile.Steady {
		t.Errorf("%d servers without the password, and again after %s", n, result.RequeueAfter)
	}
	create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: naming.Auth("d")},
		Data:       map[string][]byte{naming.PasswordKey: []byte("secret")},
	})
	if n, result := probed(); n != 2 || result.RequeueAfter != 0 {
		t.Errorf("%d servers are probed, and again after %s", n, result.RequeueAfter)
	}
	l.r.Prober.Forget(key)
	close(elected)
	if n, _ := probed(); n != 0 {
		t.Errorf("%d servers beside the reconciler, which leads", n)
	}
}
