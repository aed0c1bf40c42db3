// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ProxyValue is the value of a setting of proxy.toml.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_.:,/-]+$')",message="config values may have letters, digits and _ . : , / - only"
type ProxyValue string

// CodisProxyTemplate is what a user chooses about the proxies.
type CodisProxyTemplate struct {
	Component `json:",inline"`

	// replicas is the number of proxies. With autoscaling it is where the number
	// begins, and then what the autoscaler makes of it.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	Replicas *int32 `json:"replicas,omitempty"`

	// autoscaling lets the number of proxies follow their load. Default: none.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`

	// service through which clients reach the proxies, on port 19000.
	// +optional
	Service ServiceSettings `json:"service,omitempty"`

	// sessionAuthSecretRef names the Secret with the password that clients must
	// send (Codis calls it session_auth), under the key "password". Default: none.
	// +optional
	SessionAuthSecretRef *SecretReference `json:"sessionAuthSecretRef,omitempty"`

	// jodis has the proxies register themselves where clients that speak Jodis look for
	// them. A change restarts the proxies. Default: they do not.
	// +optional
	Jodis *Jodis `json:"jodis,omitempty"`

	// config adds settings to proxy.toml, for example {"proxy_max_clients": "10000"}.
	// What the operator decides (addresses, product, passwords) cannot be set here.
	// A change restarts the proxies, one after another.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 64 && k.matches('^[a-z][a-z0-9_]*$'))",message="config keys are settings of proxy.toml, for example proxy_max_clients"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['product_name','product_auth','session_auth','admin_addr','proxy_addr','proto_type'] || k.startsWith('jodis_')))",message="config must not set product_name, product_auth, session_auth, admin_addr, proxy_addr, proto_type or jodis_*: the operator decides these; the clients' password comes from sessionAuthSecretRef, and where proxies register from jodis"
	Config map[string]ProxyValue `json:"config,omitempty"`

	// rollout bounds how many proxies are replaced at a time.
	// +optional
	Rollout *Rollout `json:"rollout,omitempty"`

	// drainSeconds is how long a proxy that shall stop goes on serving the clients
	// that are connected to it, while new ones are sent to others. It stops earlier
	// when no client is left. A change restarts the proxies. Default: 10.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	DrainSeconds *int32 `json:"drainSeconds,omitempty"`
}

// Autoscaling lets a HorizontalPodAutoscaler choose the number of proxies. By CPU, as
// it does by default, it needs a metrics server, and a request of CPU in resources.
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",message="autoscaling.minReplicas must not be more than autoscaling.maxReplicas"
type Autoscaling struct {
	// minReplicas is the least number of proxies. Default: 2.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// maxReplicas is the greatest number of proxies.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	MaxReplicas int32 `json:"maxReplicas"`

	// targetCPUUtilizationPercentage is how much of the CPU that they request the
	// proxies shall use on average. Default: 70 where there are no metrics, else CPU
	// does not count.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	TargetCPUUtilizationPercentage *int32 `json:"targetCPUUtilizationPercentage,omitempty"`

	// metrics that the number of proxies follows, beside targetCPUUtilizationPercentage
	// if that is set, as in a HorizontalPodAutoscaler; of several the one that wants
	// most proxies counts. Others than Resource and ContainerResource need something in
	// the cluster that serves custom.metrics.k8s.io or external.metrics.k8s.io, such
	// as an adapter of Prometheus.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(m, m.type in ['Resource','ContainerResource','Pods','Object','External'] && has(m.resource) == (m.type == 'Resource') && has(m.containerResource) == (m.type == 'ContainerResource') && has(m.pods) == (m.type == 'Pods') && has(m.object) == (m.type == 'Object') && has(m.external) == (m.type == 'External'))",message="autoscaling.metrics: each needs a type of Resource, ContainerResource, Pods, Object or External, and the one source that the type names, for example {type: Pods, pods: {...}}"
	Metrics []autoscalingv2.MetricSpec `json:"metrics,omitempty"`

	// behavior bounds how fast the number of proxies grows and shrinks, as in a
	// HorizontalPodAutoscaler. Default: what Kubernetes does, which adds proxies at
	// once and takes them away after five minutes of less load.
	// +optional
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
}

// Rollout bounds a rolling update.
// +kubebuilder:validation:XValidation:rule="!(has(self.maxSurge) && has(self.maxUnavailable) && string(self.maxSurge).matches('^0%?$') && string(self.maxUnavailable).matches('^0%?$'))",message="rollout.maxSurge and rollout.maxUnavailable must not both be 0: no proxy could ever be replaced"
type Rollout struct {
	// maxSurge is how many proxies may run beyond replicas, as a number or a percentage. Default: 1.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="string(self).matches('^[0-9]{1,3}%?$')",message="rollout.maxSurge must be a number or a percentage, for example 1 or 25%"
	MaxSurge *intstr.IntOrString `json:"maxSurge,omitempty"`

	// maxUnavailable is how many proxies may be missing, as a number or a percentage.
	// Default: 1, and 0 of a single proxy unless maxSurge is 0.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="string(self).matches('^[0-9]{1,3}%?$')",message="rollout.maxUnavailable must be a number or a percentage, for example 1 or 25%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// JodisKind is what proxies register in.
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self in ['ZooKeeper','Etcd']",message="jodis.kind must be ZooKeeper or Etcd: nothing else, and no Filesystem, removes the entry of a proxy that is gone"
type JodisKind string

// Kinds of stores that proxies register in.
const (
	// JodisZooKeeper is a ZooKeeper.
	JodisZooKeeper JodisKind = "ZooKeeper"
	// JodisEtcd is an etcd up to 3.5 with its v2 API switched on.
	JodisEtcd JodisKind = "Etcd"
)

// JodisLayout tells under which paths proxies register.
// +kubebuilder:validation:Enum=Jodis;Codis2
type JodisLayout string

// Layouts of entries.
const (
	// JodisLayoutJodis is /jodis/PRODUCT/proxy-TOKEN.
	JodisLayoutJodis JodisLayout = "Jodis"
	// JodisLayoutCodis2 is /zk/codis/db_PRODUCT/proxy/TOKEN, as of Codis 2.
	JodisLayoutCodis2 JodisLayout = "Codis2"
)

// Jodis is where proxies register: an entry each, which goes with its proxy. Clients of
// Jodis find the addresses of pods there, and do without the Service.
type Jodis struct {
	// kind of the servers: ZooKeeper, or Etcd, up to 3.5 and with --enable-v2 since
	// Codis speaks nothing newer.
	// +required
	Kind JodisKind `json:"kind"`

	// endpoints as host:port, for example zk-0.example.com:2181. Codis speaks plain
	// HTTP to etcd, without TLS. All of them must belong to one ensemble.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?:[0-9]{1,5}$')",message="an endpoint is host:port without http://, for example zk-0.example.com:2181"
	Endpoints []string `json:"endpoints"`

	// authSecretRef names the Secret with the login: the keys "password" and
	// "username" (default: root). Default: no login.
	// +optional
	AuthSecretRef *SecretReference `json:"authSecretRef,omitempty"`

	// timeoutSeconds is how long the entry of a proxy that was killed stays. Default: 20,
	// that of Codis.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=600
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`

	// layout of the entries: Jodis, for clients of Codis 3, or Codis2, for older ones.
	// Default: Jodis.
	// +optional
	Layout JodisLayout `json:"layout,omitempty"`
}

// CodisProxySpec is the wanted state of a CodisProxy.
type CodisProxySpec struct {
	CodisProxyTemplate `json:",inline"`

	// dashboardRef names the CodisDashboard that the proxies belong to.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="dashboardRef is immutable: create a new CodisProxy instead"
	DashboardRef LocalReference `json:"dashboardRef"`
}

// CodisProxyStatus is what the operator saw last.
type CodisProxyStatus struct {
	// observedGeneration is the generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the proxies: Ready, Available, WorkloadReady, Registered.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// replicas is the number of proxy pods.
	// +optional
	Replicas int32 `json:"replicas"`

	// selector of the proxy pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`

	// online is the number of proxies that serve clients.
	// +optional
	Online int32 `json:"online"`

	// address of the Service that clients use.
	// +optional
	Address string `json:"address,omitempty"`

	// opsPerSecond over all proxies. Refreshed when it moved by a tenth, and then at most
	// twice a minute.
	// +optional
	OpsPerSecond int64 `json:"opsPerSecond"`

	// sessions is the number of client connections. Refreshed with opsPerSecond.
	// +optional
	Sessions int64 `json:"sessions"`

	// usageTime is when opsPerSecond and sessions were refreshed.
	// +optional
	UsageTime *metav1.Time `json:"usageTime,omitempty"`
}

// CodisProxy is a set of stateless proxies that clients connect to.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=cpx,categories=codis
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.spec.replicas`
// +kubebuilder:printcolumn:name="Online",type=integer,JSONPath=`.status.online`
// +kubebuilder:printcolumn:name="Ops",type=integer,JSONPath=`.status.opsPerSecond`
// +kubebuilder:printcolumn:name="Sessions",type=integer,JSONPath=`.status.sessions`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",message="metadata.name must be at most 40 characters, lower case letters, digits and '-', starting with a letter: other names are derived from it"
type CodisProxy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the wanted state.
	// +required
	Spec CodisProxySpec `json:"spec"`
	// status is what the operator saw last.
	// +optional
	Status CodisProxyStatus `json:"status,omitempty"`
}

// CodisProxyList is a list of CodisProxies.
// +kubebuilder:object:root=true
type CodisProxyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CodisProxy `json:"items"`
}
