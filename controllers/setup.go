// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package controllers registers the reconcilers of all kinds with a manager.
package controllers

import (
	"fmt"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/codis-io/codis-operator/controllers/cluster"
	"github.com/codis-io/codis-operator/controllers/coordinator"
	"github.com/codis-io/codis-operator/controllers/dashboard"
	"github.com/codis-io/codis-operator/controllers/group"
	"github.com/codis-io/codis-operator/controllers/proxy"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

// Options are what the operator was installed with.
type Options struct {
	Images podtemplate.Images
	// Domain of the Kubernetes cluster, for example cluster.local.
	Domain naming.Domain
	// Namespace that the operator runs in; empty if it is not known.
	Namespace string
}

// Setup registers every reconciler.
func Setup(mgr ctrl.Manager, o Options) error {
	recorder := mgr.GetEventRecorder(naming.Operator)
	reconcilers := map[string]interface{ SetupWithManager(ctrl.Manager) error }{
		"cluster":     &cluster.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder},
		"coordinator": &coordinator.Reconciler{Client: mgr.GetClient(), Recorder: recorder},
		"dashboard": &dashboard.Reconciler{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Images: o.Images, Domain: o.Domain,
			Namespace: o.Namespace,
		},
		"group": &group.Reconciler{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{},
			Images: o.Images, Domain: o.Domain, Namespace: o.Namespace,
		},
		"proxy": &proxy.Reconciler{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{},
			Images: o.Images, Domain: o.Domain, Namespace: o.Namespace,
		},
	}
	for name, r := range reconcilers {
		if err := r.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return nil
}
