// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

const domain = naming.Domain("cluster.local")

var images = podtemplate.Images{Codis: "codis:1", ConfigWriter: "operator:1"}

func example() *v1alpha1.CodisDashboard {
	return &v1alpha1.CodisDashboard{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d"},
		Spec: v1alpha1.CodisDashboardSpec{CodisDashboardTemplate: v1alpha1.CodisDashboardTemplate{
			FE: &v1alpha1.FESettings{},
		}},
	}
}

func workload(t *testing.T, storage *v1alpha1.Storage) *appsv1.StatefulSet {
	t.Helper()
	kept := store{Store: config.Store{Name: "filesystem", Addr: storeDir}, storage: storage}
	set, err := statefulSet(example(), kept, domain, images, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Two dashboards of a product would each believe to be the only one.
func TestThereIsExactlyOneDashboard(t *testing.T) {
	set := workload(t, nil)
	if *set.Spec.Replicas != 1 {
		t.Errorf("%d replicas", *set.Spec.Replicas)
	}
	command := set.Spec.Template.Spec.Containers[0].Command
	want := []string{
		"/run/program/dashboard-keeper", "--addr=127.0.0.1:18080", "--host=d-dashboard-0.d-dashboard.ns.svc.cluster.local", "--",
		"codis-dashboard", "--config=/run/codis/dashboard.toml",
		"--host-admin=d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080", "--remove-lock",
	}
	if diff := cmp.Diff(want, command); diff != "" {
		t.Error(diff)
	}
}

// Whoever starts a dashboard looks at the same lock before, in a pod and in a container.
func TestEachStartLooksAtTheLock(t *testing.T) {
	kept := store{Store: config.Store{Name: "etcd", Addr: "a:1,b:1"}, login: "login"}
	set, err := statefulSet(example(), kept, domain, images, nil)
	if err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	want := []string{
		"--lock-store=etcd", "--lock-addr=a:1,b:1", "--lock-product=ns.d",
		"--lock-holder=d-dashboard-0.d-dashboard.ns.svc.cluster.local:18080",
	}
	for name, args := range map[string][]string{"writer": pod.InitContainers[0].Args, "keeper": pod.Containers[0].Command} {
		for _, arg := range want {
			if !slices.Contains(args, arg) {
				t.Errorf("%s has no %s: %v", name, arg, args)
			}
		}
	}
	if !slices.Contains(pod.Containers[0].Command, "--login-in=/run/codis/dashboard.toml") {
		t.Errorf("the keeper has no login: %v", pod.Containers[0].Command)
	}
}

// Whoever looks at a lock knows whether it may be that of another Kubernetes cluster.
func TestLooksAtTheLockOfAForeignStore(t *testing.T) {
	for _, foreign := range []bool{true, false} {
		kept := store{Store: config.Store{Name: "etcd", Addr: "a:1"}, foreign: foreign}
		set, err := statefulSet(example(), kept, domain, images, nil)
		if err != nil {
			t.Fatal(err)
		}
		pod := set.Spec.Template.Spec
		for name, args := range map[string][]string{"writer": pod.InitContainers[0].Args, "keeper": pod.Containers[0].Command} {
			if slices.Contains(args, "--lock-foreign") != foreign {
				t.Errorf("foreign is %v, and the %s is told: %v", foreign, name, args)
			}
		}
	}
}

func TestTopologyIsKeptWhereTheCoordinatorSays(t *testing.T) {
	inPod := workload(t, nil).Spec
	kept := slices.ContainsFunc(inPod.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == storeVolume && v.EmptyDir != nil })
	if !kept || inPod.VolumeClaimTemplates != nil {
		t.Errorf("%+v", inPod.Template.Spec.Volumes)
	}
	storage := &v1alpha1.Storage{Size: resource.MustParse("1Gi")}
	onVolume := workload(t, storage).Spec
	if len(onVolume.VolumeClaimTemplates) != 1 || onVolume.VolumeClaimTemplates[0].Name != storeVolume {
		t.Errorf("%+v", onVolume.VolumeClaimTemplates)
	}
	if slices.ContainsFunc(onVolume.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == storeVolume }) {
		t.Error("the pod has a volume that hides the claim")
	}
}

func TestServicePublishesADashboardThatStarts(t *testing.T) {
	s := service(example())
	if !s.Spec.PublishNotReadyAddresses || s.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("%+v", s.Spec)
	}
	if diff := cmp.Diff(s.Spec.Selector, workload(t, nil).Spec.Selector.MatchLabels); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyTheProductAndTheOperatorReachADashboard(t *testing.T) {
	policy := networkPolicy(example(), "codis-operator-system").Spec
	if len(policy.Ingress) != 1 || len(policy.Ingress[0].From) != 3 {
		t.Fatalf("%+v", policy.Ingress)
	}
	peer := policy.Ingress[0].From[0].PodSelector.MatchLabels
	if diff := cmp.Diff(map[string]string{v1alpha1.LabelName: "codis", v1alpha1.LabelDashboard: "d"}, peer); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(workload(t, nil).Spec.Selector.MatchLabels, policy.PodSelector.MatchLabels); diff != "" {
		t.Error(diff)
	}
}
