// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/redis"
)

func workload(t *testing.T, change func(g *v1alpha1.CodisGroup)) *appsv1.StatefulSet {
	t.Helper()
	g := stateOfWorld(masterData, syncedData).group
	change(g)
	set, err := statefulSet(g, "d-auth", 2, podtemplate.Images{Codis: "codis:1", ConfigWriter: "operator:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func asItIs(*v1alpha1.CodisGroup) {}

func onVolume(g *v1alpha1.CodisGroup) {
	g.Spec.Storage = &v1alpha1.Storage{Size: resource.MustParse("5Gi")}
}

// The command line overrides what CONFIG REWRITE left in the file.
func TestInvariant2EveryServerStartsFenced(t *testing.T) {
	want := []string{"codis-server", "/run/codis/redis.conf", "--slaveof", "127.0.0.1", "1"}
	for name, change := range map[string]func(*v1alpha1.CodisGroup){"in memory": asItIs, "on a volume": onVolume} {
		t.Run(name, func(t *testing.T) {
			command := workload(t, change).Spec.Template.Spec.Containers[0].Command
			if diff := cmp.Diff(want, command); diff != "" {
				t.Error(diff)
			}
		})
	}
	if diff := cmp.Diff(redis.FenceAddr, want[3]+":"+want[4]); diff != "" {
		t.Errorf("what counts as fenced is not what servers start as: %s", diff)
	}
}

// A rolling update of Kubernetes' own would not ask who is master.
func TestOnlyTheOperatorReplacesPods(t *testing.T) {
	spec := workload(t, asItIs).Spec
	if spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
		t.Errorf("%+v", spec.UpdateStrategy)
	}
	if spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Errorf("a member waits for the one before it: %s", spec.PodManagementPolicy)
	}
	if got := disruptionBudget(stateOfWorld(masterData).group).Spec; got.MaxUnavailable.IntVal != 1 {
		t.Errorf("a drain takes %s members at a time", got.MaxUnavailable)
	}
}

func TestInvariant6VolumesAreKept(t *testing.T) {
	set := workload(t, onVolume)
	if len(set.Spec.VolumeClaimTemplates) != 1 || set.Spec.VolumeClaimTemplates[0].Name != dataVolume {
		t.Fatalf("%+v", set.Spec.VolumeClaimTemplates)
	}
	policy := set.Spec.PersistentVolumeClaimRetentionPolicy
	if policy.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType ||
		policy.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
		t.Errorf("%+v", policy)
	}
	isData := func(v corev1.Volume) bool { return v.Name == dataVolume }
	if slices.ContainsFunc(set.Spec.Template.Spec.Volumes, isData) {
		t.Error("the pod has a volume that hides the claim")
	}
	if !slices.ContainsFunc(workload(t, asItIs).Spec.Template.Spec.Volumes, isData) {
		t.Error("a pod in memory has no place for its data")
	}
}

// The dashboard and the proxies must reach a master that is loading.
func TestMembersThatAreNotReadyHaveNames(t *testing.T) {
	spec := service(stateOfWorld(masterData).group).Spec
	if !spec.PublishNotReadyAddresses || spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("%+v", spec)
	}
}

func TestOnlyTheProductAndTheOperatorReachAServer(t *testing.T) {
	set := workload(t, asItIs)
	policy := networkPolicy(stateOfWorld(masterData).group, "codis-operator-system").Spec
	if diff := cmp.Diff(set.Spec.Selector.MatchLabels, policy.PodSelector.MatchLabels); diff != "" {
		t.Error(diff)
	}
	if len(policy.Ingress) != 1 || len(policy.Ingress[0].From) != 2 || policy.Ingress[0].Ports[0].Port.IntVal != 6379 {
		t.Errorf("%+v", policy.Ingress)
	}
	if got := policy.Ingress[0].From[0].PodSelector.MatchLabels[v1alpha1.LabelDashboard]; got != "d" {
		t.Errorf("lets the product of dashboard %q in", got)
	}
}

func TestSettingsThatNoPodHasAreAnError(t *testing.T) {
	g := stateOfWorld(masterData).group
	g.Spec.Pod = &v1alpha1.PodSettings{Env: []runtime.RawExtension{{Raw: []byte(`{"nam":"x"}`)}}}
	if _, err := statefulSet(g, "d-auth", 2, podtemplate.Images{}, nil); err == nil {
		t.Error("a field that no pod has was taken")
	}
}
