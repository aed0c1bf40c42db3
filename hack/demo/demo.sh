#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# The demo: a Kubernetes cluster, the operator, a CodisCluster and data in it.
# It may be run again at any time; what is there already is kept.
#   demo.sh                    everything
#   demo.sh --without-sample   stop before the CodisCluster, for benchmarks
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CLUSTER=${CLUSTER:-localkube} CLUSTER_NAME=${CLUSTER_NAME:-demo} NODES=${NODES:-3}
manifest=deploy/manager/deployment-dev.yml
sample=examples/sample-1.yml
operator=(-n codis-operator-system)
logs=.cache/demo
doing="start"

kubectl() { hack/cluster.sh kubectl "$@"; }

say() { printf '[%4ds] %s\n' "${SECONDS}" "$*"; }

# step TEXT COMMAND... runs a command quietly; its output is shown if it fails.
step() {
  local text=$1 log="${logs}/step.${BASHPID}.log"
  shift
  doing=${text}
  say "${text} ..."
  if ! "$@" >"${log}" 2>&1; then
    tail -n 40 "${log}" >&2
    return 1
  fi
  say "${text}: done"
}

failed() {
  say "FAILED: ${doing}" >&2
  kubectl get codis,pods --all-namespaces >&2 2>/dev/null || true
  echo "See what happened with 'hack/cluster.sh kubectl ...'; start over with 'make demo-down demo'." >&2
}

# Loads what is new and tells whether the operator's image was among it.
load() { hack/cluster.sh load bin/images/*.tar | tee "${logs}/load.log"; }

install() {
  if ! kubectl get "${operator[@]}" deployment codis-operator >/dev/null 2>&1; then
    kubectl create -f "${manifest}"
    return
  fi
  kubectl apply --server-side --force-conflicts -f "${manifest}"
  if grep -q codis-operator "${logs}/load.log"; then
    kubectl rollout restart "${operator[@]}" deployment/codis-operator
  fi
}

create_sample() { kubectl get codiscluster sample || kubectl create -f "${sample}"; }

roundtrip() {
  kubectl delete job sample-roundtrip --ignore-not-found
  kubectl create -f hack/demo/roundtrip.yml
  # A Job either completes or fails; whichever comes first ends the wait.
  kubectl wait job/sample-roundtrip --for=condition=Complete --timeout=2m ||
    { kubectl logs job/sample-roundtrip; return 1; }
}

show() {
  echo
  echo "\$ kubectl $*"
  kubectl "$@"
}

mkdir -p "${logs}"
trap failed ERR

# The cluster boots while the images are built.
step "start a Kubernetes cluster of ${NODES} nodes (${CLUSTER})" hack/cluster.sh up &
boot=$!
step "build the images" make images
wait "${boot}"
step "load the images" load
step "install the operator: kubectl create -f ${manifest}" install
step "wait for the operator" kubectl rollout status "${operator[@]}" deployment/codis-operator --timeout=5m
if [[ ${1:-} == --without-sample ]]; then
  say "ready; CLUSTER_NAME=${CLUSTER_NAME}"
  exit 0
fi
step "create a CodisCluster: kubectl create -f ${sample}" create_sample
step "wait for it to be Ready" kubectl wait codiscluster/sample --for=condition=Ready --timeout=10m
step "write 1000 keys through the proxies and read them back" roundtrip
kubectl logs job/sample-roundtrip

show get codis
show get codisclusters -o wide
show get codisdashboards -o wide
show get codisgroups -o wide
show get codisproxies -o wide
show get pods -o wide

cat <<HINT

It runs. Go on with:
$(hack/cluster.sh env | sed 's/^/  /')
  kubectl get codisgroups --watch            # in one terminal, and in another:
  kubectl delete pod sample-1-0              # the group heals by itself
  kubectl describe codiscluster sample       # why things are as they are
  kubectl run redis-cli -it --rm --image=codis-standin:dev --image-pull-policy=Never --command -- \\
    redis-cli -h sample-proxy -p 19000
Remove it all with:
  make demo-down CLUSTER=${CLUSTER} CLUSTER_NAME=${CLUSTER_NAME}
HINT
say "the demo is up"
