#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the programs of the stand-in for Codis: standin.sh DIRECTORY
set -euo pipefail

dir=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "${dir}"
CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath -buildvcs=false" go build -ldflags '-s -w' -o "${dir}/" ./test/standin/cmd/...
# codis-server is redis-server with this module beside it.
gcc -O2 -shared -fPIC -o "${dir}/codis.so" test/standin/server/codis.c
