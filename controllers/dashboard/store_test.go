// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
)

// keeps is a coordinator whose Available condition has the given status, since a moment.
func keeps(kind v1alpha1.CoordinatorType, status metav1.ConditionStatus, since time.Time, endpoints ...string) *v1alpha1.CodisCoordinator {
	c := &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
	c.Spec.Type = kind
	c.Status.Endpoints = endpoints
	if status != "" {
		c.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionAvailable, Status: status, Message: "too few members answer",
			LastTransitionTime: metav1.NewTime(since),
		}}
	}
	return c
}

func TestStoreOf(t *testing.T) {
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse
	now := time.Now()
	external := func(kind v1alpha1.StoreKind, status metav1.ConditionStatus) *v1alpha1.CodisCoordinator {
		c := keeps(v1alpha1.CoordinatorExternal, status, now, "a:1")
		c.Spec.External = &v1alpha1.ExternalStore{Kind: kind, Endpoints: []string{"a:1"}}
		c.Spec.AuthSecretRef = &v1alpha1.SecretReference{Name: "login"}
		return c
	}
	tests := map[string]struct {
		coordinator *v1alpha1.CodisCoordinator
		started     bool
		want        store
		waits       string
	}{
		"a directory is always there": {
			keeps(v1alpha1.CoordinatorFilesystem, "", now), false,
			store{Store: config.Store{Name: "filesystem", Addr: storeDir}},
			"",
		},
		"an etcd that serves": {
			keeps(v1alpha1.CoordinatorEtcd, yes, now, "a:1", "b:1"), false, store{Store: config.Store{Name: "etcd", Addr: "a:1,b:1"}}, "",
		},
		"an etcd that nobody has looked at": {
			keeps(v1alpha1.CoordinatorEtcd, "", now), false, store{}, `waiting for CodisCoordinator "c": it is being started`,
		},
		"an etcd whose members were never all there": {
			keeps(v1alpha1.CoordinatorEtcd, yes, now), false, store{}, "it is being started",
		},
		"a new dashboard waits for a quorum": {
			keeps(v1alpha1.CoordinatorEtcd, no, now, "a:1"), false, store{}, "too few members answer",
		},
		"a dashboard that is there does not": {
			keeps(v1alpha1.CoordinatorEtcd, no, now, "a:1"), true, store{Store: config.Store{Name: "etcd", Addr: "a:1"}}, "",
		},
		"an etcd of somebody else": {
			external(v1alpha1.StoreEtcd, yes), false, store{Store: config.Store{Name: "etcd", Addr: "a:1"}, login: "login", foreign: true}, "",
		},
		"a ZooKeeper": {
			external(v1alpha1.StoreZooKeeper, yes), false, store{Store: config.Store{Name: "zookeeper", Addr: "a:1"}, login: "login", foreign: true}, "",
		},
		"one that does not answer": {external(v1alpha1.StoreEtcd, no), false, store{}, "too few members answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, problem := storeOf(tt.coordinator, tt.started)
			if got != tt.want {
				t.Errorf("got %+v", got)
			}
			if problem.Present() != (tt.waits != "") {
				t.Fatalf("problem %v", problem)
			}
			if problem.Present() && (!strings.Contains(problem.Message, tt.waits) || problem.Reason != v1alpha1.ReasonCoordinatorMissing) {
				t.Errorf("waits: %+v", problem)
			}
		})
	}
}

func TestLoginOfTheStoreComesFromItsSecret(t *testing.T) {
	kept := store{Store: config.Store{Name: "etcd", Addr: "a:1"}, login: "login"}
	set, err := statefulSet(example(), kept, domain, images, nil)
	if err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	if args := strings.Join(pod.InitContainers[0].Args, " "); !strings.Contains(args, "--login=coordinator_auth=/etc/codis/secrets/coordinator_auth") {
		t.Errorf("args %s", args)
	}
	if got := findVolume(t, pod, "login-coordinator-auth").Secret.SecretName; got != "login" {
		t.Errorf("mounted %s", got)
	}
	if len(set.Spec.VolumeClaimTemplates) != 0 {
		t.Error("the dashboard has a volume although it keeps nothing")
	}
}

func findVolume(t *testing.T, pod corev1.PodSpec, name string) corev1.Volume {
	t.Helper()
	for _, v := range pod.Volumes {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no volume %s", name)
	return corev1.Volume{}
}

func TestLockProblem(t *testing.T) {
	tests := map[string]struct {
		said string
		code int32
		want string
	}{
		"another dashboard lives": {"held d:18080", 1, `another dashboard, at d:18080, serves product "p" and is left alone: ` +
			"stop it, or choose another productName"},
		"another dashboard is silent": {"silent d:18080", 1, `the dashboard at d:18080 has the lock of product "p" and does not ` +
			"answer, which does not say that it ended: make sure of that, and take the lock away with codis-admin --remove-lock"},
		"it is being removed": {"removing ns/d", 1, `product "p" is being removed for CodisDashboard ns/d, and nobody can start on it: ` +
			"wait until that is gone; if it is, and the product still there, remove /codis3/p from the store"},
		"the writer failed otherwise": {"", 1, ""},
		"the writer is done":          {"held d:18080", 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{}
			pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "config", State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: tt.code, Message: tt.said},
			}}}
			got := ""
			if problem := lockProblem(pod, "p"); problem != nil {
				got = problem.Message
			}
			if got != tt.want {
				t.Errorf("got %q", got)
			}
			s := &state{dashboard: &v1alpha1.CodisDashboard{}, pod: pod}
			s.dashboard.Spec.ProductName = "p"
			if c := workloadCondition(s); (c.Reason == v1alpha1.ReasonLockHeld) != (tt.want != "") {
				t.Errorf("the condition says %s: %s", c.Reason, c.Message)
			}
		})
	}
}

// A keeper that may not start its dashboard again says so as the config writer does.
func TestLockProblemOfADashboardThatWasNotStartedAgain(t *testing.T) {
	runs := kept(crashLoop, "held d:18080")
	runs.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	tests := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"another dashboard has the lock": {kept(crashLoop, "held d:18080"), true},
		"the product is being removed":   {kept(crashLoop, "removing ns/d"), true},
		"it gave up":                     {kept(crashLoop, "3 dashboards in a row ended"), false},
		"it runs again":                  {runs, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := lockProblem(tt.pod, "p"); got.Present() != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
