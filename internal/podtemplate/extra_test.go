// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

func TestDecodeReadsSettingsAsInAPod(t *testing.T) {
	got, err := Decode(userSettings())
	if err != nil {
		t.Fatal(err)
	}
	want := Extra{
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
			{MaxSkew: 2, TopologyKey: "rack", WhenUnsatisfiable: corev1.DoNotSchedule},
		},
		Env: []corev1.EnvVar{{Name: "TZ", Value: "UTC"}},
		Volumes: []corev1.Volume{
			{Name: "extra", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "extra", MountPath: "/extra"}},
		Containers:   []corev1.Container{{Name: "sidecar", Image: "s:1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefusesWhatAPodDoesNotHave(t *testing.T) {
	list := func(items ...string) []runtime.RawExtension {
		var raws []runtime.RawExtension
		for _, item := range items {
			raws = append(raws, raw(item))
		}
		return raws
	}
	tests := map[string]struct {
		settings v1alpha1.PodSettings
		fields   []string
	}{
		"nothing is set":           {v1alpha1.PodSettings{}, nil},
		"a field with a typo":      {v1alpha1.PodSettings{Env: list(`{"name":"a"}`, `{"namme":"b"}`)}, []string{"at.env[1]"}},
		"a field in another case":  {v1alpha1.PodSettings{Env: list(`{"Name":"a"}`)}, []string{"at.env[0]"}},
		"a field that is twice":    {v1alpha1.PodSettings{Env: list(`{"name":"a","name":"b"}`)}, []string{"at.env[0]"}},
		"a value of another kind":  {v1alpha1.PodSettings{Volumes: list(`{"name":7}`)}, []string{"at.volumes[0]"}},
		"no object":                {v1alpha1.PodSettings{Containers: list(`"sidecar"`)}, []string{"at.containers[0]"}},
		"no JSON":                  {v1alpha1.PodSettings{VolumeMounts: list(`{`)}, []string{"at.volumeMounts[0]"}},
		"affinity with a typo":     {v1alpha1.PodSettings{Affinity: new(raw(`{"nodeAfinity":{}}`))}, []string{"at.affinity"}},
		"spreading with a typo":    {v1alpha1.PodSettings{TopologySpreadConstraints: list(`{"maxskew":1}`)}, []string{"at.topologySpreadConstraints[0]"}},
		"everything that is wrong": {v1alpha1.PodSettings{Env: list(`{"x":1,"y":2}`), Volumes: list(`{"z":1}`)}, []string{"at.env[0]", "at.env[0]", "at.volumes[0]"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, errs := DecodeAt(&tt.settings, field.NewPath("at"))
			var fields []string
			for _, err := range errs {
				fields = append(fields, err.Field)
			}
			if diff := cmp.Diff(tt.fields, fields); diff != "" {
				t.Errorf("%s\n%v", diff, errs.ToAggregate())
			}
		})
	}
}
