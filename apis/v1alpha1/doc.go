// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the types of the API group codis.io, version
// v1alpha1. It owns field names, defaults that need no other object, and the
// vocabulary of conditions, labels and annotations. It refuses behaviour: it
// imports nothing of this project and talks to nobody.
//
// +kubebuilder:object:generate=true
// +groupName=codis.io
package v1alpha1
