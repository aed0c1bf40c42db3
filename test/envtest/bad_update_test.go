// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// What cannot be changed is refused, and the object stays as it is.
func TestInvariant9BadChangesAreRefused(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	create(t, parse(t, namespace, changeable)...)
	for name, bad := range badChanges() {
		t.Run(name, func(t *testing.T) {
			live := &unstructured.Unstructured{}
			live.SetAPIVersion("codis.io/v1alpha1")
			live.SetKind(bad.kind)
			live.SetNamespace(namespace)
			live.SetName(bad.name)
			get := func() map[string]any {
				if err := user.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
					t.Fatal(err)
				}
				return map[string]any{"spec": live.DeepCopy().Object["spec"], "generation": live.GetGeneration()}
			}
			before := get()
			patch, err := yaml.YAMLToJSON([]byte("spec: " + bad.patch))
			if err != nil {
				t.Fatal(err)
			}
			err = user.Patch(t.Context(), live, client.RawPatch(types.MergePatchType, patch))
			if err == nil || err.Error() != bad.want {
				t.Errorf("got  %v\nwant %s", err, bad.want)
			}
			if diff := cmp.Diff(before, get()); diff != "" {
				t.Errorf("the object changed:\n%s", diff)
			}
		})
	}
}

// changeable are objects that the operator makes no pods for: one is paused, the
// others refer to nothing.
const changeable = `
apiVersion: codis.io/v1alpha1
kind: CodisCluster
metadata: {name: c, annotations: {codis.io/paused: "true"}}
spec: {groups: {count: 2, storage: {size: 1Gi}}}
---
apiVersion: codis.io/v1alpha1
kind: CodisCoordinator
metadata: {name: plain}
---
apiVersion: codis.io/v1alpha1
kind: CodisCoordinator
metadata: {name: stored}
spec: {storage: {size: 1Gi}}
---
apiVersion: codis.io/v1alpha1
kind: CodisCoordinator
metadata: {name: elsewhere}
spec: {type: External, external: {kind: Etcd, endpoints: ["127.0.0.1:1"]}, authSecretRef: {name: s}}
---
apiVersion: codis.io/v1alpha1
kind: CodisDashboard
metadata: {name: plain}
spec: {coordinatorRef: {name: none}}
---
apiVersion: codis.io/v1alpha1
kind: CodisDashboard
metadata: {name: full}
spec: {coordinatorRef: {name: none}, productName: p, authSecretRef: {name: s}}
---
apiVersion: codis.io/v1alpha1
kind: CodisDashboard
metadata: {name: guarded, annotations: {codis.io/paused: "true"}}
spec: {coordinatorRef: {name: none}, sentinel: {storage: {size: 1Gi}}}
---
apiVersion: codis.io/v1alpha1
kind: CodisGroup
metadata: {name: plain}
spec: {dashboardRef: {name: none}, id: 1}
---
apiVersion: codis.io/v1alpha1
kind: CodisGroup
metadata: {name: stored}
spec: {dashboardRef: {name: none}, id: 2, storage: {size: 1Gi}}
---
apiVersion: codis.io/v1alpha1
kind: CodisProxy
metadata: {name: plain}
spec: {dashboardRef: {name: none}}
`

type badChange struct{ kind, name, patch, want string }

func badChanges() map[string]badChange {
	return map[string]badChange{
		"a policy that there is not":            {"CodisCluster", "c", "{dashboard: {rebalance: {policy: Sometimes}}}", `CodisCluster.codis.io "c" is invalid: [spec.dashboard.rebalance.policy: Unsupported value: "Sometimes": supported values: "Auto", "Manual", "Off", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"no moves at a time":                    {"CodisDashboard", "plain", "{rebalance: {maxConcurrentMoves: 0}}", `CodisDashboard.codis.io "plain" is invalid: spec.rebalance.maxConcurrentMoves: Invalid value: 0: spec.rebalance.maxConcurrentMoves in body should be greater than or equal to 1`},
		"steps of moves without a byte":         {"CodisDashboard", "plain", "{migration: {maxBytes: \"0\"}}", `CodisDashboard.codis.io "plain" is invalid: spec.migration.maxBytes: Invalid value: "0": migration.maxBytes must be greater than 0 and at most 1Gi, for example 32Mi`},
		"steps of moves with too many bytes":    {"CodisDashboard", "plain", "{migration: {maxBytes: 2Gi}}", `CodisDashboard.codis.io "plain" is invalid: spec.migration.maxBytes: Invalid value: "2Gi": migration.maxBytes must be greater than 0 and at most 1Gi, for example 32Mi`},
		"more proxies at least than at most":    {"CodisProxy", "plain", "{autoscaling: {minReplicas: 3, maxReplicas: 2}, resources: {requests: {cpu: 1}}}", `CodisProxy.codis.io "plain" is invalid: spec.autoscaling: Invalid value: autoscaling.minReplicas must not be more than autoscaling.maxReplicas`},
		"an autoscaler without a request":       {"CodisProxy", "plain", "{autoscaling: {maxReplicas: 4}}", `admission webhook "codisproxy.codis.io" denied the request: CodisProxy.codis.io "plain" is invalid: spec.resources.requests[cpu]: Required value: autoscaling compares the use of CPU with what is requested: request some, for example 500m`},
		"a metric of two sources":               {"CodisProxy", "plain", "{autoscaling: {maxReplicas: 2, metrics: [{type: Pods, external: {metric: {name: ops}, target: {type: Value, value: 1}}}]}}", `CodisProxy.codis.io "plain" is invalid: spec.autoscaling.metrics: Invalid value: autoscaling.metrics: each needs a type of Resource, ContainerResource, Pods, Object or External, and the one source that the type names, for example {type: Pods, pods: {...}}`},
		"a metric with a target of another":     {"CodisProxy", "plain", "{autoscaling: {maxReplicas: 2, metrics: [{type: Pods, pods: {metric: {name: ops}, target: {type: Value, value: 1}}}]}}", `admission webhook "codisproxy.codis.io" denied the request: CodisProxy.codis.io "plain" is invalid: spec.autoscaling.metrics[0].pods.target.type: Unsupported value: "Value": supported values: "AverageValue"`},
		"a policy for slots that there is not":  {"CodisGroup", "plain", "{slotPolicy: Half}", `CodisGroup.codis.io "plain" is invalid: [spec.slotPolicy: Unsupported value: "Half": supported values: "Share", "Drain", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"a cluster's groups on smaller volumes": {"CodisCluster", "c", "{groups: {storage: {size: 500Mi}}}", `admission webhook "codiscluster.codis.io" denied the request: CodisCluster.codis.io "c" is invalid: spec.groups.storage.size: Invalid value: "500Mi": it was 1Gi; volumes cannot shrink: move the slots to groups with smaller volumes instead, and delete these`},
		"a cluster's product name":              {"CodisCluster", "c", "{dashboard: {productName: x}}", `CodisCluster.codis.io "c" is invalid: spec.dashboard: Invalid value: productName is immutable: every server, proxy and stored key carries it; create a new dashboard instead`},
		"a volume for a coordinator":            {"CodisCoordinator", "plain", "{storage: {size: 1Gi}}", `CodisCoordinator.codis.io "plain" is invalid: spec: Invalid value: storage cannot be added or removed later: create a new coordinator and cluster`},
		"an etcd instead of a directory":        {"CodisCoordinator", "stored", "{type: Etcd}", `CodisCoordinator.codis.io "stored" is invalid: spec.type: Invalid value: "Etcd": type is immutable, since the topology would be left behind: create a new coordinator instead`},
		"an etcd in a live cluster":             {"CodisCluster", "c", "{coordinator: {type: Etcd, storage: {size: 1Gi}}}", `CodisCluster.codis.io "c" is invalid: [spec.coordinator: Invalid value: storage cannot be added or removed later: create a new coordinator and cluster, spec.coordinator.type: Invalid value: "Etcd": type is immutable, since the topology would be left behind: create a new coordinator instead]`},
		"another kind of external store":        {"CodisCoordinator", "elsewhere", "{external: {kind: ZooKeeper}}", `CodisCoordinator.codis.io "elsewhere" is invalid: spec.external.kind: Invalid value: "ZooKeeper": external.kind is immutable, since the topology would be left behind: create a new coordinator instead`},
		"a coordinator without its login":       {"CodisCoordinator", "elsewhere", "{authSecretRef: null}", `CodisCoordinator.codis.io "elsewhere" is invalid: spec: Invalid value: authSecretRef cannot be added or removed later: create a new coordinator and cluster`},
		"a larger volume for a coordinator":     {"CodisCoordinator", "stored", "{storage: {size: 2Gi}}", `CodisCoordinator.codis.io "stored" is invalid: spec.storage: Invalid value: storage is immutable: create a new coordinator instead`},
		"no volume for a coordinator":           {"CodisCoordinator", "stored", "{storage: null}", `CodisCoordinator.codis.io "stored" is invalid: spec: Invalid value: storage cannot be added or removed later: create a new coordinator and cluster`},
		"a product name":                        {"CodisDashboard", "plain", "{productName: x}", `CodisDashboard.codis.io "plain" is invalid: spec: Invalid value: productName is immutable: every server, proxy and stored key carries it; create a new dashboard instead`},
		"another product name":                  {"CodisDashboard", "full", "{productName: x}", `CodisDashboard.codis.io "full" is invalid: spec.productName: Invalid value: "x": productName is immutable: every server, proxy and stored key carries it; create a new dashboard instead`},
		"no product name":                       {"CodisDashboard", "full", "{productName: null}", `CodisDashboard.codis.io "full" is invalid: spec: Invalid value: productName is immutable: every server, proxy and stored key carries it; create a new dashboard instead`},
		"a password":                            {"CodisDashboard", "plain", "{authSecretRef: {name: x}}", `CodisDashboard.codis.io "plain" is invalid: spec: Invalid value: authSecretRef cannot be added or removed later, since servers, proxies and dashboard must agree on the password: create a new dashboard instead`},
		"another password":                      {"CodisDashboard", "full", "{authSecretRef: {name: x}}", `CodisDashboard.codis.io "full" is invalid: spec.authSecretRef: Invalid value: authSecretRef is immutable, since servers, proxies and dashboard must agree on the password: create a new dashboard instead`},
		"sentinels without their volumes":       {"CodisDashboard", "guarded", "{sentinel: {storage: null}}", `CodisDashboard.codis.io "guarded" is invalid: spec.sentinel: Invalid value: sentinel.storage cannot be added or removed later: remove sentinel, wait until its pods are gone, and add it again`},
		"sentinels on larger volumes":           {"CodisDashboard", "guarded", "{sentinel: {storage: {size: 2Gi}}}", `CodisDashboard.codis.io "guarded" is invalid: spec.sentinel.storage: Invalid value: size and storageClassName of sentinel.storage are immutable: remove sentinel, wait until its pods are gone, and add it again`},
		"fewer sentinels than must agree":       {"CodisDashboard", "guarded", "{sentinel: {replicas: 1, quorum: 2}}", `CodisDashboard.codis.io "guarded" is invalid: spec.sentinel: Invalid value: sentinel.quorum must not be more than sentinel.replicas: no master would ever be replaced`},
		"another coordinator":                   {"CodisDashboard", "plain", "{coordinatorRef: {name: x}}", `CodisDashboard.codis.io "plain" is invalid: spec.coordinatorRef: Invalid value: coordinatorRef is immutable, since the topology would be left behind: create a new dashboard instead`},
		"another id":                            {"CodisGroup", "plain", "{id: 3}", `CodisGroup.codis.io "plain" is invalid: spec.id: Invalid value: 3: id is immutable: slots are owned by id; create a new group instead`},
		"another dashboard of a group":          {"CodisGroup", "plain", "{dashboardRef: {name: x}}", `CodisGroup.codis.io "plain" is invalid: spec.dashboardRef: Invalid value: dashboardRef is immutable: create a new group instead`},
		"volumes for a group":                   {"CodisGroup", "plain", "{storage: {size: 1Gi}}", `CodisGroup.codis.io "plain" is invalid: spec: Invalid value: storage cannot be added or removed later: create a new group instead`},
		"smaller volumes for a group":           {"CodisGroup", "stored", "{storage: {size: 500Mi}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "stored" is invalid: spec.storage.size: Invalid value: "500Mi": it was 1Gi; volumes cannot shrink: move the slots to groups with smaller volumes instead, and delete these`},
		"volumes of another class":              {"CodisGroup", "stored", "{storage: {storageClassName: x}}", `CodisGroup.codis.io "stored" is invalid: spec.storage: Invalid value: storageClassName is immutable: create a new group instead`},
		"another fate of volumes":               {"CodisGroup", "stored", "{storage: {reclaimPolicy: Delete}}", `CodisGroup.codis.io "stored" is invalid: spec.storage: Invalid value: reclaimPolicy is immutable: create a new group instead`},
		"no volumes for a group":                {"CodisGroup", "stored", "{storage: null}", `CodisGroup.codis.io "stored" is invalid: spec: Invalid value: storage cannot be added or removed later: create a new group instead`},
		"no members":                            {"CodisGroup", "plain", "{replicas: 0}", `CodisGroup.codis.io "plain" is invalid: spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1`},
		"a label of the operator":               {"CodisGroup", "plain", "{pod: {labels: {codis.io/dashboard: x}}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "plain" is invalid: spec.pod.labels[codis.io/dashboard]: Forbidden: the operator selects pods by this label: use another key`},
		"another dashboard of proxies":          {"CodisProxy", "plain", "{dashboardRef: {name: x}}", `CodisProxy.codis.io "plain" is invalid: spec.dashboardRef: Invalid value: dashboardRef is immutable: create a new CodisProxy instead`},
		"a request above its limit":             {"CodisProxy", "plain", "{resources: {requests: {cpu: 2}, limits: {cpu: 1}}}", `admission webhook "codisproxy.codis.io" denied the request: CodisProxy.codis.io "plain" is invalid: spec.resources.requests[cpu]: Invalid value: "2": must not be more than the limit of 1: lower the request or raise the limit`},
	}
}
