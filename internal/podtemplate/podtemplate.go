// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package podtemplate assembles the pods of all components: what makes them
// safe, the init container that writes their configuration, and the user's
// settings merged in last. It refuses to know what runs inside.
package podtemplate

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/naming"
)

// ConfigDir is where the config writer puts the file a process reads.
const ConfigDir = "/run/codis"

// ProgramDir is where the main container finds a program of the operator's image.
const ProgramDir = "/run/program"

// ConfigContainer is the name of the init container with the config writer.
const ConfigContainer = "config"

const (
	configVolume   = "config"
	programVolume  = "program"
	templateVolume = "config-template"
	templateDir    = "/etc/codis/template"
	secretsDir     = "/etc/codis/secrets"
	// user that every process runs as; no file of the image needs to be written.
	user = int64(65532)
)

// Images are the images that the operator was installed with.
type Images struct {
	// Codis is the default image of every component.
	Codis string
	// Etcd is the default image of the members of an etcd.
	Etcd string
	// ZooKeeper is the default image of the members of a ZooKeeper.
	ZooKeeper string
	// ConfigWriter holds /config-writer, /member-gate and /dashboard-keeper: the operator's own.
	ConfigWriter string
}

// Pod is what is particular to a pod.
type Pod struct {
	Component string
	Instance  string
	Dashboard string

	// Settings of the user.
	Settings v1alpha1.Component
	Images   Images
	// Image of the main container unless the user chose one; empty for that of Codis.
	Image string
	// Container is the main container, without image, resources and security.
	Container corev1.Container
	// Gate is an init container that decides whether the main one may start,
	// without image, resources and security; nil for none.
	Gate *corev1.Container
	// Config that the container reads; nil for none.
	Config *ConfigFile
	// Volumes that the container mounts.
	Volumes []corev1.Volume
	// ReadinessGates beside the probes.
	ReadinessGates []corev1.PodReadinessGate
	// GracePeriodSeconds between SIGTERM and SIGKILL.
	GracePeriodSeconds int64
}

// Template assembles the pod template. Images that come from the installation
// and not from the user are kept as they are live when nothing else changed, so
// that an upgrade of the operator restarts no pod.
func Template(p Pod, live *corev1.PodTemplateSpec) (corev1.PodTemplateSpec, error) {
	template := build(p)
	if err := merge(&template, p); err != nil {
		return template, err
	}
	chosen := template.DeepCopy()
	for _, image := range installed(chosen, p) {
		*image = ""
	}
	hash, err := apply.Hash(chosen)
	if err != nil {
		return template, err
	}
	if live != nil && live.Annotations[v1alpha1.AnnotationTemplate] == hash {
		keepImages(installed(&template, p), installed(live.DeepCopy(), p))
	}
	template.Annotations[v1alpha1.AnnotationTemplate] = hash
	return template, nil
}

// keepImages takes over the images that are live. Their number differs only if
// somebody took a container out by hand.
func keepImages(images, live []*string) {
	if len(images) != len(live) {
		return
	}
	for i := range images {
		*images[i] = *live[i]
	}
}

// installed returns the images of a template that the user did not choose. Two
// templates with the same hash have the same containers.
func installed(template *corev1.PodTemplateSpec, p Pod) []*string {
	var images []*string
	for i := range template.Spec.InitContainers {
		images = append(images, &template.Spec.InitContainers[i].Image)
	}
	if p.Settings.Image == "" && len(template.Spec.Containers) > 0 {
		images = append(images, &template.Spec.Containers[0].Image)
	}
	return images
}

func build(p Pod) corev1.PodTemplateSpec {
	labels := naming.Labels(p.Component, p.Instance, p.Dashboard)
	main := p.Container
	main.Image = p.Settings.Image
	if main.Image == "" {
		main.Image = p.Image
	}
	if main.Image == "" {
		main.Image = p.Images.Codis
	}
	main.ImagePullPolicy = p.Settings.ImagePullPolicy
	if main.ImagePullPolicy == "" {
		main.ImagePullPolicy = corev1.PullIfNotPresent
	}
	main.Resources = p.Settings.Resources
	main.SecurityContext = restricted()
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			Containers:                    []corev1.Container{main},
			Volumes:                       p.Volumes,
			ReadinessGates:                p.ReadinessGates,
			TerminationGracePeriodSeconds: new(p.GracePeriodSeconds),
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:        new(true),
				RunAsUser:           new(user),
				RunAsGroup:          new(user),
				FSGroup:             new(user),
				FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			TopologySpreadConstraints: spread(p.Component, p.Instance),
		},
	}
	if p.Gate != nil {
		template.Spec.InitContainers = append(template.Spec.InitContainers, own(*p.Gate, p.Images))
	}
	if p.Config != nil {
		addConfig(&template, p)
	}
	return template
}

// own completes an init container that is the operator's own.
func own(c corev1.Container, images Images) corev1.Container {
	c.Image = images.ConfigWriter
	c.ImagePullPolicy = corev1.PullIfNotPresent
	c.SecurityContext = restricted()
	c.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
	return c
}

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// spread prefers different nodes and zones for the pods of an object.
func spread(component, instance string) []corev1.TopologySpreadConstraint {
	var constraints []corev1.TopologySpreadConstraint
	for _, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
		constraints = append(constraints, corev1.TopologySpreadConstraint{
			MaxSkew:           1,
			TopologyKey:       key,
			WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector:     &metav1.LabelSelector{MatchLabels: naming.Selector(component, instance)},
		})
	}
	return constraints
}

// merge puts the user's settings over the template.
func merge(template *corev1.PodTemplateSpec, p Pod) error {
	s := p.Settings.Pod
	if s == nil {
		return nil
	}
	template.Labels = over(template.Labels, s.Labels)
	template.Annotations = over(template.Annotations, s.Annotations)
	spec := &template.Spec
	spec.NodeSelector = s.NodeSelector
	spec.Tolerations = s.Tolerations
	spec.PriorityClassName = s.PriorityClassName
	spec.SchedulerName = s.SchedulerName
	spec.ServiceAccountName = s.ServiceAccountName
	spec.ImagePullSecrets = s.ImagePullSecrets
	extra, err := Decode(s)
	if err != nil {
		return err
	}
	spec.Affinity = extra.Affinity
	if extra.TopologySpreadConstraints != nil {
		spec.TopologySpreadConstraints = extra.TopologySpreadConstraints
	}
	spec.Volumes = append(spec.Volumes, extra.Volumes...)
	main := &spec.Containers[0]
	main.Env = append(main.Env, extra.Env...)
	main.VolumeMounts = append(main.VolumeMounts, extra.VolumeMounts...)
	spec.Containers = append(spec.Containers, extra.Containers...)
	return nil
}

// over adds the user's entries to ours, which win: selectors and rollouts depend
// on them.
func over(ours, user map[string]string) map[string]string {
	merged := map[string]string{}
	maps.Copy(merged, user)
	maps.Copy(merged, ours)
	return merged
}

// LiveOf returns the template of a live StatefulSet, nil for none.
func LiveOf(live *appsv1.StatefulSet) *corev1.PodTemplateSpec {
	if live == nil {
		return nil
	}
	return &live.Spec.Template
}

// LiveOfDeployment returns the template of a live Deployment, nil for none.
func LiveOfDeployment(live *appsv1.Deployment) *corev1.PodTemplateSpec {
	if live == nil {
		return nil
	}
	return &live.Spec.Template
}

// EmptyDir is a volume that goes with its pod.
func EmptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// Claims asks for a volume for each pod of a StatefulSet; none without storage.
func Claims(name string, storage *v1alpha1.Storage) []corev1.PersistentVolumeClaim {
	if storage == nil {
		return nil
	}
	return []corev1.PersistentVolumeClaim{{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: storage.StorageClassName,
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: storage.Size},
			},
		},
	}}
}

// Retention says what becomes of the volumes. Those of members that are scaled
// away are always kept.
func Retention(storage *v1alpha1.Storage) *appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy {
	policy := &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
		WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
		WhenScaled:  appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
	}
	if storage != nil && storage.ReclaimPolicy == v1alpha1.ReclaimDelete {
		policy.WhenDeleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	return policy
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
