// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package envtest runs the operator's manager, with its webhooks and with the
// cache that cmd gives it, against a real kube-apiserver and etcd. What nodes and
// the controllers of Kubernetes do is played by internal/fixture.
package envtest
