#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the etcd that Codis can use: etcd.sh DIRECTORY
set -euo pipefail

dir=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/etcd"
mkdir -p "${dir}"
CGO_ENABLED=0 GOWORK=off GOFLAGS="${GOFLAGS:-} -trimpath -buildvcs=false" go build -ldflags '-s -w' -o "${dir}/etcd" .
