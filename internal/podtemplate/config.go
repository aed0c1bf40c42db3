// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/naming"
)

// ConfigFile is the file that the config writer writes into ConfigDir.
type ConfigFile struct {
	// Name of the file, and of the key in the ConfigMap.
	Name string
	// Format is toml or redis.
	Format string
	// ConfigMap with the template.
	ConfigMap string
	// Text of the template; a change of it rolls the pods.
	Text string
	// Secrets maps a setting to the Secret that holds its value.
	Secrets map[string]string
	// Logins maps a setting to the Secret that holds a login: a password and,
	// unless it is root, a user name.
	Logins map[string]string
	// Args for the config writer beside those.
	Args []string
	// Env that the arguments refer to.
	Env []corev1.EnvVar
	// Program of the operator's image that the main container runs, such as
	// /dashboard-keeper: the config writer leaves a copy in ProgramDir. Empty for none.
	Program string
	// Volume that the file is written to, at Dir, where the main container mounts it
	// itself. Empty for ConfigDir, which is in memory and goes with the pod.
	Volume, Dir string
}

// out is where the file is written.
func (f *ConfigFile) out() string {
	if f.Volume != "" {
		return f.Dir
	}
	return ConfigDir
}

// addConfig adds the init container that joins template and passwords into the
// file that the main container reads. It must be writable there, in place:
// codis-server rewrites it, and answers an error where it cannot.
func addConfig(template *corev1.PodTemplateSpec, p Pod) {
	spec := &template.Spec
	args := []string{
		"--format=" + p.Config.Format,
		"--template=" + templateDir + "/" + p.Config.Name,
		"--out=" + p.Config.out() + "/" + p.Config.Name,
	}
	written := cmp.Or(p.Config.Volume, configVolume)
	mounts := []corev1.VolumeMount{
		{Name: templateVolume, MountPath: templateDir, ReadOnly: true},
		{Name: written, MountPath: p.Config.out()},
	}
	spec.Volumes = append(spec.Volumes,
		corev1.Volume{Name: templateVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: p.Config.ConfigMap},
		}}})
	if written == configVolume {
		spec.Volumes = append(spec.Volumes, inMemory(configVolume))
		spec.Containers[0].VolumeMounts = append(spec.Containers[0].VolumeMounts, mounts[1])
	}
	for _, setting := range sortedKeys(p.Config.Secrets) {
		volume := "secret-" + strings.ReplaceAll(setting, "_", "-")
		args = append(args, "--secret="+setting+"="+secretsDir+"/"+setting+"/"+naming.PasswordKey)
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: secretsDir + "/" + setting, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: p.Config.Secrets[setting], Items: []corev1.KeyToPath{
				{Key: naming.PasswordKey, Path: naming.PasswordKey},
			}},
		}})
	}
	if p.Config.Program != "" {
		args = append(args, "--program="+p.Config.Program, "--install="+ProgramDir)
		mounts = append(mounts, addProgram(spec))
	}
	args = append(args, p.Config.Args...)
	for _, setting := range sortedKeys(p.Config.Logins) {
		volume := "login-" + strings.ReplaceAll(setting, "_", "-")
		args = append(args, "--login="+setting+"="+secretsDir+"/"+setting)
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: secretsDir + "/" + setting, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, login(volume, p.Config.Logins[setting]))
	}
	spec.InitContainers = append(spec.InitContainers, own(corev1.Container{
		Name:         ConfigContainer,
		Command:      []string{"/config-writer"},
		Args:         args,
		Env:          p.Config.Env,
		VolumeMounts: mounts,
	}, p.Images))
	hash, err := apply.Hash(p.Config.Text)
	if err == nil { // A string always has a JSON form.
		template.Annotations[v1alpha1.AnnotationConfig] = hash
	}
}

// addProgram has the main container share a directory with the config writer, and returns
// how that mounts it. It is on disk: in memory the program would count for the pod.
func addProgram(spec *corev1.PodSpec) corev1.VolumeMount {
	mount := corev1.VolumeMount{Name: programVolume, MountPath: ProgramDir}
	spec.Volumes = append(spec.Volumes, EmptyDir(programVolume))
	main := &spec.Containers[0]
	main.VolumeMounts = append(main.VolumeMounts, mount)
	main.VolumeMounts[len(main.VolumeMounts)-1].ReadOnly = true
	return mount
}

// inMemory is a small volume that reaches no disk.
func inMemory(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("1Mi")),
	}}}
}

// login mounts the keys of a login. They are optional to kubelet, since the user
// name is; the config writer tells of a password that is missing.
func login(volume, secret string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: secret, Optional: new(true), Items: []corev1.KeyToPath{
			{Key: naming.UsernameKey, Path: naming.UsernameKey}, {Key: naming.PasswordKey, Path: naming.PasswordKey},
		}},
	}}
}
