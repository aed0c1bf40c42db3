// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command etcd is the newest etcd that speaks the v2 API as Codis needs it. It is a module of its own, since what it
// requires is years older than what the operator does.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
