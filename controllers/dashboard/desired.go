// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/network"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
)

const (
	storeVolume = "topology"
	storeDir    = "/var/lib/codis"
	confFile    = "dashboard.toml"
	// keeper is the program that runs the dashboard, and starts it again.
	keeper = "/dashboard-keeper"
)

func objectMeta(d *v1alpha1.CodisDashboard, component, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: d.Namespace,
		Name:      name,
		Labels:    naming.Labels(component, d.Name, d.Name),
	}
}

func dashboardMeta(d *v1alpha1.CodisDashboard) metav1.ObjectMeta {
	return objectMeta(d, naming.ComponentDashboard, naming.Dashboard(d.Name))
}

// service gives the dashboard its name. It is published before it is ready:
// the dashboard must resolve its own name to start.
func service(d *v1alpha1.CodisDashboard) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: dashboardMeta(d),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 naming.Selector(naming.ComponentDashboard, d.Name),
			Ports: []corev1.ServicePort{
				{Name: "admin", Port: naming.PortDashboard, TargetPort: intstr.FromString("admin")},
			},
		},
	}
}

func configText(d *v1alpha1.CodisDashboard, kept store) string {
	return config.Dashboard(product.Name(d), kept.Store, naming.PortDashboard, d.Spec.Migration, d.Spec.Sentinel)
}

func configMap(d *v1alpha1.CodisDashboard, kept store) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: dashboardMeta(d), Data: map[string]string{confFile: configText(d, kept)}}
}

// statefulSet runs the one dashboard. A StatefulSet never runs two pods of one
// name, so the lock that a killed dashboard leaves behind is nobody's and is
// removed at start; two dashboards at once would each believe to be the only one.
// In a store that others reach, the config writer sees first that it is its own, and the
// keeper does so again before each start.
func statefulSet(
	d *v1alpha1.CodisDashboard, kept store, domain naming.Domain,
	images podtemplate.Images, live *appsv1.StatefulSet,
) (*appsv1.StatefulSet, error) {
	pod := podtemplate.Pod{
		Component: naming.ComponentDashboard,
		Instance:  d.Name,
		Dashboard: d.Name,
		Settings:  d.Spec.Component,
		Images:    images,
		Container: corev1.Container{
			Name:         naming.ComponentDashboard,
			Command:      command(d, kept, domain),
			Ports:        []corev1.ContainerPort{{Name: "admin", ContainerPort: naming.PortDashboard}},
			VolumeMounts: []corev1.VolumeMount{{Name: storeVolume, MountPath: storeDir}},
			// The lock is held only when /topom/stats answers; /topom/model always does.
			ReadinessProbe: podtemplate.HTTPProbe("/topom/stats", naming.PortDashboard, 1, 3),
			LivenessProbe:  podtemplate.HungProbe("/topom/model", naming.PortDashboard),
			WorkingDir:     storeDir,
		},
		Config: &podtemplate.ConfigFile{
			Name: confFile, Format: string(config.TOML), ConfigMap: naming.Dashboard(d.Name), Text: configText(d, kept),
			Secrets: map[string]string{"product_auth": product.AuthSecret(d)},
			Program: keeper,
			Args:    lockArgs(d, kept, domain),
		},
		GracePeriodSeconds: 10,
	}
	if kept.login != "" {
		pod.Config.Logins = map[string]string{"coordinator_auth": kept.login}
	}
	if kept.storage == nil {
		pod.Volumes = []corev1.Volume{podtemplate.EmptyDir(storeVolume)}
	}
	template, err := podtemplate.Template(pod, podtemplate.LiveOf(live))
	if err != nil {
		return nil, err
	}
	if kept.shared() {
		leaveLostNodes(&template.Spec)
	}
	return &appsv1.StatefulSet{
		ObjectMeta: dashboardMeta(d),
		Spec: appsv1.StatefulSetSpec{
			Replicas:             new(int32(1)),
			ServiceName:          naming.Dashboard(d.Name),
			Selector:             &metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentDashboard, d.Name)},
			Template:             template,
			VolumeClaimTemplates: podtemplate.Claims(storeVolume, kept.storage),
			RevisionHistoryLimit: new(int32(3)),

			PersistentVolumeClaimRetentionPolicy: podtemplate.Retention(kept.storage),
		},
	}, nil
}

// command runs the dashboard under its keeper.
func command(d *v1alpha1.CodisDashboard, kept store, domain naming.Domain) []string {
	const file = podtemplate.ConfigDir + "/" + confFile
	addr := domain.DashboardAddr(d.Namespace, d.Name)
	host, _, _ := strings.Cut(addr, ":")
	keep := []string{
		podtemplate.ProgramDir + keeper, "--addr=127.0.0.1:" + strconv.Itoa(naming.PortDashboard), "--host=" + host,
	}
	if lock := lockArgs(d, kept, domain); lock != nil {
		keep = append(append(keep, lock...), "--login-in="+file, "--record="+podtemplate.ConfigDir+"/runs")
	}
	return append(keep, "--", "codis-dashboard", "--config="+file, "--host-admin="+addr, "--remove-lock")
}

// lockArgs say which lock is to be looked at before the dashboard takes it; nil where
// nobody else can reach it, as in a directory of its own.
func lockArgs(d *v1alpha1.CodisDashboard, kept store, domain naming.Domain) []string {
	if !kept.shared() {
		return nil
	}
	args := []string{
		"--lock-store=" + kept.Name, "--lock-addr=" + kept.Addr, "--lock-product=" + product.Name(d),
		"--lock-holder=" + domain.DashboardAddr(d.Namespace, d.Name),
	}
	if kept.foreign {
		args = append(args, "--lock-foreign")
	}
	return args
}

// networkPolicy lets only the product, the web pages of the namespace and the
// operator in: whoever reaches a dashboard administers its product.
func networkPolicy(d *v1alpha1.CodisDashboard, operator string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: dashboardMeta(d),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: naming.Selector(naming.ComponentDashboard, d.Name)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				network.Allow(naming.PortDashboard,
					network.Product(d.Name), network.Component(naming.ComponentFE), network.Operator(operator)),
			},
		},
	}
}
