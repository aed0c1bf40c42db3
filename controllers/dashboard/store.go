// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/topology"
)

// store is where the dashboard keeps the topology, as its coordinator says.
type store struct {
	config.Store
	// storage of the dashboard's own volume; nil for none.
	storage *v1alpha1.Storage
	// login is the Secret with the login of the store; empty for none.
	login string
	// foreign tells that others than the operator's dashboards may use it.
	foreign bool
}

// shared tells whether others than the dashboard can reach the store.
func (s store) shared() bool { return s.Name != filesystem }

// status is the store as users see it; nil for a directory.
func (s store) status(coordinator v1alpha1.CoordinatorType) *v1alpha1.StoreStatus {
	if !s.shared() || s.Addr == "" {
		return nil
	}
	kind := v1alpha1.StoreEtcd
	if s.Name == zooKeeper {
		kind = v1alpha1.StoreZooKeeper
	}
	return &v1alpha1.StoreStatus{
		Type: coordinator, Kind: kind, Endpoints: strings.Split(s.Addr, ","), AuthSecretName: s.login,
	}
}

// What Codis calls a directory and a ZooKeeper.
const (
	filesystem = "filesystem"
	zooKeeper  = "zookeeper"
)

// lockProblem is why the lock of the product is not taken; nil if nothing is
// known to keep the dashboard from it. The config writer says so in a new pod, and the
// keeper where the dashboard was to be started again.
func lockProblem(pod *corev1.Pod, name string) *product.Problem {
	found := lock.Parse(podtemplate.Refusal(pod, podtemplate.ConfigContainer))
	if !found.Present() {
		found = lock.Parse(podtemplate.Parting(pod))
	}
	switch found.Kind {
	case lock.Held:
		return &product.Problem{Reason: v1alpha1.ReasonLockHeld, Message: fmt.Sprintf(
			"another dashboard, at %s, serves product %q and is left alone: stop it, or choose another productName",
			found.Addr, name)}
	case lock.Silent:
		return &product.Problem{Reason: v1alpha1.ReasonLockHeld, Message: fmt.Sprintf(
			"the dashboard at %s has the lock of product %q and does not answer, which does not say that it ended: "+
				"make sure of that, and take the lock away with codis-admin --remove-lock", found.Addr, name)}
	case lock.Removing:
		return &product.Problem{Reason: v1alpha1.ReasonLockHeld, Message: fmt.Sprintf(
			"product %[1]q is being removed for CodisDashboard %[2]s, and nobody can start on it: wait until that is gone; "+
				"if it is, and the product still there, remove %[3]s from the store", name, found.Addr, topology.Root(name))}
	}
	return nil
}

// holderSeen is the address of another dashboard that kept this pod from the lock, or took
// it from it; "" for none. That the pod has started since does not tell whose the product
// is: the lock may have been free for a moment. Who removes a product leaves none to
// anybody. Of its own address there are the runs of pods before this one.
func holderSeen(pod *corev1.Pod, own string) string {
	for _, said := range []string{
		podtemplate.LastRefusal(pod, podtemplate.ConfigContainer), podtemplate.LastParting(pod),
	} {
		found := lock.Parse(said)
		if found.Addr != own && (found.Kind == lock.Held || found.Kind == lock.Silent) {
			return found.Addr
		}
	}
	return ""
}

// storeOf reads it from a coordinator. A new dashboard waits until its store
// serves: it gives up after half a minute, and one that cannot read what it
// needs goes on without its background work. One that runs is left alone: it
// needs its store only to change something.
func storeOf(c *v1alpha1.CodisCoordinator, started bool) (store, *product.Problem) {
	var name string
	switch c.Spec.Type {
	case v1alpha1.CoordinatorEtcd:
		name = "etcd"
	case v1alpha1.CoordinatorZooKeeper:
		name = zooKeeper
	case v1alpha1.CoordinatorExternal:
		name = "etcd"
		if c.Spec.External != nil && c.Spec.External.Kind == v1alpha1.StoreZooKeeper {
			name = zooKeeper
		}
	default:
		return store{Store: config.Store{Name: filesystem, Addr: storeDir}, storage: c.Spec.Storage}, nil
	}
	serves := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAvailable)
	if len(c.Status.Endpoints) == 0 || !started && (serves == nil || serves.Status != metav1.ConditionTrue) {
		why := "it is being started"
		if serves != nil && serves.Status != metav1.ConditionTrue {
			why = serves.Message
		}
		return store{}, &product.Problem{Reason: v1alpha1.ReasonCoordinatorMissing, Message: fmt.Sprintf(
			"waiting for CodisCoordinator %q: %s", c.Name, why)}
	}
	s := store{Store: config.Store{Name: name, Addr: strings.Join(c.Status.Endpoints, ",")}}
	s.foreign = c.Spec.Type == v1alpha1.CoordinatorExternal
	if c.Spec.AuthSecretRef != nil && s.foreign {
		s.login = c.Spec.AuthSecretRef.Name
	}
	return s, nil
}
