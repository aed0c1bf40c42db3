// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// badObject is an object that must be refused, with the words of the refusal:
// they name the field and the way out.
type badObject struct {
	yaml string
	want string
}

// A bad object is refused at once, and nothing of it is kept.
func TestInvariant9BadObjectsAreRefused(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	create(t, parse(t, namespace, neighbours)...)
	seen := func() bool { // The webhooks look at what the operator has seen.
		neighbour := &v1alpha1.CodisGroup{}
		err := user.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "neighbour"}, neighbour)
		return err == nil && len(neighbour.Status.Conditions) > 0
	}
	eventually(t, "the operator does not see the neighbour", seen, func() string { return describe(t, namespace) })
	for name, bad := range badObjects() {
		t.Run(name, func(t *testing.T) {
			object := parse(t, namespace, bad.yaml)[0]
			err := user.Create(t.Context(), object, client.FieldValidation("Strict"))
			if err == nil || err.Error() != bad.want {
				t.Errorf("got  %v\nwant %s", err, bad.want)
			}
			kept := &unstructured.Unstructured{}
			kept.SetGroupVersionKind(object.GroupVersionKind())
			err = user.Get(t.Context(), client.ObjectKeyFromObject(object), kept)
			if bad.yaml != sameName && !apierrors.IsNotFound(err) {
				t.Errorf("the object is kept: %v", err)
			}
		})
	}
}

// neighbours are good objects that bad ones collide with.
const neighbours = `
apiVersion: codis.io/v1alpha1
kind: CodisGroup
metadata: {name: neighbour}
spec: {dashboardRef: {name: none}, id: 1}
---
apiVersion: codis.io/v1alpha1
kind: CodisDashboard
metadata: {name: alone}
spec: {coordinatorRef: {name: none}}
`

// sameName is a cluster whose dashboard would have the name of another one.
const sameName = `{apiVersion: codis.io/v1alpha1, kind: CodisCluster, metadata: {name: alone}}`

const head = "apiVersion: codis.io/v1alpha1\nkind: "

func badObjects() map[string]badObject {
	group := head + "CodisGroup\nmetadata: {name: bad}\nspec: {dashboardRef: {name: none}, id: 7, "
	proxy := head + "CodisProxy\nmetadata: {name: bad}\nspec: {dashboardRef: {name: none}, "
	cluster := head + "CodisCluster\nmetadata: {name: bad}\nspec: "
	return map[string]badObject{
		"a name that is too long":          {head + "CodisCluster\nmetadata: {name: a2345678901234567890123456789012345x}", `CodisCluster.codis.io "a2345678901234567890123456789012345x" is invalid: <nil>: Invalid value: metadata.name must be at most 35 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it`},
		"a name that starts with a digit":  {head + "CodisGroup\nmetadata: {name: 1bad}\nspec: {dashboardRef: {name: none}, id: 7}", `CodisGroup.codis.io "1bad" is invalid: <nil>: Invalid value: metadata.name must be at most 40 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it`},
		"no groups":                        {cluster + "{groups: {count: 0}}", `CodisCluster.codis.io "bad" is invalid: spec.groups.count: Invalid value: 0: spec.groups.count in body should be greater than or equal to 1`},
		"too many members":                 {cluster + "{groups: {replicas: 10}}", `CodisCluster.codis.io "bad" is invalid: spec.groups.replicas: Invalid value: 10: spec.groups.replicas in body should be less than or equal to 9`},
		"an unknown coordinator":           {cluster + "{coordinator: {type: Consul}}", `CodisCluster.codis.io "bad" is invalid: [spec.coordinator.type: Unsupported value: "Consul": supported values: "Filesystem", "Etcd", "ZooKeeper", "External", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"a volume without size":            {cluster + "{groups: {storage: {}}}", `CodisCluster.codis.io "bad" is invalid: [spec.groups.storage.size: Required value, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"a volume of no size":              {cluster + "{groups: {storage: {size: 0}}}", `CodisCluster.codis.io "bad" is invalid: spec.groups.storage.size: Invalid value: 0: storage.size must be greater than 0, for example 10Gi`},
		"a size that is no quantity":       {cluster + "{groups: {storage: {size: big}}}", `CodisCluster.codis.io "bad" is invalid: [spec.groups.storage.size: Invalid value: "big": spec.groups.storage.size in body should match '^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$', spec.groups.storage.size: Invalid value: "": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' evaluating rule: storage.size must be greater than 0, for example 10Gi]`},
		"a reclaim policy that is none":    {cluster + "{groups: {storage: {size: 1Gi, reclaimPolicy: Recycle}}}", `CodisCluster.codis.io "bad" is invalid: [spec.groups.storage.reclaimPolicy: Unsupported value: "Recycle": supported values: "Retain", "Delete", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"a field that does not exist":      {cluster + "{group: {count: 2}}", `CodisCluster in version "v1alpha1" cannot be handled as a CodisCluster: strict decoding error: unknown field "spec.group"`},
		"the name of another's dashboard":  {sameName, `admission webhook "codiscluster.codis.io" denied the request: CodisCluster.codis.io "alone" is invalid: metadata.name: Invalid value: "alone": a CodisDashboard of this name exists and belongs to no cluster: choose another name, or delete that dashboard`},
		"an etcd without storage":          {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: Etcd}", `CodisCoordinator.codis.io "bad" is invalid: spec: Invalid value: types Etcd and ZooKeeper need storage, for example {size: 1Gi}: members without volumes forget the topology with their pods`},
		"a ZooKeeper without storage":      {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: ZooKeeper}", `CodisCoordinator.codis.io "bad" is invalid: spec: Invalid value: types Etcd and ZooKeeper need storage, for example {size: 1Gi}: members without volumes forget the topology with their pods`},
		"an etcd of two":                   {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: Etcd, replicas: 2, storage: {size: 1Gi}}", `CodisCoordinator.codis.io "bad" is invalid: [spec.replicas: Unsupported value: 2: supported values: "1", "3", "5", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"replicas of a directory":          {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {replicas: 3}", `CodisCoordinator.codis.io "bad" is invalid: spec: Invalid value: replicas belongs to types Etcd and ZooKeeper: leave it out, or set type to one of them`},
		"a directory with a login":         {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {authSecretRef: {name: s}}", `CodisCoordinator.codis.io "bad" is invalid: spec: Invalid value: authSecretRef belongs to type External: leave it out; what the operator runs is guarded by a NetworkPolicy`},
		"an external store of nobody":      {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: External}", `CodisCoordinator.codis.io "bad" is invalid: spec: Invalid value: external belongs to type External, which needs it: set type to External and external.kind and external.endpoints, or leave both out`},
		"an external store with a volume":  {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: External, storage: {size: 1Gi}, external: {kind: Etcd, endpoints: [\"a:1\"]}}", `CodisCoordinator.codis.io "bad" is invalid: spec: Invalid value: storage belongs to types Filesystem, Etcd and ZooKeeper: the operator runs nothing for type External`},
		"an endpoint that is a URL":        {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: External, external: {kind: Etcd, endpoints: [\"http://a:1\"]}}", `CodisCoordinator.codis.io "bad" is invalid: spec.external.endpoints[0]: Invalid value: "http://a:1": an endpoint is host:port without http://, for example etcd-0.example.com:2379`},
		"an endpoint with a bad port":      {head + "CodisCoordinator\nmetadata: {name: bad}\nspec: {type: External, external: {kind: Etcd, endpoints: [\"a:70000\"]}}", `admission webhook "codiscoordinator.codis.io" denied the request: CodisCoordinator.codis.io "bad" is invalid: spec.external.endpoints[0]: Invalid value: "a:70000": must be host:port with a port from 1 to 65535`},
		"a bad product name":               {head + "CodisDashboard\nmetadata: {name: bad}\nspec: {coordinatorRef: {name: none}, productName: -x}", `CodisDashboard.codis.io "bad" is invalid: spec.productName: Invalid value: "-x": productName may have letters, digits, '_', '-' and '.', and must not start with '-' or '.'`},
		"an even number of sentinels":      {head + "CodisDashboard\nmetadata: {name: bad}\nspec: {coordinatorRef: {name: none}, sentinel: {replicas: 4}}", `CodisDashboard.codis.io "bad" is invalid: spec.sentinel.replicas: Invalid value: 4: sentinel.replicas must be odd, for example 3: of an even number one more has to agree, and no more may fail`},
		"a quorum of more than there are":  {head + "CodisDashboard\nmetadata: {name: bad}\nspec: {coordinatorRef: {name: none}, sentinel: {quorum: 4}}", `CodisDashboard.codis.io "bad" is invalid: spec.sentinel: Invalid value: sentinel.quorum must not be more than sentinel.replicas: no master would ever be replaced`},
		"a sentinel that never waits":      {cluster + "{dashboard: {sentinel: {downAfterMilliseconds: 1}}}", `CodisCluster.codis.io "bad" is invalid: spec.dashboard.sentinel.downAfterMilliseconds: Invalid value: 1: spec.dashboard.sentinel.downAfterMilliseconds in body should be greater than or equal to 500`},
		"a label on a sentinel":            {head + "CodisDashboard\nmetadata: {name: bad}\nspec: {coordinatorRef: {name: none}, sentinel: {pod: {labels: {codis.io/dashboard: x}}}}", `admission webhook "codisdashboard.codis.io" denied the request: CodisDashboard.codis.io "bad" is invalid: spec.sentinel.pod.labels[codis.io/dashboard]: Forbidden: the operator selects pods by this label: use another key`},
		"no coordinator":                   {head + "CodisDashboard\nmetadata: {name: bad}\nspec: {}", `CodisDashboard.codis.io "bad" is invalid: [spec.coordinatorRef: Required value, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"a group id of 0 for the layout":   {head + "CodisDashboard\nmetadata: {name: bad}\nspec: {coordinatorRef: {name: none}, initialGroups: [0]}", `CodisDashboard.codis.io "bad" is invalid: spec.initialGroups[0]: Invalid value: 0: spec.initialGroups[0] in body should be greater than or equal to 1`},
		"a group id of 0":                  {head + "CodisGroup\nmetadata: {name: bad}\nspec: {dashboardRef: {name: none}, id: 0}", `CodisGroup.codis.io "bad" is invalid: spec.id: Invalid value: 0: spec.id in body should be greater than or equal to 1`},
		"a group id that is taken":         {head + "CodisGroup\nmetadata: {name: bad}\nspec: {dashboardRef: {name: none}, id: 1}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "bad" is invalid: spec.id: Invalid value: 1: CodisGroup "neighbour" of dashboard "none" has this id: choose one that no other group of the dashboard has`},
		"no dashboard":                     {head + "CodisGroup\nmetadata: {name: bad}\nspec: {id: 7}", `CodisGroup.codis.io "bad" is invalid: [spec.dashboardRef: Required value, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"a password in the config":         {group + "config: {requirepass: secret}}", `CodisGroup.codis.io "bad" is invalid: spec.config: Invalid value: config must not set requirepass, masterauth, slaveof, replicaof, port, bind, protected-mode, daemonize, dir, dbfilename, pidfile, logfile, include, loadmodule, rename-command, supervised, unixsocket, min-slaves-to-write, min-slaves-max-lag, slave-read-only or repl-ping-slave-period: the operator decides these; passwords come from the dashboard's authSecretRef`},
		"a config value of two lines":      {group + `config: {maxmemory-policy: "noeviction\nslaveof a 1"}}`, `CodisGroup.codis.io "bad" is invalid: spec.config[maxmemory-policy]: Invalid value: "noeviction\nslaveof a 1": config values must be one line`},
		"a config key in upper case":       {group + "config: {MaxMemory: 1gb}}", `CodisGroup.codis.io "bad" is invalid: spec.config: Invalid value: config keys are directives of redis.conf in lower case, for example maxmemory-policy`},
		"a request above its limit":        {group + "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "bad" is invalid: spec.resources.requests[memory]: Invalid value: "2Gi": must not be more than the limit of 1Gi: lower the request or raise the limit`},
		"a label of the operator":          {group + "pod: {labels: {app.kubernetes.io/instance: x}}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "bad" is invalid: spec.pod.labels[app.kubernetes.io/instance]: Forbidden: the operator selects pods by this label: use another key`},
		"an affinity that no pod has":      {group + "pod: {affinity: {nodeAfinity: {}}}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "bad" is invalid: spec.pod.affinity: Invalid value: unknown field "nodeAfinity": write it as in a pod`},
		"a container without image":        {group + "pod: {containers: [{name: sidecar}]}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "bad" is invalid: spec.pod.containers[0].image: Required value: an added container needs an image of its own`},
		"a container with a reserved name": {group + "pod: {containers: [{name: server, image: x}]}}", `admission webhook "codisgroup.codis.io" denied the request: CodisGroup.codis.io "bad" is invalid: spec.pod.containers[0].name: Invalid value: "server": a name other than config, gate, etcd, zookeeper, dashboard, fe, sentinel, server and proxy, which the operator uses, is needed`},
		"an env of the operator":           {proxy + "pod: {env: [{name: POD_IP, value: x}]}}", `admission webhook "codisproxy.codis.io" denied the request: CodisProxy.codis.io "bad" is invalid: spec.pod.env[0].name: Invalid value: "POD_IP": a name other than POD_IP and POD_NAME, which the operator sets, is needed`},
		"a volume without name":            {proxy + "pod: {volumes: [{emptyDir: {}}]}}", `admission webhook "codisproxy.codis.io" denied the request: CodisProxy.codis.io "bad" is invalid: spec.pod.volumes[0].name: Invalid value: "": a name other than config, config-template, data, seats, probe, topology, dashboards, secret-* and login-*, which the operator uses, is needed`},
		"a rollout that cannot roll":       {proxy + "rollout: {maxSurge: 0, maxUnavailable: 0%}}", `CodisProxy.codis.io "bad" is invalid: spec.rollout: Invalid value: rollout.maxSurge and rollout.maxUnavailable must not both be 0: no proxy could ever be replaced`},
		"a surge that is no number":        {proxy + "rollout: {maxSurge: lots}}", `CodisProxy.codis.io "bad" is invalid: spec.rollout.maxSurge: Invalid value: "lots": rollout.maxSurge must be a number or a percentage, for example 1 or 25%`},
		"a product in the proxy's config":  {proxy + "config: {product_name: x}}", `CodisProxy.codis.io "bad" is invalid: spec.config: Invalid value: config must not set product_name, product_auth, session_auth, admin_addr, proxy_addr, proto_type or jodis_*: the operator decides these; the clients' password comes from sessionAuthSecretRef, and where proxies register from jodis`},
		"a login in the proxy's config":    {proxy + "config: {jodis_auth: user}}", `CodisProxy.codis.io "bad" is invalid: spec.config: Invalid value: config must not set product_name, product_auth, session_auth, admin_addr, proxy_addr, proto_type or jodis_*: the operator decides these; the clients' password comes from sessionAuthSecretRef, and where proxies register from jodis`},
		"a store that forgets no proxy":    {proxy + "jodis: {kind: Filesystem, endpoints: ['zk:2181']}}", `CodisProxy.codis.io "bad" is invalid: spec.jodis.kind: Invalid value: "Filesystem": jodis.kind must be ZooKeeper or Etcd: nothing else, and no Filesystem, removes the entry of a proxy that is gone`},
		"a URL as an endpoint":             {proxy + "jodis: {kind: Etcd, endpoints: ['http://e:2379']}}", `CodisProxy.codis.io "bad" is invalid: spec.jodis.endpoints[0]: Invalid value: "http://e:2379": an endpoint is host:port without http://, for example zk-0.example.com:2181`},
		"nowhere to register":              {proxy + "jodis: {kind: Etcd, endpoints: []}}", `CodisProxy.codis.io "bad" is invalid: spec.jodis.endpoints: Invalid value: 0: spec.jodis.endpoints in body should have at least 1 items`},
		"a quote in the proxy's config":    {proxy + `config: {proxy_datacenter: "a\"b"}}`, `CodisProxy.codis.io "bad" is invalid: spec.config[proxy_datacenter]: Invalid value: "a\"b": config values may have letters, digits and _ . : , / - only`},
		"a Service type that is none":      {proxy + "service: {type: ExternalName}}", `CodisProxy.codis.io "bad" is invalid: [spec.service.type: Unsupported value: "ExternalName": supported values: "ClusterIP", "NodePort", "LoadBalancer", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"fewer than no proxies":            {proxy + "replicas: -1}", `CodisProxy.codis.io "bad" is invalid: [spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0, .spec.replicas: Invalid value: -1: should be a non-negative integer]`},
		"an image policy that is none":     {cluster + "{imagePullPolicy: Sometimes}", `CodisCluster.codis.io "bad" is invalid: [spec.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
	}
}
