#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# Prints one manifest for `kubectl create -f`: manifest.sh KUSTOMIZE DIRECTORY
set -euo pipefail

cat <<'HEADER'
# Installs the Codis operator: kubectl create -f deploy/manager/deployment-dev.yml
# Generated from config/ by `make generate`. DO NOT EDIT.
HEADER
"$1" build "$2"
