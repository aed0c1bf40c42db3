// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels that the operator puts on every object it makes. Selectors are built
// from the first three; they never change for a live object.
const (
	// LabelName is the recommended label for the name of the application.
	LabelName = "app.kubernetes.io/name"
	// LabelInstance carries the name of the custom resource that owns the object.
	LabelInstance = "app.kubernetes.io/instance"
	// LabelComponent tells the part: coordinator, dashboard, fe, sentinel, server or proxy.
	LabelComponent = "app.kubernetes.io/component"
	// LabelManagedBy is the recommended label for the managing tool.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// LabelDashboard carries the name of the CodisDashboard an object works for.
	LabelDashboard = "codis.io/dashboard"
	// LabelCluster carries the name of the CodisCluster that made a child.
	LabelCluster = "codis.io/cluster"
)

// Annotations.
const (
	// AnnotationApplied holds the hash of the object as the operator last
	// applied it; equal hashes and an undrifted object mean nothing to write.
	AnnotationApplied = "codis.io/applied"
	// AnnotationTemplate holds the hash of a pod template without the image of
	// the config writer, so that an operator upgrade restarts no pod.
	AnnotationTemplate = "codis.io/template"
	// AnnotationConfig holds the hash of the configuration a pod was started
	// with; a change of it rolls the pods.
	AnnotationConfig = "codis.io/config"
	// AnnotationPaused with the value "true" stops every act of the operator on
	// the object until it is removed.
	AnnotationPaused = "codis.io/paused"
	// AnnotationAcceptDataLoss on a CodisGroup names the member (a pod) that
	// shall become master although a safer choice may exist; it releases a hold.
	AnnotationAcceptDataLoss = "codis.io/accept-data-loss"
	// AnnotationSwitchOverTo on a CodisGroup names the member (a pod) that shall
	// become master at the next moment when that costs no client an error and
	// loses no write. It is removed when it is done.
	AnnotationSwitchOverTo = "codis.io/switch-over-to"
	// AnnotationRebalance on a CodisDashboard with the value "now" carries out the
	// plan of a rebalance whose policy is Manual. It is removed when it is done.
	AnnotationRebalance = "codis.io/rebalance"
)

// Finalizer keeps an object until what it left in a dashboard is cleaned.
const Finalizer = "codis.io/cleanup"

// ConditionOnline is the readiness gate of proxy pods: true once the proxy
// answers "online": true, which a TCP connect does not tell.
const ConditionOnline = "codis.io/online"
