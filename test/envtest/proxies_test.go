// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

const scaled = `
apiVersion: codis.io/v1alpha1
kind: CodisProxy
metadata: {name: p}
spec:
  dashboardRef: {name: none}
  autoscaling:
    maxReplicas: 9
    metrics:
      - type: Pods
        pods: {metric: {name: codis_proxy_ops}, target: {type: AverageValue, averageValue: 10k}}
      - type: External
        external: {metric: {name: queued, selector: {matchLabels: {app: shop}}}, target: {type: Value, value: "30"}}
    behavior:
      scaleDown: {stabilizationWindowSeconds: 10, policies: [{type: Pods, value: 1, periodSeconds: 15}]}
`

// What a user writes of metrics and behavior arrives in the HorizontalPodAutoscaler.
func TestAutoscalerFollowsMetricsOfTheUser(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	create(t, parse(t, namespace, scaled)...)
	scaler := &autoscalingv2.HorizontalPodAutoscaler{}
	key := client.ObjectKey{Namespace: namespace, Name: "p-proxy"}
	eventually(t, "no autoscaler", func() bool { return user.Get(t.Context(), key, scaler) == nil },
		func() string { return describe(t, namespace) })
	if n := len(scaler.Spec.Metrics); n != 2 {
		t.Fatalf("there are %d metrics", n)
	}
	pods, external := scaler.Spec.Metrics[0].Pods, scaler.Spec.Metrics[1].External
	if pods == nil || pods.Metric.Name != "codis_proxy_ops" || pods.Target.AverageValue.Cmp(resource.MustParse("10k")) != 0 {
		t.Errorf("the first is %+v", scaler.Spec.Metrics[0])
	}
	if external == nil || external.Metric.Selector.MatchLabels["app"] != "shop" || external.Target.Value.Value() != 30 {
		t.Errorf("the second is %+v", scaler.Spec.Metrics[1])
	}
	down := scaler.Spec.Behavior.ScaleDown
	want := []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 15}}
	if diff := cmp.Diff(want, down.Policies); diff != "" || *down.StabilizationWindowSeconds != 10 {
		t.Errorf("%+v %s", down, diff)
	}
}

// An autoscaler, and a person with `kubectl scale`, find the number of proxies and
// their pods where they do of any workload, and drains take one at a time.
func TestProxiesScaleAsAWorkloadDoes(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	create(t, parse(t, namespace, scaled)...)
	p := &v1alpha1.CodisProxy{}
	key := client.ObjectKey{Namespace: namespace, Name: "p"}
	eventually(t, "nobody reports", func() bool {
		return user.Get(t.Context(), key, p) == nil && p.Status.Selector != ""
	}, func() string { return describe(t, namespace) })
	scale := &autoscalingv1.Scale{}
	if err := user.SubResource("scale").Get(t.Context(), p, scale); err != nil {
		t.Fatal(err)
	}
	if scale.Spec.Replicas != 2 || scale.Status.Selector != p.Status.Selector {
		t.Errorf("the scale is %+v", scale)
	}
	scale.Spec.Replicas = 4
	if err := user.SubResource("scale").Update(t.Context(), p, client.WithSubResourceBody(scale)); err != nil {
		t.Fatal(err)
	}
	budget := &policyv1.PodDisruptionBudget{}
	eventually(t, "the number does not stay, or there is no budget", func() bool {
		err := user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "p-proxy"}, budget)
		return err == nil && user.Get(t.Context(), key, p) == nil && p.Status.ObservedGeneration == p.Generation
	}, func() string { return describe(t, namespace) })
	if *p.Spec.Replicas != 4 {
		t.Errorf("%d replicas after it was scaled to 4", *p.Spec.Replicas)
	}
	if budget.Spec.MaxUnavailable.IntVal != 1 || budget.Spec.MinAvailable != nil {
		t.Errorf("the budget is %+v", budget.Spec)
	}
	selector := map[string]string{
		"app.kubernetes.io/name": "codis", "app.kubernetes.io/component": "proxy", "app.kubernetes.io/instance": "p",
	}
	if diff := cmp.Diff(selector, budget.Spec.Selector.MatchLabels); diff != "" {
		t.Error(diff)
	}
}

const registering = `
apiVersion: codis.io/v1alpha1
kind: CodisDashboard
metadata: {name: d}
spec: {coordinatorRef: {name: none}}
---
apiVersion: codis.io/v1alpha1
kind: CodisProxy
metadata: {name: p}
spec:
  dashboardRef: {name: d}
  jodis:
    kind: ZooKeeper
    endpoints: [zk-0.example.com:2181, zk-1.example.com:2181]
    authSecretRef: {name: login}
`

// Proxies are made once the login is there, which no object but its Secret holds.
func TestProxiesWaitForTheLoginOfJodis(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	create(t, parse(t, namespace, registering)...)
	p := &v1alpha1.CodisProxy{}
	workload := func() string {
		if err := user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "p"}, p); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionWorkloadReady)
		if c == nil {
			return ""
		}
		return c.Reason + ": " + c.Message
	}
	const missing = `SecretMissing: Secret "login" with a value under the key "password" does not exist in this namespace: create it`
	eventually(t, "a missing Secret is not told of", func() bool { return workload() == missing }, workload)
	login := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "login"}, StringData: map[string]string{"username": "user", "password": "word"},
	}
	if err := user.Create(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	settings := &corev1.ConfigMap{}
	eventually(t, "proxies are not made", func() bool {
		return user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "p-proxy"}, settings) == nil
	}, workload)
	text := settings.Data["proxy.toml"]
	for _, line := range []string{
		`jodis_name = "zookeeper"`, `jodis_addr = "zk-0.example.com:2181,zk-1.example.com:2181"`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
	if strings.Contains(text, "jodis_auth") {
		t.Errorf("the login is in the ConfigMap\n%s", text)
	}
}
