#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command against a cluster that has the images and the operator:
#   e2e.sh COMMAND...
# The cluster is removed afterwards, unless KEEP is set or it was up before.
# The command finds it through KUBECONFIG and PATH (kubectl), and through
# CLUSTER, CLUSTER_NAME and LOCALKUBE for what only the cluster can do, such as
# cutting off a node.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CLUSTER=${CLUSTER:-localkube} CLUSTER_NAME=${CLUSTER_NAME:-e2e} NODES=${NODES:-3}

if [[ -z ${KEEP:-} && ${CLUSTER} != current ]] && ! hack/cluster.sh kubectl version >/dev/null 2>&1; then
  trap 'hack/cluster.sh down' EXIT
fi
hack/demo/demo.sh --without-sample
eval "$(hack/cluster.sh env)"
export LOCALKUBE=${PWD}/bin/localkube GINKGO_NO_COLOR=TRUE VERBOSE=1
"$@"
