// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
)

// LocalReference names an object of the same namespace.
type LocalReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// SecretReference names a Secret of the same namespace that holds a password
// under the key "password".
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// ReclaimPolicy says what becomes of volumes, or of a topology, when their owner is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type ReclaimPolicy string

// Reclaim policies.
const (
	// ReclaimRetain keeps them; a namesake made later finds what was in them.
	ReclaimRetain ReclaimPolicy = "Retain"
	// ReclaimDelete deletes them with their owner.
	ReclaimDelete ReclaimPolicy = "Delete"
)

// Storage asks for a persistent volume for each pod.
type Storage struct {
	// size of each volume, for example 10Gi.
	// +required
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="storage.size must be greater than 0, for example 10Gi"
	Size resource.Quantity `json:"size"`

	// storageClassName of the volumes. Default: the default class of the Kubernetes cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	StorageClassName *string `json:"storageClassName,omitempty"`

	// reclaimPolicy says what becomes of the volumes when this object is deleted:
	// Retain keeps them, and a namesake made later finds its data; Delete
	// deletes them. Volumes of members that are scaled away are always kept.
	// +optional
	// +kubebuilder:default=Retain
	ReclaimPolicy ReclaimPolicy `json:"reclaimPolicy,omitempty"`
}

// Component holds what every kind of pod can be given.
type Component struct {
	// image with the Codis 3.2 binaries on its PATH. Default: the image of the
	// CodisCluster, else the one that the operator was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// imagePullPolicy of the container: Always, IfNotPresent or Never. Default: IfNotPresent.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// resources of the container. Equal requests and limits give the pod
	// guaranteed quality of service.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`

	// pod holds settings of the pod that are merged in last.
	// +optional
	Pod *PodSettings `json:"pod,omitempty"`
}

// PodSettings is a chosen set of pod fields. They are merged into the pod that
// the operator builds, after everything else. The fields marked "as in a pod"
// have no schema here, which would make this one too large; a field that a pod
// does not have is refused all the same.
type PodSettings struct {
	// labels added to the pod. Labels that the operator selects by cannot be overridden.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// annotations added to the pod.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// nodeSelector that a node must match.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// tolerations of the pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// affinity of the pod, as in a pod.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Affinity *runtime.RawExtension `json:"affinity,omitempty"`

	// topologySpreadConstraints of the pod, as in a pod. Default: members of the
	// same object prefer different nodes and zones.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:items:XPreserveUnknownFields
	// +kubebuilder:validation:MaxItems=32
	TopologySpreadConstraints []runtime.RawExtension `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName of the pod.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// schedulerName that places the pod. Default: the default scheduler.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SchedulerName string `json:"schedulerName,omitempty"`

	// serviceAccountName of the pod. Default: the namespace's default account.
	// Its token is never mounted.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// imagePullSecrets for the images of the pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// env adds environment variables to the main container, as in a pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:items:XPreserveUnknownFields
	// +kubebuilder:validation:MaxItems=32
	Env []runtime.RawExtension `json:"env,omitempty"`

	// volumes added to the pod, as in a pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:items:XPreserveUnknownFields
	// +kubebuilder:validation:MaxItems=32
	Volumes []runtime.RawExtension `json:"volumes,omitempty"`

	// volumeMounts added to the main container, as in a pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:items:XPreserveUnknownFields
	// +kubebuilder:validation:MaxItems=32
	VolumeMounts []runtime.RawExtension `json:"volumeMounts,omitempty"`

	// containers added to the pod beside the main one, as in a pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:items:XPreserveUnknownFields
	// +kubebuilder:validation:MaxItems=32
	Containers []runtime.RawExtension `json:"containers,omitempty"`
}

// ServiceSettings shapes a Service that clients use.
type ServiceSettings struct {
	// type of the Service: ClusterIP, NodePort or LoadBalancer.
	// +optional
	// +kubebuilder:default=ClusterIP
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	Type corev1.ServiceType `json:"type,omitempty"`

	// annotations added to the Service.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}
