// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package config

import "strings"

// ZooKeeper renders the part of a member's file that the operator decides; who
// belongs to the ensemble ZooKeeper itself writes down. Silence of a peer is
// noticed after 5 seconds. Access lists are skipped, since whoever may reach a
// member may do everything there.
func ZooKeeper(directory string) string {
	settings := []string{
		"dataDir=" + directory,
		"tickTime=1000",
		"initLimit=30",
		"syncLimit=5",
		"standaloneEnabled=false",
		"reconfigEnabled=true",
		"skipACL=yes",
		"quorumListenOnAllIPs=true",
		"admin.enableServer=false",
		"4lw.commands.whitelist=srvr,conf,ruok",
		"maxClientCnxns=0",
		"preAllocSize=4096",
		"autopurge.snapRetainCount=3",
		"autopurge.purgeInterval=1",
	}
	return strings.Join(settings, "\n") + "\n"
}
