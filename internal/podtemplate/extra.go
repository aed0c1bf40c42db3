// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Extra are the settings of a pod that have no schema in our API.
type Extra struct {
	Affinity                  *corev1.Affinity
	TopologySpreadConstraints []corev1.TopologySpreadConstraint
	Env                       []corev1.EnvVar
	Volumes                   []corev1.Volume
	VolumeMounts              []corev1.VolumeMount
	Containers                []corev1.Container
}

// Decode reads the settings that have no schema, and refuses a field that a pod
// does not have.
func Decode(s *v1alpha1.PodSettings) (Extra, error) {
	extra, errs := DecodeAt(s, field.NewPath("spec", "pod"))
	return extra, errs.ToAggregate()
}

// DecodeAt is Decode for settings at a given path of an object.
func DecodeAt(s *v1alpha1.PodSettings, path *field.Path) (Extra, field.ErrorList) {
	var extra Extra
	var errs field.ErrorList
	if s.Affinity != nil {
		extra.Affinity = &corev1.Affinity{}
		errs = append(errs, decode(s.Affinity.Raw, extra.Affinity, path.Child("affinity"))...)
	}
	errs = append(errs, decodeList(s.TopologySpreadConstraints, &extra.TopologySpreadConstraints,
		path.Child("topologySpreadConstraints"))...)
	errs = append(errs, decodeList(s.Env, &extra.Env, path.Child("env"))...)
	errs = append(errs, decodeList(s.Volumes, &extra.Volumes, path.Child("volumes"))...)
	errs = append(errs, decodeList(s.VolumeMounts, &extra.VolumeMounts, path.Child("volumeMounts"))...)
	return extra, append(errs, decodeList(s.Containers, &extra.Containers, path.Child("containers"))...)
}

func decodeList[T any](raws []runtime.RawExtension, into *[]T, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, raw := range raws {
		var item T
		errs = append(errs, decode(raw.Raw, &item, path.Index(i))...)
		*into = append(*into, item)
	}
	return errs
}

func decode(raw []byte, into any, path *field.Path) field.ErrorList {
	strict, err := json.UnmarshalStrict(raw, into)
	if err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, err.Error())}
	}
	var errs field.ErrorList
	for _, problem := range strict {
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, problem.Error()+": write it as in a pod"))
	}
	return errs
}
