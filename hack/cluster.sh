#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# One face for the clusters that this project runs on:
#   cluster.sh up                 start it, or do nothing if it is up
#   cluster.sh down               remove it
#   cluster.sh load FILE.tar...   bring docker-archives to its nodes
#   cluster.sh kubectl ARGS...    run kubectl against it
#   cluster.sh env                print what a shell needs to use it
# CLUSTER is localkube, kind or current; CLUSTER_NAME and NODES are for the
# first two.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cluster=${CLUSTER:-localkube}
name=${CLUSTER_NAME:-demo}
nodes=${NODES:-3}
state=.cache/cluster

# localkube is built anew where it does much, and only if missing elsewhere.
localkube() {
  case $1 in
    up | down | load-image) make bin/localkube ;;
    *) [[ -x bin/localkube ]] || make bin/localkube >&2 ;;
  esac
  bin/localkube "$@"
}

kind_up() {
  if kind get clusters 2>/dev/null | grep -qx "${name}"; then
    return
  fi
  {
    printf 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n'
    for ((i = 0; i < nodes; i++)); do printf -- '- role: worker\n'; done
  } | kind create cluster --name "${name}" --kubeconfig "${state}/${name}.kubeconfig" --wait 5m --config -
}

up() {
  case ${cluster} in
    localkube) localkube up --name "${name}" --nodes "${nodes}" ;;
    kind) kind_up ;;
    current) kubectl cluster-info >/dev/null ;;
  esac
}

down() {
  rm -f "${state}/${cluster}-${name}".*
  case ${cluster} in
    localkube) localkube down --name "${name}" ;;
    kind) kind delete cluster --name "${name}" ;;
    current) echo "the cluster is not ours to remove" ;;
  esac
}

# Loads what has not been loaded into this very cluster before.
load() {
  if [[ ${cluster} == current ]]; then
    echo "the nodes must be able to pull the images, or have them: $*"
    return
  fi
  local uid loaded fresh=() file
  uid=$(run_kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')
  loaded="${state}/${cluster}-${name}.${uid}"
  touch "${loaded}"
  for file in "$@"; do
    grep -qxF "$(sha256sum "${file}")" "${loaded}" || fresh+=("${file}")
  done
  if [[ ${#fresh[@]} -eq 0 ]]; then
    return
  fi
  case ${cluster} in
    localkube) localkube load-image --name "${name}" "${fresh[@]}" ;;
    kind) for file in "${fresh[@]}"; do kind load image-archive --name "${name}" "${file}"; done ;;
  esac
  sha256sum "$@" > "${loaded}"
}

run_kubectl() {
  case ${cluster} in
    localkube) localkube kubectl --name "${name}" -- "$@" ;;
    kind) kubectl --kubeconfig "${state}/${name}.kubeconfig" "$@" ;;
    current) kubectl "$@" ;;
  esac
}

print_env() {
  case ${cluster} in
    localkube)
      echo "export KUBECONFIG=$(localkube kubeconfig --name "${name}")"
      echo "export PATH=$(localkube binaries):\$PATH"
      ;;
    kind) echo "export KUBECONFIG=${PWD}/${state}/${name}.kubeconfig" ;;
    current) ;;
  esac
}

case ${cluster} in
  localkube | kind | current) ;;
  *) echo "CLUSTER is localkube, kind or current, not ${cluster}" >&2; exit 2 ;;
esac
mkdir -p "${state}"
command=${1:-}
shift || true
case ${command} in
  up) up ;;
  down) down ;;
  load) load "$@" ;;
  kubectl) run_kubectl "$@" ;;
  env) print_env ;;
  *) echo "usage: cluster.sh up|down|load FILE...|kubectl ARGS...|env" >&2; exit 2 ;;
esac
