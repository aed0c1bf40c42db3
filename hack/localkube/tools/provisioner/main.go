// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command provisioner makes the volumes of a local cluster's default StorageClass: each is a directory below its node's
// directory. All nodes' directories are on one machine, so one process beside the control plane makes them all, and no
// helper pods are needed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "provisioner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the cluster")
	name := flag.String("name", "localkube.codis.io/local-path", "the provisioner's name, which StorageClasses refer to")
	nodes := flag.String("nodes-dir", "", "the directory which has one directory for each node")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	go expandVolumes(ctx, client, *name)
	provisioner := controller.NewProvisionController(ctx, client, *name, directories{nodes: *nodes},
		controller.LeaderElection(false), controller.FailedProvisionThreshold(0), controller.FailedDeleteThreshold(0))
	provisioner.Run(ctx)
	return nil
}

// directories provisions a directory for each volume.
type directories struct {
	nodes string
}

func (d directories) path(node, volume string) string {
	return filepath.Join(d.nodes, node, "volumes", volume)
}

// Provision makes the directory on the node the scheduler chose, open to whatever user the pod runs as.
func (d directories) Provision(_ context.Context, o controller.ProvisionOptions) (
	*v1.PersistentVolume, controller.ProvisioningState, error,
) {
	if o.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, errors.New("the StorageClass must wait for the first consumer")
	}
	path := d.path(o.SelectedNodeName, o.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // the umask may have closed it
		return nil, controller.ProvisioningFinished, err
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
			NodeAffinity:                  onNode(o.SelectedNodeName),
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the volume's directory and all in it.
func (d directories) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "it is not a local volume"}
	}
	inside, err := filepath.Match(d.path("*", "*"), volume.Spec.Local.Path)
	if err != nil || !inside {
		return fmt.Errorf("the path %s is not one this provisioner made", volume.Spec.Local.Path)
	}
	return os.RemoveAll(volume.Spec.Local.Path)
}

func onNode(name string) *v1.VolumeNodeAffinity {
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchExpressions: []v1.NodeSelectorRequirement{{
			Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{name},
		}},
	}}}}
}
