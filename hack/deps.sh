#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that tests need, where their programs are
# missing. What a local cluster needs, hack/localkube installs itself.
set -euo pipefail

# Program and the package that has it.
needs=(
  gcc:gcc
  git:git
  redis-server:redis-server
  redis-cli:redis-tools
  java:default-jre-headless
)

missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
# The C library's headers come without a program of their own.
if ! echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; then
  missing+=(libc6-dev)
fi
# Neither do the classes of ZooKeeper.
if [[ ! -e /usr/share/java/zookeeper.jar ]]; then
  missing+=(libzookeeper-java)
fi
if [[ ! -e /usr/share/java/slf4j-simple.jar ]]; then
  missing+=(libslf4j-java)
fi
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi

if ! command -v apt-get >/dev/null || [[ ${EUID} -ne 0 ]]; then
  echo "install these first (Debian's names): ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# At run level 1 Debian starts no service that it installs.
RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
