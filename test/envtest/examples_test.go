// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What is good is taken, by the schema and by the webhooks.
func TestGoodObjectsAreTaken(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	good := parse(t, namespace, everything)
	for _, name := range []string{
		"sample-1.yml", "sample-1-sentinel.yml", "sample-2.yml", "sample-2-zookeeper.yml", "components/1-coordinator.yml",
		"components/2-dashboard.yml", "components/3-groups.yml", "components/4-proxy.yml",
	} {
		good = append(good, file(t, namespace, "examples/"+name)...)
	}
	for _, object := range good {
		t.Run(object.GetKind()+" "+object.GetName(), func(t *testing.T) {
			if err := user.Create(t.Context(), object, client.FieldValidation("Strict"), client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}

// everything is a cluster with all that can be set, and coordinators of the
// other types.
const everything = `
apiVersion: codis.io/v1alpha1
kind: CodisCluster
metadata: {name: a2345678901234567890123456789012345}
spec:
  image: registry.example.com/codis:3.2.2
  imagePullPolicy: Always
  coordinator: {type: Filesystem, storage: {size: 1Gi, storageClassName: ssd, reclaimPolicy: Delete}}
  dashboard:
    productName: my.product-1
    authSecretRef: {name: product-auth}
    fe: {replicas: 1, service: {type: LoadBalancer, annotations: {example.com/internal: "true"}}}
    sentinel:
      replicas: 5
      quorum: 2
      downAfterMilliseconds: 3000
      failoverTimeoutSeconds: 30
      parallelSyncs: 2
      storage: {size: 100Mi, storageClassName: ssd, reclaimPolicy: Delete}
      resources: {limits: {memory: 64Mi}}
      pod: {nodeSelector: {dedicated: codis}}
  groups:
    count: 512
    replicas: 9
    storage: {size: 53687091200, storageClassName: ssd}
    resources: {requests: {cpu: "1", memory: 4Gi}, limits: {cpu: "1", memory: 4Gi}}
    config: {maxmemory-policy: allkeys-lru, timeout: "0"}
    pod:
      labels: {team: cache}
      nodeSelector: {dedicated: codis}
      tolerations: [{key: dedicated, operator: Equal, value: codis, effect: NoSchedule}]
      affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
        {matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]}]}}}
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
      containers: [{name: exporter, image: "exporter:1"}]
      volumes: [{name: scratch, emptyDir: {}}]
      volumeMounts: [{name: scratch, mountPath: /scratch}]
  proxy:
    replicas: 2
    sessionAuthSecretRef: {name: session-auth}
    service: {type: LoadBalancer}
    config: {proxy_max_clients: "10000", backend_ping_period: 5s}
    rollout: {maxSurge: 25%, maxUnavailable: 1}
    pod: {env: [{name: TZ, value: UTC}], priorityClassName: high, imagePullSecrets: [{name: pull}]}
---
apiVersion: codis.io/v1alpha1
kind: CodisCoordinator
metadata: {name: kept}
spec:
  type: Etcd
  replicas: 5
  storage: {size: 2Gi, storageClassName: ssd}
  image: registry.example.com/etcd:3.5
  imagePullPolicy: Always
  resources: {requests: {cpu: 100m, memory: 256Mi}}
  pod: {nodeSelector: {dedicated: codis}}
---
apiVersion: codis.io/v1alpha1
kind: CodisCoordinator
metadata: {name: elsewhere}
spec:
  type: External
  authSecretRef: {name: zk-auth}
  external: {kind: ZooKeeper, endpoints: ["zk-0.example.com:2181", "10.0.0.2:2181"]}
`
