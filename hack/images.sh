#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the images of this project as docker-archives into bin/images:
#   codis-operator.tar     codis-operator:dev, the operator
#   codis-standin.tar      codis-standin:dev, what takes the place of Codis, or
#                          the release in the directory CODIS_RELEASE
#   codis-etcd.tar         codis-etcd:dev, the etcd that Codis can use
#   codis-zookeeper.tar    codis-zookeeper:dev, Debian's ZooKeeper
#   codis-testclient.tar   codis-testclient:dev, the client of test/client
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=bin/images
mkdir -p "${out}"
export VERSION=${VERSION:-dev} CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath -buildvcs=false"

operator() {
  bin/image -o "${out}/codis-operator.tar" -name codis-operator:dev -user 65532 -entrypoint /manager \
    bin/manager:/manager bin/config-writer:/config-writer bin/member-gate:/member-gate \
    bin/dashboard-keeper:/dashboard-keeper
}

etcd() {
  hack/etcd.sh bin
  bin/image -o "${out}/codis-etcd.tar" -name codis-etcd:dev -user 65532 bin/etcd:/usr/local/bin/etcd
}

# Debian's ZooKeeper with the Java that runs it, which has parts in /etc.
zookeeper() {
  local jar java files=(bin/zkServer.sh:/usr/local/bin/zkServer.sh)
  go build -ldflags '-s -w' -o bin/zkServer.sh ./hack/zookeeper
  java=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
  files+=("${java}:${java}")
  while read -r jar; do
    files+=("${jar}:${jar}")
  done < <(find "${java}" -type l -exec readlink {} + | grep '^/etc/' | cut -d/ -f1-3 | sort -u)
  for jar in zookeeper zookeeper-jute slf4j-api slf4j-simple metrics-core snappy-java commons-cli commons-io \
    netty-buffer netty-common netty-handler netty-transport netty-transport-native-epoll; do
    if [[ -e /usr/share/java/${jar}.jar ]]; then
      files+=("$(readlink -f "/usr/share/java/${jar}.jar"):/usr/share/java/${jar}.jar")
    fi
  done
  LD_LIBRARY_PATH=${java}/lib/server:${java}/lib \
    bin/image -o "${out}/codis-zookeeper.tar" -name codis-zookeeper:dev -user 65532 -ldd \
    -symlink "${java}/bin/java:/usr/local/bin/java" "${files[@]}"
}

client() {
  bin/image -o "${out}/codis-testclient.tar" -name codis-testclient:dev -user 65532 -entrypoint /client \
    bin/client:/client
}

# Every program of the release that is there, with the pages of codis-fe and the
# libraries that the programs need. codis-fe looks for its pages in the working
# directory when it is called without a path.
release() {
  local dir=$1 program files=()
  for program in codis-dashboard codis-proxy codis-fe codis-admin codis-server redis-cli redis-sentinel assets; do
    if [[ -e ${dir}/${program} ]]; then
      files+=("${dir}/${program}:/usr/local/bin/${program}")
    fi
  done
  bin/image -o "${out}/codis-standin.tar" -name codis-standin:dev -user 65532 -workdir /usr/local/bin -ldd "${files[@]}"
}

# The stand-in speaks for the dashboard, the proxy and the page; its servers are
# Debian's redis-server with a module.
standin() {
  local file program files=()
  hack/standin.sh bin/standin
  for file in bin/standin/*; do
    files+=("${file}:/usr/local/bin/$(basename "${file}")")
  done
  for program in redis-server redis-cli; do
    files+=("$(readlink -f "$(command -v "${program}")"):/usr/local/bin/${program}")
  done
  bin/image -o "${out}/codis-standin.tar" -name codis-standin:dev -user 65532 -ldd "${files[@]}"
}

make build bin/image
go build -ldflags '-s -w' -o bin/client ./test/client
operator
etcd
zookeeper
client
if [[ -n ${CODIS_RELEASE:-} ]]; then
  release "${CODIS_RELEASE}"
else
  standin
fi
ls -sh "${out}"/*.tar
