// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package world runs the real reconcilers of all kinds, by hand and in rounds,
// against a Kubernetes cluster with Codis in one process (internal/fixture). It
// holds them to the invariants of the design: crashes after every call, emptied
// members, lost stores, stale caches, deletion.
package world
