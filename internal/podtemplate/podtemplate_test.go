// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
)

var update = flag.Bool("update", false, "write the golden files")

var installedImages = Images{Codis: "codis:1", ConfigWriter: "operator:1"}

// proxyPod is a pod with everything that a component may ask for.
func proxyPod() Pod {
	return Pod{
		Component: naming.ComponentProxy, Instance: "p", Dashboard: "d", Images: installedImages,
		Container: corev1.Container{
			Name: naming.ComponentProxy, Command: []string{"codis-proxy"},
			Env:            []corev1.EnvVar{{Name: "POD_IP", Value: "x"}},
			VolumeMounts:   []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			ReadinessProbe: HTTPProbe("/proxy/model", naming.PortProxyAdmin, 2, 3),
			LivenessProbe:  TCPProbe(naming.PortProxy, 10, 6),
		},
		Config: &ConfigFile{
			Name: "proxy.toml", Format: "toml", ConfigMap: "p-proxy", Text: "x = 1\n",
			Secrets: map[string]string{"session_auth": "session", "product_auth": "product"},
		},
		Volumes:            []corev1.Volume{{Name: "data"}},
		ReadinessGates:     []corev1.PodReadinessGate{{ConditionType: v1alpha1.ConditionOnline}},
		GracePeriodSeconds: 30,
	}
}

func template(t *testing.T, p Pod, live *corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	t.Helper()
	got, err := Template(p, live)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func raw(text string) runtime.RawExtension { return runtime.RawExtension{Raw: []byte(text)} }

func userSettings() *v1alpha1.PodSettings {
	return &v1alpha1.PodSettings{
		Labels:             map[string]string{"team": "storage", v1alpha1.LabelInstance: "stolen"},
		Annotations:        map[string]string{"scrape": "true", v1alpha1.AnnotationConfig: "stolen"},
		NodeSelector:       map[string]string{"disk": "ssd"},
		Tolerations:        []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}},
		Affinity:           new(raw(`{"nodeAffinity":{}}`)),
		PriorityClassName:  "high",
		SchedulerName:      "own",
		ServiceAccountName: "account",
		ImagePullSecrets:   []corev1.LocalObjectReference{{Name: "registry"}},
		Env:                []runtime.RawExtension{raw(`{"name":"TZ","value":"UTC"}`)},
		Volumes:            []runtime.RawExtension{raw(`{"name":"extra","emptyDir":{}}`)},
		VolumeMounts:       []runtime.RawExtension{raw(`{"name":"extra","mountPath":"/extra"}`)},
		Containers:         []runtime.RawExtension{raw(`{"name":"sidecar","image":"s:1"}`)},
		TopologySpreadConstraints: []runtime.RawExtension{
			raw(`{"maxSkew":2,"topologyKey":"rack","whenUnsatisfiable":"DoNotSchedule"}`),
		},
	}
}

func TestTemplateAsItIsBuilt(t *testing.T) {
	settled := proxyPod()
	settled.Settings = v1alpha1.Component{
		Image: "own:1", ImagePullPolicy: corev1.PullAlways, Pod: userSettings(),
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}},
	}
	for name, p := range map[string]Pod{"default": proxyPod(), "settings": settled} {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(template(t, p, nil))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (go test ./internal/podtemplate -update writes it):\n%s", file, diff)
			}
		})
	}
}

// An operator that is upgraded brings other images; no pod may restart for it.
func TestInvariant7UpgradeOfTheOperatorChangesNoTemplate(t *testing.T) {
	p := proxyPod()
	live := template(t, p, nil)
	p.Images = Images{Codis: "codis:2", ConfigWriter: "operator:2"}
	if diff := cmp.Diff(live, template(t, p, &live)); diff != "" {
		t.Error(diff)
	}
}

func TestChangesOfTheTemplateBringTheNewImages(t *testing.T) {
	tests := map[string]struct {
		change                func(p *Pod)
		wantCodis, wantWriter string
	}{
		"the configuration changed": {func(p *Pod) { p.Config.Text = "x = 2\n" }, "codis:2", "operator:2"},
		"the resources changed": {
			func(p *Pod) {
				p.Settings.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
			}, "codis:2", "operator:2",
		},
		"the user chose an image": {func(p *Pod) { p.Settings.Image = "own:1" }, "own:1", "operator:2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := proxyPod()
			live := template(t, p, nil)
			p.Images = Images{Codis: "codis:2", ConfigWriter: "operator:2"}
			tt.change(&p)
			got := template(t, p, &live)
			images := []string{got.Spec.Containers[0].Image, got.Spec.InitContainers[0].Image}
			if diff := cmp.Diff([]string{tt.wantCodis, tt.wantWriter}, images); diff != "" {
				t.Error(diff)
			}
			if got.Annotations[v1alpha1.AnnotationTemplate] == live.Annotations[v1alpha1.AnnotationTemplate] {
				t.Error("the hash is the same")
			}
		})
	}
}

func TestImageOfTheUserIsNeverKept(t *testing.T) {
	p := proxyPod()
	p.Settings.Image = "own:1"
	live := template(t, p, nil)
	p.Settings.Image = "own:2"
	if got := template(t, p, &live).Spec.Containers[0].Image; got != "own:2" {
		t.Errorf("got %s", got)
	}
}

func TestTemplateWithAContainerTakenOutByHandIsRepaired(t *testing.T) {
	p := proxyPod()
	live := template(t, p, nil)
	live.Spec.InitContainers = nil
	got := template(t, p, &live)
	if diff := cmp.Diff("operator:1", got.Spec.InitContainers[0].Image); diff != "" {
		t.Error(diff)
	}
}

func TestHashIsStable(t *testing.T) {
	want := template(t, proxyPod(), nil).Annotations[v1alpha1.AnnotationTemplate]
	for range 20 {
		if got := template(t, proxyPod(), nil).Annotations[v1alpha1.AnnotationTemplate]; got != want {
			t.Fatalf("the hash is %s, and %s another time", want, got)
		}
	}
	p := proxyPod()
	p.Settings.Pod = &v1alpha1.PodSettings{}
	if got := template(t, p, nil).Annotations[v1alpha1.AnnotationTemplate]; got != want {
		t.Error("empty settings change the hash")
	}
}

// What the restricted Pod Security Standard asks for.
func TestEveryContainerIsRestricted(t *testing.T) {
	spec := template(t, proxyPod(), nil).Spec
	if s := spec.SecurityContext; !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v", s)
	}
	if *spec.AutomountServiceAccountToken {
		t.Error("the token of the account is mounted")
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		s := c.SecurityContext
		if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Contains(s.Capabilities.Drop, "ALL") {
			t.Errorf("%s: %+v", c.Name, s)
		}
	}
}

func TestPasswordsAreInFilesOnly(t *testing.T) {
	spec := template(t, proxyPod(), nil).Spec
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, env := range c.Env {
			if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
				t.Errorf("%s has %s from a Secret", c.Name, env.Name)
			}
		}
	}
	for _, mount := range spec.Containers[0].VolumeMounts {
		if strings.HasPrefix(mount.Name, "secret-") {
			t.Errorf("the main container mounts %s", mount.Name)
		}
	}
	want := []string{
		"--format=toml", "--template=/etc/codis/template/proxy.toml", "--out=/run/codis/proxy.toml",
		"--secret=product_auth=/etc/codis/secrets/product_auth/password",
		"--secret=session_auth=/etc/codis/secrets/session_auth/password",
	}
	if diff := cmp.Diff(want, spec.InitContainers[0].Args); diff != "" {
		t.Error(diff)
	}
}

func TestTemplateRefusesSettingsThatNoPodHas(t *testing.T) {
	p := proxyPod()
	p.Settings.Pod = &v1alpha1.PodSettings{Env: []runtime.RawExtension{raw(`{"nam":"TZ"}`)}}
	_, err := Template(p, nil)
	if err == nil || !strings.Contains(err.Error(), "spec.pod.env[0]") || !strings.Contains(err.Error(), "nam") {
		t.Errorf("got %v", err)
	}
}

func TestClaimsAndRetention(t *testing.T) {
	if Claims("data", nil) != nil {
		t.Error("volumes without storage")
	}
	storage := &v1alpha1.Storage{Size: resource.MustParse("5Gi"), StorageClassName: new("ssd")}
	claim := Claims("data", storage)[0]
	if got := claim.Spec.Resources.Requests[corev1.ResourceStorage]; claim.Name != "data" || got.String() != "5Gi" ||
		*claim.Spec.StorageClassName != "ssd" || claim.Spec.AccessModes[0] != corev1.ReadWriteOnce {
		t.Errorf("%+v", claim)
	}
	keep := appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	tests := map[string]struct {
		storage *v1alpha1.Storage
		want    appsv1.PersistentVolumeClaimRetentionPolicyType
	}{
		"kept by default":     {storage, keep},
		"kept without any":    {nil, keep},
		"kept if asked for":   {&v1alpha1.Storage{ReclaimPolicy: v1alpha1.ReclaimRetain}, keep},
		"deleted if asked to": {&v1alpha1.Storage{ReclaimPolicy: v1alpha1.ReclaimDelete}, appsv1.DeletePersistentVolumeClaimRetentionPolicyType},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Retention(tt.storage)
			if got.WhenDeleted != tt.want || got.WhenScaled != keep {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestLiveTemplates(t *testing.T) {
	if LiveOf(nil) != nil || LiveOfDeployment(nil) != nil {
		t.Error("there is a template of nothing")
	}
	set, deployment := &appsv1.StatefulSet{}, &appsv1.Deployment{}
	if LiveOf(set) != &set.Spec.Template || LiveOfDeployment(deployment) != &deployment.Spec.Template {
		t.Error("it is another template")
	}
}
